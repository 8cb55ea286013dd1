// SPDX-License-Identifier: Apache-2.0

//! `libcouchstore.a`, built by cargo alone with the feature `cxx`, is the whole library for C++ programs. Runs with the
//! feature `cxx` of this crate; needs `c++` and `nm`.

#![cfg(feature = "cxx")]

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Builds the archive, without encryption: its library of ciphers takes minutes, and has nothing to do with C++.
fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").expect("cargo sets CARGO"));
    cargo.current_dir(root()).args(["rustc", "--quiet", "--locked", "--package", "couchstore", "--lib"]);
    cargo.args(["--crate-type", "staticlib", "--no-default-features", "--features", "cxx"]);
    cargo.args(["--message-format", "json", "--target-dir", env!("CARGO_TARGET_TMPDIR")]);
    let messages = output_of(&mut cargo);
    let messages =
        messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let files = messages.filter_map(|message| Some(message.get("filenames")?.as_array()?.clone())).flatten();
    let mut archives = files.filter_map(|file| file.as_str().map(PathBuf::from));
    archives.find(|file| file.file_name() == Some(OsStr::new("libcouchstore.a"))).expect("an archive")
}

/// How often each global symbol is defined; weak ones, which the linker merges, count as one.
fn definitions(archive: &Path) -> HashMap<String, usize> {
    let listed =
        output_of(Command::new("nm").args(["--defined-only", "--extern-only", "-f", "posix"]).arg(archive));
    let mut found = HashMap::new();
    for line in listed.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(kind)) = (words.next(), words.next()) {
            let count: &mut usize = found.entry(name.to_owned()).or_default();
            *count = if kind == "V" || kind == "W" { (*count).max(1) } else { *count + 1 };
        }
    }
    found
}

/// Whether C++ programs find the header for `to_json`.
fn has_json() -> bool {
    let include = "-include nlohmann/json.hpp -std=c++17 -fsyntax-only -x c++ /dev/null";
    let status = Command::new("c++").args(include.split(' ')).stderr(Stdio::null()).status();
    status.expect("c++").success()
}

/// Functions that the header defines inline: whoever uses them has them, with or without the library.
const INLINE: &str = "_ZN16FileOpsInterface";

/// The names that Rust gives up for the C++ API to define, and those that it defines, fit together: each name of the
/// list is there exactly once.
fn check_names(archive: &Path) {
    let found = definitions(archive);
    let listed = std::fs::read_to_string(root().join("capi-tests/abi/exports.txt")).expect("exports.txt");
    let has_json = has_json();
    let expected =
        listed.lines().filter(|name| !name.starts_with(INLINE) && (has_json || !name.contains("to_json")));
    for name in expected {
        assert_eq!(found.get(name).copied().unwrap_or_default(), 1, "{name}");
    }
}

fn run_program(archive: &Path) {
    let dir = tempfile::tempdir().expect("temporary folder");
    let program = dir.path().join("program");
    let mut compile = Command::new("c++");
    compile.args(["-std=c++17", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&program);
    compile.arg("-I").arg(root().join("include")).arg(root().join("capi-tests/consumer/consumer.cc"));
    output_of(compile.arg(archive).args(["-lstdc++", "-lpthread", "-ldl", "-lm"]));
    output_of(Command::new(&program).arg(dir.path().join("db.couch")));
}

#[test]
fn it_has_every_name_once_and_links_alone() {
    let archive = build();
    check_names(&archive);
    run_program(&archive);
}
