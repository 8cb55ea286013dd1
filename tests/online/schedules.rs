//! A writer, a reader and a compaction in random schedules: threads that are switched at every point where they touch
//! what others may see. Each file operation, each hook, each lock is such a point.
//!
//! 100 000 schedules, or as many as 60 seconds are enough for; `COUCHSTORE_SCHEDULES` and `COUCHSTORE_SCHEDULES_SECONDS`
//! change both numbers.

use crate::common::model::{Doc, Model};
use crate::common::{files_in, temp_dir};
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{
    CompactHooks, Db, DocInfoRef, Error, ErrorCode, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks,
    Result, SaveOptions, Swap, compact_online,
};
use shuttle::rand::Rng;
use shuttle::scheduler::RandomScheduler;
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::ffi::CStr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// The library's own file operations, with a switch of threads before each call.
struct Switching;

struct SwitchingFile(Box<dyn FileHandle>);

impl FileOps for Switching {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        thread::yield_now();
        Ok(Box::new(SwitchingFile(PosixOps.open(name, mode)?)))
    }
}

impl FileHandle for SwitchingFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.0.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        thread::yield_now();
        self.0.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        thread::yield_now();
        self.0.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        thread::yield_now();
        self.0.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.0.close()
    }
    fn identity(&self) -> Option<couchstore::io::naming::FileId> {
        self.0.identity()
    }
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
    /// What the last acknowledged header holds.
    committed: Mutex<Model>,
}

impl Host {
    fn open(&self) -> Db {
        OpenOptions::new().file_ops(Arc::new(Switching)).open(&self.path).unwrap()
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
    }
    fn publish(&mut self, _: &Db, target: &Db) -> Result<()> {
        self.host.committed.lock().unwrap().compacted(false).check(target);
        self.point()
    }
}

/// Saves and commits a few times, sometimes from an older header on; follows the name to a new file.
fn write(host: &Host) {
    let mut db = host.open();
    let mut model = host.committed.lock().unwrap().clone();
    let mut previous = None;
    for round in 0..3 {
        host.lock.lock();
        if db.is_current().unwrap() == Some(false) {
            db = host.open();
            previous = None;
        }
        if let Some((position, older)) = previous.take()
            && shuttle::rand::thread_rng().gen_range(0..4) == 0
        {
            db.seek_offset(position).unwrap();
            model = older;
        }
        let before = (db.header_position() as i64, model.clone());
        let id = format!("doc-{}", shuttle::rand::thread_rng().gen_range(0..3));
        model.save_both(&db, &[Doc::new(id.as_bytes(), &[round])], SaveOptions::default());
        model.local_both(&db, &[(b"_local/round".to_vec(), Some(vec![round]))]);
        db.commit_with(u64::from(round), None).unwrap();
        previous = Some(before);
        *host.committed.lock().unwrap() = model.clone();
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
        assert_eq!(db.local(b"_local/round").ok().as_ref(), expected.local.get(&b"_local/round"[..]));
    }
}

/// Compacts twice; each may be given up at some hook.
fn compact(host: &Arc<Host>, finished: &AtomicU64) {
    for _ in 0..2 {
        let end = shuttle::rand::thread_rng().gen_range(0..24u32);
        let mut hooks = Hooks { host: host.clone(), end: Some(end), calls: 0 };
        let mut options = OnlineOptions {
            swap: Swap::Replace,
            delta_bytes_for_lock: 0,
            max_unlocked_rounds: 2,
            ..OnlineOptions::default()
        };
        options.compact.file_ops = Arc::new(Switching);
        match compact_online(&host.path, "", &options, &mut hooks) {
            Ok(_) => {
                finished.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert_eq!(error.code(), ErrorCode(-77), "{error}"),
        }
    }
}

/// One schedule, from an empty folder to the last check.
fn schedule(finished: &Arc<AtomicU64>) {
    let folder = temp_dir();
    let path = folder.path().join("a.couch.1");
    let mut model = Model::default();
    let db = Db::create(&path).unwrap();
    model.save_both(&db, &[Doc::new(b"doc-0", b"0"), Doc::new(b"doc-9", b"9")], SaveOptions::default());
    db.commit_with(1, None).unwrap();
    drop(db);
    let host = Arc::new(Host { path, lock: HostLock::default(), committed: Mutex::new(model) });
    let writer = thread::spawn({
        let host = host.clone();
        move || write(&host)
    });
    let reader = thread::spawn({
        let host = host.clone();
        move || read(&host)
    });
    compact(&host, finished);
    writer.join().unwrap();
    reader.join().unwrap();
    assert_eq!(files_in(folder.path()), 1);
    let model = host.committed.lock().unwrap().clone();
    model.check(&Db::open(&host.path).unwrap());
}

#[test]
fn every_schedule_keeps_what_was_committed() {
    let schedules = crate::setting("COUCHSTORE_SCHEDULES", 100_000) as usize;
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    let finished = Arc::new(AtomicU64::new(0));
    let (started, limit) = (Instant::now(), crate::setting("COUCHSTORE_SCHEDULES_SECONDS", 60));
    let mut done = 0;
    while done < schedules && started.elapsed().as_secs() < limit {
        let counted = finished.clone();
        let batch = (schedules - done).min(500);
        done +=
            shuttle::Runner::new(RandomScheduler::new(batch), config.clone()).run(move || schedule(&counted));
    }
    println!("{done} schedules, {} compactions completed", finished.load(Ordering::Relaxed));
    assert!(done > 100 || done == schedules);
}
