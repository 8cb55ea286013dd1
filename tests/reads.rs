// SPDX-License-Identifier: Apache-2.0

//! What is read of a file, and in which pieces, when nobody has asked for buffers of some size.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::raw::BLOCK;
use common::watched::{Call, Effect, Fault, Kind, Watched};
use couchstore::{
    COMPRESSED, Db, DocInfo, DocInfoRef, Document, Error, OpenOptions, SaveOptions, ScanOptions,
};
use std::cell::Cell;

const NAME: &str = "reads.couch";

struct World {
    watched: Watched,
    db: Db,
    count: usize,
}

fn id(number: usize) -> Vec<u8> {
    format!("document {number:05}").into_bytes()
}

/// Of many lengths, on both sides of block boundaries.
fn body(number: usize) -> Vec<u8> {
    (0..number * 37 % 700).map(|at| (at * number % 251) as u8).collect()
}

impl World {
    /// A file with so many documents, opened anew.
    fn new(count: usize, encode: impl Fn(OpenOptions) -> OpenOptions) -> World {
        let watched = Watched::new(Memory::default().ops());
        let options = || encode(OpenOptions::new().file_ops(watched.ops()));
        let db = options().create(true).open(NAME).unwrap();
        let texts: Vec<_> = (0..count).map(|number| (id(number), body(number))).collect();
        let docs: Vec<_> = texts
            .iter()
            .map(|(id, body)| Document { content_meta: COMPRESSED, ..Document::new(id, body) })
            .collect();
        db.save(&docs, SaveOptions::new().compress(true)).unwrap();
        db.commit().unwrap();
        db.close().unwrap();
        let db = options().read_only(true).open(NAME).unwrap();
        watched.take_log();
        World { watched, db, count }
    }

    fn exact(count: usize) -> World {
        World::new(count, |options| options)
    }

    /// Lengths and offsets of the reads since the last time.
    fn reads(&self) -> Vec<(usize, u64)> {
        let read = |call| if let Call::Read(length, at) = call { Some((length, at)) } else { None };
        self.watched.take_log().into_iter().filter_map(read).collect()
    }

    /// All bodies, read in a scan by sequence.
    fn scan(&self, options: ScanOptions) -> couchstore::Result<usize> {
        let mut shown = 0;
        self.db.changes_since(0, options, &mut |info| {
            assert_eq!(self.db.body(info)?, body(shown));
            shown += 1;
            Ok(())
        })?;
        Ok(shown)
    }
}

/// Bytes between the first and the last one of a chunk of this size at this position.
fn extent(position: u64, size: u64) -> u64 {
    let first = position + u64::from(position.is_multiple_of(BLOCK));
    let mut end = first;
    for _ in 0..size {
        end += 1 + u64::from(end.is_multiple_of(BLOCK));
    }
    // A type byte behind the last byte is none of it.
    end - u64::from(size > 0 && end % BLOCK == 1 && end - 1 > first) - first
}

#[test]
fn a_body_is_read_with_one_call_of_its_size() {
    let world = World::exact(400);
    for number in 0..world.count {
        let info = world.db.doc_info(&id(number)).unwrap().unwrap();
        world.reads();
        assert_eq!(world.db.body(&info.borrowed()).unwrap(), body(number));
        let reads = world.reads();
        let [(length, at)] = reads[..] else { panic!("{number}: {reads:?}") };
        assert_eq!(at, info.body_position + u64::from(info.body_position.is_multiple_of(BLOCK)));
        assert_eq!(length as u64, extent(info.body_position, info.physical_size), "{info:?}");
    }
}

#[test]
fn what_an_entry_says_of_the_size_is_only_a_hint() {
    let world = World::exact(400);
    let infos: Vec<DocInfo> =
        (0..world.count).map(|number| world.db.doc_info(&id(number)).unwrap().unwrap()).collect();
    let size = world.db.info().unwrap().file_size;
    for (number, info) in infos.iter().enumerate() {
        for wrong in [0, 1, 8, 9, info.physical_size - 1, info.physical_size + 1, 70_000, u64::MAX] {
            world.reads();
            let info = DocInfoRef { physical_size: wrong, ..info.borrowed() };
            assert_eq!(world.db.body(&info).unwrap(), body(number), "{number}: {wrong}");
            let reads = world.reads();
            assert!(reads.len() <= 2, "{number}: {wrong}: {reads:?}");
            for (length, at) in reads {
                assert!(
                    length <= 64 << 10 && at + length as u64 <= size,
                    "{number}: {wrong}: {length} at {at}"
                );
            }
        }
    }
}

