# SPDX-License-Identifier: Apache-2.0
#
# Builds BUILD (made by GENERATOR) twice, in the configuration CONFIG, with OPTIONS (separated by "|"); the second build
# must find nothing to do.
string(REPLACE "|" ";" options "${OPTIONS}")
foreach(round 1 2)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}" --config "${CONFIG}" ${options}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "building failed: ${output}")
  endif()
endforeach()
if(GENERATOR MATCHES "Ninja")
  string(FIND "${output}" "no work to do" nothing)
else()
  # make has a line for each target in any case, and more for each folder if another make has begun all this. What it does
  # begins with another word.
  string(REGEX REPLACE "(^|\n)(\\[ *[0-9]+%\\] Built target|Consolidate compiler generated|g?make)[^\n]*" "" output "${output}")
  string(REGEX MATCH "[^ \n]" something "${output}")
  if(something STREQUAL "")
    set(nothing 0)
  else()
    set(nothing -1)
  endif()
endif()
if(nothing EQUAL -1)
  message(FATAL_ERROR "the second build did something:\n${output}")
endif()
