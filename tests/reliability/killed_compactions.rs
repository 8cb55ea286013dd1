// SPDX-License-Identifier: Apache-2.0

//! Processes that are killed in each phase of a compaction, and before each of its naming calls, with files without a name and with named ones: what they
//! leave is whole, holds everything that was acknowledged, and the next compaction in the folder leaves nothing else.

use crate::common::model::Model;
use crate::common::naming::{Faulty, Lacks, PARKED, is_temporary, names_in};
use crate::common::temp_dir;
use crate::history::small_nodes;
use crate::kill::{Expected, transaction};
use crate::oracle::check_handle;
use crate::run::{Replay, all_wanted, report, runs, seed};
use couchstore::io::sim::random::Random;
use couchstore::{
    CompactHooks, CompactOptions, Db, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, Result, Swap,
    compact, compact_online, compact_with,
};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const SOURCE: &str = "a.couch.1";
const TARGET: &str = "b.couch.";
const AGAIN: &str = "again";
const ANOTHER: &str = "another";
/// So many rounds over all cases.
const ROUNDS: u64 = 3;
/// Set for the child: the case, seed and folder.
const CASE: &str = "COUCHSTORE_TEST_KILLED_COMPACTION";

/// Where a process is when it is killed: a random time after it has said that it is there.
const PHASES: [&str; 5] = ["copying", "catching up", "swapping", "switching", "given back"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Plain,
    Beside,
    InPlace,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    work: Work,
    /// The file system has no files without a name.
    named: bool,
    at: At,
}

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A random time after it has come to this phase, in one of its first compactions.
    Phase(&'static str),
    /// Right before this naming call, counted from 0.
    Call(usize),
}

/// So many naming calls: more than one compaction makes.
const CALLS: usize = 30;

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for named in [false, true] {
        for (work, phases) in [(Work::Plain, &PHASES[..2]), (Work::Beside, &PHASES), (Work::InPlace, &PHASES)]
        {
            let phases = phases.iter().map(|&phase| At::Phase(phase));
            let calls = (0..CALLS).map(At::Call);
            cases.extend(phases.chain(calls).map(|at| Case { work, named, at }));
        }
    }
    cases
}

// ---- the process that is killed -----------------------------------------------------------------------------------------

/// The pipe has no buffer on this side: what was said is known to the parent.
fn say(text: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("{text}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Commits beside its own compactions, and says what it has done.
struct Host<'a> {
    folder: &'a Path,
    seed: u64,
    writer: Db,
    number: u64,
    /// In this compaction something was committed beside the copy.
    has_committed: bool,
    in_place: bool,
}

fn open_writer(folder: &Path) -> Db {
    small_nodes(OpenOptions::new()).open(folder.join(SOURCE)).unwrap()
}

impl Host<'_> {
    fn commit(&mut self) {
        self.number += 1;
        let next = transaction(self.seed, self.number);
        next.save(&self.writer).unwrap();
        next.commit(&self.writer).unwrap();
        say(&format!("done {}", self.number));
    }
}

impl CompactHooks for Host<'_> {
    fn progress(&mut self, _: u64, _: u64, _: u64) -> Result<()> {
        if !std::mem::replace(&mut self.has_committed, true) {
            say(PHASES[0]);
            self.commit();
        }
        Ok(())
    }

    fn copied(&mut self, _: &Db) -> Result<()> {
        say(PHASES[1]);
        self.commit();
        Ok(())
    }
}

impl ReplayHooks for Host<'_> {}

impl OnlineHooks for Host<'_> {
    fn lock(&mut self) {
        say(PHASES[2]);
    }

    fn publish(&mut self, _: &Db, _: &Db) -> Result<()> {
        say(PHASES[3]);
        if self.in_place {
            self.writer = open_writer(self.folder);
        }
        self.commit();
        Ok(())
    }

    fn unlock(&mut self) {
        say(PHASES[4]);
    }
}

/// The child; does nothing when it is run as a test. It compacts again and again.
#[test]
fn compacting_process() {
    let Ok(text) = std::env::var(CASE) else { return };
    let mut parts = text.splitn(5, ' ');
    let (work, named) = (parts.next().unwrap(), parts.next().unwrap() == "named");
    let call = parts.next().unwrap().parse().ok();
    let seed = parts.next().unwrap().parse().unwrap();
    let folder = Path::new(parts.next().unwrap());
    let lacks = Lacks { unnamed: named, ..Lacks::default() };
    let naming = call.map_or_else(|| Faulty::new(lacks, None), |call| Faulty::parking(lacks, call));
    let options = CompactOptions::new().memory_budget(1000).naming(naming);
    let writer = open_writer(folder);
    let number = writer.info().unwrap().purge_seq;
    let mut host = Host { folder, seed, writer, number, has_committed: false, in_place: work == "InPlace" };
    for round in 0.. {
        host.has_committed = false;
        let (source, target) = (folder.join(SOURCE), folder.join(format!("{TARGET}{round}")));
        if work == "Plain" {
            let source = OpenOptions::new().read_only(true).open(source).unwrap();
            compact_with(&source, target, &options, &mut host).unwrap();
        } else {
            let swap = if host.in_place { Swap::Replace } else { Swap::None };
            let source_options = small_nodes(OpenOptions::new());
            let online = OnlineOptions::new().swap(swap).compact(options.clone()).source(source_options);
            compact_online(source, target, &online, &mut host).unwrap();
        }
        host.commit();
    }
}