#[test]
fn long_bodies_are_read_in_two_pieces() {
    let world = World::exact(1);
    let db = OpenOptions::new().file_ops(world.watched.ops()).open(NAME).unwrap();
    for length in [30_000, 32 << 10, 65_000, 65_529, 65_537, 1 << 20] {
        let text: Vec<u8> = (0..length).map(|at| (at as u64 * at as u64 / 7 % 255) as u8).collect();
        db.save(&[Document::new(b"long", &text)], SaveOptions::default()).unwrap();
        // Waiting to be written, in part or as a whole, and written.
        assert!(db.get(b"long").unwrap().unwrap() == text);
        db.commit().unwrap();
        let info = db.doc_info(b"long").unwrap().unwrap();
        world.reads();
        assert!(db.body(&info.borrowed()).unwrap() == text);
        let reads = world.reads();
        assert!(reads.len() <= 2, "{reads:?}");
        let sum: usize = reads.iter().map(|(length, _)| length).sum();
        assert_eq!(sum as u64, extent(info.body_position, info.physical_size));
    }
}

#[test]
fn scans_read_leaves_and_bodies_by_plan() {
    let world = World::exact(5000);
    let mut shown = 0;
    let mut count = |_: &DocInfoRef<'_>| {
        shown += 1;
        Ok(())
    };
    world.db.changes_since(0, ScanOptions::default(), &mut count).unwrap();
    world.db.all_docs(b"", ScanOptions::default(), &mut count).unwrap();
    assert_eq!(shown, 2 * world.count);
    // Of nodes that stand side by side: about one read for each pointer node.
    let reads = world.reads();
    assert!(reads.len() < world.count / 100, "{} reads", reads.len());
    assert_eq!(world.scan(ScanOptions::default()).unwrap(), world.count);
    let reads = world.reads();
    assert!(reads.len() < world.count / 50, "{} reads", reads.len());
    assert!(reads.iter().all(|&(length, _)| length <= 256 << 10));
}

#[test]
fn bodies_are_read_ahead_only_for_callbacks_that_read_them() {
    let world = World::exact(2000);
    let every = |step: usize| {
        let seen = Cell::new(0_usize);
        world.reads();
        let mut visit = |info: &DocInfoRef<'_>| {
            let number = seen.replace(seen.get() + 1);
            if number.is_multiple_of(step) {
                assert_eq!(world.db.body(info)?, body(number));
            }
            Ok(())
        };
        world.db.changes_since(0, ScanOptions::default(), &mut visit).unwrap();
        world.reads()
    };
    let bytes = |reads: &[(usize, u64)]| reads.iter().map(|(length, _)| length).sum::<usize>();
    let (all, few) = (every(1), every(100));
    assert!(all.len() < world.count / 20, "{} reads", all.len());
    // Each of the few by itself.
    assert!(bytes(&few) < bytes(&all) / 2, "{} of {} bytes", bytes(&few), bytes(&all));
}

#[test]
fn ranges_do_not_read_what_lies_behind_them() {
    let world = World::exact(5000);
    let mut shown = 0;
    let mut count = |_: &DocInfoRef<'_>| {
        shown += 1;
        Ok(())
    };
    world.db.changes_in_range(2000, Some(2003), ScanOptions::default(), &mut count).unwrap();
    assert_eq!(shown, 4);
    let reads = world.reads();
    let bytes: usize = reads.iter().map(|(length, _)| length).sum();
    assert!(bytes < 8 << 10, "{reads:?}");
}

#[test]
fn a_failed_read_ends_the_scan_with_its_error() {
    let mut world = World::exact(1000);
    // On a handle that has read nothing but its header.
    let mut scan = |fault: Option<(usize, Effect)>| {
        world.watched.set_fault(None);
        world.db = OpenOptions::new().read_only(true).file_ops(world.watched.ops()).open(NAME).unwrap();
        world.reads();
        let fault = fault.map(|(index, effect)| Fault { kind: Kind::Read, index, times: 1, effect });
        world.watched.set_fault(fault);
        (world.scan(ScanOptions::default()), world.reads().len())
    };
    let (all, reads) = scan(None);
    assert_eq!(all.unwrap(), 1000);
    for index in 0..reads {
        let (failed, tried) = scan(Some((index, Effect::Fail)));
        assert!(matches!(failed, Err(Error::Io { .. })), "{index}: {failed:?}");
        assert_eq!(tried, index + 1, "nothing is tried again");
        assert_eq!(scan(Some((index, Effect::Half))).0.unwrap(), 1000, "short read {index}");
    }
}

#[test]
fn units_are_read_where_they_are_asked_for() {
    let world = World::new(1000, |options| options.read_buffers(8192, 4));
    assert_eq!(world.scan(ScanOptions::default()).unwrap(), world.count);
    for (length, at) in world.reads() {
        assert!(length % 8192 == 0 && length <= 4 * 8192 && at % 8192 == 0, "{length} at {at}");
    }
}

/// Callbacks may write; what was read ahead stays right.
#[test]
fn writing_within_a_scan() {
    let world = World::exact(1000);
    let db = OpenOptions::new().file_ops(world.watched.ops()).open(NAME).unwrap();
    let large = vec![7; 50_000];
    let mut shown = 0;
    db.changes_since(0, ScanOptions::default(), &mut |info| {
        assert_eq!(db.body(info)?, body(shown));
        if shown % 10 == 0 {
            db.save(&[Document::new(&id(shown), &large)], SaveOptions::default())?;
            assert!(db.get(&id(shown))?.is_some_and(|body| body == large));
        }
        shown += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(shown, world.count);
}
