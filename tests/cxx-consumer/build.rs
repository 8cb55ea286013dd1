//! Compiles the part in C++, against the headers that the build script of couchstore points to.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    #[cfg(feature = "cxx")]
    compile();
}

#[cfg(feature = "cxx")]
fn compile() {
    let headers = std::env::var_os("DEP_COUCHSTORE_INCLUDE").expect("couchstore's build script sets it");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings_into_errors(true)
        .extra_warnings(true)
        .include(headers)
        .files(["src/exceptions.cc", "src/layouts.cc"])
        .compile("couchstore_consumer");
}
