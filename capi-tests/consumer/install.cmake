# SPDX-License-Identifier: Apache-2.0
#
# Installs the configuration CONFIG of the build folder BUILD and moves the result to ROOT: the package must not depend
# on its place.
file(REMOVE_RECURSE "${ROOT}" "${ROOT}.installed")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --config "${CONFIG}" --prefix "${ROOT}.installed"
  RESULT_VARIABLE result)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "installing failed: ${result}")
endif()
file(RENAME "${ROOT}.installed" "${ROOT}")
