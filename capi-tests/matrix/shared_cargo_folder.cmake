# SPDX-License-Identifier: Apache-2.0
#
# Two copies of the sources with one cargo folder between them: each build has what its own sources say, also if none of
# them is newer than what was built of the other ones.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

foreach(copy first second)
  copy_project("${WORK}/${copy}")
  change("${WORK}/${copy}/src/error/codes.rs" "c\"document not found" "c\"document not found, ${copy}")
  run("touch" touch -d "2001-01-01" "${WORK}/${copy}/src/error/codes.rs")
endforeach()
set(libraries libcouchstore.so libcouchstore_static.a)
foreach(copy first second first)
  file(REMOVE_RECURSE "${WORK}/build")
  configure("${WORK}/${copy}" "${WORK}/build" -DCMAKE_BUILD_TYPE=Debug -DCOUCHSTORE_BUILD_TOOLS=OFF
    -DCOUCHSTORE_CXX_API=OFF "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}")
  build("${WORK}/build")
  list(TRANSFORM libraries PREPEND "${WORK}/build/" OUTPUT_VARIABLE built)
  expect_text("document not found, ${copy}" ${built})
endforeach()
