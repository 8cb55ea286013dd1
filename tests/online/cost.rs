//! What a compaction costs the writer beside it: how long the lock is held, and how long commits take. Needs time and
//! room on the disk, so it is not part of the usual run:
//!
//! `cargo test --release --test online -- --ignored --nocapture cost`
//!
//! `COUCHSTORE_COST_MIB` (100) is the size of the file, `COUCHSTORE_COST_RUNS` (3) the number of compactions,
//! `COUCHSTORE_COST_SYNC_KIB` the number of KiB after which the copy is synced. The files lie in the folder for temporary files (`TMPDIR`).

use couchstore::{
    CompactHooks, CompactOptions, Db, Document, OnlineHooks, OnlineOptions, ReplayHooks, SaveOptions, Swap,
    compact, compact_online,
};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

const BATCH: u64 = 1000;
const BODY: usize = 1024;
const PAUSE: Duration = Duration::from_millis(10);

/// The host's lock, a fair one, and how long the writer's commits took, with the wait for the lock.
#[derive(Default)]
struct Host {
    /// The number of whoever has the lock, and the next number to be given out.
    turn: Mutex<(u64, u64)>,
    next: Condvar,
    latencies: Mutex<Vec<Duration>>,
    stop: AtomicBool,
}

impl Host {
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

    /// A line about the commits since the last call.
    fn commits(&self, what: &str, time: Duration) {
        let mut latencies = std::mem::take(&mut *self.latencies.lock().unwrap());
        latencies.sort();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        println!(
            "  {what}: {} commits in {time:.1?}; p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
            latencies.len(),
            at(50),
            at(99),
            at(100)
        );
    }
}

struct Hooks<'a>(&'a Host);

impl CompactHooks for Hooks<'_> {}
impl ReplayHooks for Hooks<'_> {}
impl OnlineHooks for Hooks<'_> {
    fn lock(&mut self) {
        self.0.lock();
    }
    fn unlock(&mut self) {
        self.0.unlock();
    }
}

fn save(db: &Db, first: u64, count: u64, body: &[u8]) {
    let ids: Vec<String> = (first..first + count).map(|number| format!("document-{number:010}")).collect();
    let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), body)).collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

/// Updates 1000 documents about every 10 ms.
fn write(path: &Path, documents: u64, host: &Host) {
    let mut db = Db::open(path).unwrap();
    let mut body = vec![b'x'; BODY];
    let mut batch = 0_u64;
    while !host.stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        batch += 1;
        body[..8].copy_from_slice(&batch.to_be_bytes());
        host.lock();
        if db.is_current().unwrap() == Some(false) {
            db = Db::open(path).unwrap();
        }
        save(&db, batch.wrapping_mul(7919) * BATCH % (documents - BATCH), BATCH, &body);
        db.commit().unwrap();
        host.unlock();
        host.latencies.lock().unwrap().push(started.elapsed());
        std::thread::sleep(PAUSE.saturating_sub(started.elapsed()));
    }
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
    let host = Host::default();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(path, documents, &host));
        let seconds = Duration::from_secs(crate::setting("COUCHSTORE_COST_SECONDS", 4));
        std::thread::sleep(Duration::from_secs(1));
        host.latencies.lock().unwrap().clear();
        std::thread::sleep(seconds);
        host.commits("without a compaction", seconds);
        let mut options = OnlineOptions { swap: Swap::Replace, ..OnlineOptions::default() };
        let sync_every = crate::setting("COUCHSTORE_COST_SYNC_KIB", 0) << 10;
        options.compact.periodic_sync = (sync_every > 0).then_some(sync_every);
        for _ in 0..crate::setting("COUCHSTORE_COST_RUNS", 3) {
            let before = std::fs::metadata(path).unwrap().len();
            let stats = compact_online(path, "", &options, &mut Hooks(&host)).unwrap();
            println!(
                "  {} -> {} MiB in {:.1?}: {} rounds, {} KiB left for the lock, lock held {:.1?}",
                before >> 20,
                stats.bytes >> 20,
                stats.total_time,
                stats.rounds,
                stats.locked_bytes >> 10,
                stats.lock_time
            );
            host.commits("beside the compaction", stats.total_time);
        }
        std::thread::sleep(seconds);
        host.commits("without a compaction", seconds);
        host.stop.store(true, Ordering::Relaxed);
        writer.join().unwrap();
    });
    // The last result, and what was saved since, is what a compaction at rest makes of it.
    let db = Db::open(path).unwrap();
    let at_rest = folder.path().join("at rest");
    compact(&db, &at_rest, &CompactOptions::default()).unwrap();
    let (found, expected) = (db.info().unwrap(), Db::open(at_rest).unwrap().info().unwrap());
    assert_eq!(
        (found.doc_count, found.last_sequence, found.purge_seq),
        (expected.doc_count, expected.last_sequence, expected.purge_seq)
    );
}
