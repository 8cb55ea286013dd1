// SPDX-License-Identifier: Apache-2.0

//! Compiles the parts in C and C++, against the headers that the build script of couchstore points to.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    #[cfg(feature = "cxx")]
    compile();
}

#[cfg(feature = "cxx")]
fn compile() {
    let headers = std::env::var_os("DEP_COUCHSTORE_INCLUDE").expect("couchstore's build script sets it");
    let mut strict = cc::Build::new();
    strict.warnings_into_errors(true).extra_warnings(true).include(headers);
    strict.clone().std("c11").file("src/executor.c").compile("couchstore_consumer_c");
    let sources = ["src/exceptions.cc", "src/executor.cc", "src/layouts.cc"];
    strict.cpp(true).std("c++17").files(sources).compile("couchstore_consumer");
}
