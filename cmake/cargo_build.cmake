# SPDX-License-Identifier: Apache-2.0
#
# Lets cargo build, and copies what it made to where the build looks for it.
#
#   CARGO, ARGUMENTS, TARGET_DIR   the command, its words separated by "|", and the folder to build in
#   ENVIRONMENT                    "VARIABLE=value" for it, separated by "|", unless it is set
#   SOURCE                         the folder to run it in, whose configuration and toolchain files count
#   FILES                          names of files that it makes, separated by "|"
#   FOLDER                         where they go, with what they are made from in the dependency file FILES[0].d
#
# Where cargo puts a file depends on configuration files (build.target) and on the environment. Cargo tells it.

string(REPLACE "|" ";" arguments "${ARGUMENTS}")
string(REPLACE "|" ";" files "${FILES}")

string(REPLACE "|" ";" environment "${ENVIRONMENT}")
foreach(setting IN LISTS environment)
  string(REGEX MATCH "^([^=]*)=(.+)" matched "${setting}")
  if(matched AND NOT DEFINED ENV{${CMAKE_MATCH_1}})
    set(ENV{${CMAKE_MATCH_1}} "${CMAKE_MATCH_2}")
  endif()
endforeach()
# Another copy of the sources may have been built in the same folder, see build.rs.
set(ENV{COUCHSTORE_SOURCE_DIR} "${SOURCE}")
execute_process(
  COMMAND "${CARGO}" ${arguments} --target-dir "${TARGET_DIR}" --manifest-path "${SOURCE}/Cargo.toml"
          --message-format json-render-diagnostics
  WORKING_DIRECTORY "${SOURCE}"
  OUTPUT_VARIABLE messages
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "cargo failed (${result})")
endif()

# find_made(variable name): the path of the file of this name that cargo made, from its messages (JSON, one a line).
function(find_made variable name)
  string(REPLACE "." "\\." name_pattern "${name}")
  set(pattern "[^\n]*\"reason\":\"compiler-artifact\"[^\n]*/${name_pattern}\"[^\n]*")
  string(REGEX MATCH "${pattern}" message "${messages}")
  if(message STREQUAL "")
    message(FATAL_ERROR "cargo does not tell where it put ${name}. It said:\n${messages}")
  endif()
  string(FIND "${messages}" "${message}" start)
  string(LENGTH "${message}" length)
  math(EXPR end "${start} + ${length}")
  string(SUBSTRING "${messages}" ${end} -1 rest)
  if(rest MATCHES "${pattern}")
    message(FATAL_ERROR "cargo made ${name} for several platforms (build.target in its configuration). "
      "Choose one with -DCOUCHSTORE_CARGO_TARGET.")
  endif()
  string(JSON count LENGTH "${message}" filenames)
  math(EXPR last "${count} - 1")
  foreach(index RANGE ${last})
    string(JSON path GET "${message}" filenames ${index})
    if(path MATCHES "/${name_pattern}$")
      set(${variable} "${path}" PARENT_SCOPE)
    endif()
  endforeach()
endfunction()

set(made_from)
foreach(name IN LISTS files)
  find_made(path "${name}")
  # Under another name first: a program that is there may be running.
  configure_file("${path}" "${FOLDER}/${name}.part" COPYONLY)
  file(RENAME "${FOLDER}/${name}.part" "${FOLDER}/${name}")
  # A file that comes out the same must look new, too: newer than what it is made from.
  file(TOUCH "${FOLDER}/${name}")
  # "PATH: SOURCE SOURCE...", with "\ " for blanks.
  string(REGEX REPLACE "\\.a$" "" path "${path}")
  file(READ "${path}.d" rule)
  string(FIND "${rule}" ": " colon)
  math(EXPR colon "${colon} + 2")
  string(SUBSTRING "${rule}" ${colon} -1 sources)
  string(STRIP "${sources}" sources)
  string(APPEND made_from " ${sources}")
endforeach()
list(GET files 0 first)
string(REPLACE " " "\\ " target "${FOLDER}/${first}")
string(REPLACE "#" "\\#" target "${target}")
string(REPLACE "$" "$$" target "${target}")
file(WRITE "${FOLDER}/${first}.d" "${target}:${made_from}\n")
