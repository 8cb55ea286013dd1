# Writes completion scripts for PROGRAM and its TOOLS (names of links to it, separated by "|") below FOLDER, and a file
# "made" when they are complete.
string(REPLACE "|" ";" tools "${TOOLS}")
get_filename_component(folder "${PROGRAM}" DIRECTORY)
get_filename_component(name "${PROGRAM}" NAME)
set(places bash-completion/completions zsh/site-functions fish/vendor_completions.d)
foreach(place IN LISTS places)
  file(REMOVE_RECURSE "${FOLDER}/${place}")
  file(MAKE_DIRECTORY "${FOLDER}/${place}")
endforeach()

function(write tool shell script)
  execute_process(COMMAND "${folder}/${tool}" --completions ${shell} OUTPUT_FILE "${FOLDER}/${script}"
    RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${tool} --completions ${shell} failed: ${result}")
  endif()
endfunction()

execute_process(COMMAND "${PROGRAM}" --version RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
# Not a number: it could not be started at all.
if(result MATCHES "^-?[0-9]+$")
  foreach(tool IN LISTS name tools)
    write(${tool} bash bash-completion/completions/${tool})
    write(${tool} zsh zsh/site-functions/_${tool})
    write(${tool} fish fish/vendor_completions.d/${tool}.fish)
  endforeach()
else()
  message(STATUS "no completion scripts: the tools cannot run here (${result})")
endif()
file(WRITE "${FOLDER}/made" "")
