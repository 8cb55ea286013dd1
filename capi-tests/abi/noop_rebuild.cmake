# Builds BUILD twice; the second build must find nothing to do.
foreach(round 1 2)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${BUILD}"
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "building failed: ${output}")
  endif()
endforeach()
if(NOT output MATCHES "no work to do")
  message(FATAL_ERROR "the second build did something:\n${output}")
endif()
