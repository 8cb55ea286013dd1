// SPDX-License-Identifier: Apache-2.0

//! A writer, a reader and a compaction in random schedules: threads that are switched at every point where they touch
//! what others may see. Each file operation, each hook, each lock is such a point.
//!
//! 100 000 schedules, or as many as 30 seconds are enough for; `COUCHSTORE_SCHEDULES` and `COUCHSTORE_SCHEDULES_SECONDS`
//! change both numbers.

use crate::common::forwarding::{Call, Forwarding};
use crate::common::model::{Doc, Model};
use crate::common::{files_in, temp_dir};
use couchstore::{
    CompactHooks, Db, DocInfoRef, Error, ErrorCode, LocalUpdate, OnlineHooks, OnlineOptions, OpenOptions,
    ReplayHooks, Result, SaveOptions, Swap, compact_online,
};
use shuttle::rand::Rng;
use shuttle::scheduler::RandomScheduler;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The library's own file operations, with a switch of threads before each call.
fn switching() -> Arc<Forwarding> {
    let yielding = |call| {
        if !matches!(call, Call::Read(_) | Call::Close) {
            thread::yield_now();
        }
        Ok(())
    };
    Arc::new(Forwarding::default().before(yielding).shows_file())
}

/// The host's lock: taken in one call and given back in another.
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

/// What all threads of a schedule share.
struct Host {
    path: PathBuf,
    lock: HostLock,
    /// What the last acknowledged header holds, of the file that has the name.
    committed: Mutex<Model>,
    /// The writer heeds the lock, but does not look whether the name leads to another file by now: it goes on with its
    /// handle.
    ignores_the_switch: bool,
}

/// How often things happened, in all schedules.
#[derive(Default)]
struct Counts {
    /// Compactions that ended well.
    finished: AtomicU64,
    /// Saves and commits to a file that was replaced, which were refused.
    refused: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Host {
    fn open(&self) -> Db {
        OpenOptions::new().file_ops(switching()).open(&self.path).unwrap()
    }
}

struct Hooks {
    host: Arc<Host>,
    /// Gives up at this hook.
    end: Option<u32>,
    calls: u32,
}

impl Hooks {
    fn point(&mut self) -> Result<()> {
        thread::yield_now();
        self.calls += 1;
        if self.end == Some(self.calls) { Err(Error::Callback(ErrorCode(-77))) } else { Ok(()) }
    }
}

impl CompactHooks for Hooks {
    fn progress(&mut self, _: u64, _: u64, _: u64) -> Result<()> {
        self.point()
    }
}

impl ReplayHooks for Hooks {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.point().map(|()| true)
    }
    fn precommit(&mut self, _: &Db, _: &Db) -> Result<()> {
        self.point()
    }
}

impl OnlineHooks for Hooks {
    fn counts_on_precommit(&self) -> bool {
        true
    }

    fn lock(&mut self) {
        self.host.lock.lock();
    }
    fn unlock(&mut self) {
        self.host.lock.unlock();
        // A writer may come before all that is done behind the last one.
        thread::yield_now();
    }
    fn publish(&mut self, _: &Db, target: &Db) -> Result<()> {
        self.host.committed.lock().unwrap().compacted(false).check(target);
        self.point()
    }
}

/// Saves and commits a few times, sometimes from an older header on.
struct Writer<'a> {
    host: &'a Host,
    db: Db,
    /// What the handle's newest header holds.
    model: Model,
    /// The header before it.
    previous: Option<(i64, Model)>,
}

impl Writer<'_> {
    fn new(host: &Host) -> Writer<'_> {
        let (db, model) = (host.open(), host.committed.lock().unwrap().clone());
        Writer { host, db, model, previous: None }
    }

    /// Under the lock.
    fn follow_the_name(&mut self) {
        *self = Writer::new(self.host);
    }

    fn commit(&mut self, round: u8) -> Result<()> {
        if let Some((position, older)) = self.previous.take()
            && shuttle::rand::thread_rng().gen_range(0..4) == 0
        {
            self.db.seek_offset(position)?;
            self.model = older;
        }
        let before = (self.db.header_position() as i64, self.model.clone());
        let id = format!("doc-{}", shuttle::rand::thread_rng().gen_range(0..3));
        let doc = Doc::new(id.as_bytes(), &[round]);
        self.model.save(std::slice::from_ref(&doc), SaveOptions::default());
        self.model.local.insert(b"_local/round".to_vec(), vec![round]);
        self.db.save(&[doc.document()], SaveOptions::default())?;
        self.db.save_local(&[LocalUpdate { id: b"_local/round", body: Some(&[round]) }])?;
        self.db.commit_with(u64::from(round), None)?;
        self.previous = Some(before);
        Ok(())
    }
}

