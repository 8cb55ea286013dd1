# SPDX-License-Identifier: Apache-2.0
#
# Builds the Rust package as a static library with cargo.
#
# Sets COUCHSTORE_RUST_LIBRARY, the archive to link. It lies in the build folder, wherever cargo builds. Cargo's own
# dependency file tells which files it is made from, so that an unchanged tree is not built again.

include(cmake/cargo.cmake)

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
endif()

# The toolchain's compilers are those of crates with C code, and link the tools, too.
set(cargo_environment)
if(COUCHSTORE_CARGO_TARGET AND CMAKE_CROSSCOMPILING)
  string(REPLACE "-" "_" target "${COUCHSTORE_CARGO_TARGET}")
  string(TOUPPER "${target}" upper_target)
  set(cargo_environment
    "CC_${target}=${CMAKE_C_COMPILER}"
    "CXX_${target}=${CMAKE_CXX_COMPILER}"
    "AR_${target}=${CMAKE_AR}"
    "CARGO_TARGET_${upper_target}_LINKER=${CMAKE_C_COMPILER}")
endif()

# Some public functions are defined anew by the C++ part, around those of the Rust library, which get other names then.
set(cargo_library_features)
if(COUCHSTORE_CXX_API)
  set(cargo_library_features --features cxx-shim)
endif()

set(COUCHSTORE_RUST_LIBRARY "${couchstore_rust_dir}/libcouchstore.a")
couchstore_cargo_build(
  FOLDER "${couchstore_rust_dir}"
  FILES libcouchstore.a
  ARGUMENTS rustc ${cargo_common_options} --lib --crate-type staticlib ${cargo_library_features}
  DEPENDS Cargo.toml Cargo.lock
  COMMENT "Building the Rust library")

# What Rust's standard library needs from the system ("rustc --print native-static-libs"), but for libgcc_s: compilers
# link what unwinds by themselves, and the right one of libgcc_s and libgcc_eh.
set(COUCHSTORE_NATIVE_LIBRARIES util rt m ${CMAKE_DL_LIBS})
# C++'s own, for users that are linked as C.
if(COUCHSTORE_CXX_API)
  list(PREPEND COUCHSTORE_NATIVE_LIBRARIES stdc++)
endif()
