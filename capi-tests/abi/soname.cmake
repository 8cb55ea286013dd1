# The SONAME of LIBRARY must be exactly libcouchstore.so.
execute_process(COMMAND "${READELF}" -d "${LIBRARY}" OUTPUT_VARIABLE dynamic RESULT_VARIABLE result)
if(NOT result EQUAL 0 OR NOT dynamic MATCHES "\\(SONAME\\)[^\n]*\\[libcouchstore\\.so\\]")
  message(FATAL_ERROR "the SONAME is not libcouchstore.so:\n${dynamic}")
endif()
