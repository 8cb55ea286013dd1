// SPDX-License-Identifier: Apache-2.0

//! Systems that make no more threads: one line, no panic, nothing left behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{text, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds what makes `pthread_create` fail: limits of the system do not hold for root.
fn no_threads(dir: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/no_threads.c");
    let library = dir.join("no_threads.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]);
    assert!(compile.status().unwrap().success());
    library
}

const SAID: &str = "cannot start a thread: Resource temporarily unavailable (os error 11)\n";

#[test]
fn a_check_without_threads_ends_with_a_line() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let library = no_threads(other.path());
    tool("couch_create", dir.path()).args(["-k", "20000"]).assert().success();
    std::fs::copy(dir.path().join("0.couch.1"), dir.path().join("1.couch.1")).unwrap();
    let run = |threads: &str, wanted: &str, file: &str| {
        let mut command = tool("couch_check", dir.path());
        command.env("LD_PRELOAD", &library).env("THREADS", threads).args(["--threads", wanted, file]);
        command
    };
    for (threads, wanted) in [("0", "1"), ("0", "8"), ("1", "8"), ("7", "8")] {
        let assert = run(threads, wanted, "0.couch.1").assert().code(1).stdout("");
        assert.stderr(format!("couch_check: {SAID}"));
    }
    run("8", "8", "0.couch.1").assert().success();
    // A line for each file that could not be checked.
    let assert = run("1", "2", "0.couch.1").arg("1.couch.1").assert().code(1).stdout("");
    assert.stderr(format!("couch_check: {SAID}couch_check: {SAID}"));
}

#[test]
fn a_benchmark_without_threads_ends_with_a_line() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let library = no_threads(other.path());
    let mut command = tool("couch_bench", dir.path());
    command.env("LD_PRELOAD", library).env("THREADS", "0");
    let assert = command.args(["--quick", "--json", "--dir", ".", "--rows", "saves-compacting"]).assert();
    assert.code(1).stdout("").stderr(format!("couch_bench: saves-compacting: {SAID}"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// All other tools do without.
#[test]
fn no_other_tool_needs_a_thread() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let library = no_threads(other.path());
    for (name, arguments) in [
        ("couch_create", &["-k", "1000"][..]),
        ("couch_dbinfo", &["--trees", "0.couch.1"]),
        ("couch_dbdump", &["0.couch.1"]),
        ("couch_map", &["0.couch.1"]),
        ("couch_compact", &["0.couch.1", "1.couch.1"]),
        ("couch_compact", &["0.couch.1", "--online"]),
        ("couch_dbck", &["--report", "0.couch.1"]),
        ("couch_bench", &["--quick", "--dir", ".", "--rows", "load,get,compact-128,open"]),
    ] {
        let mut command = tool(name, dir.path());
        let assert = command.env("LD_PRELOAD", &library).env("THREADS", "0").args(arguments).assert();
        let said = text(&assert.success().get_output().stderr);
        assert_eq!(said, "", "{name}");
    }
}
