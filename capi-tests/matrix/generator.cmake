# SPDX-License-Identifier: Apache-2.0
#
# Builds with GENERATOR, in CONFIGS (separated by "|"; the first one in full, with TOOLS): then a second build does
# nothing, and a build after a change of the Rust sources has the change in both libraries.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

string(REPLACE "|" ";" configs "${CONFIGS}")
list(GET configs 0 first)
copy_project("${WORK}/source")
set(build "${WORK}/build")
configure("${WORK}/source" "${build}" "-DCMAKE_BUILD_TYPE=${first}" "-DCOUCHSTORE_BUILD_TOOLS=${TOOLS}"
  "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}")

foreach(config IN LISTS configs)
  set(targets)
  if(NOT config STREQUAL first)
    set(targets --target couchstore couchstore_static)
  endif()
  list(JOIN targets "|" targets_joined)
  set(libraries "${build}/libcouchstore.so" "${build}/libcouchstore_static.a")
  if(GENERATOR MATCHES "Multi-Config")
    set(libraries "${build}/${config}/libcouchstore.so" "${build}/${config}/libcouchstore_static.a")
  endif()

  build("${build}" --config ${config} ${targets})
  run("the second build" "${CMAKE_COMMAND}" "-DBUILD=${build}" "-DCONFIG=${config}" "-DGENERATOR=${GENERATOR}"
    "-DOPTIONS=${targets_joined}" -P "${PROJECT}/capi-tests/abi/noop_rebuild.cmake")
  expect_text("document not found" ${libraries})

  change("${WORK}/source/src/error/codes.rs" "c\"document not found" "c\"document not found, ${config}")
  build("${build}" --config ${config} ${targets})
  expect_text("document not found, ${config}" ${libraries})
endforeach()

# The configuration decides about cargo's profile.
foreach(config IN LISTS configs)
  string(TOLOWER "${config}" profile)
  if(NOT EXISTS "${CARGO_DIR}/${profile}/libcouchstore.a")
    message(FATAL_ERROR "cargo did not build ${config} in ${CARGO_DIR}/${profile}")
  endif()
endforeach()

run("installing" "${CMAKE_COMMAND}" --install "${build}" --config ${first} --prefix "${WORK}/root")
file(GLOB_RECURSE installed RELATIVE "${WORK}/root" "${WORK}/root/*")
list(JOIN installed "\n" installed)
set(wanted libcouchstore.so libcouchstore.so.debug libcouchstore_static.a)
if(TOOLS)
  list(APPEND wanted bin/couch bin/couch_dbdump bash-completion/completions/couch_dbdump)
endif()
foreach(name IN LISTS wanted)
  if(NOT "${installed}\n" MATCHES "/?${name}\n")
    message(FATAL_ERROR "${name} is not installed:\n${installed}")
  endif()
endforeach()
