//! What a compaction costs the writer beside it: how long the lock is held, and how long commits take. Needs time and
//! room on the disk, so it is not part of the usual run:
//!
//! `cargo test --release --test online -- --ignored --nocapture cost`
//!
//! `COUCHSTORE_COST_MIB` (100) is the size of the file, `COUCHSTORE_COST_RUNS` (10) the number of compactions,
//! `COUCHSTORE_COST_SYNC_KIB` the number of KiB after which the copy is synced. The files lie in the folder for
//! temporary files (`TMPDIR`).

use couchstore::{
    CompactHooks, CompactOptions, Db, Document, OnlineHooks, OnlineOptions, OnlineStats, ReplayHooks, Result,
    SaveOptions, Swap, compact, compact_online,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

const BATCH: u64 = 1000;
const BODY: usize = 1024;
const PAUSE: Duration = Duration::from_millis(10);
/// How long the release of the replaced file may be felt.
const AFTER: Duration = Duration::from_millis(500);
/// How long the writer is alone between two compactions, besides.
const ALONE: Duration = Duration::from_millis(1500);

/// From when to when.
#[derive(Clone, Copy)]
struct Span(Instant, Instant);

impl Span {
    fn overlaps(self, other: Span) -> bool {
        self.0 < other.1 && other.0 < self.1
    }

    fn length(self) -> Duration {
        self.1 - self.0
    }
}

/// The host's lock, a fair one, its handle, and when the writer's commits ran, with the wait for the lock.
struct Host<'a> {
    path: &'a Path,
    /// The number of whoever has the lock, and the next number to be given out.
    turn: Mutex<(u64, u64)>,
    next: Condvar,
    /// The writer's handle.
    db: Mutex<Db>,
    commits: Mutex<Vec<Span>>,
    stop: AtomicBool,
}

impl Host<'_> {
    fn new(path: &Path) -> Host<'_> {
        Host {
            path,
            turn: Mutex::default(),
            next: Condvar::new(),
            db: Mutex::new(Db::open(path).unwrap()),
            commits: Mutex::default(),
            stop: AtomicBool::new(false),
        }
    }

    fn lock(&self) {
        let mut turn = self.turn.lock().unwrap();
        let own = turn.1;
        turn.1 += 1;
        while turn.0 != own {
            turn = self.next.wait(turn).unwrap();
        }
    }

    fn unlock(&self) {
        self.turn.lock().unwrap().0 += 1;
        self.next.notify_all();
    }

    /// Updates 1000 documents about every 10 ms.
    fn write(&self, documents: u64) {
        let mut body = vec![b'x'; BODY];
        let mut batch = 0_u64;
        while !self.stop.load(Ordering::Relaxed) {
            let started = Instant::now();
            batch += 1;
            body[..8].copy_from_slice(&batch.to_be_bytes());
            self.lock();
            let db = self.db.lock().unwrap();
            save(&db, batch.wrapping_mul(7919) * BATCH % (documents - BATCH), BATCH, &body);
            db.commit().unwrap();
            drop(db);
            self.unlock();
            self.commits.lock().unwrap().push(Span(started, Instant::now()));
            std::thread::sleep(PAUSE.saturating_sub(started.elapsed()));
        }
    }
}

/// Hooks of a host that switches to the new file under the lock, and lets the old one go afterwards.
struct Hooks<'a> {
    host: &'a Host<'a>,
    old: Option<Db>,
}

impl CompactHooks for Hooks<'_> {}
impl ReplayHooks for Hooks<'_> {}
impl OnlineHooks for Hooks<'_> {
    fn lock(&mut self) {
        self.host.lock();
    }
    fn unlock(&mut self) {
        self.host.unlock();
    }
    fn publish(&mut self, _: &Db, _: &Db) -> Result<()> {
        let new = Db::open(self.host.path)?;
        self.old = Some(std::mem::replace(&mut *self.host.db.lock().unwrap(), new));
        Ok(())
    }
}

fn save(db: &Db, first: u64, count: u64, body: &[u8]) {
    let ids: Vec<String> = (first..first + count).map(|number| format!("document-{number:010}")).collect();
    let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), body)).collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

/// A compaction, and the time after it in which it may be felt: the blocks of the replaced file are given back.
struct Run {
    compaction: Span,
    after: Span,
    stats: OnlineStats,
}

