# SPDX-License-Identifier: Apache-2.0
#
# Compares what programs print with what the original library printed. Files lie in GOLDEN; FOLDER is for work.
#
#   DUMP: the program that shows a file; all files, with the keys in keys.txt, or without ENCRYPTION those that
#         have no key
#   TRANSCRIPT: calls in a fixed order
#   OPS, FIRST, LAST: random operations, with these seeds
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
set(differences 0)

# compare(EXPECTED program argument...): what the program prints must equal the file EXPECTED.
function(compare expected)
  execute_process(COMMAND ${ARGN} OUTPUT_FILE "${FOLDER}/actual.txt" RESULT_VARIABLE result)
  execute_process(COMMAND diff "${expected}" "${FOLDER}/actual.txt" OUTPUT_VARIABLE output RESULT_VARIABLE differs)
  if(NOT result EQUAL 0 OR differs)
    string(SUBSTRING "${output}" 0 1000 output)
    message("${expected}: the program ended with ${result}\n${output}")
    math(EXPR differences "${differences} + 1")
    set(differences ${differences} PARENT_SCOPE)
  endif()
endfunction()

if(DUMP)
  file(GLOB files "${GOLDEN}/*.couch")
  file(STRINGS "${GOLDEN}/keys.txt" keys)
  list(LENGTH files count)
  if(count LESS 30)
    message(FATAL_ERROR "only ${count} files in ${GOLDEN}")
  endif()
  foreach(file IN LISTS files)
    string(REGEX REPLACE "\\.couch$" ".txt" expected "${file}")
    # A line of keys: file, key id, key in hex digits, method.
    get_filename_component(name "${file}" NAME_WE)
    set(key ${keys})
    list(FILTER key INCLUDE REGEX "^${name}(\\.couch)? ")
    if(key AND NOT ENCRYPTION)
      continue()
    endif()
    string(REGEX MATCH " .*" key "${key}")
    separate_arguments(key UNIX_COMMAND "${key}")
    compare("${expected}" "${DUMP}" "${file}" ${key})
  endforeach()
elseif(TRANSCRIPT)
  compare("${GOLDEN}/transcripts/transcript.txt" "${TRANSCRIPT}" "${FOLDER}")
else()
  foreach(seed RANGE ${FIRST} ${LAST})
    compare("${GOLDEN}/transcripts/ops-${seed}.txt" "${OPS}" "${FOLDER}" ${seed} 300)
  endforeach()
endif()
if(differences)
  message(FATAL_ERROR "${differences} differences")
endif()
