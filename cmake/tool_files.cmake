# SPDX-License-Identifier: Apache-2.0
#
# Writes completion scripts and manual pages for PROGRAM and its TOOLS (names of links to it, separated by "|") below
# FOLDER, and a file "made" when they are complete. Pages are compressed with GZIP, if it is given.
string(REPLACE "|" ";" tools "${TOOLS}")
get_filename_component(folder "${PROGRAM}" DIRECTORY)
get_filename_component(name "${PROGRAM}" NAME)
set(places bash-completion/completions zsh/site-functions fish/vendor_completions.d man1)
foreach(place IN LISTS places)
  file(REMOVE_RECURSE "${FOLDER}/${place}")
  file(MAKE_DIRECTORY "${FOLDER}/${place}")
endforeach()

# write(tool file option...): what the tool prints with these options.
function(write tool file)
  execute_process(COMMAND "${folder}/${tool}" ${ARGN} OUTPUT_FILE "${FOLDER}/${file}" RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${tool} ${ARGN} failed: ${result}")
  endif()
endfunction()

execute_process(COMMAND "${PROGRAM}" --version RESULT_VARIABLE result OUTPUT_QUIET ERROR_QUIET)
# Not a number: it could not be started at all.
if(result MATCHES "^-?[0-9]+$")
  foreach(tool IN LISTS name tools)
    write(${tool} bash-completion/completions/${tool} --completions bash)
    write(${tool} zsh/site-functions/_${tool} --completions zsh)
    write(${tool} fish/vendor_completions.d/${tool}.fish --completions fish)
    write(${tool} man1/${tool}.1 --man-page)
    if(GZIP)
      execute_process(COMMAND "${GZIP}" -9n "${FOLDER}/man1/${tool}.1" RESULT_VARIABLE result)
      if(NOT result EQUAL 0)
        message(FATAL_ERROR "${GZIP} failed: ${result}")
      endif()
    endif()
  endforeach()
else()
  message(STATUS "no completion scripts and manual pages: the tools cannot run here (${result})")
endif()
file(WRITE "${FOLDER}/made" "")
