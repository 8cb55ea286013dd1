// SPDX-License-Identifier: Apache-2.0

//! The calls that the library makes on the caller's file operations, and what it makes of odd results.
//!
//! Callers count these calls in their own tests. What happens when calls fail is in `faults.rs`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::raw::BLOCK;
use common::watched::{Call, Effect, FAILURE, Fault, Kind, Watched};
use couchstore::{
    Db, Direction, Document, Error, ErrorCode, LocalUpdate, OpenOptions, SaveOptions, ScanOptions,
};

const NAME: &str = "calls.couch";

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
        OpenOptions::new().file_ops(self.watched.ops()).unbuffered(unbuffered)
    }

    fn create(&self, unbuffered: bool) -> Db {
        self.options(unbuffered).create(true).open(NAME).unwrap()
    }

    /// Length of the chunk's body at this position.
    fn chunk_length(&self, position: u64) -> usize {
        let bytes = self.memory.bytes(NAME);
        let at = position as usize;
        (common::raw::number(&bytes[at..at + 4]) & 0x7fff_ffff) as usize
    }
}

fn save(db: &Db, ids: &[&str]) {
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
}

// ---- without buffers: every call is known ---------------------------------------------------------------------------

#[test]
fn creating_without_buffers() {
    let world = World::new();
    let db = world.create(true);
    let calls = [Call::Open, Call::Size, Call::Write(9, 0), Call::Write(39, 9)];
    assert_eq!(world.watched.take_log(), calls);
    db.close().unwrap();
    assert_eq!(world.watched.take_log(), [Call::Close]);
}

#[test]
fn saving_and_committing_without_buffers() {
    let world = World::new();
    let db = world.create(true);
    world.watched.take_log();
    save(&db, &["a"]);
    let log = world.watched.take_log();
    // Body, by-id leaf, by-sequence leaf: each with its prefix.
    let lengths: Vec<_> =
        log.iter().map(|call| if let Call::Write(length, _) = call { *length } else { 0 }).collect();
    assert_eq!(log.len(), 6, "{log:?}");
    assert_eq!((lengths[0], lengths[1], lengths[2], lengths[4]), (8, 4, 8, 8), "{log:?}");
    assert_eq!(log[0], Call::Write(8, 48));

    db.save_local(&[LocalUpdate { id: b"x", body: Some(b"1") }, LocalUpdate { id: b"y", body: Some(b"2") }])
        .unwrap();
    assert_eq!(world.watched.take_log().len(), 2, "one leaf");

    db.commit().unwrap();
    let body = 39 + 17 + 28 + 12;
    let calls = [Call::Write(9, 4096), Call::Write(body, 4105), Call::Sync, Call::Write(1, 4096), Call::Sync];
    assert_eq!(world.watched.take_log(), calls);
}

#[test]
fn bodies_come_first_and_in_the_given_order() {
    let world = World::new();
    let db = world.create(true);
    world.watched.take_log();
    let (fifty, sixty) = ([1; 50], [2; 60]);
    db.save(&[Document::new(b"z", &sixty), Document::new(b"a", &fifty)], SaveOptions::default()).unwrap();
    let log = world.watched.take_log();
    let starts = [Call::Write(8, 48), Call::Write(60, 56), Call::Write(8, 116), Call::Write(50, 124)];
    assert_eq!(log[..4], starts);
    assert_eq!(log.len(), 8);
}

/// Behind the newest header stands what was never committed. It may have failed to reach the disk, and its last block
/// is not shared with it.
#[test]
fn behind_what_was_never_committed_appending_begins_in_a_block_of_its_own() {
    let world = World::new();
    let db = world.create(true);
    save(&db, &["a"]);
    db.close().unwrap();
    for rewound in [false, true] {
        let size = world.memory.bytes(NAME).len() as u64;
        let db = world.options(true).open(NAME).unwrap();
        if rewound {
            db.seek_offset(0).unwrap();
        }
        assert_eq!((db.info().unwrap().last_sequence, db.info().unwrap().file_size), (0, size));
        world.watched.take_log();
        // A failure does not move the place.
        world.watched.set_fault(Some(Fault { kind: Kind::Write, index: 0, times: 1, effect: Effect::Zero }));
        save(&db, &["b"]);
        let log = world.watched.take_log();
        let boundary = if rewound { 2 * BLOCK } else { BLOCK };
        let start = [Call::Write(1, boundary), Call::Write(1, boundary), Call::Write(8, boundary + 1)];
        assert_eq!(log[..3], start, "one call for the boundary, repeated once");
        assert_eq!(log.len(), 2 + 6);
        save(&db, &["c"]);
        assert_eq!(world.watched.count(Kind::Write), 6, "only before the first append");
        db.close().unwrap();
    }
}

