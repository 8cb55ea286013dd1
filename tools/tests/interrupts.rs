// SPDX-License-Identifier: Apache-2.0

//! Ctrl-C.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, signal};
use common::tool;
use std::path::Path;
use std::process::{Child, Stdio};

fn start(name: &str, dir: &Path, arguments: &[&str]) -> Child {
    let mut command = process(name, dir);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Whether a process, which may have ended, has a handler for SIGINT.
fn catches_interrupts(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (libc::SIGINT - 1) != 0)
}

/// Interrupts the child once it is under way. `false`: it had ended before that.
fn interrupt_while(mut child: Child, is_under_way: impl Fn() -> bool) -> bool {
    while !is_under_way() {
        if child.try_wait().unwrap().is_some() {
            // From here on its id may be that of another process.
            return false;
        }
        std::thread::yield_now();
    }
    signal("INT", child.id());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        return false;
    }
    assert_eq!(output.status.code(), Some(130));
    assert!(output.stdout.is_empty());
    assert!(output.stderr.ends_with(b": interrupted\n"), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn an_interrupted_creation_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let child = start("couch_create", dir.path(), &["-k", "1000000000", "-v", "4", "-o", "new/newer"]);
    assert!(interrupt_while(child, || dir.path().join("new/newer/3.couch.1").exists()));
    assert!(files(dir.path()).is_empty(), "{:?}", files(dir.path()));
}

#[test]
fn an_interrupted_compaction_leaves_no_target() {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "200000", "-f", "100000"]).assert().success();
    let target = dir.path().join("b");
    for more in [&["b"][..], &["b", "--online"], &["--online"]] {
        // On a busy machine the signal may come too late.
        let was_interrupted = (0..20).any(|_| {
            let child = start("couch_compact", dir.path(), &[&["0.couch.1"], more].concat());
            let id = child.id();
            let was_interrupted = interrupt_while(child, || catches_interrupts(id));
            assert_eq!(target.exists(), !was_interrupted && more.contains(&"b"));
            let _ = std::fs::remove_file(&target);
            was_interrupted
        });
        assert!(was_interrupted, "{more:?}");
        assert_eq!(files(dir.path()), ["0.couch.1"]);
    }
}
