// SPDX-License-Identifier: Apache-2.0

//! Many creators of one name at once: all end with the same good file, or with EXCL exactly one of them has made it.

use crate::common::naming::names_in;
use crate::common::temp_dir;
use crate::naming::check_new_database;
use crate::run::report;
use couchstore::io::naming::FileId;
use couchstore::{Db, ErrorCode, OpenOptions, Result};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;

const NAME: &str = "raced.couch";
const RACERS: usize = 8;
const ROUNDS: usize = 100;
const PROCESS_ROUNDS: usize = 25;
/// Set for the processes of a race: the folder, and whether to insist on creating.
const FOLDER: &str = "COUCHSTORE_TEST_RACE_FOLDER";
const EXCLUSIVE: &str = "COUCHSTORE_TEST_RACE_EXCLUSIVE";

fn create(dir: &Path, exclusive: bool) -> Result<Db> {
    OpenOptions::new().create(true).exclusive(exclusive).open(dir.join(NAME))
}

fn identity(path: &Path) -> FileId {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.dev(), metadata.ino())
}

/// Checks what a round has left, given how many succeeded.
fn check_round(dir: &Path, exclusive: bool, succeeded: usize) {
    assert_eq!(succeeded, if exclusive { 1 } else { RACERS });
    assert_eq!(names_in(dir), [NAME], "no foreign files");
    check_new_database(&dir.join(NAME));
}

fn check_loser(error: &couchstore::Error) {
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
}

fn race_threads(exclusive: bool) {
    let dir = temp_dir();
    let barrier = Barrier::new(RACERS);
    let racer = || {
        barrier.wait();
        match create(dir.path(), exclusive) {
            Ok(db) => {
                // Every winner has the file that has the name: what it commits is not lost.
                assert_eq!(db.is_current().unwrap(), Some(true));
                Some(identity(&dir.path().join(NAME)))
            }
            Err(error) => {
                check_loser(&error);
                None
            }
        }
    };
    let files: Vec<_> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..RACERS).map(|_| scope.spawn(racer)).collect();
        racers.into_iter().filter_map(|racer| racer.join().unwrap()).collect()
    });
    assert!(files.iter().all(|file| *file == files[0]), "all have the same file");
    check_round(dir.path(), exclusive, files.len());
}

#[test]
fn threads_that_create_one_file() {
    for _ in 0..ROUNDS {
        race_threads(false);
        race_threads(true);
    }
}

/// The other side of [`race_processes`]; does nothing when it is run as a test.
#[test]
fn racing_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let exclusive = std::env::var_os(EXCLUSIVE).is_some();
    let mut out = std::io::stdout();
    writeln!(out, "race ready").unwrap();
    let mut go = String::new();
    for _ in 0..PROCESS_ROUNDS {
        go.clear();
        std::io::stdin().read_line(&mut go).unwrap();
        let folder = Path::new(&folder).join(go.trim());
        match create(&folder, exclusive) {
            Ok(db) => {
                assert_eq!(db.is_current().unwrap(), Some(true));
                writeln!(out, "race won").unwrap();
            }
            Err(error) => {
                check_loser(&error);
                writeln!(out, "race lost").unwrap();
            }
        }
    }
}

struct Racer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Racer {
    fn start(folder: &Path, exclusive: bool) -> Racer {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "races::racing_process", "--nocapture"]).env(FOLDER, folder);
        if exclusive {
            command.env(EXCLUSIVE, "1");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut racer = Racer { child, lines };
        assert_eq!(racer.answer(), "ready");
        racer
    }

    /// The next line of ours; the test harness prints others, also on the same line.
    fn answer(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("an answer").unwrap();
            if let Some((_, answer)) = line.split_once("race ") {
                return answer.to_owned();
            }
        }
    }
}

fn race_processes(exclusive: bool) {
    let dir = temp_dir();
    let mut racers: Vec<_> = (0..RACERS).map(|_| Racer::start(dir.path(), exclusive)).collect();
    for round in 0..PROCESS_ROUNDS {
        let folder = dir.path().join(round.to_string());
        std::fs::create_dir(&folder).unwrap();
        for racer in &mut racers {
            writeln!(racer.child.stdin.as_mut().unwrap(), "{round}").unwrap();
        }
        let won = racers.iter_mut().filter_map(|racer| (racer.answer() == "won").then_some(())).count();
        check_round(&folder, exclusive, won);
    }
    for mut racer in racers {
        assert!(racer.child.wait().unwrap().success());
    }
}

#[test]
fn processes_that_create_one_file() {
    race_processes(false);
    race_processes(true);
    let races = 2 * (ROUNDS + PROCESS_ROUNDS);
    report(&format!(
        "races: {RACERS} threads and {RACERS} processes for one name, {races} races, 0 violations"
    ));
}
