# SPDX-License-Identifier: Apache-2.0
#
# What the components of the build folder BUILD, in the configuration CONFIG, install, each into a folder of its own
# below FOLDER: together everything, and each file once.
cmake_minimum_required(VERSION 3.20)
file(REMOVE_RECURSE "${FOLDER}")

# installed(variable option...): the files that are installed.
function(installed variable name)
  execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --config "${CONFIG}" --prefix "${FOLDER}/${name}" ${ARGN}
    OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "installing ${name} failed (${result}):\n${output}")
  endif()
  file(GLOB_RECURSE files RELATIVE "${FOLDER}/${name}" "${FOLDER}/${name}/*")
  list(SORT files)
  set(${variable} ${files} PARENT_SCOPE)
endfunction()

# expect(component file...): exactly these.
function(expect component)
  set(wanted ${ARGN})
  list(SORT wanted)
  installed(found ${component} --component ${component})
  if(NOT found STREQUAL wanted)
    message(FATAL_ERROR "the component ${component} has\n  ${found}\nbut should have\n  ${wanted}")
  endif()
endfunction()

expect(runtime "${LIBDIR}/libcouchstore.so"
  share/doc/couchstore/LICENSE share/doc/couchstore/THIRD-PARTY-LICENSES)
expect(debug "${LIBDIR}/libcouchstore.so.debug")
installed(development development --component development)
list(FILTER development INCLUDE REGEX "^(${LIBDIR}/(libcouchstore_static\\.a|pkgconfig/.*\\.pc)|include/libcouchstore/couch_db\\.h)$")
list(LENGTH development count)
if(NOT count EQUAL 4)
  message(FATAL_ERROR "the component development has of what it should have only: ${development}")
endif()

# A component that is there by itself is what it is among all.
installed(all all)
file(SHA256 "${FOLDER}/all/${LIBDIR}/libcouchstore.so" among_all)
file(SHA256 "${FOLDER}/runtime/${LIBDIR}/libcouchstore.so" by_itself)
if(NOT among_all STREQUAL by_itself)
  message(FATAL_ERROR "the component runtime has another library than the whole installation")
endif()
foreach(component runtime debug development tools)
  installed(files ${component} --component ${component})
  foreach(file IN LISTS files)
    if(NOT file IN_LIST all)
      message(FATAL_ERROR "${file} is in two components, or in none")
    endif()
    list(REMOVE_ITEM all "${file}")
  endforeach()
endforeach()
if(all)
  message(FATAL_ERROR "in no component: ${all}")
endif()
