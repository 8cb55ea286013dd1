//! Generates `couch_api.h` from `src/capi` with cbindgen when the feature `header` asks for it.
//!
//! The result lands in `OUT_DIR`, never in the source tree; `tests/header.rs` compares it with the committed
//! header, and `make header` copies it there.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    generate_header();
}

#[cfg(feature = "header")]
fn generate_header() {
    println!("cargo::rerun-if-changed=src/capi");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let header = std::path::Path::new(&out).join("couch_api.h");
    match cbindgen::generate(&root) {
        Ok(bindings) => {
            bindings.write_to_file(&header);
        }
        Err(error) => panic!("cbindgen: {error}"),
    }
    println!("cargo::rustc-env=COUCHSTORE_GENERATED_HEADER={}", header.display());
}
