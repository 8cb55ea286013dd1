# SPDX-License-Identifier: Apache-2.0
#
# The functions declared in HEADER and the names listed in EXPORTS must be the same. Mangled names (C++) in
# the list are left out, and those with C++ types: couch_api.h declares none of them.
file(READ "${HEADER}" text)
string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" "" text "${text}")
string(REGEX REPLACE "//[^\n]*" "" text "${text}")
string(REGEX MATCHALL "couchstore_[a-z0-9_]+[ \n]*\\([^;]*\\)[ \n]*[;]" declarations "${text}")
set(declared)
foreach(declaration IN LISTS declarations)
  string(REGEX MATCH "^couchstore_[a-z0-9_]+" name "${declaration}")
  list(APPEND declared ${name})
endforeach()
file(STRINGS "${EXPORTS}" listed)
list(FILTER listed EXCLUDE REGEX "^_Z")
list(REMOVE_ITEM listed couchstore_commit couchstore_commit_ex couchstore_compact_db_ex
  couchstore_get_db_filestats couchstore_get_default_file_ops couchstore_open_db_ex)

set(only_declared ${declared})
list(REMOVE_ITEM only_declared ${listed})
set(only_listed ${listed})
list(REMOVE_ITEM only_listed ${declared})
if(only_declared OR only_listed)
  message(FATAL_ERROR "only in ${HEADER}: ${only_declared}\nonly in ${EXPORTS}: ${only_listed}")
endif()
list(LENGTH declared count)
message(STATUS "${count} functions")
