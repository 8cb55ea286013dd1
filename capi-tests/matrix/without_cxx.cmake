# SPDX-License-Identifier: Apache-2.0
#
# Without the C++ part: the C functions, for programs that are linked as C. The tests of the ABI and of the package say
# that the rest is as ever.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

set(build "${WORK}/build")
configure("${PROJECT}" "${build}" -DCMAKE_BUILD_TYPE=Debug "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}"
  -DCOUCHSTORE_CXX_API=OFF -DCOUCHSTORE_BUILD_TOOLS=OFF -DCOUCHSTORE_BUILD_TESTS=ON -DCOUCHSTORE_VALGRIND=OFF)
build("${build}")
run("its tests" "${CTEST}" --test-dir "${build}" --output-on-failure -j 2 -R "^(abi|package|c)\\." -E "^c\\.many$")
run("readelf" "${READELF}" -d "${build}/libcouchstore.so")
if(output MATCHES "libstdc\\+\\+")
  message(FATAL_ERROR "the library without C++ needs C++'s own:\n${output}")
endif()
