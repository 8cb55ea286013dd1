// SPDX-License-Identifier: Apache-2.0

//! A process that is killed while it saves and commits: every commit that it has acknowledged is there.
//!
//! The operating system lives on, so this is not a power cut; but it is the real program on a real file system, with
//! real system calls cut short at real instants. Creation is part of it: every few rounds begin without a file.

use crate::common::model::Model;
use crate::common::naming::names_in;
use crate::common::temp_dir;
use crate::history::{Transaction, small_nodes};
use crate::oracle::check_handle;
use crate::run::{Replay, all_wanted, report, runs, seed};
use couchstore::OpenOptions;
use couchstore::io::sim::random::Random;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const KILLS: u64 = 210;
/// So many rounds go on with the same file.
const ROUNDS_PER_FILE: u64 = 7;
const NAME: &str = "killed.couch";
/// Set for the child: file and seed.
const FILE: &str = "COUCHSTORE_TEST_KILL_FILE";
const SEED: &str = "COUCHSTORE_TEST_KILL_SEED";

/// The transaction with this number: parent and child must agree on it.
pub(crate) fn transaction(seed: u64, number: u64) -> Transaction {
    Transaction::random(&mut Random::for_run(seed, number), number)
}

/// The child; does nothing when it is run as a test.
#[test]
fn killed_process() {
    let Ok(file) = std::env::var(FILE) else { return };
    let seed = std::env::var(SEED).unwrap().parse().unwrap();
    let db = small_nodes(OpenOptions::new()).create(true).open(&file).unwrap();
    let mut out = std::io::stdout();
    let mut number = db.info().unwrap().purge_seq;
    loop {
        // The pipe has no buffer on this side: what was acknowledged is known to the parent.
        out.write_all(format!("done {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
        number += 1;
        let next = transaction(seed, number);
        next.save(&db).unwrap();
        next.commit(&db).unwrap();
    }
}

/// Runs the child for a random time. Returns the last commit that it acknowledged, if it got so far.
fn run_and_kill(path: &Path, seed: u64, random: &mut Random) -> Option<u64> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::killed_process", "--nocapture"])
        .env(FILE, path)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        out.read_to_string(&mut text).map(|_| text)
    });
    std::thread::sleep(Duration::from_micros(random.below(25_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = reader.join().unwrap().unwrap();
    // The last line may have been cut short.
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut done = whole.lines().filter_map(|line| line.split_once("done ")?.1.trim().parse().ok());
    done.next_back()
}

/// States of the history up to now; it grows as far as the file has got.
pub(crate) struct Expected {
    pub(crate) seed: u64,
    pub(crate) states: Vec<Model>,
}

impl Expected {
    pub(crate) fn grow_to(&mut self, number: u64) {
        while self.states.len() as u64 <= number {
            let next = transaction(self.seed, self.states.len() as u64);
            self.states.push(next.applied_to(self.states.last().unwrap()));
        }
    }
}

/// One file, killed several times. Returns the number of kills, and of commits that were acknowledged.
fn one_file(seed: u64, run: u64) -> (u64, u64) {
    let _replay = Replay { name: "killed process".into(), seed, run };
    let mut random = Random::for_run(seed, run);
    let dir = temp_dir();
    let path = dir.path().join(NAME);
    let seed = random.number();
    let mut expected = Expected { seed, states: vec![Model::default()] };
    let mut acknowledged = None;
    for _ in 0..ROUNDS_PER_FILE {
        acknowledged = run_and_kill(&path, seed, &mut random).or(acknowledged);
        if !path.exists() {
            assert_eq!(acknowledged, None, "an acknowledged file is gone");
            assert!(names_in(dir.path()).is_empty(), "half-made files");
            continue;
        }
        assert_eq!(names_in(dir.path()), [NAME], "foreign files");
        let db = small_nodes(OpenOptions::new()).read_only(true).open(&path).unwrap();
        let found = db.info().unwrap().purge_seq;
        expected.grow_to(found);
        let least = acknowledged.unwrap_or(0) as usize;
        assert!(found as usize >= least, "acknowledged was commit {least}, found is {found}");
        let only = &expected.states[found as usize..=found as usize];
        check_handle(&db, std::fs::read(&path).unwrap(), only, 0);
        // At most the commit that was under way is there without having been acknowledged.
        assert!(found as usize <= least + 1);
    }
    (ROUNDS_PER_FILE, acknowledged.unwrap_or(0))
}

/// Kills so many processes. Returns how many, and how many commits they had acknowledged.
pub(crate) fn kills(seed: u64, count: u64) -> (u64, u64) {
    let files = runs(count.div_ceil(ROUNDS_PER_FILE)).into_iter();
    files.map(|run| one_file(seed, run)).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

#[test]
fn killed_processes_lose_nothing() {
    let start = std::time::Instant::now();
    let (kills, commits) = kills(seed(), KILLS);
    let seconds = start.elapsed().as_secs_f64();
    report(&format!("kill -9: {kills} kills, {commits} acknowledged commits in {seconds:.1} s, 0 lost"));
    assert!(!all_wanted() || (kills >= 200 && commits >= 200), "{kills} kills, {commits} commits");
}
