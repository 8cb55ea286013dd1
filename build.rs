// SPDX-License-Identifier: Apache-2.0

//! What is made besides Rust code, each when its feature asks for it:
//!
//! * `header`: `couch_api.h`, with cbindgen from `src/capi`. The result lands in `OUT_DIR`, never in the source tree;
//!   `tests/header.rs` compares it with the committed header, and `make header` copies it there
//! * `cxx`: the C++ API, from `cxx/` with the compiler that the crate cc finds
//!
//! Build scripts of dependents find the headers of C and C++ in the folder `DEP_COUCHSTORE_INCLUDE`.

use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    println!("cargo::rerun-if-changed=build.rs");
    // Cargo takes two copies of a package in one folder of results for the same, if no file of the second one is newer.
    // CMake builds tell which they are of.
    println!("cargo::rerun-if-env-changed=COUCHSTORE_SOURCE_DIR");
    println!("cargo::metadata=include={}", root.join("include").display());
    if cfg!(feature = "header") {
        generate_header(&root);
    }
    if cfg!(feature = "cxx") {
        compile_cxx(&root);
    }
}

#[cfg(feature = "header")]
fn generate_header(root: &Path) {
    println!("cargo::rerun-if-changed=src/capi");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let header = Path::new(&out).join("couch_api.h");
    match cbindgen::generate(root) {
        Ok(bindings) => {
            let mut text = Vec::new();
            bindings.write(&mut text);
            let text = String::from_utf8(text).expect("cbindgen writes UTF-8");
            std::fs::write(&header, in_reading_order(&text)).expect("OUT_DIR can be written");
        }
        Err(error) => panic!("cbindgen: {error}"),
    }
    println!("cargo::rustc-env=COUCHSTORE_GENERATED_HEADER={}", header.display());
}

/// Puts the functions that C programs call by other names behind those that they call by their own.
#[cfg(feature = "header")]
fn in_reading_order(header: &str) -> String {
    const NOTE: &str = "/*\n * What couch_db.h and couch_latency.h give to C programs by names without \"c_\": call them by those.\n */\n\n";
    let parts =
        |text: &'static str| header.split_once(text).expect("cbindgen has changed its frame of a header");
    let (_, functions) = parts("#endif // __cplusplus\n\n");
    let begin = &header[..header.len() - functions.len()];
    let (functions, _) = functions.rsplit_once("#ifdef __cplusplus\n").expect("the end of extern \"C\"");
    let end = &header[begin.len() + functions.len()..];
    let is_inner = |function: &&str| {
        function.rsplit("*/").next().is_some_and(|declared| declared.contains("couchstore_c_"))
    };
    let (inner, outer): (Vec<_>, Vec<_>) = functions.split_inclusive(";\n\n").partition(is_inner);
    [begin, &outer.concat(), NOTE, &inner.concat(), end].concat()
}

#[cfg(not(feature = "header"))]
fn generate_header(_root: &Path) {}

/// Compiles the C++ API into a static library, which rustc makes a part of the rlib and of `libcouchstore.a`. It must
/// come out as in `cmake/libraries.cmake`.
#[cfg(feature = "cxx")]
fn compile_cxx(root: &Path) {
    for watched in ["cxx", "host/couchstore/src", "include"] {
        println!("cargo::rerun-if-changed={watched}");
    }
    let list = std::fs::read_to_string(root.join("cxx/sources.txt")).expect("cxx/sources.txt");
    let sources = list.lines().filter(|line| !line.starts_with('#'));
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(true)
        .extra_warnings(true)
        .flag("-fvisibility=hidden")
        .include(root.join("include"))
        // The layouts of keys are known: no header of a host's is needed for them.
        .define("COUCHSTORE_OWN_CRYPTO_TYPES", None)
        .files(sources.map(|source| root.join(source)))
        .compile("couchstore_cxx");
}

#[cfg(not(feature = "cxx"))]
fn compile_cxx(_root: &Path) {}
