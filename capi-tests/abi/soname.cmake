# SPDX-License-Identifier: Apache-2.0
#
# The SONAME of LIBRARY must be exactly libcouchstore.so, with VERSION behind it if that is not empty.
execute_process(COMMAND "${READELF}" -d "${LIBRARY}" OUTPUT_VARIABLE dynamic RESULT_VARIABLE result)
set(wanted "libcouchstore.so")
if(VERSION)
  string(APPEND wanted ".${VERSION}")
endif()
if(NOT result EQUAL 0 OR NOT dynamic MATCHES "\\(SONAME\\)[^\n]*\\[([^]]*)\\]" OR NOT CMAKE_MATCH_1 STREQUAL wanted)
  message(FATAL_ERROR "the SONAME is not ${wanted}:\n${dynamic}")
endif()
