# SPDX-License-Identifier: Apache-2.0
#
# A toolchain file for a platform that is named: cargo builds for it, and what it compiles and links in other languages
# is compiled and linked by the toolchain's compilers.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

find_host_triple(triple)
foreach(language C CXX)
  set(wrapper "${WORK}/bin/target-${language}")
  file(WRITE "${wrapper}" "#!/bin/sh\necho \"$@\" >>'${WORK}/asked-${language}'\nexec '${${language}_COMPILER}' \"$@\"\n")
  file(CHMOD "${wrapper}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endforeach()
cmake_host_system_information(RESULT processor QUERY OS_PLATFORM)
file(WRITE "${WORK}/toolchain.cmake"
  "set(CMAKE_SYSTEM_NAME Linux)\n"
  "set(CMAKE_SYSTEM_PROCESSOR ${processor})\n"
  "set(CMAKE_C_COMPILER \"${WORK}/bin/target-C\")\n"
  "set(CMAKE_CXX_COMPILER \"${WORK}/bin/target-CXX\")\n"
  "set(CMAKE_FIND_ROOT_PATH \"${WORK}/sysroot\")\n"
  "set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)\n"
  "set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY BOTH)\n"
  "set(COUCHSTORE_CARGO_TARGET ${triple} CACHE STRING \"\")\n")
list(FILTER common_options EXCLUDE REGEX "CMAKE_C(XX)?_COMPILER")

copy_project("${WORK}/source")
# Not linked yet, wherever cargo was before.
file(TOUCH "${WORK}/source/tools/src/main.rs")
set(build "${WORK}/build")
configure("${WORK}/source" "${build}" "-DCMAKE_TOOLCHAIN_FILE=${WORK}/toolchain.cmake" -DCMAKE_BUILD_TYPE=Debug
  "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}" -DCOUCHSTORE_BUILD_TOOLS=ON)
build("${build}")
expect_text("document not found" "${build}/libcouchstore.so" "${build}/libcouchstore_static.a")
if(NOT EXISTS "${CARGO_DIR}/${triple}/debug/libcouchstore.a")
  message(FATAL_ERROR "cargo did not build for ${triple}")
endif()
expect_text("cxx/database\\.cc" "${WORK}/asked-CXX")
file(STRINGS "${WORK}/asked-C" links REGEX "-o [^ ]*/${triple}/debug/deps/couch-")
if(NOT links)
  message(FATAL_ERROR "the tools were not linked by the toolchain's compiler")
endif()

run("installing" "${CMAKE_COMMAND}" --install "${build}" --prefix "${WORK}/root")
run("a tool" "${WORK}/root/bin/couch_dbinfo" --version)
