// SPDX-License-Identifier: Apache-2.0

//! What a compaction costs the writer beside it: how long the lock is held, and how long commits take. Needs time and
//! room on the disk, so it is not part of the usual run:
//!
//! `cargo test --release --test online -- --ignored --nocapture cost`
//!
//! `COUCHSTORE_COST_MIB` (100) is the size of the file, `COUCHSTORE_COST_RUNS` (10) the number of compactions,
//! `COUCHSTORE_COST_SYNC_KIB` the number of KiB after which the copy is synced, `COUCHSTORE_COST_THREADS` (1) that of
//! threads. With `COUCHSTORE_COST_HOST=1` the host copies, replays and swaps by itself, with a sync after each MiB unless
//! another number is given. Each compaction is done a second time without its syncs on the way, to tell what they cost.
//! The files lie in the folder for temporary files (`TMPDIR`).

use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, Document, OnlineHooks, OnlineOptions, OpenOptions,
    ReplayHooks, Result, SaveOptions, Swap, compact, compact_online, replay,
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
    lock_time: Duration,
}

/// More than any file has: as good as no syncs on the way.
const NEVER: u64 = 1 << 60;

/// How the copy is made.
fn options(sync_every: u64) -> CompactOptions {
    CompactOptions::new()
        .periodic_sync((sync_every > 0).then_some(sync_every))
        .threads(crate::setting("COUCHSTORE_COST_THREADS", 1) as usize)
}

fn compact_once(host: &Host<'_>, by_host: bool, sync_every: u64) -> Run {
    let before = std::fs::metadata(host.path).unwrap().len();
    let started = Instant::now();
    let lock_time = if by_host { by_the_host(host, sync_every) } else { in_one_call(host, sync_every) };
    let compaction = Span(started, Instant::now());
    println!(
        "  {} MiB -> {} MiB in {:.1?}{}, lock held {lock_time:.1?}",
        before >> 20,
        std::fs::metadata(host.path).unwrap().len() >> 20,
        compaction.length(),
        if sync_every == NEVER { " without syncs on the way" } else { "" },
    );
    Run { compaction, after: Span(compaction.1, Instant::now() + AFTER), lock_time }
}

fn in_one_call(host: &Host<'_>, sync_every: u64) -> Duration {
    let options = OnlineOptions::new().swap(Swap::Replace).compact(options(sync_every));
    let mut hooks = Hooks { host, old: None };
    compact_online(host.path, "", &options, &mut hooks).unwrap().lock_time
}

/// No hooks.
struct Plain;

impl ReplayHooks for Plain {}

/// As a host does it that knows no call for all of it: copy, replay until little is left, and the rest under the lock.
fn by_the_host(host: &Host<'_>, sync_every: u64) -> Duration {
    let copy = host.path.with_extension("compact");
    let source = OpenOptions::new().read_only(true).open(host.path).unwrap();
    let sync_every = if sync_every == 0 { 1 << 20 } else { sync_every };
    compact(&source, &copy, &options(sync_every)).unwrap();
    let target = Db::open(&copy).unwrap();
    for _ in 0..10 {
        if catch_up(&source, &target) <= 1 << 20 {
            break;
        }
    }
    host.lock();
    let locked = Instant::now();
    catch_up(&source, &target);
    drop(target);
    std::fs::rename(&copy, host.path).unwrap();
    std::fs::File::open(host.path.parent().unwrap()).unwrap().sync_all().unwrap();
    let old = std::mem::replace(&mut *host.db.lock().unwrap(), Db::open(host.path).unwrap());
    host.unlock();
    let held = locked.elapsed();
    drop(old);
    held
}

/// Brings the copy up to what the source has now. Returns by how much that had grown.
fn catch_up(source: &Db, target: &Db) -> u64 {
    let base = source.info().unwrap().header_position;
    source.seek(Direction::End).unwrap();
    let newest = source.info().unwrap().header_position;
    source.seek_offset(base as i64).unwrap();
    if newest != base {
        replay(source, target, newest, &mut Plain, 16 << 20).unwrap();
    }
    newest - base
}

