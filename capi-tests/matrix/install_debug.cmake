# SPDX-License-Identifier: Apache-2.0
#
# COUCHSTORE_INSTALL_DEBUG: no debug information at all, within the libraries, or by build ID. (The tests package.* have the
# fourth way.)
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

# sections(variable kind): what the libraries have that are installed with COUCHSTORE_INSTALL_DEBUG=kind.
function(install_with kind)
  configure("${PROJECT}" "${WORK}/build" -DCMAKE_BUILD_TYPE=Debug "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}"
    -DCOUCHSTORE_CXX_API=OFF -DCOUCHSTORE_BUILD_TOOLS=OFF -DCMAKE_INSTALL_LIBDIR=lib "-DCOUCHSTORE_INSTALL_DEBUG=${kind}")
  build("${WORK}/build")
  set(ENV{DESTDIR} "${WORK}/${kind}")
  run("installing" "${CMAKE_COMMAND}" --install "${WORK}/build" --prefix /usr)
  unset(ENV{DESTDIR})
  foreach(name libcouchstore.so libcouchstore_static.a)
    run("readelf" "${READELF}" --wide --sections "${WORK}/${kind}/usr/lib/${name}")
    string(REGEX MATCH "\\.debug_info" ${name} "${output}")
    set(${name} "${${name}}" PARENT_SCOPE)
  endforeach()
  if(EXISTS "${WORK}/${kind}/usr/lib/libcouchstore.so.debug")
    message(FATAL_ERROR "libcouchstore.so.debug is installed")
  endif()
endfunction()

install_with(none)
if(libcouchstore.so OR libcouchstore_static.a)
  message(FATAL_ERROR "there is debug information in ${libcouchstore.so} ${libcouchstore_static.a}")
endif()
install_with(inside)
if(NOT libcouchstore.so OR NOT libcouchstore_static.a)
  message(FATAL_ERROR "there is no debug information")
endif()
install_with(build-id)
if(libcouchstore.so OR libcouchstore_static.a)
  message(FATAL_ERROR "there is debug information in ${libcouchstore.so} ${libcouchstore_static.a}")
endif()
run("readelf" "${READELF}" --notes "${WORK}/build-id/usr/lib/libcouchstore.so")
if(NOT output MATCHES "Build ID: ([0-9a-f][0-9a-f])([0-9a-f]+)")
  message(FATAL_ERROR "the installed library has no build ID")
endif()
run("readelf" "${READELF}" --wide --sections
  "${WORK}/build-id/usr/lib/debug/.build-id/${CMAKE_MATCH_1}/${CMAKE_MATCH_2}.debug")
if(NOT output MATCHES "\\.debug_info")
  message(FATAL_ERROR "there is no debug information in the file that the build ID names")
endif()
expect_refusal("COUCHSTORE_INSTALL_DEBUG is sideways, not split, build-id, none or inside"
  "${CMAKE_COMMAND}" -B "${WORK}/build" -S "${PROJECT}" -DCOUCHSTORE_INSTALL_DEBUG=sideways)