fn compact_once(host: &Host<'_>) -> Run {
    let mut options = OnlineOptions { swap: Swap::Replace, ..OnlineOptions::default() };
    let sync_every = crate::setting("COUCHSTORE_COST_SYNC_KIB", 0) << 10;
    options.compact.periodic_sync = (sync_every > 0).then_some(sync_every);
    let before = std::fs::metadata(host.path).unwrap().len();
    let mut hooks = Hooks { host, old: None };
    let started = Instant::now();
    let stats = compact_online(host.path, "", &options, &mut hooks).unwrap();
    let compaction = Span(started, Instant::now());
    drop(hooks);
    println!(
        "  {} -> {} MiB in {:.1?}: {} rounds, {} KiB left for the lock, lock held {:.1?}",
        before >> 20,
        stats.bytes >> 20,
        stats.total_time,
        stats.rounds,
        stats.locked_bytes >> 10,
        stats.lock_time
    );
    Run { compaction, after: Span(compaction.1, Instant::now() + AFTER), stats }
}

/// A line about commits. Returns the p99.
fn describe(what: &str, commits: impl Iterator<Item = Span>) -> Duration {
    let mut times: Vec<_> = commits.map(Span::length).collect();
    times.sort();
    let at = |permille: usize| times[(times.len() * permille).div_ceil(1000).max(1) - 1];
    println!(
        "  {what}: {} commits; p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, longest {:.1?}",
        times.len(),
        at(500),
        at(900),
        at(990),
        at(1000)
    );
    at(990)
}

#[test]
#[ignore = "a measurement, which needs an idle machine"]
fn cost() {
    let mebibytes = crate::setting("COUCHSTORE_COST_MIB", 100);
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("busy.couch.1");
    let documents = mebibytes * 1024 * 1024 / (BODY as u64 + 80);
    let db = Db::create(path).unwrap();
    for first in (0..documents).step_by(10_000) {
        save(&db, first, 10_000.min(documents - first), &[b'x'; BODY]);
        db.commit().unwrap();
    }
    drop(db);
    println!("{documents} documents, {} MiB", std::fs::metadata(path).unwrap().len() >> 20);
    let host = Host::new(path);
    let runs: Vec<_> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| host.write(documents));
        let runs = 0..crate::setting("COUCHSTORE_COST_RUNS", 10);
        let one = |_| {
            std::thread::sleep(AFTER + ALONE);
            compact_once(&host)
        };
        // Not counted: the page cache takes memory that a virtual machine first has to get from its host.
        one(0);
        host.commits.lock().unwrap().clear();
        let compactions = runs.map(one).collect();
        std::thread::sleep(AFTER + ALONE);
        host.stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        compactions
    });
    report(&host.commits.lock().unwrap(), &runs);
    check(path, &folder.path().join("at rest"));
}

/// Commits count by whether there was a compaction at any time while they ran.
fn report(commits: &[Span], runs: &[Run]) {
    let during = |commit: Span| runs.iter().any(|run| commit.overlaps(run.compaction));
    let after = |commit: Span| !during(commit) && runs.iter().any(|run| commit.overlaps(run.after));
    let all = || commits.iter().copied();
    let alone = describe("without a compaction", all().filter(|&commit| !during(commit) && !after(commit)));
    let busy = describe("beside a compaction", all().filter(|&commit| during(commit)));
    describe("while the old file is let go", all().filter(|&commit| after(commit)));
    let locked = || runs.iter().map(|run| run.stats.lock_time);
    println!(
        "  p99 beside a compaction: {:.2} times that without; lock held {:.1?} to {:.1?}",
        busy.as_secs_f64() / alone.as_secs_f64(),
        locked().min().unwrap(),
        locked().max().unwrap()
    );
}

/// The last result, and what was saved since, is what a compaction at rest makes of it.
fn check(path: &Path, at_rest: &Path) {
    let db = Db::open(path).unwrap();
    compact(&db, at_rest, &CompactOptions::default()).unwrap();
    let (found, expected) = (db.info().unwrap(), Db::open(at_rest).unwrap().info().unwrap());
    assert_eq!(
        (found.doc_count, found.last_sequence, found.purge_seq),
        (expected.doc_count, expected.last_sequence, expected.purge_seq)
    );
}
