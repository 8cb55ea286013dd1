// SPDX-License-Identifier: Apache-2.0

//! How much memory compactions take, counted by the allocator: the budget, 4 MiB, and twice the largest body, or twice
//! the largest node if that is larger; while catching up one batch more. The tests here run one at a time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::alloc::{Counting, peak_of_process};
use common::rng::Rng;
use couchstore::{
    CompactHooks, CompactOptions, Db, Document, LocalUpdate, OnlineHooks, OnlineOptions, ReplayHooks, Result,
    SaveOptions, ScanOptions, compact, compact_online,
};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static COUNTING: Counting = Counting;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const MIB: usize = 1 << 20;
const BUDGETS: [usize; 3] = [MIB, 3 * MIB, 12 * MIB];
/// What one batch of a replay takes.
const BATCH: usize = 16 * MIB;

/// A kind of documents.
#[derive(Clone, Copy, Debug)]
struct Shape {
    documents: u64,
    id: usize,
    body: usize,
    locals: u64,
    local_body: usize,
    /// They are deleted, and have no bodies.
    deleted: bool,
}

const TINY: Shape =
    Shape { documents: 300_000, id: 7, body: 0, locals: 1000, local_body: 10, deleted: false };
const TOMBSTONES: Shape = Shape { deleted: true, ..TINY };
const LARGE_IDS: Shape =
    Shape { documents: 6000, id: 4000, body: 10, locals: 0, local_body: 0, deleted: false };
const HUGE_BODIES: Shape =
    Shape { documents: 4, id: 10, body: 40 * MIB, locals: 0, local_body: 0, deleted: false };
const MIXED: Shape =
    Shape { documents: 5000, id: 40, body: 3000, locals: 30, local_body: 100_000, deleted: false };
const LOCALS: Shape =
    Shape { documents: 10, id: 40, body: 10, locals: 100, local_body: 4 * MIB, deleted: false };

/// A file at two of its commits: all documents are saved before the first one, and again before the second.
struct Source {
    folder: tempfile::TempDir,
    all: PathBuf,
    /// Length at the first commit.
    first: u64,
    shape: Shape,
}

impl Source {
    fn new(shape: Shape) -> Source {
        let folder = common::temp_dir();
        let all = folder.path().join("all");
        let db = Db::create(&all).unwrap();
        let mut first = 0;
        for round in 0..2 {
            save(&db, shape, round);
            db.commit().unwrap();
            if round == 0 {
                first = std::fs::metadata(&all).unwrap().len();
            }
        }
        Source { folder, all, first, shape }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("target")
    }

    /// The file as it was at its first commit.
    fn rewind(&self) {
        std::fs::copy(&self.all, self.path()).unwrap();
        File::options().write(true).open(self.path()).unwrap().set_len(self.first).unwrap();
    }

    /// Bytes for what is largest, twice: a document's body, or a node. Local documents stand in nodes, of which one may
    /// hold three large ones; it is read compressed and inflated.
    fn largest(&self) -> usize {
        2 * self.shape.body.max(3 * self.shape.local_body)
    }

    /// The target has as many documents as the source, in both trees, and their bodies.
    fn check_target(&self) {
        let db = Db::open(self.target()).unwrap();
        let (mut documents, mut last) = (0, Vec::new());
        db.all_docs(b"", ScanOptions::default(), &mut |info| {
            assert!(documents == 0 || info.id > last.as_slice());
            (documents, last) = (documents + 1, info.id.to_vec());
            assert_eq!(info.deleted, self.shape.deleted);
            if !info.deleted {
                assert_eq!(db.stored_body(info)?.len(), self.shape.body);
            }
            Ok(())
        })
        .unwrap();
        assert_eq!(documents, self.shape.documents);
        assert_eq!(db.changes_count(0, u64::MAX).unwrap(), self.shape.documents);
        let mut locals = 0;
        db.scan_local(b"", &mut |_, body| {
            assert_eq!(body.len(), self.shape.local_body);
            locals += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(locals, self.shape.locals);
        drop(db);
        std::fs::remove_file(self.target()).unwrap();
    }
}

fn save(db: &Db, shape: Shape, round: u64) {
    let mut rng = Rng::with_seed(round);
    let body = rng.noise(shape.body);
    let batch = (100 * MIB as u64 / (shape.body as u64 + 1000)).max(1);
    for first in (0..shape.documents).step_by(batch as usize) {
        let id =
            |number: u64| format!("{:0width$}", number * 7919 % 1_000_003, width = shape.id).into_bytes();
        let ids: Vec<_> = (first..shape.documents.min(first + batch)).map(id).collect();
        let document = |id| Document::new(id, &body);
        let tombstone = |id| Document { body: None, deleted: true, ..Document::new(id, b"") };
        let docs: Vec<_> = if shape.deleted {
            ids.iter().map(|id| tombstone(id)).collect()
        } else {
            ids.iter().map(|id| document(id)).collect()
        };
        db.save(&docs, SaveOptions::default()).unwrap();
    }
    for number in 0..shape.locals {
        let (id, body) = (format!("_local/{number:06}"), rng.noise(shape.local_body));
        db.save_local(&[LocalUpdate { id: id.as_bytes(), body: Some(&body) }]).unwrap();
    }
}

/// The writer: goes on to the second commit once the copy is made.
struct Writer<'a>(&'a Source);

impl CompactHooks for Writer<'_> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        let mut rest = File::open(&self.0.all).unwrap();
        rest.seek(SeekFrom::Start(self.0.first)).unwrap();
        let mut file = File::options().append(true).open(self.0.path()).unwrap();
        std::io::copy(&mut rest, &mut file).unwrap();
        Ok(())
    }
}

