# Builds the Rust package as a static library with cargo.
#
# Sets COUCHSTORE_RUST_LIBRARY, the archive to link. It lies in the build folder, wherever cargo builds. Cargo's own
# dependency file tells which files it is made from, so that an unchanged tree is not built again.

include(cmake/cargo.cmake)

# For the functions that the C++ part defines anew (below), and for splitting off debug information (install.cmake).
find_program(COUCHSTORE_OBJCOPY NAMES "${CMAKE_OBJCOPY}" objcopy llvm-objcopy)

set(cargo_common_options --locked --profile ${cargo_profile})
if(COUCHSTORE_OFFLINE)
  list(APPEND cargo_common_options --offline)
endif()
set(COUCHSTORE_CARGO_TARGET "$ENV{CARGO_BUILD_TARGET}" CACHE STRING
  "The platform that cargo builds for, if it is not the one it runs on")
if(COUCHSTORE_CARGO_TARGET)
  list(APPEND cargo_common_options --target ${COUCHSTORE_CARGO_TARGET})
endif()

set(COUCHSTORE_RUST_LIBRARY "${couchstore_rust_dir}/libcouchstore.a")
couchstore_cargo_build(
  FOLDER "${couchstore_rust_dir}"
  FILES libcouchstore.a
  ARGUMENTS rustc ${cargo_common_options} --lib --crate-type staticlib
  DEPENDS Cargo.toml Cargo.lock
  COMMENT "Building the Rust library")

# Some public functions are defined anew by the C++ part, around those of the Rust library. Those get other names, in a
# copy of the library.
if(COUCHSTORE_CXX_API)
  if(NOT COUCHSTORE_OBJCOPY)
    message(FATAL_ERROR "couchstore: objcopy is missing. Install it (Debian: binutils), "
      "or configure with -DCOUCHSTORE_CXX_API=OFF: then the libraries have the C functions only.")
  endif()
  set(renamed_library "${couchstore_rust_dir}/libcouchstore_renamed.a")
  set(renamed_functions "${CMAKE_CURRENT_SOURCE_DIR}/cxx/redefined.txt")
  add_custom_command(
    OUTPUT "${renamed_library}"
    COMMAND "${COUCHSTORE_OBJCOPY}" "--redefine-syms=${renamed_functions}"
            "${COUCHSTORE_RUST_LIBRARY}" "${renamed_library}"
    DEPENDS "${COUCHSTORE_RUST_LIBRARY}" "${renamed_functions}"
    COMMENT "Renaming the functions of the Rust library that the C++ part defines anew"
    VERBATIM)
  set(COUCHSTORE_RUST_LIBRARY "${renamed_library}")
endif()

# What Rust's standard library needs from the system ("rustc --print native-static-libs"), but for libgcc_s: compilers
# link what unwinds by themselves, and the right one of libgcc_s and libgcc_eh.
set(COUCHSTORE_NATIVE_LIBRARIES util rt m ${CMAKE_DL_LIBS})
# C++'s own, for users that are linked as C.
if(COUCHSTORE_CXX_API)
  list(PREPEND COUCHSTORE_NATIVE_LIBRARIES stdc++)
endif()
