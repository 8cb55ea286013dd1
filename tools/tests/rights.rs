// SPDX-License-Identifier: Apache-2.0

//! Who may read and write what `couch_compact` and `couch_dbck` make.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::tool;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// A folder with the file "f".
fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    tool("couch_create", dir.path()).args(["-k", "50"]).assert().success();
    std::fs::rename(dir.path().join("0.couch.1"), dir.path().join("f")).unwrap();
    dir
}

fn shell(name: &str, dir: &Path, line: &str) {
    let program = common::program(name);
    let output = Command::new("sh").current_dir(dir).args(["-c", line]).arg(program).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn copies_have_the_permissions_of_the_source_within_the_umask() {
    let dir = sample();
    for (name, line) in [
        ("couch_compact", "$0 f out"),
        ("couch_compact", "$0 --online f out"),
        ("couch_dbck", "$0 f out"),
        ("couch_dbck", "$0 --stale f out"),
    ] {
        for (source, umask) in [(0o600, 0o022), (0o640, 0), (0o666, 0o027), (0o660, 0o002), (0o664, 0o077)] {
            std::fs::set_permissions(dir.path().join("f"), Permissions::from_mode(source)).unwrap();
            shell(name, dir.path(), &format!("umask {umask:o}; {line}"));
            let out = dir.path().join("out");
            assert_eq!(mode(&out), source & !umask, "{line} {source:o} {umask:o}");
            std::fs::remove_file(out).unwrap();
        }
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_permissions() {
    let dir = sample();
    let file = dir.path().join("f");
    for permissions in [0o600, 0o440, 0o666] {
        std::fs::set_permissions(&file, Permissions::from_mode(permissions)).unwrap();
        shell("couch_compact", dir.path(), "umask 022; $0 --online f");
        assert_eq!(mode(&file), permissions);
    }
}

/// A folder's list lets somebody use each new file: not one that takes the place of a file that was closed to him,
/// nor a copy of it.
#[test]
fn the_folders_list_opens_no_file() {
    let dir = sample();
    let set = Command::new("setfacl").args(["-d", "-m", "u:8:rw,g:8:rw"]).arg(dir.path()).output();
    if !set.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: setfacl is missing, or the file system has no access control lists");
        return;
    }
    std::fs::set_permissions(dir.path().join("f"), Permissions::from_mode(0o660)).unwrap();
    for (name, line, out) in [
        ("couch_compact", "$0 --online f", "f"),
        ("couch_compact", "$0 f out", "out"),
        ("couch_compact", "$0 --online f out", "out"),
        ("couch_dbck", "$0 f out", "out"),
    ] {
        shell(name, dir.path(), &format!("umask 007; {line}"));
        let list = Command::new("getfacl").args(["-cs", out]).current_dir(dir.path()).output().unwrap();
        assert_eq!(
            (String::from_utf8(list.stdout).unwrap().as_str(), mode(&dir.path().join(out))),
            ("", 0o660),
            "{line}"
        );
        let _ = std::fs::remove_file(dir.path().join("out"));
    }
}