#[test]
fn a_first_append_that_fails_leaves_the_end_where_it_was() {
    for unbuffered in [true, false] {
        let world = World::new();
        world.create(true).close().unwrap();
        world.memory.file(NAME).unwrap().lock().unwrap().extend([0; 100]);
        let db = world.options(unbuffered).open(NAME).unwrap();
        // Too much for a write buffer.
        let body = vec![7; 200_000];
        let document = [Document::new(b"a", &body)];
        world.watched.set_fault(Some(Fault { kind: Kind::Write, index: 0, times: 1, effect: Effect::Fail }));
        db.save(&document, SaveOptions::default()).unwrap_err();
        world.watched.take_log();
        db.save(&document, SaveOptions::default()).unwrap();
        assert_eq!(db.get(b"a").unwrap().unwrap(), body);
        db.commit().unwrap();
        let first = world.watched.take_log().into_iter().find_map(|call| match call {
            Call::Write(_, offset) => Some(offset),
            _ => None,
        });
        assert!(first.unwrap() >= BLOCK, "{first:?}");
        drop(db);
        assert_eq!(world.options(true).open(NAME).unwrap().get(b"a").unwrap().unwrap(), body);
    }
}

#[test]
fn a_commit_alone_needs_no_call_for_the_boundary() {
    let world = World::new();
    world.create(true).close().unwrap();
    world.memory.file(NAME).unwrap().lock().unwrap().extend([0; 100]);
    let db = world.options(true).open(NAME).unwrap();
    world.watched.take_log();
    db.commit().unwrap();
    let calls =
        [Call::Write(9, BLOCK), Call::Write(39, BLOCK + 9), Call::Sync, Call::Write(1, BLOCK), Call::Sync];
    assert_eq!(world.watched.take_log(), calls);
}

#[test]
fn a_block_boundary_splits_a_write() {
    let world = World::new();
    let db = world.create(true);
    world.watched.take_log();
    db.save(&[Document::new(b"a", &[7; 5000])], SaveOptions::default()).unwrap();
    let log = world.watched.take_log();
    let body = [Call::Write(8, 48), Call::Write(4040, 56), Call::Write(1, 4096), Call::Write(960, 4097)];
    assert_eq!(log[..4], body);
}

#[test]
fn opening_and_reading_without_buffers() {
    let world = World::new();
    let db = world.create(true);
    save(&db, &["a"]);
    db.commit().unwrap();
    db.close().unwrap();
    world.watched.take_log();

    let db = world.options(true).open(NAME).unwrap();
    let header = [Call::Read(1, 4096), Call::Read(8, 4097), Call::Read(39 + 17 + 28, 4105)];
    assert_eq!(world.watched.take_log(), [&[Call::Open, Call::Size][..], &header].concat());

    let leaf = 48 + 12;
    let length = world.chunk_length(leaf);
    for _ in 0..2 {
        // The same again: nothing is kept between two calls.
        assert_eq!(db.get(b"a").unwrap().unwrap(), b"body");
        let calls = [Call::Read(8, leaf), Call::Read(length, leaf + 8), Call::Read(8, 48), Call::Read(4, 56)];
        assert_eq!(world.watched.take_log(), calls);
    }
    db.seek(Direction::Backward).unwrap();
    assert_eq!(world.watched.take_log(), [Call::Read(1, 0), Call::Read(8, 1), Call::Read(39, 9)]);
    assert!(db.seek(Direction::Backward).is_err());
    assert_eq!(world.watched.take_log(), []);
}

