# SPDX-License-Identifier: Apache-2.0
#
# What becomes of the debug information when the libraries are installed. COUCHSTORE_INSTALL_DEBUG says:
#
#   split    the shared library has none. It is in libcouchstore.so.debug, the component "debug", where debuggers look for
#            it: next to the library, which tells its name and checksum
#   build-id as "split", but by the name of the library's build ID: lib/debug/.build-id/XX/YYYY.debug, as in Debian's packages
#   none     neither library has any, and there is no such file
#   inside   the libraries are installed as they were built

set(debug_default split)
if(COUCHSTORE_DEBIAN)
  set(debug_default build-id)
endif()
set(COUCHSTORE_INSTALL_DEBUG ${debug_default} CACHE STRING
  "Debug information of installed libraries: split, build-id, none or inside")
set_property(CACHE COUCHSTORE_INSTALL_DEBUG PROPERTY STRINGS split build-id none inside)
if(COUCHSTORE_INSTALL_DEBUG STREQUAL "inside")
  return()
elseif(NOT COUCHSTORE_INSTALL_DEBUG MATCHES "^(split|build-id|none)$")
  message(FATAL_ERROR
    "couchstore: COUCHSTORE_INSTALL_DEBUG is ${COUCHSTORE_INSTALL_DEBUG}, not split, build-id, none or inside")
endif()
find_program(COUCHSTORE_OBJCOPY NAMES "${CMAKE_OBJCOPY}" objcopy llvm-objcopy)
if(NOT COUCHSTORE_OBJCOPY)
  message(FATAL_ERROR "couchstore: objcopy is missing. Install it (Debian: binutils), "
    "or configure with -DCOUCHSTORE_INSTALL_DEBUG=inside: then the libraries are installed with debug information.")
endif()

# objcopy_installed(component library option...): the options of objcopy for the library that was just installed.
function(objcopy_installed component library)
  set(folder "${CMAKE_INSTALL_LIBDIR}")
  if(NOT IS_ABSOLUTE "${folder}")
    string(PREPEND folder "\${CMAKE_INSTALL_PREFIX}/")
  endif()
  list(JOIN ARGN "\" \"" options)
  install(CODE "execute_process(COMMAND \"${COUCHSTORE_OBJCOPY}\" \"${options}\"
    \"\$ENV{DESTDIR}${folder}/$<TARGET_FILE_NAME:${library}>\"
    RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR \"objcopy failed: \${result}\")
  endif()"
    COMPONENT ${component})
endfunction()

if(COUCHSTORE_INSTALL_DEBUG STREQUAL "none")
  objcopy_installed(runtime couchstore --strip-all)
  objcopy_installed(development couchstore_static --strip-debug)
  return()
endif()

set(couchstore_debug_file "${couchstore_rust_dir}/libcouchstore.so.debug")
add_custom_command(TARGET couchstore POST_BUILD
  COMMAND "${COUCHSTORE_OBJCOPY}" --only-keep-debug $<TARGET_FILE:couchstore> "${couchstore_debug_file}"
  BYPRODUCTS "${couchstore_debug_file}"
  COMMENT "Splitting off the debug information of libcouchstore.so"
  VERBATIM)
if(COUCHSTORE_INSTALL_DEBUG STREQUAL "split")
  objcopy_installed(runtime couchstore --strip-all "--add-gnu-debuglink=${couchstore_debug_file}")
  install(FILES "${couchstore_debug_file}" DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT debug)
  return()
endif()

objcopy_installed(runtime couchstore --strip-unneeded)
objcopy_installed(development couchstore_static --strip-debug)
# Known when the library has been linked. (Not below the folder of the platform: debuggers look in lib/debug.)
install(CODE "
  execute_process(COMMAND \"${CMAKE_COMMAND}\" -E env LC_ALL=C \"${CMAKE_READELF}\" --notes
    \"$<TARGET_FILE:couchstore>\" OUTPUT_VARIABLE notes)
  if(NOT notes MATCHES \"Build ID: ([0-9a-f][0-9a-f])([0-9a-f]+)\")
    message(FATAL_ERROR \"the library has no build ID\")
  endif()
  file(INSTALL \"${couchstore_debug_file}\" DESTINATION
    \"\${CMAKE_INSTALL_PREFIX}/lib/debug/.build-id/\${CMAKE_MATCH_1}\" RENAME \"\${CMAKE_MATCH_2}.debug\")"
  COMPONENT debug)
