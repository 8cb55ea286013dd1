# SPDX-License-Identifier: Apache-2.0
#
# Adds the members of the archive ADD to the archive ARCHIVE, with the archiver AR.
set(script "${ARCHIVE}.mri")
file(WRITE "${script}" "open ${ARCHIVE}\naddlib ${ADD}\nsave\nend\n")
execute_process(COMMAND "${AR}" -M INPUT_FILE "${script}" RESULT_VARIABLE result)
file(REMOVE "${script}")
if(NOT result EQUAL 0)
  file(REMOVE "${ARCHIVE}")
  message(FATAL_ERROR "${AR} could not add ${ADD} to ${ARCHIVE}")
endif()
