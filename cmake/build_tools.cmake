# Builds the program "couch" with CARGO and the OPTIONS (separated by "|") for it, and puts a copy at PROGRAM, with LINKS
# (names, separated by "|") to it beside it, and PROGRAM.d, which tells what it is made from.
#
# Where cargo puts it depends on settings of the user (build.target, say), so cargo is asked.
string(REPLACE "|" ";" options "${OPTIONS}")
execute_process(
  COMMAND "${CARGO}" build ${options} --package couchstore-tools --bin couch --message-format=json-render-diagnostics
          --manifest-path "${SOURCE}/Cargo.toml" --target-dir "${TARGET_DIR}"
  OUTPUT_VARIABLE messages RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cargo could not build the tools: ${result}")
endif()
# A line for each thing that cargo has built. This one alone can be executed.
if(NOT messages MATCHES "\n?({[^\n]*\"name\":\"couch\"[^\n]*\"executable\":\"[^\n]*)")
  message(FATAL_ERROR "cargo does not tell where the program couch is:\n${messages}")
endif()
string(JSON built GET "${CMAKE_MATCH_1}" executable)

get_filename_component(folder "${PROGRAM}" DIRECTORY)
get_filename_component(name "${PROGRAM}" NAME)
file(MAKE_DIRECTORY "${folder}")
# Under another name first: what is there may be running.
execute_process(COMMAND "${CMAKE_COMMAND}" -E copy "${built}" "${PROGRAM}.part" RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${built} could not be copied: ${result}")
endif()
file(RENAME "${PROGRAM}.part" "${PROGRAM}")
# Newer than what it is made from, which cargo may have found unchanged.
execute_process(COMMAND "${CMAKE_COMMAND}" -E touch "${PROGRAM}")
string(REPLACE "|" ";" links "${LINKS}")
foreach(link IN LISTS links)
  file(CREATE_LINK "${name}" "${folder}/${link}" SYMBOLIC)
endforeach()

# "TARGET: SOURCES": spaces within names are escaped, so that the first bare one ends the target.
file(READ "${built}.d" made_from)
string(FIND "${made_from}" ": " end_of_target)
string(SUBSTRING "${made_from}" ${end_of_target} -1 made_from)
string(REPLACE " " "\\ " target "${PROGRAM}")
file(WRITE "${PROGRAM}.d" "${target}${made_from}")
