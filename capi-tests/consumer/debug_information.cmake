# SPDX-License-Identifier: Apache-2.0
#
# The shared library below ROOT/LIBDIR was installed without debug information, which is in a file of its own, and
# debuggers find it there. Names and lines of FUNCTIONS (separated by "|", written in Rust and in C++) come from it.
#
# MOST_BYTES: how large the library may be.
set(library "${ROOT}/${LIBDIR}/libcouchstore.so")
set(debug_file "${library}.debug")

function(run variable)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE error)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${ARGN} failed (${result}): ${error}")
  endif()
  set(${variable} "${output}" PARENT_SCOPE)
endfunction()

run(sections "${READELF}" --wide --sections "${library}")
if(sections MATCHES "\\.(debug_[a-z]+|symtab)")
  message(FATAL_ERROR "the installed library has ${CMAKE_MATCH_0}")
endif()
run(link "${READELF}" --string-dump=.gnu_debuglink "${library}")
if(NOT link MATCHES "libcouchstore\\.so\\.debug")
  message(FATAL_ERROR "the installed library does not tell where its debug information is:\n${link}")
endif()

# Library and debug file belong together.
foreach(file library debug_file)
  run(notes "${READELF}" --notes "${${file}}")
  if(NOT notes MATCHES "Build ID: ([0-9a-f]+)")
    message(FATAL_ERROR "${${file}} has no build ID")
  endif()
  set(build_id_${file} "${CMAKE_MATCH_1}")
endforeach()
if(NOT build_id_library STREQUAL build_id_debug_file)
  message(FATAL_ERROR "build IDs differ: ${build_id_library}, ${build_id_debug_file}")
endif()

# addr2line takes the debug file only if its checksum is the one that the library tells.
run(symbols "${NM}" -D --defined-only --format=posix "${library}")
function(look_up function)
  if(NOT symbols MATCHES "(^|\n)${function} [A-Z] ([0-9a-f]+)")
    message(FATAL_ERROR "the library has no ${function}")
  endif()
  run(output "${ADDR2LINE}" --functions --exe "${library}" "0x${CMAKE_MATCH_2}")
  set(found "${output}" PARENT_SCOPE)
endfunction()
string(REPLACE "|" ";" functions "${FUNCTIONS}")
foreach(function IN LISTS functions)
  look_up(${function})
  if(NOT found MATCHES "^${function}\n.*\\.(rs|cc):[1-9]")
    message(FATAL_ERROR "nothing about ${function}: ${found}")
  endif()
  if(GDB)
    run(line "${GDB}" --batch --nx -ex "info line ${function}" "${library}")
    if(NOT line MATCHES "Line [0-9]+ of \"[^\"]*\\.(rs|cc)\"")
      message(FATAL_ERROR "gdb knows nothing about ${function}: ${line}")
    endif()
  endif()
endforeach()
# And without the file there is nothing.
file(RENAME "${debug_file}" "${debug_file}.away")
look_up(couchstore_strerror)
file(RENAME "${debug_file}.away" "${debug_file}")
if(NOT found MATCHES "\\?\\?:")
  message(FATAL_ERROR "the debug information is not only in the debug file: ${found}")
endif()

file(SIZE "${library}" bytes)
message(STATUS "${library}: ${bytes} bytes")
if(MOST_BYTES AND bytes GREATER MOST_BYTES)
  message(FATAL_ERROR "the library has ${bytes} bytes, more than ${MOST_BYTES}")
endif()
