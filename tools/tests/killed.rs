// SPDX-License-Identifier: Apache-2.0

//! Tools that are killed: no signal handler runs, nothing is tidied up.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, without_unnamed_files};
use common::tool;
use couchstore::Db;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Whether a process has opened another file in the folder than the one it reads, with or without a name.
fn writes_in(child: &Child, dir: &Path, source: &Path) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", child.id())) else { return false };
    let links = descriptors.flatten().filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok());
    links.into_iter().any(|link| link.starts_with(dir) && link != dir && link != source)
}

/// Starts a compaction to "b" and kills it once it writes. `false`: it was faster.
fn kill_compaction(dir: &Path, named: bool, more: &[&str]) -> bool {
    let mut command = process("couch_compact", dir);
    command.args(["0.couch.1", "b"]).args(more).stdout(Stdio::null());
    if named {
        without_unnamed_files(&mut command);
    }
    let mut child = command.spawn().unwrap();
    let source = dir.join("0.couch.1");
    while !writes_in(&child, dir, &source) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Starts a tool and kills it when there is a file of its own in its folder. The folder's name begins with `prefix`.
fn kill_at_work(dir: &Path, name: &str, arguments: &[&str], prefix: &str, file: &str) {
    let mut command = Command::new(common::program(name));
    command.current_dir(dir).args(arguments).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    let is_at_work = || {
        let folder = names(dir).into_iter().find(|name| name.starts_with(prefix));
        folder.is_some_and(|folder| dir.join(folder).join(file).exists())
    };
    while !is_at_work() {
        assert!(child.try_wait().unwrap().is_none(), "{name} was too fast");
    }
    child.kill().unwrap();
    assert!(!child.wait().unwrap().success());
}

#[test]
fn the_next_tool_removes_what_a_killed_one_has_left() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    tool("couch_create", dir).args(["-k", "100000", "-f", "100000"]).assert().success();
    kill_at_work(dir, "couch_dbck", &["0.couch.1", "target"], ".couch_dbck-", "shelter");
    assert!(names(dir)[0].starts_with(".couch_dbck-"));
    tool("couch_dbck", dir).args(["0.couch.1", "target"]).assert().success();
    assert_eq!(names(dir), ["0.couch.1", "target"]);
    let endless = ["--docs", "10M", "--batch", "500", "--rows", "load", "--sync", "none", "--dir", "."];
    kill_at_work(dir, "couch_bench", &endless, "couch_bench-", "1.couch");
    assert_eq!(names(dir).len(), 3);
    tool("couch_bench", dir).args(["--quick", "--rows", "open", "--dir", "."]).assert().success();
    assert_eq!(names(dir), ["0.couch.1", "target"]);
}

#[test]
fn a_killed_compaction_leaves_no_half_made_target() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    tool("couch_create", &dir).args(["-k", "100000", "-f", "100000"]).assert().success();
    let target = dir.join("b");
    for (named, more) in [false, true]
        .into_iter()
        .flat_map(|named| [(named, &[][..]), (named, &["--online"]), (named, &["-d"])])
    {
        let was_killed = (0..20).any(|_| {
            let was_killed = kill_compaction(&dir, named, more);
            if target.exists() {
                // It was killed when everything was done.
                assert_eq!(Db::open(&target).unwrap().info().unwrap().doc_count, 100_000);
                std::fs::remove_file(&target).unwrap();
                return false;
            }
            was_killed
        });
        assert!(was_killed, "{named} {more:?}");
        tool("couch_compact", &dir).args(["0.couch.1", "again"]).assert().success();
        assert_eq!(names(&dir), ["0.couch.1", "again"], "{named} {more:?}");
        std::fs::remove_file(dir.join("again")).unwrap();
    }
}
