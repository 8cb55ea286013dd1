# Builds a program against the package installed at ROOT, in the folder BUILD, and runs it. Either the CMake
# project in SOURCE (COMPONENT, WANT), or with the flags that pkg-config gives (MODULE).
#
# For the component "tools": runs TOOLS, a program in BINDIR that may have MOST_BYTES and links to it, and looks for
# their completion scripts below COMPLETIONS.
#
# With REFUSED: configuring must fail, with a message that matches this expression.

file(REMOVE_RECURSE "${BUILD}")
file(MAKE_DIRECTORY "${BUILD}")

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed (${result}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

if(MODULE)
  set(ENV{PKG_CONFIG_PATH} "${ROOT}/${LIBDIR}/pkgconfig")
  run("pkg-config" "${PKG_CONFIG}" --print-errors "${MODULE} = ${VERSION}" --cflags --libs)
  separate_arguments(flags UNIX_COMMAND "${output}")
  run("compiling" "${C_COMPILER}" -std=c11 -Wall -Wextra -Wpedantic -Werror -o "${BUILD}/consumer"
    "${SOURCE}/consumer.c" ${flags} "-Wl,-rpath,${ROOT}/${LIBDIR}")
else()
  if(NOT WANT)
    set(WANT "${VERSION}")
  endif()
  set(configure "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" -G "${GENERATOR}"
    "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}"
    "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
    "-DCMAKE_PREFIX_PATH=${ROOT}" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF --no-warn-unused-cli
    -DCMAKE_BUILD_TYPE=Release
    "-DLANGUAGE=${LANGUAGE}" "-DCOMPONENT=${COMPONENT}" "-DTOOLS=${TOOLS}" "-DWANT=${WANT}")
  if(REFUSED)
    execute_process(COMMAND ${configure} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
    if(result EQUAL 0)
      message(FATAL_ERROR "configuring should have failed")
    elseif(NOT output MATCHES "${REFUSED}")
      message(FATAL_ERROR "configuring failed, but not with a message like ${REFUSED}:\n${output}")
    endif()
    return()
  endif()
  run("configuring" ${configure})
  run("building" "${CMAKE_COMMAND}" --build "${BUILD}")
  if(COMPONENT STREQUAL "tools")
    string(REPLACE "|" ";" tools "${TOOLS}")
    foreach(tool IN LISTS tools)
      string(FIND "${output}" "${tool} ${VERSION}" place)
      if(place EQUAL -1)
        message(FATAL_ERROR "${tool} did not tell its version ${VERSION}:\n${output}")
      endif()
      if(NOT tool STREQUAL "couch")
        file(READ_SYMLINK "${ROOT}/${BINDIR}/${tool}" program)
        if(NOT program STREQUAL "couch")
          message(FATAL_ERROR "${tool} is a link to ${program}")
        endif()
      endif()
      foreach(script bash-completion/completions/${tool} zsh/site-functions/_${tool}
                     fish/vendor_completions.d/${tool}.fish)
        file(STRINGS "${ROOT}/${COMPLETIONS}/${script}" mentions REGEX "${tool}")
        if(NOT mentions)
          message(FATAL_ERROR "no completion script ${script}")
        endif()
      endforeach()
    endforeach()
    file(SIZE "${ROOT}/${BINDIR}/couch" bytes)
    if(MOST_BYTES AND bytes GREATER MOST_BYTES)
      message(FATAL_ERROR "the tools have ${bytes} bytes, more than ${MOST_BYTES}")
    endif()
    return()
  endif()
endif()

run("the program" "${BUILD}/consumer" "${BUILD}/consumer.couch")

# The program must hold what it was built for: the shared library, or its own copy.
execute_process(COMMAND ldd "${BUILD}/consumer" OUTPUT_VARIABLE libraries)
if(MODULE STREQUAL "couchstore" OR COMPONENT STREQUAL "shared")
  if(NOT libraries MATCHES "libcouchstore\\.so => ${ROOT}/")
    message(FATAL_ERROR "the program does not use the shared library of the package:\n${libraries}")
  endif()
elseif(libraries MATCHES "libcouchstore")
  message(FATAL_ERROR "the program uses the shared library:\n${libraries}")
endif()
