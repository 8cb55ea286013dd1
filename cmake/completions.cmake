# Writes the completion scripts of TOOLS (names, separated by "|"), programs in the folder PROGRAMS, below FOLDER.
string(REPLACE "|" ";" tools "${TOOLS}")
foreach(tool IN LISTS tools)
  foreach(place bash/${tool} zsh/_${tool} fish/${tool}.fish)
    get_filename_component(shell "${place}" DIRECTORY)
    file(MAKE_DIRECTORY "${FOLDER}/${shell}")
    execute_process(COMMAND "${PROGRAMS}/${tool}" --completions ${shell}
      OUTPUT_FILE "${FOLDER}/${place}.part" RESULT_VARIABLE result)
    if(NOT result EQUAL 0)
      message(FATAL_ERROR "${tool} --completions ${shell} failed: ${result}")
    endif()
    file(RENAME "${FOLDER}/${place}.part" "${FOLDER}/${place}")
  endforeach()
endforeach()
