# Builds the Rust package as a static library with cargo.
#
# Sets COUCHSTORE_RUST_LIBRARY (the archive to link) and adds the target couchstore_rust that makes it. Cargo's own
# dependency file tells which files it is made from, so that an unchanged tree is not built again.
#
# Cargo's files lie below the build folder, whatever CARGO_TARGET_DIR says.

find_program(COUCHSTORE_CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin" REQUIRED)

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  set(cargo_profile dev)
  set(cargo_folder debug)
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  set(cargo_profile relwithdebinfo)
  set(cargo_folder relwithdebinfo)
else()
  set(cargo_profile release)
  set(cargo_folder release)
endif()

set(cargo_common_options --locked --profile ${cargo_profile})
if(COUCHSTORE_OFFLINE)
  list(APPEND cargo_common_options --offline)
endif()
if(NOT COUCHSTORE_ENCRYPTION)
  list(APPEND cargo_common_options --no-default-features)
endif()
set(COUCHSTORE_CARGO_TARGET "$ENV{CARGO_BUILD_TARGET}" CACHE STRING
  "The platform that cargo builds for, if it is not the one it runs on")
if(COUCHSTORE_CARGO_TARGET)
  list(APPEND cargo_common_options --target ${COUCHSTORE_CARGO_TARGET})
  string(PREPEND cargo_folder ${COUCHSTORE_CARGO_TARGET}/)
endif()

# Some public functions are defined anew by the C++ part, around those of the Rust library, which get other names then.
set(cargo_library_features)
if(COUCHSTORE_CXX_API)
  set(cargo_library_features --features cxx-shim)
endif()

set(COUCHSTORE_CARGO_DIR "${CMAKE_CURRENT_BINARY_DIR}/cargo" CACHE PATH "Where cargo builds")
set(cargo_target_dir "${COUCHSTORE_CARGO_DIR}")
set(COUCHSTORE_RUST_LIBRARY "${cargo_target_dir}/${cargo_folder}/libcouchstore.a")

add_custom_command(
  OUTPUT "${COUCHSTORE_RUST_LIBRARY}"
  COMMAND "${COUCHSTORE_CARGO}" rustc ${cargo_common_options} --lib --crate-type staticlib
          ${cargo_library_features}
          --manifest-path "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml"
          --target-dir "${cargo_target_dir}"
  # Cargo leaves an archive that comes out the same alone; here it must look new.
  COMMAND "${CMAKE_COMMAND}" -E touch "${COUCHSTORE_RUST_LIBRARY}"
  DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.toml" "${CMAKE_CURRENT_SOURCE_DIR}/Cargo.lock"
  DEPFILE "${cargo_target_dir}/${cargo_folder}/libcouchstore.d"
  COMMENT "Building the Rust library (cargo profile ${cargo_profile})"
  USES_TERMINAL
  VERBATIM)

add_custom_target(couchstore_rust DEPENDS "${COUCHSTORE_RUST_LIBRARY}")

# What Rust's standard library needs from the system ("rustc --print native-static-libs").
set(COUCHSTORE_NATIVE_LIBRARIES gcc_s util rt m ${CMAKE_DL_LIBS})
# C++'s own, for users that are linked as C.
if(COUCHSTORE_CXX_API)
  list(PREPEND COUCHSTORE_NATIVE_LIBRARIES stdc++)
endif()