#[test]
fn the_search_without_buffers_looks_at_one_block_at_a_time() {
    let world = World::new();
    world.create(true).close().unwrap();
    world.memory.file(NAME).unwrap().lock().unwrap().resize(3 * BLOCK as usize + 10, 0);
    world.watched.take_log();
    world.options(true).open(NAME).unwrap();
    let blocks = [12288, 8192, 4096, 0].map(|at| Call::Read(1, at));
    let calls = [&[Call::Open, Call::Size][..], &blocks, &[Call::Read(8, 1), Call::Read(39, 9)]].concat();
    assert_eq!(world.watched.take_log()[..calls.len()], calls);
}

// ---- with buffers: how many calls there are -------------------------------------------------------------------------

#[test]
fn nothing_is_written_before_the_first_commit() {
    let world = World::new();
    let db = world.create(false);
    save(&db, &["a", "b"]);
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"body", "reads see through the write buffer");
    assert_eq!(world.watched.take_log(), [Call::Open, Call::Size]);
    db.commit().unwrap();
    let log = world.watched.take_log();
    let [Call::Write(length, 0), Call::Sync, Call::Write(1, header), Call::Sync] = log[..] else {
        panic!("{log:?}");
    };
    assert_eq!(length as u64, db.info().unwrap().file_size);
    assert_eq!(header, db.header_position());
    db.close().unwrap();
    assert_eq!(world.watched.take_log(), [Call::Close]);
}

#[test]
fn a_file_that_is_closed_without_commit_keeps_its_first_header() {
    let world = World::new();
    world.create(false).close().unwrap();
    assert_eq!(world.watched.take_log(), [Call::Open, Call::Size, Call::Write(48, 0), Call::Close]);
}

#[test]
fn opening_reads_only_the_block_of_the_header() {
    let world = World::new();
    let db = world.create(false);
    let ids: Vec<_> = (0..2000).map(|number| format!("{number}")).collect();
    save(&db, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    db.commit().unwrap();
    db.close().unwrap();
    world.watched.take_log();
    let db = world.options(false).open(NAME).unwrap();
    let block = Call::Read(4096, db.header_position());
    assert_eq!(world.watched.take_log(), [Call::Open, Call::Size, block]);
    // A scan reads ahead: far fewer calls than blocks.
    db.changes_since(0, ScanOptions::default(), &mut |_| Ok(())).unwrap();
    let blocks = db.info().unwrap().file_size / BLOCK;
    let reads = world.watched.count(Kind::Read) as u64;
    assert!(reads < blocks, "{reads} reads for {blocks} blocks");
}

#[test]
fn each_commit_syncs_twice_and_nothing_else_does() {
    let world = World::new();
    let db = world.create(false);
    for round in 0..5 {
        save(&db, &[&format!("{round}")]);
        assert_eq!(world.watched.count(Kind::Sync), 0);
        db.commit().unwrap();
        assert_eq!(world.watched.count(Kind::Sync), 2);
        world.watched.take_log();
    }
    db.close().unwrap();
    let reader = world.options(false).read_only(true).open(NAME).unwrap();
    reader.close().unwrap();
    assert_eq!(world.watched.count(Kind::Sync), 0);
    assert_eq!(world.watched.count(Kind::Write), 0);
}

#[test]
fn periodic_sync_is_asked_for_once_and_only_if_wanted() {
    let world = World::new();
    world.options(false).create(true).periodic_sync(Some(1 << 20)).open(NAME).unwrap();
    let log = world.watched.take_log();
    assert_eq!(log[..3], [Call::Open, Call::PeriodicSync(1 << 20), Call::Size]);
    world.options(false).open(NAME).unwrap();
    assert!(!world.watched.take_log().iter().any(|call| matches!(call, Call::PeriodicSync(_))));
    // These operations do not offer the others.
    let refused = world.options(false).tracing(true).open(NAME).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NOT_SUPPORTED);
}