// ---- the one who kills --------------------------------------------------------------------------------------------------

/// Compacts something else into the same folder: what the living process is making there is left alone.
fn compact_another(folder: &Path) {
    let (elsewhere, target) = (temp_dir(), folder.join(ANOTHER));
    let source = Db::create(elsewhere.path().join(SOURCE)).unwrap();
    compact(&source, &target, &CompactOptions::default()).unwrap();
    std::fs::remove_file(target).unwrap();
}

/// What a killed process has said: the last commit that it acknowledged.
fn run_and_kill(folder: &Path, seed: u64, case: Case, random: &mut Random) -> Option<u64> {
    let Case { work, named, at } = case;
    let named = if named { "named" } else { "unnamed" };
    let (sign, call, mut times) = match at {
        At::Phase(phase) => (phase, "-".to_owned(), 1 + random.below(3)),
        At::Call(call) => (PARKED, call.to_string(), 1),
    };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed_compactions::compacting_process", "--nocapture"])
        .env(CASE, format!("{work:?} {named} {call} {seed} {}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = None;
    let mut line = String::new();
    let mut was_there = false;
    // The last line may have been cut short.
    while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some((_, number)) = line.split_once("done ") {
            acknowledged = number.trim().parse().ok().or(acknowledged);
        }
        if !was_there && line.trim_end().ends_with(sign) {
            times -= 1;
            if times == 0 {
                if random.percent(50) {
                    compact_another(folder);
                }
                if let At::Phase(_) = at {
                    std::thread::sleep(Duration::from_micros(random.below(1500)));
                }
                child.kill().unwrap();
                was_there = true;
            }
        }
        line.clear();
    }
    let status = child.wait().unwrap();
    assert!(was_there && status.code().is_none(), "it has ended by itself: {status}");
    acknowledged
}

/// A folder, and what its database should hold.
struct Scene {
    folder: tempfile::TempDir,
    expected: Expected,
    acknowledged: u64,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let folder = temp_dir();
        let source = small_nodes(OpenOptions::new()).create(true).open(folder.path().join(SOURCE)).unwrap();
        let mut expected = Expected { seed, states: vec![Model::default()] };
        expected.grow_to(20);
        for number in 1..=20 {
            let next = transaction(seed, number);
            next.save(&source).unwrap();
            next.commit(&source).unwrap();
        }
        Scene { folder, expected, acknowledged: 20 }
    }

    /// A whole database in one of its states, and which.
    fn check_whole(&mut self, name: &str) -> u64 {
        let path = self.folder.path().join(name);
        let db = OpenOptions::new().read_only(true).open(&path).expect("a whole file");
        let found = db.info().unwrap().purge_seq;
        self.expected.grow_to(found);
        let only = &self.expected.states[found as usize..=found as usize];
        check_handle(&db, std::fs::read(path).unwrap(), only, 0);
        found
    }

    /// After a kill. Returns how many files were left that have no business there.
    fn check(&mut self) -> u64 {
        let found = self.check_whole(SOURCE);
        assert!(found >= self.acknowledged, "acknowledged was {}, found is {found}", self.acknowledged);
        // At most the commit that was under way is there without having been acknowledged.
        assert!(found <= self.acknowledged + 1);
        self.acknowledged = found;
        let (left, named): (Vec<_>, Vec<_>) =
            names_in(self.folder.path()).into_iter().partition(|name| is_temporary(name));
        for name in named.iter().filter(|name| *name != SOURCE) {
            assert!(name.starts_with(TARGET), "foreign file {name}");
            self.check_whole(name);
            std::fs::remove_file(self.folder.path().join(name)).unwrap();
        }
        let source = Db::open(self.folder.path().join(SOURCE)).unwrap();
        compact(&source, self.folder.path().join(AGAIN), &CompactOptions::default()).unwrap();
        assert_eq!(names_in(self.folder.path()), [SOURCE, AGAIN], "left for good");
        assert_eq!(self.check_whole(AGAIN), found);
        std::fs::remove_file(self.folder.path().join(AGAIN)).unwrap();
        left.len() as u64
    }
}

/// All cases, so many times. Returns the number of kills, and of files that were left for the next run to remove.
pub(crate) fn kills(seed: u64, rounds: u64) -> (u64, u64) {
    let (mut kills, mut left) = (0, 0);
    for run in runs(rounds) {
        for (number, case) in (0..).zip(cases()) {
            // Nothing is random about those.
            if run > 0 && matches!(case.at, At::Call(_)) {
                continue;
            }
            let _replay = Replay { name: format!("killed compaction: {case:?}"), seed, run };
            let mut random = Random::for_run(seed, run * 1000 + number);
            let mut scene = Scene::new(random.number());
            let told = run_and_kill(scene.folder.path(), scene.expected.seed, case, &mut random);
            scene.acknowledged = told.unwrap_or(scene.acknowledged);
            left += scene.check();
            kills += 1;
        }
    }
    (kills, left)
}

#[test]
fn killed_compactions_leave_whole_files_or_none() {
    let start = std::time::Instant::now();
    let (kills, left) = kills(seed(), ROUNDS);
    let seconds = start.elapsed().as_secs_f64();
    report(&format!(
        "kill -9: {kills} compacting processes left {left} files for the next one to remove, in {seconds:.1} s"
    ));
    assert!(!all_wanted() || (kills >= 240 && left > 0), "{kills} kills, {left} files left");
}
