# Settings of the user decide where cargo puts a program. Lets SCRIPT (cmake/build_tools.cmake) build in FOLDER with a
# stand-in for cargo, which says that the program is in an unusual place.
file(REMOVE_RECURSE "${FOLDER}")
set(place "${FOLDER}/a \"target\"/x86_64-unknown-linux-gnu/debug")
file(WRITE "${place}/couch" "the program")
file(WRITE "${place}/couch.d" "${place}/couch: /src/a.rs /src/b\\ c.rs\n")
string(REPLACE "\"" "\\\"" escaped "${place}")
file(WRITE "${FOLDER}/messages" [[
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"couchstore"},"filenames":["/x;[y"],"executable":null}
]])
file(APPEND "${FOLDER}/messages" "{\"reason\":\"compiler-artifact\",\"target\":{\"kind\":[\"bin\"],\"name\":\"couch\"},"
  "\"filenames\":[\"${escaped}/couch\"],\"executable\":\"${escaped}/couch\",\"fresh\":true}\n")
file(APPEND "${FOLDER}/messages" "{\"reason\":\"build-finished\",\"success\":true}\n")
file(WRITE "${FOLDER}/cargo" "#!/bin/sh\necho \"$@\" >'${FOLDER}/asked'\ncat '${FOLDER}/messages'\n")
file(CHMOD "${FOLDER}/cargo" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)

function(build)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" "-DCARGO=${FOLDER}/cargo" "-DOPTIONS=--locked|--profile|some" -DSOURCE=/src
            "-DTARGET_DIR=${FOLDER}/out" "-DPROGRAM=${FOLDER}/tools/couch" "-DLINKS=couch_a|couch_b" -P "${SCRIPT}"
    RESULT_VARIABLE result ERROR_VARIABLE said)
  set(result "${result}" PARENT_SCOPE)
  set(said "${said}" PARENT_SCOPE)
endfunction()

function(expect file content)
  file(READ "${file}" found)
  if(NOT found STREQUAL content)
    message(FATAL_ERROR "${file}: expected\n${content}\nfound\n${found}")
  endif()
endfunction()

build()
if(NOT result EQUAL 0)
  message(FATAL_ERROR "building failed: ${said}")
endif()
expect("${FOLDER}/tools/couch" "the program")
expect("${FOLDER}/tools/couch_a" "the program")
expect("${FOLDER}/tools/couch_b" "the program")
string(REPLACE " " "\\ " target "${FOLDER}/tools/couch")
expect("${FOLDER}/tools/couch.d" "${target}: /src/a.rs /src/b\\ c.rs\n")
file(READ "${FOLDER}/asked" asked)
if(NOT asked MATCHES "^build --locked --profile some --package couchstore-tools --bin couch ")
  message(FATAL_ERROR "cargo was called with: ${asked}")
endif()

# A new program takes the place of the old one.
file(WRITE "${place}/couch" "another program")
build()
expect("${FOLDER}/tools/couch_b" "another program")

# A cargo that does not tell is an error, not an old program.
file(WRITE "${FOLDER}/messages" "{\"reason\":\"build-finished\",\"success\":true}\n")
build()
if(result EQUAL 0 OR NOT said MATCHES "does not tell where")
  message(FATAL_ERROR "a build without a program succeeded: ${said}")
endif()