#[test]
fn when_all_writes_fail_one_is_tried_at_commit_and_one_at_close() {
    let world = World::new();
    let fault = Fault { kind: Kind::Write, index: 0, times: usize::MAX, effect: Effect::Fail };
    world.watched.set_fault(Some(fault));
    let db = world.create(false);
    save(&db, &["a"]);
    assert_eq!(world.watched.count(Kind::Write), 0);
    assert_eq!(db.commit().unwrap_err().code(), FAILURE);
    assert_eq!(world.watched.count(Kind::Write), 1);
    assert_eq!(db.last_os_error(), libc::EIO);
    assert_eq!(db.close().unwrap_err().code(), FAILURE);
    assert_eq!(world.watched.count(Kind::Write), 2);
    assert_eq!(db.last_os_error(), libc::EIO);
}

#[test]
fn nothing_is_written_to_a_read_only_handle() {
    let world = World::new();
    world.create(false).close().unwrap();
    world.watched.take_log();
    let db = world.options(false).read_only(true).open(NAME).unwrap();
    let refused = [
        db.save(&[Document::new(b"a", b"a")], SaveOptions::default()).map(drop),
        db.save_local(&[LocalUpdate { id: b"a", body: Some(b"a") }]),
        db.commit(),
    ];
    for result in refused {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::ReadOnly { .. }), "{error}");
        assert_eq!((error.code(), error.os_error()), (ErrorCode::WRITE, Some(libc::EBADF)));
    }
    db.close().unwrap();
    assert_eq!(world.watched.count(Kind::Write), 0);
}

// ---- short and empty transfers are no failures ----------------------------------------------------------------------

/// Saves, commits, opens again and reads, with all calls of a kind hit in this way.
fn with_every_call(kind: Kind, effect: Effect, times: usize) {
    for unbuffered in [false, true] {
        let world = World::new();
        world.watched.set_fault(Some(Fault { kind, index: 0, times, effect }));
        let db = world.create(unbuffered);
        db.save(&[Document::new(b"a", &[5; 10_000])], SaveOptions::default()).unwrap();
        db.commit().unwrap();
        db.close().unwrap();
        let db = world.options(unbuffered).open(NAME).unwrap();
        assert_eq!(db.get(b"a").unwrap().unwrap(), [5; 10_000]);
        assert_eq!(db.info().unwrap().doc_count, 1);
    }
}

#[test]
fn short_writes_are_continued() {
    with_every_call(Kind::Write, Effect::Half, usize::MAX);
}

#[test]
fn short_reads_are_continued() {
    with_every_call(Kind::Read, Effect::Half, usize::MAX);
}

#[test]
fn writes_that_write_nothing_are_repeated() {
    with_every_call(Kind::Write, Effect::Zero, 32);
}

#[test]
fn a_write_that_never_writes_anything_is_given_up() {
    let world = World::new();
    let db = world.create(false);
    save(&db, &["a"]);
    let fault = Fault { kind: Kind::Write, index: 0, times: usize::MAX, effect: Effect::Zero };
    world.watched.set_fault(Some(fault));
    assert_eq!(db.commit().unwrap_err().code(), ErrorCode::WRITE);
    let tries = world.watched.count(Kind::Write);
    assert!((33..10_000).contains(&tries), "{tries}");
    world.watched.set_fault(None);
    db.commit().unwrap();
}

/// The prefix of a chunk may end where a block ends. If the body is empty, nothing may follow, not even the byte that
/// the next block begins with.
#[test]
fn an_empty_body_at_the_end_of_a_block() {
    for unbuffered in [false, true] {
        for length in (BLOCK - 100)..BLOCK {
            let world = World::new();
            let db = world.create(unbuffered);
            let body = vec![1; length as usize];
            let docs = [Document::new(b"before", &body), Document::new(b"empty", b"")];
            let mut seen = Vec::new();
            db.save_and_tell(&docs, SaveOptions::default(), &mut |_, new, _| {
                // Nothing behind the last chunk is in the file yet.
                seen.push(db.stored_body(new)?.len() as u64);
                Ok(())
            })
            .unwrap();
            assert_eq!(seen, [length, 0]);
            assert_eq!(db.get(b"empty").unwrap().unwrap(), b"");
            db.commit().unwrap();
            db.close().unwrap();
            let db = world.options(unbuffered).open(NAME).unwrap();
            assert_eq!(db.get(b"empty").unwrap().unwrap(), b"");
            assert_eq!(db.get(b"before").unwrap().unwrap(), body);
        }
    }
}
