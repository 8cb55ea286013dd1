# SPDX-License-Identifier: Apache-2.0
#
# A Rust that is too old is found out when configuring, whichever of its programs is, and the message says what to do.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

file(STRINGS "${PROJECT}/Cargo.toml" required REGEX "^rust-version *=")
string(REGEX MATCH "[0-9]+\\.[0-9]+" required "${required}")
string(REPLACE "." "\\." required "${required}")

# program(name text): a program that says this, whatever it is asked.
function(program name text)
  file(WRITE "${WORK}/${name}" "#!/bin/sh\n${text}\n")
  file(CHMOD "${WORK}/${name}" PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE)
endfunction()
program(old/cargo "echo 'cargo 1.63.0 (fd9c4297c 2022-07-01)'")
program(old/rustc "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'")
program(mixed/cargo "exec '${CARGO}' \"$@\"")
program(mixed/rustc "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'")
program(unknown/cargo "[ \"$1\" = --version ] && exec '${CARGO}' \"$@\"\nexit 1")
program(unknown/rustc "echo 'rustc 1.63.0 (4b91a6ea7 2022-08-08)'")
program(silent/cargo "echo 'something else'")

list(FILTER common_options EXCLUDE REGEX "COUCHSTORE_CARGO=")
set(command "${CMAKE_COMMAND}" -S "${PROJECT}" -G "${GENERATOR}" ${common_options} -DCMAKE_BUILD_TYPE=Debug -B)
set(path "$ENV{PATH}")
set(needed "Rust ${required} or newer is needed, but")
set(what_to_do "rustup update.*https://rustup\\.rs.*-DCOUCHSTORE_CARGO=")

# The cargo on the PATH is the one that is meant, and its rustc the one that it would use.
set(ENV{PATH} "${WORK}/old:${path}")
expect_refusal("${needed} ${WORK}/old/cargo has cargo 1\\.63\\.0\\..*${what_to_do}" ${command} "${WORK}/build-old")
foreach(folder mixed unknown)
  set(ENV{PATH} "${WORK}/${folder}:${path}")
  set(ENV{RUSTC} "${WORK}/${folder}/rustc")
  expect_refusal("${needed} ${WORK}/${folder}/cargo has rustc 1\\.63\\.0\\..*${what_to_do}" ${command}
    "${WORK}/build-${folder}")
  unset(ENV{RUSTC})
endforeach()
set(ENV{PATH} "${WORK}/silent:${path}")
expect_refusal("does not tell the version of its cargo" ${command} "${WORK}/build-silent")

# With a newer one on the PATH the same build folder is fine.
set(ENV{PATH} "${path}")
foreach(folder old mixed)
  run("configuring again" ${command} "${WORK}/build-${folder}")
endforeach()
run("configuring with a cargo that is named" ${command} "${WORK}/build-named" "-DCOUCHSTORE_CARGO=${CARGO}")

# A rustc that cargo's configuration names.
copy_project("${WORK}/project/source")
file(WRITE "${WORK}/project/.cargo/config.toml" "[build]\nrustc = \"${WORK}/old/rustc\"\n")
expect_refusal("${needed} [^ ]* has rustc 1\\.63\\.0\\..*${what_to_do}"
  "${CMAKE_COMMAND}" -S "${WORK}/project/source" -B "${WORK}/build-configured" -G "${GENERATOR}" ${common_options})
