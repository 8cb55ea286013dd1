// SPDX-License-Identifier: Apache-2.0

//! What the programs share: where files lie, the documents, a loaded database.

#![allow(dead_code, reason = "no program needs all of it")]

use couchstore::{Db, DocInfoRef, Document, Result, SaveOptions};
use criterion::{BenchmarkGroup, Throughput};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

/// Documents of the database that most benchmarks work on.
pub(crate) const COUNT: u64 = 100_000;
const BODY: usize = 256;

pub(crate) type Group<'a> = BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// What a scan does with an entry that it is not interested in.
#[allow(clippy::unnecessary_wraps, reason = "the signature of a callback")]
pub(crate) fn look(info: &DocInfoRef<'_>) -> Result<()> {
    black_box(info.db_seq);
    Ok(())
}

/// A document, prepared.
pub(crate) struct Prepared {
    pub(crate) id: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// A small generator of numbers (splitmix64): the same ones in each run.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn document(&mut self, number: u64) -> Prepared {
        // Ids in no order, but the same id for the same number.
        let id = format!("{:012x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16).into_bytes();
        Prepared { id, body: (0..BODY).map(|_| self.next() as u8).collect() }
    }

    pub(crate) fn updates(&mut self, count: usize) -> Vec<Prepared> {
        let any = |numbers: &mut Numbers| numbers.next() % COUNT;
        (0..count)
            .map(|_| {
                let number = any(self);
                self.document(number)
            })
            .collect()
    }
}

pub(crate) fn all_documents() -> Vec<Prepared> {
    let mut numbers = Numbers(1);
    (0..COUNT).map(|number| numbers.document(number)).collect()
}

pub(crate) fn borrowed(documents: &[Prepared]) -> Vec<Document<'_>> {
    let entry = |document| Document { rev_meta: b"0123456789abcdef", rev_seq: 1, ..document };
    documents.iter().map(|prepared| entry(Document::new(&prepared.id, &prepared.body))).collect()
}

pub(crate) fn folder() -> tempfile::TempDir {
    let in_memory = Path::new("/dev/shm");
    if in_memory.is_dir() { tempfile::tempdir_in(in_memory) } else { tempfile::tempdir() }.unwrap()
}

pub(crate) fn load(db: &Db, documents: &[Document<'_>]) {
    for batch in documents.chunks(10_000) {
        db.save(batch, SaveOptions::default()).unwrap();
        db.commit().unwrap();
    }
}

/// A database with all documents.
pub(crate) struct Loaded {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) documents: Vec<Prepared>,
    pub(crate) db: Db,
}

pub(crate) fn loaded() -> Loaded {
    let (dir, documents) = (folder(), all_documents());
    let db = Db::create(dir.path().join("loaded")).unwrap();
    load(&db, &borrowed(&documents));
    Loaded { dir, documents, db }
}

pub(crate) fn settings(group: &mut Group<'_>, elements: u64) {
    group.sample_size(10).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(5));
    group.throughput(Throughput::Elements(elements));
}
