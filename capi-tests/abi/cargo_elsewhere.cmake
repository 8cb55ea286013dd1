# SPDX-License-Identifier: Apache-2.0
#
# Settings of the user decide where cargo puts things. Lets SCRIPT (cmake/cargo_build.cmake) build in FOLDER with a
# stand-in for cargo, which says that they are in an unusual place.
file(REMOVE_RECURSE "${FOLDER}")
set(place "${FOLDER}/a \"target\"/x86_64-unknown-linux-gnu/debug")
string(REPLACE "\"" "\\\"" escaped "${place}")
file(WRITE "${place}/couch" "the program")
file(WRITE "${place}/couch.d" "${place}/couch: /src/a.rs /src/b\\ c.rs\n")
file(WRITE "${place}/libcouchstore.a" "the archive")
file(WRITE "${place}/libcouchstore.d" "${place}/libcouchstore.a: /src/a.rs /src/lib.rs\n")
file(WRITE "${FOLDER}/cargo" "#!/bin/sh\necho \"$PWD: $@\" >'${FOLDER}/asked'\ncat '${FOLDER}/messages'\n")
file(CHMOD "${FOLDER}/cargo" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)

string(CONCAT archive_message "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"staticlib\"],\"name\":\"couchstore\"},"
  "\"filenames\":[\"/x;[y\",\"${escaped}/libcouchstore.a\"],\"executable\":null,\"fresh\":false}\n")
string(CONCAT program_message "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bin\"],\"name\":\"couch\"},"
  "\"filenames\":[\"${escaped}/couch\"],\"executable\":\"${escaped}/couch\",\"fresh\":true}\n")
set(last_message "{\"reason\":\"build-finished\",\"success\":true}\n")

# build(files messages): cargo answers with the messages.
function(build files messages)
  file(WRITE "${FOLDER}/messages" "${messages}${last_message}")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" "-DCARGO=${FOLDER}/cargo" "-DARGUMENTS=build|--profile|some" "-DSOURCE=${FOLDER}"
            "-DTARGET_DIR=${FOLDER}/out" "-DFOLDER=${FOLDER}/made here" "-DFILES=${files}" -P "${SCRIPT}"
    RESULT_VARIABLE result ERROR_VARIABLE said)
  set(result "${result}" PARENT_SCOPE)
  set(said "${said}" PARENT_SCOPE)
endfunction()

function(expect_success)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "building failed: ${said}")
  endif()
endfunction()

function(expect_failure reason)
  string(REGEX REPLACE "[ \n]+" " " said "${said}")
  if(result EQUAL 0 OR NOT said MATCHES "${reason}")
    message(FATAL_ERROR "expected to fail with \"${reason}\", but: ${result} ${said}")
  endif()
endfunction()

function(expect file content)
  file(READ "${file}" found)
  if(NOT found STREQUAL content)
    message(FATAL_ERROR "${file}: expected\n${content}\nfound\n${found}")
  endif()
endfunction()

string(REPLACE " " "\\ " target "${FOLDER}/made here")
build(couch "${archive_message}${program_message}")
expect_success()
expect("${FOLDER}/made here/couch" "the program")
expect("${FOLDER}/made here/couch.d" "${target}/couch: /src/a.rs /src/b\\ c.rs\n")
file(READ "${FOLDER}/asked" asked)
if(NOT asked MATCHES "^${FOLDER}: build --profile some --target-dir ${FOLDER}/out ")
  message(FATAL_ERROR "cargo was called with: ${asked}")
endif()

# Two files have the sources of both.
build("libcouchstore.a|couch" "${archive_message}${program_message}")
expect_success()
expect("${FOLDER}/made here/libcouchstore.a" "the archive")
expect("${FOLDER}/made here/libcouchstore.a.d"
  "${target}/libcouchstore.a: /src/a.rs /src/lib.rs /src/a.rs /src/b\\ c.rs\n")

# A new file takes the place of the old one.
file(WRITE "${place}/libcouchstore.a" "another archive")
build(libcouchstore.a "${archive_message}")
expect_success()
expect("${FOLDER}/made here/libcouchstore.a" "another archive")

# The same file again is newer than before.
file(TIMESTAMP "${FOLDER}/made here/libcouchstore.a" before "%s" UTC)
execute_process(COMMAND touch -d @1000000000 "${place}/libcouchstore.a" "${FOLDER}/made here/libcouchstore.a")
build(libcouchstore.a "${archive_message}")
file(TIMESTAMP "${FOLDER}/made here/libcouchstore.a" after "%s" UTC)
if(after LESS before)
  message(FATAL_ERROR "what was made again looks old: ${after}")
endif()

# Never an old file: not if cargo does not tell, if it tells of two, if there is nothing where it says.
build(libcouchstore.a "${program_message}")
expect_failure("does not tell where it put libcouchstore.a")
build(libcouchstore.a "${archive_message}${archive_message}")
expect_failure("several platforms.*COUCHSTORE_CARGO_TARGET")
file(REMOVE "${place}/libcouchstore.a")
build(libcouchstore.a "${archive_message}")
expect_failure("libcouchstore.a")
file(WRITE "${FOLDER}/cargo" "#!/bin/sh\necho 'error: no' >&2\nexit 101\n")
build(couch "${program_message}")
expect_failure("error: no.*cargo failed")
