# SPDX-License-Identifier: Apache-2.0
#
# A host that has this project within its own build, by WAY. It gets libraries, and neither tools nor tests.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

set(from "${PROJECT}")
if(WAY STREQUAL "FetchContent")
  copy_project("${WORK}/repository")
  find_program(GIT_EXECUTABLE git)
  if(GIT_EXECUTABLE)
    set(git "${GIT_EXECUTABLE}" -C "${WORK}/repository" -c user.name=test -c user.email=test@localhost)
    run("git init" ${git} init --quiet --initial-branch=main)
    run("git add" ${git} add --all --force)
    run("git commit" ${git} commit --quiet --message test)
    set(from "GIT_REPOSITORY|file://${WORK}/repository|GIT_TAG|main")
  else()
    set(from "SOURCE_DIR|${WORK}/repository")
  endif()
endif()

set(build "${WORK}/build")
configure("${CMAKE_CURRENT_LIST_DIR}/host" "${build}" "-DCOUCHSTORE_WAY=${WAY}" "-DCOUCHSTORE_FROM=${from}"
  "-DCONSUMER=${PROJECT}/capi-tests/consumer" -DCMAKE_BUILD_TYPE=Debug "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}")
build("${build}")
run("the host's tests" "${CTEST}" --test-dir "${build}" --output-on-failure)
if(NOT output MATCHES "100% tests passed, 0 tests failed out of 4")
  message(FATAL_ERROR "the host has other tests than its own:\n${output}")
endif()
file(GLOB_RECURSE tools "${build}/couch_dbdump" "${build}/couchstore_demo")
if(tools)
  message(FATAL_ERROR "the host has built ${tools}")
endif()

run("installing" "${CMAKE_COMMAND}" --install "${build}" --prefix "${WORK}/root")
file(GLOB_RECURSE installed "${WORK}/root/*/libcouchstore.so")
if(NOT installed)
  message(FATAL_ERROR "the host did not install the library")
endif()
