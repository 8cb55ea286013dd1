// SPDX-License-Identifier: Apache-2.0

//! Compaction with a second thread: the same file, the same calls on the caller's thread, the same ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::rng::Rng;
use common::watched::{Call, Effect, FAILURE, Fault, Kind, Watched};
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfoRef, Document, EncryptionKey, ErrorCode, KeyDerivation,
    LocalUpdate, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, Result, SaveOptions, ScanOptions,
    Verdict, compact, compact_online, compact_with,
};
use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

const DOCUMENTS: u64 = 3000;
/// More than is handed from thread to thread at once.
const LARGE: usize = 300_000;

struct World {
    dir: tempfile::TempDir,
    source: Db,
}

impl World {
    fn new() -> World {
        World::with(&OpenOptions::new())
    }

    fn with(options: &OpenOptions) -> World {
        let dir = common::temp_dir();
        let source = options.clone().create(true).open(dir.path().join("source")).unwrap();
        let mut rng = Rng::new();
        for round in 0..3 {
            let numbers: Vec<_> = (0..DOCUMENTS).filter(|number| number % 3 >= round).collect();
            let ids: Vec<_> = numbers.iter().map(|number| format!("{:x}", number * 7919 % 104_729)).collect();
            let length = |number: u64| if number % 500 == 3 { LARGE } else { (number % 700) as usize };
            let bodies: Vec<_> = numbers.iter().map(|&number| rng.noise(length(number))).collect();
            let documents = ids.iter().zip(&bodies).zip(&numbers).map(|((id, body), number)| Document {
                deleted: number % 7 == 0,
                rev_meta: b"some meta",
                ..Document::new(id.as_bytes(), body)
            });
            source.save(&documents.collect::<Vec<_>>(), SaveOptions::default()).unwrap();
            source.save_local(&[LocalUpdate { id: b"_local/x", body: Some(b"y") }]).unwrap();
            source.commit_with(round, None).unwrap();
        }
        World { dir, source }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    /// The bytes of the target, which is removed.
    fn take_target(&self) -> Vec<u8> {
        let bytes = std::fs::read(self.target()).unwrap();
        std::fs::remove_file(self.target()).unwrap();
        bytes
    }

    fn check_nothing_left(&self) {
        assert_eq!(common::files_in(self.dir.path()), 1);
        check_alone();
    }
}

/// Names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok().map(|name| name.trim().to_owned())
    };
    tasks.filter_map(name).collect()
}

/// The tests of this program run one at a time: they look at all of its threads.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> impl Drop {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn has_second_thread() -> bool {
    threads().iter().any(|name| name == "couchstore")
}

fn check_alone() {
    // One that was joined may be listed for a moment.
    for _ in 0..1000 {
        if !has_second_thread() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    panic!("{:?}", threads());
}

fn machine_has_two() -> bool {
    std::thread::available_parallelism().is_ok_and(|threads| threads.get() > 1)
}

/// Looks at what it is told, and ends the compaction on demand.
#[derive(Default)]
struct Observer {
    filters: bool,
    told: Vec<(u64, u64, u64)>,
    filtered: u64,
    /// At this call of progress.
    end_at: Option<(usize, End)>,
    had_second_thread: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Error,
    Panic,
}

impl CompactHooks for Observer {
    fn filters(&self) -> bool {
        self.filters
    }

    fn filter(&mut self, target: &Db, _: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        assert!(!target.is_closed());
        self.filtered += 1;
        Ok(Verdict::Keep)
    }

    fn progress(&mut self, done: u64, total: u64, bytes: u64) -> Result<()> {
        self.had_second_thread |= has_second_thread();
        self.told.push((done, total, bytes));
        match self.end_at {
            Some((at, End::Error)) if at == self.told.len() => {
                Err(couchstore::Error::Callback(ErrorCode::CANCEL))
            }
            Some((at, End::Panic)) if at == self.told.len() => panic!("wanted"),
            _ => Ok(()),
        }
    }
}

impl ReplayHooks for Observer {}
impl OnlineHooks for Observer {}

fn with_threads(threads: usize) -> CompactOptions {
    CompactOptions::new().threads(threads)
}

#[test]
fn the_file_is_the_same_with_any_number_of_threads() {
    let _alone = alone();
    let world = World::new();
    for (drop_deletes, memory_budget) in [(false, 48 << 20), (true, 48 << 20), (false, 1)] {
        let options = |threads| with_threads(threads).drop_deletes(drop_deletes).memory_budget(memory_budget);
        let mut files = [1, 2, 3, 0].map(|threads| {
            compact(&world.source, world.target(), &options(threads)).unwrap();
            world.take_target()
        });
        let first = std::mem::take(&mut files[0]);
        assert!(files[1..].iter().all(|file| *file == first), "{drop_deletes} {memory_budget}");
        let online = OnlineOptions::new().compact(options(2));
        world.source.commit_with(2, None).unwrap();
        let stats = compact_online(
            world.dir.path().join("source"),
            world.target(),
            &online,
            &mut Observer::default(),
        );
        assert_eq!(stats.unwrap().bytes, first.len() as u64);
        assert!(world.take_target() == first);
    }
    world.check_nothing_left();
}

#[test]
fn progress_is_told_on_the_way_and_in_order() {
    let _alone = alone();
    let world = World::new();
    let told = [1, 2].map(|threads| {
        let mut observer = Observer::default();
        compact_with(&world.source, world.target(), &with_threads(threads), &mut observer).unwrap();
        let size = world.take_target().len() as u64;
        assert_eq!(observer.had_second_thread, threads == 2 && machine_has_two());
        let told = observer.told;
        assert_eq!(told[0].0, 0);
        assert!(told[1..].iter().all(|&(done, total, bytes)| done > 0 && done <= total && bytes <= size));
        assert!(told.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].2 <= two[1].2), "{told:?}");
        assert_eq!(told.last().unwrap().0, told[0].1);
        told.iter().map(|&(done, ..)| done).filter(|&done| done < told[0].1).collect::<Vec<_>>()
    });
    assert_eq!(told[0], told[1], "while documents are copied");
    world.check_nothing_left();
}