fn sorted(commits: impl Iterator<Item = Span>) -> Vec<Duration> {
    let mut times: Vec<_> = commits.map(Span::length).collect();
    times.sort();
    times
}

fn at(times: &[Duration], permille: usize) -> Duration {
    times.get((times.len() * permille).div_ceil(1000).max(1) - 1).copied().unwrap_or_default()
}

/// A line about commits.
fn describe(what: &str, commits: impl Iterator<Item = Span>) {
    let times = sorted(commits);
    let [p50, p90, p99, longest] = [500, 900, 990, 1000].map(|permille| at(&times, permille));
    println!(
        "  {what}: {} commits; p50 {p50:.1?}, p90 {p90:.1?}, p99 {p99:.1?}, longest {longest:.1?}",
        times.len()
    );
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
    let (by_host, sync_every) =
        (crate::setting("COUCHSTORE_COST_HOST", 0) == 1, crate::setting("COUCHSTORE_COST_SYNC_KIB", 0) << 10);
    let (paced, unpaced): (Vec<_>, Vec<_>) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| host.write(documents));
        let one = |sync_every| {
            std::thread::sleep(AFTER + ALONE);
            compact_once(&host, by_host, sync_every)
        };
        // Not counted: the page cache takes memory that a virtual machine first has to get from its host.
        one(sync_every);
        host.commits.lock().unwrap().clear();
        let runs = 0..crate::setting("COUCHSTORE_COST_RUNS", 10);
        let compactions = runs.map(|_| (one(sync_every), one(NEVER))).unzip();
        std::thread::sleep(AFTER + ALONE);
        host.stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
        compactions
    });
    report(&host.commits.lock().unwrap(), &paced, &unpaced);
    check(path, &folder.path().join("at rest"));
}

/// Commits count by whether there was a compaction at any time while they ran.
fn report(commits: &[Span], paced: &[Run], unpaced: &[Run]) {
    let is_in = |commit: Span, runs: &[Run]| runs.iter().any(|run| commit.overlaps(run.compaction));
    let is_after = |commit: Span| paced.iter().chain(unpaced).any(|run| commit.overlaps(run.after));
    let during = |commit: Span| is_in(commit, paced) || is_in(commit, unpaced);
    let all = || commits.iter().copied();
    describe("without a compaction", all().filter(|&commit| !during(commit) && !is_after(commit)));
    describe("beside a compaction", all().filter(|&commit| is_in(commit, paced)));
    describe("beside one without syncs on the way", all().filter(|&commit| is_in(commit, unpaced)));
    describe("while the old file is let go", all().filter(|&commit| !during(commit) && is_after(commit)));
    // Each run by itself: the commits in it, and those of the time before.
    let alone_before = |run: &Run| Span(run.compaction.0.checked_sub(ALONE).unwrap(), run.compaction.0);
    let ratios = paced.iter().map(|run| {
        let beside = p99(all().filter(|commit| commit.overlaps(run.compaction)));
        let alone = p99(all().filter(|&commit| !during(commit) && commit.overlaps(alone_before(run))));
        beside.as_secs_f64() / alone.as_secs_f64()
    });
    let times = |runs: &[Run]| median(runs.iter().map(|run| run.compaction.length().as_secs_f64()));
    println!(
        "  medians: p99 beside a compaction {:.2} times that before it; a compaction {:.2} times as long as without \
         syncs on the way; lock held {:.1} ms",
        median(ratios),
        times(paced) / times(unpaced),
        median(paced.iter().map(|run| run.lock_time.as_secs_f64() * 1e3)),
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn p99(commits: impl Iterator<Item = Span>) -> Duration {
    at(&sorted(commits), 990)
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
