//! Tools that are killed: no signal handler runs, nothing is tidied up.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

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
fn kill_compaction(dir: &Path, more: &[&str]) -> bool {
    let mut command = Command::new(common::program("couch_compact"));
    command.current_dir(dir).args(["0.couch.1", "b"]).args(more).stdout(Stdio::null());
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

#[test]
fn a_killed_compaction_leaves_no_half_made_target() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    tool("couch_create", &dir).args(["-k", "100000", "-f", "100000"]).assert().success();
    let target = dir.join("b");
    for more in [&[][..], &["--online"], &["-d"]] {
        let was_killed = (0..20).any(|_| {
            let was_killed = kill_compaction(&dir, more);
            if target.exists() {
                // It was killed when everything was done.
                assert_eq!(Db::open(&target).unwrap().info().unwrap().doc_count, 100_000);
                std::fs::remove_file(&target).unwrap();
                return false;
            }
            was_killed
        });
        assert!(was_killed, "{more:?}");
    }
}
