// SPDX-License-Identifier: Apache-2.0

//! `couch_dbck` that is killed at random moments, where files have no name until they are complete and where they have a
//! temporary one: the source is as it was, the target is whole or not there, and the next run leaves nothing else.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::child::{process, without_unnamed_files};
use common::rng::{Rng, seed};
use common::{damage, tool};
use couchstore::{Db, ScanOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

const KILLS: u64 = 24;
const SOURCE: &str = "0.couch.1";
const TARGET: &str = "target";
const DOCUMENTS: &str = "10000";

/// Everything in a database: sequence number, id and body of each document.
fn content(path: &Path) -> Vec<(u64, Vec<u8>, Vec<u8>)> {
    let db = Db::open(path).expect("a whole file");
    let mut found = Vec::new();
    let mut add = |info: &couchstore::DocInfoRef<'_>| {
        found.push((info.db_seq, info.id.to_vec(), db.body(info)?));
        Ok(())
    };
    db.changes_since(0, ScanOptions::default(), &mut add).unwrap();
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A folder with a damaged file.
struct Scene {
    folder: tempfile::TempDir,
    source: Vec<u8>,
    /// What can be had of it.
    expected: Vec<(u64, Vec<u8>, Vec<u8>)>,
    /// How long that takes.
    duration: Duration,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        tool("couch_create", dir).args(["-k", DOCUMENTS, "-f", DOCUMENTS]).assert().success();
        let source = dir.join(SOURCE);
        for offset in [5000, 200_001, 700_001] {
            damage(&source, offset);
        }
        let start = Instant::now();
        tool("couch_dbck", dir).args([SOURCE, "first"]).output().unwrap();
        let duration = start.elapsed();
        let expected = content(&dir.join("first"));
        assert!(expected.len() > 5_000);
        std::fs::remove_file(dir.join("first")).unwrap();
        Scene { source: std::fs::read(source).unwrap(), folder, expected, duration }
    }

    /// Kills one; whether it had not finished.
    fn kill(&self, named: bool, after: Duration) -> bool {
        let dir = self.folder.path();
        let mut command = process("couch_dbck", dir);
        command.args([SOURCE, TARGET]).stdout(Stdio::null()).stderr(Stdio::null());
        if named {
            without_unnamed_files(&mut command);
        }
        let mut child = command.spawn().unwrap();
        std::thread::sleep(after);
        child.kill().unwrap();
        child.wait().unwrap().code().is_none()
    }

    fn check(&self) {
        let dir = self.folder.path();
        assert!(std::fs::read(dir.join(SOURCE)).unwrap() == self.source, "the source was changed");
        if dir.join(TARGET).exists() {
            assert!(content(&dir.join(TARGET)) == self.expected, "the target is not whole");
            std::fs::remove_file(dir.join(TARGET)).unwrap();
        }
        tool("couch_dbck", dir).args([SOURCE, TARGET]).output().unwrap();
        assert_eq!(names(dir), [SOURCE, TARGET], "left for good");
        assert!(content(&dir.join(TARGET)) == self.expected);
        std::fs::remove_file(dir.join(TARGET)).unwrap();
    }
}

/// Kills so many, from this seed. Returns how many of them were at work, and how many files and folders were left.
fn kills(seed: u64, count: u64) -> (u64, u64) {
    let scene = Scene::new();
    let mut rng = Rng::with_seed(seed);
    let (mut at_work, mut left) = (0, 0);
    for number in 0..count {
        let whole = scene.duration.as_micros() as u64;
        // Every other one near the end, where the target is written and gets its name.
        let (from, length) = if number % 4 < 2 { (0, whole) } else { (whole * 3 / 4, whole * 3 / 8) };
        let after = Duration::from_micros(from + rng.below(length + 1));
        let case = format!("kill {number} of COUCHSTORE_TEST_SEED={seed}");
        println!("{case}: after {after:?}");
        at_work += u64::from(scene.kill(number % 2 == 1, after));
        left += names(scene.folder.path()).iter().filter(|name| name.starts_with('.')).count() as u64;
        scene.check();
    }
    (at_work, left)
}

#[test]
fn killed_repairs_leave_whole_files_or_none() {
    let seed = seed();
    let (at_work, left) = kills(seed, KILLS);
    println!(
        "{KILLS} kills of couch_dbck from seed {seed}: {at_work} were at work, {left} files were left for the next run"
    );
    assert!(at_work > KILLS / 3, "{at_work}");
}

/// Does nothing unless it is asked for: `make torture SECONDS=600`.
#[test]
fn torture() {
    let Ok(seconds) = std::env::var("COUCHSTORE_TORTURE_SECONDS") else { return };
    let budget = Duration::from_secs(seconds.parse().expect("COUCHSTORE_TORTURE_SECONDS is a number"));
    let (first, start) = (seed(), Instant::now());
    let mut sum = (0, 0, 0);
    while start.elapsed() < budget {
        let (at_work, left) = kills(first.wrapping_add(sum.0), KILLS);
        sum = (sum.0 + KILLS, sum.1 + at_work, sum.2 + left);
    }
    let (kills, at_work, left) = sum;
    println!(
        "{kills} kills of couch_dbck from seed {first}: {at_work} were at work, {left} files were left for the next run"
    );
}
