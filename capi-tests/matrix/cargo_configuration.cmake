# SPDX-License-Identifier: Apache-2.0
#
# Cargo's configuration files and environment say for which platform it builds and where: build.target, build.target-dir,
# CARGO_BUILD_TARGET, CARGO_TARGET_DIR. The libraries have what was built there, and nothing older.
include("${CMAKE_CURRENT_LIST_DIR}/steps.cmake")

find_host_triple(triple)
set(source "${WORK}/project/source")
copy_project("${source}")
set(options -DCMAKE_BUILD_TYPE=Debug -DCOUCHSTORE_BUILD_TOOLS=OFF)
set(build "${WORK}/build")
configure("${source}" "${build}" ${options} "-DCOUCHSTORE_CARGO_DIR=${CARGO_DIR}")
build("${build}")

# From now on cargo builds for a platform that is named. In a folder above the project, as in a user's home.
file(WRITE "${WORK}/project/.cargo/config.toml"
  "[build]\ntarget = \"${triple}\"\ntarget-dir = \"${WORK}/elsewhere\"\n")
change("${source}/src/error/codes.rs" "c\"document not found" "c\"document not found, second")
build("${build}")
expect_text("document not found, second" "${build}/libcouchstore.so" "${build}/libcouchstore_static.a")

# A new build is where the file says, too.
configure("${source}" "${build}-2" ${options})
expect_cached("${build}-2" COUCHSTORE_CARGO_DIR "${WORK}/elsewhere")
build("${build}-2")
expect_text("document not found, second" "${build}-2/libcouchstore.so" "${build}-2/libcouchstore_static.a")
if(NOT EXISTS "${WORK}/elsewhere/${triple}/debug/libcouchstore.a" OR EXISTS "${build}-2/cargo")
  message(FATAL_ERROR "cargo did not build where its configuration says")
endif()

# A list of platforms may have one.
file(WRITE "${WORK}/project/.cargo/config.toml" "[build]\ntarget = [\"${triple}\"]\n")
file(TOUCH "${source}/src/error/codes.rs")
build("${build}")
file(REMOVE_RECURSE "${WORK}/project/.cargo")

# The environment says the same, once: later builds are where the first one was.
set(ENV{CARGO_TARGET_DIR} "${WORK}/elsewhere")
set(ENV{CARGO_BUILD_TARGET} "${triple}")
configure("${source}" "${build}-3" ${options})
unset(ENV{CARGO_TARGET_DIR})
unset(ENV{CARGO_BUILD_TARGET})
expect_cached("${build}-3" COUCHSTORE_CARGO_DIR "${WORK}/elsewhere")
expect_cached("${build}-3" COUCHSTORE_CARGO_TARGET "${triple}")
change("${source}/src/error/codes.rs" "c\"document not found, second" "c\"document not found, third")
build("${build}-3")
expect_text("document not found, third" "${build}-3/libcouchstore.so" "${build}-3/libcouchstore_static.a")
expect_text("document not found, third" "${WORK}/elsewhere/${triple}/debug/libcouchstore.a")

# With nothing said cargo builds below the build folder.
configure("${source}" "${build}-4" ${options})
expect_cached("${build}-4" COUCHSTORE_CARGO_DIR "${build}-4/cargo")