impl ReplayHooks for Writer<'_> {}
impl OnlineHooks for Writer<'_> {}

fn check(what: &str, shape: Shape, budget: usize, peak: usize, limit: usize) {
    println!("{what} {shape:?}, budget {} KiB: {} of {} KiB", budget >> 10, peak >> 10, limit >> 10);
    assert!(peak > 0, "the counting allocator is at work");
    assert!(peak <= limit, "{what} {shape:?}, budget {budget}: {peak} bytes, the limit is {limit}");
}

fn both_ways(shape: Shape) {
    let source = Source::new(shape);
    for memory_budget in BUDGETS {
        source.rewind();
        let options = CompactOptions::new().memory_budget(memory_budget);
        let db = Db::open(source.path()).unwrap();
        let (result, peak) = peak_of_process(|| compact(&db, source.target(), &options));
        result.unwrap();
        source.check_target();
        let limit = memory_budget + 4 * MIB + source.largest();
        check("compaction", shape, memory_budget, peak, limit);

        let beside = options.clone().threads(2);
        let (result, peak) = peak_of_process(|| compact(&db, source.target(), &beside));
        result.unwrap();
        source.check_target();
        check("compaction with two threads", shape, memory_budget, peak, limit);

        let online = OnlineOptions::new().compact(options);
        let compaction = || compact_online(source.path(), source.target(), &online, &mut Writer(&source));
        let (result, peak) = peak_of_process(compaction);
        assert!(result.unwrap().bytes > 0);
        source.check_target();
        check("online compaction", shape, memory_budget, peak, limit + BATCH);
    }
}

#[test]
fn many_tiny_documents() {
    let _alone = alone();
    both_ways(TINY);
}

#[test]
fn many_tombstones_in_a_row() {
    let _alone = alone();
    both_ways(TOMBSTONES);
}

#[test]
fn large_ids() {
    let _alone = alone();
    both_ways(LARGE_IDS);
}

#[test]
fn huge_bodies() {
    let _alone = alone();
    both_ways(HUGE_BODIES);
}

#[test]
fn a_mixture() {
    let _alone = alone();
    both_ways(MIXED);
}

#[test]
fn local_documents_of_megabytes() {
    let _alone = alone();
    both_ways(LOCALS);
}

/// What is sorted on the disk is encrypted, too, and so is each body once more.
#[cfg(feature = "encryption")]
#[test]
fn encrypted_targets() {
    use couchstore::{EncryptionKey, KeyDerivation, KeyStore};
    use std::sync::Arc;

    let _alone = alone();
    for shape in [Shape { documents: 4, ..HUGE_BODIES }, Shape { documents: 50_000, ..TINY }] {
        let source = Source::new(shape);
        source.rewind();
        let key = EncryptionKey::new("key", &[7; 32], KeyDerivation::KeyBased).unwrap();
        let keys: Option<Arc<dyn KeyStore>> = Some(Arc::new(key));
        let db = Db::open(source.path()).unwrap();
        for threads in [1, 2] {
            let keys = keys.clone();
            let options = CompactOptions::new().memory_budget(MIB).keys(keys).threads(threads);
            let (result, peak) = peak_of_process(|| compact(&db, source.target(), &options));
            result.unwrap();
            check("encryption", shape, MIB, peak, 5 * MIB + source.largest());
            std::fs::remove_file(source.target()).unwrap();
        }
    }
}

/// The budget is what is used: sorting does not go to the disk long before.
#[test]
fn most_of_the_budget_is_used() {
    let _alone = alone();
    let source = Source::new(TINY);
    source.rewind();
    let db = Db::open(source.path()).unwrap();
    let options = CompactOptions::new().memory_budget(8 * MIB);
    let (result, peak) = peak_of_process(|| compact(&db, source.target(), &options));
    result.unwrap();
    assert!(peak > 7 * MIB, "{peak}");
}
