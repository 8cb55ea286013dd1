# SPDX-License-Identifier: Apache-2.0
#
# Builds PROGRAM (default: consumer) in LANGUAGE against the package installed at ROOT, in the folder BUILD, and runs it.
# Either with the CMake project in SOURCE (COMPONENT, WANT), or with the flags that pkg-config gives (MODULE). LINK: a
# flag for the compiler that links, -static say.
#
# For the component "tools": runs TOOLS, a program in BINDIR that may have MOST_BYTES and links to it, and looks for
# their completion scripts below COMPLETIONS and their pages below MANUAL.
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

if(NOT PROGRAM)
  set(PROGRAM consumer)
endif()
# Some of the programs are about panics, which say where they are from.
set(ENV{RUST_BACKTRACE} 0)

if(MODULE)
  if(LANGUAGE STREQUAL "CXX")
    set(compile "${CXX_COMPILER}" -std=c++17 "${SOURCE}/${PROGRAM}.cc")
  else()
    set(compile "${C_COMPILER}" -std=c11 "${SOURCE}/${PROGRAM}.c")
  endif()
  # (A search path in a program without shared libraries makes some C libraries crash.)
  set(static)
  set(search_path "-Wl,-rpath,${ROOT}/${LIBDIR}")
  if(LINK MATCHES "^-static(-pie)?$")
    set(static --static)
    set(search_path)
  endif()
  set(ENV{PKG_CONFIG_PATH} "${ROOT}/${LIBDIR}/pkgconfig")
  run("pkg-config" "${PKG_CONFIG}" --print-errors ${static} "${MODULE} = ${VERSION}" --cflags --libs)
  separate_arguments(flags UNIX_COMMAND "${output}")
  run("compiling" ${compile} -Wall -Wextra -Wpedantic -Werror ${LINK} -o "${BUILD}/${PROGRAM}" ${flags}
    ${search_path})
else()
  if(NOT WANT)
    set(WANT "${VERSION}")
  endif()
  set(configure "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}" -G "${GENERATOR}"
    "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}"
    "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
    "-DCMAKE_PREFIX_PATH=${ROOT}" -DCMAKE_FIND_USE_PACKAGE_REGISTRY=OFF --no-warn-unused-cli
    -DCMAKE_BUILD_TYPE=Release "-DCMAKE_EXE_LINKER_FLAGS=${LINK}" "-DPROGRAM=${PROGRAM}"
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
      file(STRINGS "${ROOT}/${MANUAL}/man1/${tool}.1" mentions REGEX "^${tool} .- ")
      if(NOT mentions)
        message(FATAL_ERROR "no manual page ${tool}.1, or it does not say what ${tool} is")
      endif()
    endforeach()
    file(SIZE "${ROOT}/${BINDIR}/couch" bytes)
    if(MOST_BYTES AND bytes GREATER MOST_BYTES)
      message(FATAL_ERROR "the tools have ${bytes} bytes, more than ${MOST_BYTES}")
    endif()
    return()
  endif()
endif()

run("the program" "${BUILD}/${PROGRAM}" "${BUILD}/${PROGRAM}.couch")

# The program must hold what it was built for: the shared library, or its own copy, or its own copy of everything.
run("readelf" "${READELF}" -d -l "${BUILD}/${PROGRAM}")
set(needed "${output}")
execute_process(COMMAND ldd "${BUILD}/${PROGRAM}" OUTPUT_VARIABLE libraries ERROR_VARIABLE libraries)
if(MODULE STREQUAL "couchstore" OR COMPONENT STREQUAL "shared")
  if(NOT libraries MATCHES "libcouchstore\\.so => ${ROOT}/")
    message(FATAL_ERROR "the program does not use the shared library of the package:\n${libraries}")
  endif()
elseif(libraries MATCHES "libcouchstore")
  message(FATAL_ERROR "the program uses the shared library:\n${libraries}")
elseif(LINK MATCHES "^-static(-pie)?$" AND needed MATCHES "NEEDED|INTERP")
  message(FATAL_ERROR "the program is not static:\n${needed}")
endif()
