# SPDX-License-Identifier: Apache-2.0
#
# Runs COMMAND (its words separated by "|") in the folder FOLDER, emptied before, with its path as the last argument.
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
string(REPLACE "|" ";" COMMAND "${COMMAND}")
execute_process(COMMAND ${COMMAND} "${FOLDER}" WORKING_DIRECTORY "${FOLDER}" RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "failed: ${result}")
endif()