#[test]
fn progress_tells_of_bodies_of_both_trees_and_of_bytes() {
    let _alone = alone();
    let dir = common::temp_dir();
    let (source, target) = (Db::create(dir.path().join("source")).unwrap(), dir.path().join("target"));
    let ids: Vec<_> = (0..1500).map(|number| format!("{number:04}")).collect();
    let body = Rng::new().noise(4000);
    let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &body)).collect();
    source.save(&documents, SaveOptions::default()).unwrap();
    source.commit().unwrap();
    for threads in [1, 2] {
        let mut observer = Observer::default();
        compact_with(&source, &target, &with_threads(threads), &mut observer).unwrap();
        std::fs::remove_file(&target).unwrap();
        let told = observer.told;
        // The beginning, a thousand documents, the by-sequence tree, a thousand entries of the by-id tree.
        let done: Vec<_> = told.iter().map(|&(done, ..)| done).collect();
        assert_eq!(done, [0, 1000, 1500, 1500], "{threads}");
        // A few batches of documents are on their way.
        assert!(told[1].2 > 2_000_000 && told[2].2 > 6_000_000 && told[3].2 >= told[2].2, "{told:?}");
    }
}

/// Hooks that are shown the target see it as it grows.
#[test]
fn a_filter_runs_alone() {
    let _alone = alone();
    let world = World::new();
    let mut observer = Observer { filters: true, ..Observer::default() };
    compact_with(&world.source, world.target(), &with_threads(2), &mut observer).unwrap();
    assert!(observer.filtered > 0 && !observer.had_second_thread);
}

#[test]
fn an_error_or_a_panic_of_progress_ends_both_threads() {
    let _alone = alone();
    let world = World::new();
    let watched = Watched::new(Arc::new(PosixOps));
    for ops in [watched.ops(), Arc::new(PosixOps)] {
        let options = with_threads(2).file_ops(ops).memory_budget(1);
        let mut all = Observer::default();
        compact_with(&world.source, world.target(), &options, &mut all).unwrap();
        world.take_target();
        let mut reached = 0;
        for (at, end) in (1..=all.told.len()).flat_map(|at| [(at, End::Error), (at, End::Panic)]) {
            let mut observer = Observer { end_at: Some((at, end)), ..Observer::default() };
            let compaction = || compact_with(&world.source, world.target(), &options, &mut observer);
            match catch_unwind(AssertUnwindSafe(compaction)) {
                Ok(Err(error)) => assert!(end == End::Error && error.code() == ErrorCode::CANCEL),
                Err(_) => assert!(end == End::Panic),
                // It is told less often if the second thread is faster.
                Ok(Ok(())) => {
                    world.take_target();
                    continue;
                }
            }
            reached += 1;
            world.check_nothing_left();
        }
        assert!(reached > 4);
    }
    compact(&world.source, world.target(), &with_threads(2)).unwrap();
}

// ---- a caller's operations ------------------------------------------------------------------------------------------

/// By which thread a call was made, and the tag if it gave one.
type Note = (ThreadId, Option<FileTag>);

/// Operations that note their calls.
#[derive(Clone)]
struct Noting(Arc<dyn FileOps>, Arc<Mutex<Vec<Note>>>);

struct NotingHandle(Box<dyn FileHandle>, Noting);

impl Noting {
    fn note(&self, tag: Option<FileTag>) {
        self.1.lock().unwrap().push((std::thread::current().id(), tag));
    }
}

impl FileOps for Noting {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        self.note(None);
        Ok(Box::new(NotingHandle(self.0.open(name, mode)?, self.clone())))
    }
}

impl FileHandle for NotingHandle {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.1.note(None);
        self.0.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.1.note(None);
        self.0.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        self.1.note(None);
        self.0.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        self.1.note(None);
        self.0.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.1.note(None);
        self.0.close()
    }
    fn tag(&mut self, tag: FileTag) {
        self.1.note(Some(tag));
    }
    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        self.1.note(None);
        self.0.set_periodic_sync(bytes)
    }
}

