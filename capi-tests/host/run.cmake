# SPDX-License-Identifier: Apache-2.0
#
# Builds the small host with the directory of PROJECT in place, in the folder BUILD, and runs its tests.
# CARGO_DIR: where cargo has built the library already. ENCRYPTION: whether with encryption.
file(REMOVE_RECURSE "${BUILD}")
file(MAKE_DIRECTORY "${BUILD}/source")
file(CREATE_LINK "${PROJECT}/host/couchstore" "${BUILD}/source/couchstore" SYMBOLIC)

function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed (${result}):\n${output}")
  endif()
endfunction()

set(configure "${CMAKE_COMMAND}" -S "${SOURCE}" -B "${BUILD}/build" -G "${GENERATOR}"
  "-DCMAKE_MAKE_PROGRAM=${MAKE_PROGRAM}" "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
  "-DCMAKE_BUILD_TYPE=${BUILD_TYPE}" "-DCOUCHSTORE_DIRECTORY=${BUILD}/source/couchstore"
  "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}" "-DCOUCHSTORE_ENCRYPTION=${ENCRYPTION}")
# What the commands that link the library name, for the second time.
function(read_link_commands result)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}/build" --target couchstore client_static -- -n -v
    OUTPUT_VARIABLE output)
  string(REGEX MATCHALL "[^ \n]*libplatform[^ \n]*" commands "${output}")
  set(${result} "${commands}" PARENT_SCOPE)
endfunction()

run("configuring" ${configure})
read_link_commands(first)
run("configuring once more" ${configure})
read_link_commands(second)
if(NOT first OR NOT first STREQUAL second)
  message(FATAL_ERROR "the host's library is linked otherwise the second time:\n${first}\nand\n${second}")
endif()
run("building" "${CMAKE_COMMAND}" --build "${BUILD}/build" -j 2)
run("testing" "${CMAKE_CTEST_COMMAND}" --test-dir "${BUILD}/build" --output-on-failure)
