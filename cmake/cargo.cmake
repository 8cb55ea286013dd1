# SPDX-License-Identifier: Apache-2.0
#
# Finds cargo, checks that its Rust is new enough, and defines couchstore_cargo_build.
#
# Sets cargo_profile and couchstore_rust_dir, the folder where the build finds what cargo made. Both follow the
# configuration, also if the generator has several.

file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml" rust_required REGEX "^rust-version *= *\"" LIMIT_COUNT 1)
string(REGEX REPLACE "^rust-version *= *\"([0-9.]+).*" "\\1" rust_required "${rust_required}")

# The one on the PATH is meant, if there is one.
find_program(COUCHSTORE_CARGO cargo PATHS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin" NO_CMAKE_FIND_ROOT_PATH)
if(NOT COUCHSTORE_CARGO)
  message(FATAL_ERROR "couchstore: cargo is missing. Install Rust ${rust_required} or newer from https://rustup.rs, "
    "or say where cargo is with -DCOUCHSTORE_CARGO=/path/to/cargo.")
endif()

# A package of nothing, to ask cargo with: it tells the Rust compiler that cargo uses (RUSTC, build.rustc, rustup's
# overrides) and the folder it is told to build in (CARGO_TARGET_DIR, build.target-dir). Older ones understand it, too.
set(question "${CMAKE_CURRENT_BINARY_DIR}/cargo-question")
file(WRITE "${question}/Cargo.toml"
  "[package]\nname = \"question\"\nversion = \"0.0.0\"\nedition = \"2018\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n")
file(WRITE "${question}/lib.rs" "")

# ask(variable program argument...): what the program answers, then what it complains about.
function(ask variable program)
  execute_process(COMMAND "${program}" ${ARGN}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    OUTPUT_VARIABLE output ERROR_VARIABLE complaints RESULT_VARIABLE result)
  if(NOT result MATCHES "^[0-9]+$")
    string(APPEND complaints "${result}")
  endif()
  set(${variable} "${output}${complaints}" PARENT_SCOPE)
endfunction()

# require_rust(program answer): the version of the program that the answer tells must be new enough.
function(require_rust program answer)
  if(NOT answer MATCHES "${program} ([0-9]+\\.[0-9]+\\.[0-9]+)")
    message(FATAL_ERROR "couchstore: ${COUCHSTORE_CARGO} does not tell the version of its ${program}:\n${answer}")
  endif()
  set(version "${CMAKE_MATCH_1}")
  if(version VERSION_GREATER_EQUAL rust_required)
    return()
  endif()
  set(others "")
  foreach(folder "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
    if(EXISTS "${folder}/cargo" AND NOT "${folder}/cargo" STREQUAL COUCHSTORE_CARGO)
      set(others " There is another cargo: ${folder}/cargo.")
    endif()
  endforeach()
  set(found "${COUCHSTORE_CARGO}")
  # What is installed next is looked for next time.
  unset(COUCHSTORE_CARGO CACHE)
  message(FATAL_ERROR "couchstore: Rust ${rust_required} or newer is needed, but ${found} has ${program} ${version}. "
    "Run \"rustup update\", or install a newer Rust from https://rustup.rs, "
    "or name another cargo with -DCOUCHSTORE_CARGO=/path/to/cargo.${others}")
endfunction()

ask(answer "${COUCHSTORE_CARGO}" --version)
require_rust(cargo "${answer}")
ask(answer "${COUCHSTORE_CARGO}" rustc --quiet --offline --manifest-path "${question}/Cargo.toml"
  --target-dir "${question}/target" -- --version)
if(NOT answer MATCHES "rustc [0-9]")
  # Not an answer. Most likely it is the one that a shell would start.
  ask(answer_of_rustc rustc --version)
  string(APPEND answer "\n${answer_of_rustc}")
endif()
require_rust(rustc "${answer}")

# Cargo's files lie below the build folder, unless cargo is told otherwise.
set(cargo_dir_purpose "Where cargo builds (default: where its configuration says, else below the build folder)")
set(COUCHSTORE_CARGO_DIR "" CACHE PATH "${cargo_dir_purpose}")
if(NOT COUCHSTORE_CARGO_DIR)
  ask(answer "${COUCHSTORE_CARGO}" metadata --quiet --offline --no-deps --format-version 1
    --manifest-path "${question}/Cargo.toml")
  string(REGEX MATCH "^[^\n]*" answer "${answer}")
  string(JSON told ERROR_VARIABLE error GET "${answer}" target_directory)
  if(error OR told MATCHES "/cargo-question/target$")
    set(told "${CMAKE_CURRENT_BINARY_DIR}/cargo")
  endif()
  set(COUCHSTORE_CARGO_DIR "${told}" CACHE PATH "${cargo_dir_purpose}" FORCE)
endif()

if(couchstore_multi_config)
  set(cargo_profile $<IF:$<CONFIG:Debug>,dev,$<IF:$<CONFIG:RelWithDebInfo>,relwithdebinfo,release>>)
  set(couchstore_rust_dir "${CMAKE_CURRENT_BINARY_DIR}/rust/$<CONFIG>")
else()
  string(TOLOWER "${CMAKE_BUILD_TYPE}" config)
  if(config STREQUAL "debug")
    set(cargo_profile dev)
  elseif(config STREQUAL "relwithdebinfo")
    set(cargo_profile relwithdebinfo)
  else()
    set(cargo_profile release)
  endif()
  set(couchstore_rust_dir "${CMAKE_CURRENT_BINARY_DIR}/rust")
endif()

# couchstore_cargo_build(FOLDER folder FILES name... ARGUMENTS argument... DEPENDS file... COMMENT text)
#
# Lets cargo build with the ARGUMENTS, and copies the FILES that it makes to FOLDER. DEPENDS: files of this project that
# cargo's own dependency files do not list. With the environment variables cargo_environment, unless they are set.
function(couchstore_cargo_build)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "FOLDER;COMMENT" "FILES;ARGUMENTS;DEPENDS")
  list(GET arg_FILES 0 first)
  list(JOIN arg_FILES "|" files)
  list(TRANSFORM arg_FILES PREPEND "${arg_FOLDER}/" OUTPUT_VARIABLE outputs)
  list(TRANSFORM arg_DEPENDS PREPEND "${CMAKE_CURRENT_SOURCE_DIR}/")
  list(JOIN arg_ARGUMENTS "|" arguments)
  list(JOIN cargo_environment "|" environment)
  set(script "${CMAKE_CURRENT_SOURCE_DIR}/cmake/cargo_build.cmake")
  add_custom_command(
    OUTPUT ${outputs}
    COMMAND "${CMAKE_COMMAND}" "-DCARGO=${COUCHSTORE_CARGO}" "-DARGUMENTS=${arguments}" "-DENVIRONMENT=${environment}"
            "-DSOURCE=${CMAKE_CURRENT_SOURCE_DIR}" "-DTARGET_DIR=${COUCHSTORE_CARGO_DIR}"
            "-DFOLDER=${arg_FOLDER}" "-DFILES=${files}" -P "${script}"
    DEPENDS ${arg_DEPENDS} "${script}"
    DEPFILE "${arg_FOLDER}/${first}.d"
    COMMENT "${arg_COMMENT}"
    USES_TERMINAL
    VERBATIM)
endfunction()
