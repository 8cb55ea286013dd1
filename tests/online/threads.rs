// SPDX-License-Identifier: Apache-2.0

//! A writer, readers and compactions in threads of their own.

use crate::common::rng::Rng;
use crate::common::temp_dir;
use couchstore::{
    CompactHooks, Db, Document, OnlineHooks, OnlineOptions, ReplayHooks, SaveOptions, ScanOptions, Swap,
    compact_online,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// A lock that one thread takes in one function and gives back in another.
#[derive(Default)]
struct HostLock {
    taken: Mutex<bool>,
    free: Condvar,
}

impl HostLock {
    fn lock(&self) {
        let mut taken = self.taken.lock().unwrap();
        while *taken {
            taken = self.free.wait(taken).unwrap();
        }
        *taken = true;
    }

    fn unlock(&self) {
        *self.taken.lock().unwrap() = false;
        self.free.notify_one();
    }
}

struct Hooks<'a>(&'a HostLock);

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

const DOCUMENTS: u64 = 500;

/// Saves under the lock, and opens the file anew when it has been replaced.
fn write(path: &Path, lock: &HostLock, stop: &AtomicBool, acknowledged: &AtomicU64) -> BTreeMap<String, u64> {
    let mut rng = Rng::with_seed(5);
    let mut model = BTreeMap::new();
    let mut db = Db::open(path).unwrap();
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        lock.lock();
        if !db.is_current().unwrap().unwrap() {
            db = Db::open(path).unwrap();
        }
        let ids: Vec<String> = (0..20).map(|_| format!("doc-{}", rng.below(DOCUMENTS))).collect();
        let body = format!("{round}");
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), body.as_bytes())).collect();
        db.save(&documents, SaveOptions::default()).unwrap();
        // Every header holds a number that only grows.
        let counter = [couchstore::LocalUpdate { id: b"_local/round", body: Some(body.as_bytes()) }];
        db.save_local(&counter).unwrap();
        db.commit().unwrap();
        lock.unlock();
        acknowledged.store(round, Ordering::SeqCst);
        model.extend(ids.into_iter().map(|id| (id, round)));
    }
    model
}

/// Whoever opens the name finds at least what was acknowledged before, and a consistent state.
fn read(path: &Path, stop: &AtomicBool, acknowledged: &AtomicU64) -> u64 {
    let mut opened = 0;
    let mut kept: Option<(Db, u64)> = None;
    while !stop.load(Ordering::Relaxed) {
        let before = acknowledged.load(Ordering::SeqCst);
        let db = Db::open(path).unwrap();
        let round = round_of(&db);
        assert!(round >= before, "round {round} found after {before} was acknowledged");
        check_consistent(&db, round);
        // An older handle goes on showing what it showed, whatever has become of its name.
        if let Some((old, old_round)) = &kept {
            assert_eq!(round_of(old), *old_round);
            check_consistent(old, *old_round);
        }
        if opened % 10 == 0 {
            kept = Some((db, round));
        }
        opened += 1;
    }
    opened
}

fn round_of(db: &Db) -> u64 {
    let body = db.local(b"_local/round").unwrap();
    body.map_or(0, |body| std::str::from_utf8(&body).unwrap().parse().unwrap())
}

/// No document is newer than the header says, and the last round is there.
fn check_consistent(db: &Db, round: u64) {
    let mut newest = 0;
    db.all_docs(b"", ScanOptions::default(), &mut |info| {
        let body: u64 = std::str::from_utf8(&db.body(info)?).unwrap().parse().unwrap();
        newest = newest.max(body);
        Ok(())
    })
    .unwrap();
    assert_eq!(newest, round);
}

#[test]
fn a_writer_readers_and_compactions() {
    let folder = temp_dir();
    let path = &folder.path().join("busy.couch.1");
    drop(Db::create(path).unwrap());
    let (lock, stop, acknowledged) = (HostLock::default(), AtomicBool::new(false), AtomicU64::new(0));
    let seconds = crate::setting("COUCHSTORE_ONLINE_SECONDS", 2);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| write(path, &lock, &stop, &acknowledged));
        let readers: Vec<_> = (0..2).map(|_| scope.spawn(|| read(path, &stop, &acknowledged))).collect();
        let options = OnlineOptions::new().swap(Swap::Replace).delta_bytes_for_lock(64 << 10);
        let started = Instant::now();
        let (mut compactions, mut longest, mut rounds) = (0, Duration::ZERO, 0);
        while started.elapsed() < Duration::from_secs(seconds) {
            let stats = compact_online(path, "", &options, &mut Hooks(&lock)).unwrap();
            assert_eq!(stats.restarts, 0);
            compactions += 1;
            rounds += stats.rounds;
            longest = longest.max(stats.lock_time);
        }
        stop.store(true, Ordering::Relaxed);
        let model = writer.join().unwrap();
        let opened: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        let db = Db::open(path).unwrap();
        for (id, round) in &model {
            assert_eq!(db.get(id.as_bytes()).unwrap().unwrap(), round.to_string().as_bytes(), "{id}");
        }
        assert_eq!(db.info().unwrap().doc_count, model.len() as u64);
        println!(
            "{compactions} compactions, {rounds} rounds, lock held {longest:?} at most, {} commits, {opened} readers",
            acknowledged.load(Ordering::SeqCst)
        );
    });
    assert_eq!(crate::common::files_in(folder.path()), 1);
}
