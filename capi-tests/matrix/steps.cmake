# SPDX-License-Identifier: Apache-2.0
#
# Steps of the tests build.*. What each script has from CMakeLists.txt: PROJECT, WORK (its folder, emptied here), CARGO,
# CARGO_DIR (where cargo has built), OFFLINE, C_COMPILER, CXX_COMPILER, READELF, CTEST, GENERATOR.
cmake_minimum_required(VERSION 3.20)

file(REMOVE_RECURSE "${WORK}")
file(MAKE_DIRECTORY "${WORK}")
# The caller's settings are not to decide.
foreach(variable CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_TARGET RUSTC CARGO_BUILD_RUSTC RUSTUP_TOOLCHAIN COUCHSTORE_SOURCE_DIR
                 CMAKE_GENERATOR CMAKE_BUILD_TYPE CC CXX CFLAGS CXXFLAGS LDFLAGS DESTDIR MAKEFLAGS
                 MFLAGS MAKELEVEL)
  unset(ENV{${variable}})
endforeach()

set(common_options
  "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCOUCHSTORE_CARGO=${CARGO}"
  "-DCOUCHSTORE_OFFLINE=${OFFLINE}" -DCOUCHSTORE_ENCRYPTION=OFF --no-warn-unused-cli)

# run(what command...): must succeed. Sets output.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "${what} failed (${result}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# expect_refusal(pattern command...): must fail, with a message that matches, whatever way its lines are broken.
function(expect_refusal pattern)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  string(REGEX REPLACE "[ \n]+" " " message "${output}")
  if(result EQUAL 0)
    message(FATAL_ERROR "this should have failed with \"${pattern}\":\n${output}")
  elseif(NOT message MATCHES "${pattern}")
    message(FATAL_ERROR "this failed, but not with \"${pattern}\":\n${output}")
  endif()
endfunction()

# copy_project(folder): the sources, to be changed. Not what was built among them.
function(copy_project folder)
  file(MAKE_DIRECTORY "${folder}")
  file(GLOB entries "${PROJECT}/*")
  foreach(entry IN LISTS entries)
    string(FIND "${WORK}/" "${entry}/" place)
    if(NOT place EQUAL 0 AND NOT EXISTS "${entry}/CMakeCache.txt" AND NOT EXISTS "${entry}/CACHEDIR.TAG"
        AND NOT entry MATCHES "/\\.git$")
      file(COPY "${entry}" DESTINATION "${folder}")
    endif()
  endforeach()
endfunction()

# change(file from to): replaces a text that must be there.
function(change file from to)
  file(READ "${file}" text)
  string(FIND "${text}" "${from}" place)
  if(place EQUAL -1)
    message(FATAL_ERROR "${file} has no \"${from}\"")
  endif()
  string(REPLACE "${from}" "${to}" text "${text}")
  file(WRITE "${file}" "${text}")
endfunction()

# configure(source build option...)
function(configure source build)
  run("configuring ${build}" "${CMAKE_COMMAND}" -S "${source}" -B "${build}" -G "${GENERATOR}" ${common_options} ${ARGN})
  set(output "${output}" PARENT_SCOPE)
endfunction()

# build(folder option...)
function(build folder)
  run("building ${folder}" "${CMAKE_COMMAND}" --build "${folder}" -j 2 ${ARGN})
  set(output "${output}" PARENT_SCOPE)
endfunction()

# expect_text(text file...): each file has it.
function(expect_text text)
  foreach(file IN LISTS ARGN)
    file(STRINGS "${file}" found REGEX "${text}")
    if(NOT found)
      message(FATAL_ERROR "${file} does not have \"${text}\"")
    endif()
  endforeach()
endfunction()

# expect_cached(build variable value): what CMake's cache says.
function(expect_cached build variable value)
  file(STRINGS "${build}/CMakeCache.txt" line REGEX "^${variable}:")
  string(REGEX REPLACE "^[^=]*=" "" found "${line}")
  if(NOT found STREQUAL value)
    message(FATAL_ERROR "${variable} is \"${found}\", not \"${value}\"")
  endif()
endfunction()

# find_host_triple(variable): the platform that cargo builds for by itself.
function(find_host_triple variable)
  run("cargo" "${CARGO}" --version --verbose)
  if(NOT output MATCHES "host: ([^\n]+)")
    message(FATAL_ERROR "cargo does not tell its platform:\n${output}")
  endif()
  set(${variable} "${CMAKE_MATCH_1}" PARENT_SCOPE)
endfunction()
