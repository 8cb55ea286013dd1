// SPDX-License-Identifier: Apache-2.0

//! The calls on the caller's file operations: those of plain files are in `file_ops.rs`.

use crate::common::memory::Memory;
use crate::common::watched::{Call, Kind, Watched};
use crate::support::{NAME, some_keys};
use couchstore::{Db, Document, LocalUpdate, OpenOptions, SaveOptions};

struct World {
    memory: Memory,
    watched: Watched,
}

impl World {
    fn new() -> World {
        let memory = Memory::default();
        let watched = Watched::new(memory.ops());
        World { memory, watched }
    }

    fn options(&self, unbuffered: bool) -> OpenOptions {
        OpenOptions::new().file_ops(self.watched.ops()).unbuffered(unbuffered).keys(some_keys())
    }

    /// A new file, its calls forgotten.
    fn create(&self, unbuffered: bool) -> Db {
        let db = self.options(unbuffered).create(true).open(NAME).unwrap();
        self.watched.take_log();
        db
    }

    /// Length of the ciphertext and tag at this position.
    fn length(&self, position: u64) -> usize {
        let bytes = self.memory.bytes(NAME);
        crate::common::raw::number(&bytes[position as usize..position as usize + 4]) as usize
    }
}

fn save(db: &Db, id: &str, body: &[u8]) {
    db.save(&[Document::new(id.as_bytes(), body)], SaveOptions::default()).unwrap();
}

/// Version, id and context of the metadata header.
const METADATA: usize = 1 + 9 + 33;

#[test]
fn creating_and_opening_without_buffers() {
    let world = World::new();
    let db = world.options(true).create(true).open(NAME).unwrap();
    let log = world.watched.take_log();
    assert_eq!(log[..4], [Call::Open, Call::Size, Call::Write(9, 0), Call::Write(METADATA, 9)]);
    assert_eq!(log[4..], [Call::Write(9, 4096), Call::Write(39, 4105)]);
    db.close().unwrap();
    assert_eq!(world.watched.take_log(), [Call::Close]);

    let _db = world.options(true).open(NAME).unwrap();
    let header = [Call::Read(1, 4096), Call::Read(8, 4097), Call::Read(39, 4105)];
    let metadata = [Call::Read(1, 0), Call::Read(8, 1), Call::Read(METADATA, 9)];
    assert_eq!(world.watched.take_log(), [&[Call::Open, Call::Size][..], &header, &metadata].concat());
}

#[test]
fn a_chunk_is_one_write() {
    let world = World::new();
    let db = world.create(true);
    save(&db, "a", b"body");
    let log = world.watched.take_log();
    let lengths = log.iter().map(|call| if let Call::Write(length, _) = call { *length } else { 0 });
    let lengths: Vec<_> = lengths.collect();
    assert_eq!((log[0], lengths.len()), (Call::Write(24, 4144), 3), "body and two leaves: {log:?}");
    db.save_local(&[LocalUpdate { id: b"x", body: Some(b"1") }, LocalUpdate { id: b"y", body: Some(b"2") }])
        .unwrap();
    assert_eq!(world.watched.take_log().len(), 1, "one leaf");
    db.commit().unwrap();
    let log = world.watched.take_log();
    let body = 39 + 17 + 28 + 12;
    let calls = [Call::Write(9, 8192), Call::Write(body, 8201), Call::Sync, Call::Write(1, 8192), Call::Sync];
    assert_eq!(log, calls);
}

#[test]
fn a_chunk_is_two_reads() {
    let world = World::new();
    let db = world.create(true);
    save(&db, "a", b"body");
    let leaf = 4144 + 24;
    let length = world.length(leaf);
    world.watched.take_log();
    for _ in 0..2 {
        db.get(b"a").unwrap().unwrap();
        let calls =
            [Call::Read(4, leaf), Call::Read(length, leaf + 4), Call::Read(4, 4144), Call::Read(20, 4148)];
        assert_eq!(world.watched.take_log(), calls);
    }
}

#[test]
fn each_boundary_costs_one_write_more() {
    let world = World::new();
    let db = world.create(true);
    save(&db, "a", &[1; 5000]);
    let log = world.watched.take_log();
    let first = 8192 - 4144;
    let rest = 5020 - first;
    let calls = [Call::Write(first, 4144), Call::Write(1, 8192), Call::Write(rest, 8193)];
    assert_eq!(log[..3], calls);
    assert_eq!(log.len(), 5);
}

#[test]
fn buffers_work_for_encrypted_files_too() {
    let world = World::new();
    let db = world.options(false).create(true).open(NAME).unwrap();
    assert_eq!(world.watched.take_log(), [Call::Open, Call::Size]);
    save(&db, "a", b"body");
    db.commit().unwrap();
    assert_eq!((world.watched.count(Kind::Write), world.watched.count(Kind::Sync)), (2, 2));
    db.close().unwrap();
    world.watched.take_log();
    let _db = world.options(false).open(NAME).unwrap();
    let block = |at| Call::Read(4096, at);
    assert_eq!(world.watched.take_log(), [Call::Open, Call::Size, block(8192), block(0)]);
}