fn write(host: &Host, counts: &Counts) {
    let mut writer = Writer::new(host);
    for round in 0..3 {
        host.lock.lock();
        let is_current = writer.db.is_current().unwrap() == Some(true);
        if !is_current && !host.ignores_the_switch {
            writer.follow_the_name();
        }
        match writer.commit(round) {
            // Nobody will open the file by its name again.
            Ok(()) if host.ignores_the_switch && !is_current => panic!("a commit that is lost"),
            Ok(()) => *host.committed.lock().unwrap() = writer.model.clone(),
            Err(error) => {
                count(&counts.refused);
                assert!(host.ignores_the_switch && !is_current, "{error}");
                assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID, "{error}");
                assert_eq!(error.os_error(), Some(libc::ESTALE), "{error}");
                // What was there can still be read; then the same again, in the new file.
                writer.db.get(b"doc-9").unwrap().unwrap();
                writer.follow_the_name();
                writer.commit(round).unwrap();
                *host.committed.lock().unwrap() = writer.model.clone();
            }
        }
        host.lock.unlock();
        thread::yield_now();
    }
}

/// Whoever opens the name at any time finds a file with everything that was acknowledged before.
fn read(host: &Host) {
    for _ in 0..2 {
        // No commit and no swap meanwhile: then the state is known.
        host.lock.lock();
        let db = Db::open(&host.path).unwrap();
        let expected = host.committed.lock().unwrap().clone();
        host.lock.unlock();
        thread::yield_now();
        let mut ids = Vec::new();
        db.changes_since(0, couchstore::ScanOptions::default(), &mut |info| {
            ids.push((info.db_seq, info.id.to_vec()));
            Ok(())
        })
        .unwrap();
        assert!(ids.iter().eq(expected.by_seq.keys()));
        assert_eq!(db.local(b"_local/round").unwrap().as_ref(), expected.local.get(&b"_local/round"[..]));
    }
}

/// Compacts twice; each may be given up at some hook.
fn compact(host: &Arc<Host>, counts: &Counts) {
    for _ in 0..2 {
        let end = shuttle::rand::thread_rng().gen_range(0..24u32);
        let mut hooks = Hooks { host: host.clone(), end: Some(end), calls: 0 };
        let mut options =
            OnlineOptions::new().swap(Swap::Replace).delta_bytes_for_lock(0).max_unlocked_rounds(2);
        options.compact.file_ops = switching();
        match compact_online(&host.path, "", &options, &mut hooks) {
            Ok(_) => count(&counts.finished),
            Err(error) => assert_eq!(error.code(), ErrorCode(-77), "{error}"),
        }
    }
}

/// One schedule, from an empty folder to the last check.
fn schedule(counts: &Arc<Counts>) {
    let folder = temp_dir();
    let path = folder.path().join("a.couch.1");
    let mut model = Model::default();
    let db = Db::create(&path).unwrap();
    model.save_both(&db, &[Doc::new(b"doc-0", b"0"), Doc::new(b"doc-9", b"9")], SaveOptions::default());
    db.commit_with(1, None).unwrap();
    drop(db);
    let host = Arc::new(Host {
        path,
        lock: HostLock::default(),
        committed: Mutex::new(model),
        ignores_the_switch: shuttle::rand::thread_rng().gen_range(0..2) == 0,
    });
    let writer = thread::spawn({
        let (host, counts) = (host.clone(), counts.clone());
        move || write(&host, &counts)
    });
    let reader = thread::spawn({
        let host = host.clone();
        move || read(&host)
    });
    compact(&host, counts);
    writer.join().unwrap();
    reader.join().unwrap();
    let model = host.committed.lock().unwrap().clone();
    model.check(&Db::open(&host.path).unwrap());
    assert_eq!(files_in(folder.path()), 1);
}

#[test]
fn every_schedule_keeps_what_was_committed() {
    let schedules = crate::setting("COUCHSTORE_SCHEDULES", 100_000) as usize;
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    let counts = Arc::new(Counts::default());
    let (started, limit) = (Instant::now(), crate::setting("COUCHSTORE_SCHEDULES_SECONDS", 30));
    let mut done = 0;
    while done < schedules && started.elapsed().as_secs() < limit {
        let counted = counts.clone();
        let batch = (schedules - done).min(500);
        done +=
            shuttle::Runner::new(RandomScheduler::new(batch), config.clone()).run(move || schedule(&counted));
    }
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (finished, refused) = (of(&counts.finished), of(&counts.refused));
    println!(
        "{done} schedules, {finished} compactions completed, {refused} writes to a replaced file refused"
    );
    assert!(done > 100 || done == schedules);
    assert!(done < 100 || refused > 0);
}
