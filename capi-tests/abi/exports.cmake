# SPDX-License-Identifier: Apache-2.0
#
# Compares what LIBRARY exports with the list in the file EXPORTS (sorted, one name on each line).
#
# NO_CXX: the library was built without its C++ part. NO_JSON: without nlohmann/json.hpp.
file(STRINGS "${EXPORTS}" listed)
if(NO_CXX)
  list(FILTER listed EXCLUDE REGEX "^_Z")
  list(REMOVE_ITEM listed couchstore_commit couchstore_commit_ex couchstore_compact_db_ex
    couchstore_get_db_filestats couchstore_get_default_file_ops couchstore_open_db_ex)
elseif(NO_JSON)
  list(FILTER listed EXCLUDE REGEX "to_json")
endif()
list(JOIN listed "\n" listed)
file(WRITE "${ACTUAL}.listed" "${listed}\n")
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
  "${ACTUAL}.listed" "${ACTUAL}" RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the exports differ from ${EXPORTS}")
endif()