impl Drop for NotingHandle {
    fn drop(&mut self) {
        self.1.note(None);
    }
}

#[test]
fn a_callers_operations_are_called_by_the_caller_as_ever() {
    let _alone = alone();
    let world = World::new();
    let runs = [1, 2].map(|threads| {
        let watched = Watched::new(Arc::new(PosixOps));
        let noting = Noting(watched.ops(), Arc::default());
        let options = with_threads(threads).file_ops(Arc::new(noting.clone())).periodic_sync(Some(1 << 20));
        let mut observer = Observer::default();
        compact_with(&world.source, world.target(), &options, &mut observer).unwrap();
        assert_eq!(observer.had_second_thread, threads == 2 && machine_has_two());
        let notes = std::mem::take(&mut *noting.1.lock().unwrap());
        assert!(notes.iter().all(|note| note.0 == std::thread::current().id()));
        (watched.take_log(), notes, world.take_target())
    });
    let [(log, notes, file), (log_beside, notes_beside, file_beside)] = runs;
    assert!(log.iter().filter(|call| matches!(call, Call::Write(..))).count() > 10);
    assert_eq!(log, log_beside);
    assert!(notes == notes_beside && file == file_beside);
}

#[test]
fn a_call_that_fails_ends_it_with_its_error() {
    let _alone = alone();
    let world = World::new();
    let watched = Watched::new(Arc::new(PosixOps));
    let options = with_threads(2).file_ops(watched.ops());
    compact(&world.source, world.target(), &options).unwrap();
    let whole = world.take_target();
    let count = watched.count(Kind::Write);
    for index in 0..count {
        for effect in [Effect::Fail, Effect::HalfThenFail] {
            if index + 1 == count && effect == Effect::HalfThenFail {
                // One byte, of which there is no half.
                continue;
            }
            watched.set_fault(Some(Fault { kind: Kind::Write, index, times: usize::MAX, effect }));
            let error = compact(&world.source, world.target(), &options).unwrap_err();
            assert_eq!(error.code(), FAILURE, "write {index}");
            world.check_nothing_left();
        }
        for effect in [Effect::Half, Effect::Zero] {
            watched.set_fault(Some(Fault { kind: Kind::Write, index, times: 1, effect }));
            compact(&world.source, world.target(), &options).unwrap();
            assert!(world.take_target() == whole);
        }
    }
}

#[test]
fn after_a_call_that_fails_nothing_more_is_read() {
    let _alone = alone();
    let world = World::new();
    let watched = Watched::new(Arc::new(PosixOps));
    let options = with_threads(2).file_ops(watched.ops());
    watched.set_fault(Some(Fault { kind: Kind::Write, index: 1, times: usize::MAX, effect: Effect::Fail }));
    let mut observer = Observer::default();
    let error = compact_with(&world.source, world.target(), &options, &mut observer).unwrap_err();
    assert_eq!(error.code(), FAILURE);
    // A few batches are on their way.
    assert!(observer.told.len() <= 2, "{:?}", observer.told);
}

#[test]
fn damage_in_the_source_is_found_or_stepped_over() {
    let _alone = alone();
    let world = World::new();
    let path = world.dir.path().join("source");
    let mut positions = Vec::new();
    let mut note = |info: &DocInfoRef<'_>| {
        positions.push(info.body_position);
        Ok(())
    };
    world.source.changes_since(0, ScanOptions::default(), &mut note).unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for position in positions.iter().filter(|&&position| position != 0).step_by(300) {
        bytes[*position as usize + 6] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let source = Db::open(&path).unwrap();
    let ends = [1, 2].map(|threads| {
        let options = with_threads(threads);
        let error = compact(&source, world.target(), &options).unwrap_err();
        world.check_nothing_left();
        let recovery = options.recovery(true);
        let stepped_over = compact(&source, world.target(), &recovery).unwrap_err();
        (error.to_string(), stepped_over.to_string(), world.take_target())
    });
    assert!(ends[0] == ends[1]);
}

#[test]
fn encrypted_and_old_files() {
    let _alone = alone();
    for legacy in [false, true] {
        if !legacy && !couchstore::ENCRYPTION {
            continue;
        }
        let world = World::with(&OpenOptions::new().legacy_crc(legacy));
        let key = EncryptionKey::new("key", &[7; 32], KeyDerivation::KeyBased).unwrap();
        let keys: Option<Arc<dyn couchstore::KeyStore>> = if legacy { None } else { Some(Arc::new(key)) };
        let options = with_threads(2).keys(keys.clone()).upgrade(true);
        compact(&world.source, world.target(), &options).unwrap();
        let copy = OpenOptions::new().keys(keys).open(world.target()).unwrap();
        let documents = |db: &Db| {
            let mut all = Vec::new();
            db.all_docs(b"", ScanOptions::default(), &mut |info| {
                let body = if info.body_position == 0 { Vec::new() } else { db.stored_body(info)? };
                all.push((info.id.to_vec(), info.db_seq, info.deleted, body));
                Ok(())
            })
            .unwrap();
            all
        };
        assert!(documents(&copy) == documents(&world.source));
    }
}
