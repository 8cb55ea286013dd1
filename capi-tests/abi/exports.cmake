# Compares what LIBRARY exports with the list in the file EXPORTS (sorted, one name on each line).
execute_process(COMMAND "${NM}" -D --defined-only --format=posix "${LIBRARY}"
  OUTPUT_VARIABLE symbols RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${NM} failed: ${result}")
endif()
string(REGEX MATCHALL "[^\n]+" symbols "${symbols}")
list(TRANSFORM symbols REPLACE " .*" "")
list(SORT symbols)
list(JOIN symbols "\n" symbols)
file(WRITE "${ACTUAL}" "${symbols}\n")
execute_process(COMMAND diff -u --label "listed in exports.txt" --label "exported by the library"
  "${EXPORTS}" "${ACTUAL}" RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the exports differ from ${EXPORTS}")
endif()
