// SPDX-License-Identifier: Apache-2.0

//! Damaged and hostile files: whatever the bytes, every call returns, soon, and without reserving much memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::alloc::{self, Counting};
use common::forge::{self, Forge};
use common::memory::Memory;
use common::model::{Doc, Model};
use common::raw::BLOCK;
use common::rng::Rng;
use couchstore::{
    CompactOptions, Db, Direction, DocInfoRef, Document, ErrorCode, LocalUpdate, Result, SaveOptions,
    ScanOptions, compact,
};

#[global_allocator]
static COUNTING: Counting = Counting;

const NAME: &str = "damaged.couch";
const TARGET: &str = "target.couch";
const TOLERANT: ScanOptions = ScanOptions::new().tolerate_corruption(true);

/// Runs `action` within the promised memory: four times the file and 64 MiB.
fn within_memory(file_size: usize, action: impl FnOnce()) {
    let ((), peak) = alloc::peak_of_thread(action);
    assert!(peak > 0, "the counting allocator is at work");
    assert!(peak <= file_size * 4 + (64 << 20), "{peak} bytes for a file of {file_size}");
}

/// Everything that reads. Results do not matter here, only that there are some; they are returned for who asks.
fn read_everything(db: &Db) -> Vec<(&'static str, Result<()>)> {
    let mut results = Vec::new();
    let mut body = |info: &DocInfoRef<'_>| {
        let _ = (db.body(info), db.stored_body(info));
        Ok(())
    };
    for options in [ScanOptions::default(), TOLERANT] {
        results.push(("changes_since", db.changes_since(0, options, &mut body)));
        results.push(("all_docs", db.all_docs(b"", options, &mut body)));
        results.push(("docs_by_id", db.docs_by_id(&[b"id-07", b"id-30", b"none"], options, &mut body)));
        results.push(("docs_by_seq", db.docs_by_seq(&[1, 17, 1000], options, &mut body)));
        results.push(("walk_by_id", db.walk_by_id(b"", options, &mut |_, _| Ok(()))));
        results.push(("walk_by_seq", db.walk_by_seq(0, options, &mut |_, _| Ok(()))));
        results.push(("walk_local", db.walk_local(b"", options, &mut |_, _| Ok(()))));
    }
    results.push(("scan_local", db.scan_local(b"", &mut |_, _| Ok(()))));
    results.push(("changes_count", db.changes_count(3, 30).map(drop)));
    results.push(("get", db.get(b"id-20").map(drop)));
    results.push(("local", db.local(b"_local/3").map(drop)));
    results.push(("info", db.info().map(drop)));
    results
}

fn compact_with_recovery(memory: &Memory, db: &Db) -> Result<()> {
    let options = CompactOptions::new().recovery(true).file_ops(memory.ops());
    let result = compact(db, TARGET, &options);
    memory.remove(TARGET);
    result
}

/// Opens the file in both ways, reads it all, goes through its headers and compacts it.
fn exercise(memory: &Memory) {
    for recovery in [false, true] {
        let Ok(db) = memory.options().read_only(true).recovery(recovery).open(NAME) else { continue };
        read_everything(&db);
        let _ = compact_with_recovery(memory, &db);
        let _ = db.seek(Direction::Backward);
        let _ = db.seek(Direction::Forward);
        let _ = db.seek_first_header_containing(20, 10);
    }
}

/// Changes the file: a batch that meets many leaves, local documents, a commit.
fn change(memory: &Memory) {
    let Ok(db) = memory.options().recovery(true).open(NAME) else { return };
    let ids: Vec<_> = (0..60).step_by(5).map(|number| format!("id-{number:02}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"new")).collect();
    let _ = db.save(&docs, SaveOptions::default());
    let _ = db.save_local(&[LocalUpdate { id: b"_local/5", body: None }]);
    let _ = db.commit();
}

/// A file of some twenty kilobytes with three levels in its trees and two commits.
fn sample(memory: &Memory) -> Vec<u8> {
    let db = memory.options().create(true).node_sizes(150, 150).open(NAME).unwrap();
    let mut rng = Rng::with_seed(1);
    let mut model = Model::default();
    for round in 0..2 {
        let docs: Vec<_> = (0..40)
            .map(|number| {
                let id = format!("id-{:02}", number + 20 * round);
                let mut doc = Doc { content_meta: 0x80, ..Doc::new(id.as_bytes(), &rng.text(30)) };
                doc.deleted = number % 9 == 0;
                doc
            })
            .collect();
        model.save_both(&db, &docs, SaveOptions::new().compress(true));
        let local: Vec<_> =
            (0..12).map(|number| (format!("_local/{number}").into_bytes(), Some(rng.noise(20)))).collect();
        model.local_both(&db, &local);
        db.commit().unwrap();
    }
    model.check(&db);
    db.close().unwrap();
    let bytes = memory.bytes(NAME);
    assert!((12_000..40_000).contains(&bytes.len()), "{} bytes", bytes.len());
    bytes
}

#[test]
fn every_length() {
    let memory = Memory::default();
    let bytes = sample(&memory);
    for length in 0..bytes.len() {
        memory.put(NAME, bytes[..length].to_vec());
        within_memory(length, || exercise(&memory));
        if length % 16 == 0 {
            within_memory(length, || change(&memory));
        }
    }
}

/// Each byte of the file in turn, changed in this way.
fn every_byte(difference: u8) {
    let memory = Memory::default();
    let bytes = sample(&memory);
    for index in 0..bytes.len() {
        let file = memory.put(NAME, bytes.clone());
        file.lock().unwrap()[index] ^= difference;
        within_memory(bytes.len(), || exercise(&memory));
        if index % 16 == usize::from(difference) % 16 {
            within_memory(bytes.len(), || change(&memory));
        }
    }
}

#[test]
fn every_byte_with_its_lowest_bit_changed() {
    every_byte(0x01);
}

#[test]
fn every_byte_with_its_highest_bit_changed() {
    every_byte(0x80);
}

#[test]
fn every_byte_inverted() {
    every_byte(0xff);
}

// ---- files that no accident makes: all checksums are right --------------------------------------------------------

/// All calls together read no more often than this, whatever the file says. (A thousand levels take 4 000.)
const MOST_READS: u64 = 10_000;

/// Gives the file three roots that point to the same node, and expects this of every call that looks below them.
fn expect(mut forge: Forge, root: u64, code: ErrorCode) {
    forge.header(1000, &forge::by_seq_root(root), &forge::by_id_root(root), &forge::local_root(root));
    let memory = Memory::default();
    let size = forge.bytes.len();
    memory.put(NAME, forge.bytes);
    within_memory(size, || {
        let db = memory.options().read_only(true).open(NAME).unwrap();
        for (call, result) in read_everything(&db) {
            if call != "info" {
                assert_eq!(result.unwrap_err().code(), code, "{call}");
            }
        }
        assert_eq!(compact_with_recovery(&memory, &db).unwrap_err().code(), code);
    });
    within_memory(size, || change(&memory));
    // Without the guards these files keep a reader busy for years.
    assert!(memory.reads() < MOST_READS, "{} reads", memory.reads());
}

#[test]
fn interior_nodes_without_entries_are_empty_trees() {
    let mut forge = Forge::new();
    let node = forge.node(0, &vec![]);
    forge.header(1000, &forge::by_seq_root(node), &forge::by_id_root(node), &forge::local_root(node));
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.options().open(NAME).unwrap();
    db.save(&[Document::new(b"id", b"body")], SaveOptions::default()).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/id", body: Some(b"local") }]).unwrap();
    assert_eq!(db.get(b"id").unwrap().unwrap(), b"body");
    assert_eq!(db.local(b"_local/id").unwrap().unwrap(), b"local");
    let mut ids = Vec::new();
    db.changes_since(0, ScanOptions::default(), &mut |info| {
        ids.push(info.id.to_vec());
        Ok(())
    })
    .unwrap();
    assert_eq!(ids, [b"id"]);
}

#[test]
fn a_value_that_is_cut_short_is_told_of_by_the_place_of_its_leaf() {
    let mut forge = Forge::new();
    let entries = vec![(b"id".to_vec(), b"short".to_vec()), (b"id2".to_vec(), forge::by_id_value(0, 0))];
    let leaf = forge.node(1, &entries);
    let root = forge.node(0, &vec![(b"id2".to_vec(), forge::pointer(leaf))]);
    forge.header(1000, &[], &forge::by_id_root(root), &[]);
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.open(NAME);
    // One id goes another way than several.
    for ids in [&[&b"id"[..]][..], &[b"id", b"id2"]] {
        let mut shown = Vec::new();
        let result = db.docs_by_id(ids, ScanOptions::default(), &mut |info| {
            shown.push(info.id.to_vec());
            Ok(())
        });
        assert_eq!(result.unwrap_err().position(), Some(leaf));
        assert!(shown.is_empty());
    }
    // Whoever tolerates damage is shown what there is.
    let mut shown = Vec::new();
    let result = db.docs_by_id(&[b"id"], TOLERANT, &mut |info| {
        shown.push((info.id.to_vec(), info.rev_meta.to_vec()));
        Ok(())
    });
    assert_eq!(
        (result.unwrap_err().position(), shown),
        (Some(leaf), vec![(b"id".to_vec(), b"short".to_vec())])
    );
    let mut shown = Vec::new();
    for ids in [&[&b"id2"[..]][..], &[b"missing"], &[b"id2", b"missing"]] {
        let mut visit = |info: &DocInfoRef<'_>| {
            shown.push(info.id.to_vec());
            Ok(())
        };
        db.docs_by_id(ids, ScanOptions::default(), &mut visit).unwrap();
    }
    assert_eq!(shown, [b"id2", b"id2"]);
}

#[test]
fn a_chunk_that_claims_two_gigabytes() {
    let mut forge = Forge::new();
    let node = forge.chunk_claiming(0x7fff_ffff, b"little");
    expect(forge, node, ErrorCode::READ);
}

#[test]
fn a_compressed_node_that_claims_four_gigabytes() {
    let mut forge = Forge::new();
    let node = forge.chunk(&[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 1]);
    expect(forge, node, ErrorCode::CORRUPT);
}

#[test]
fn nodes_that_are_no_nodes() {
    // Nothing at all; an unknown kind; an entry that runs over the end; a pointer shorter than its parts.
    let short_pointer = [&[0][..], &forge::be(1 << 28 | 3, 5), b"kabc"].concat();
    for plain in [&b""[..], b"\x02", b"\x01\x00\x10\x00\x00\x05ab", &short_pointer] {
        let mut forge = Forge::new();
        let node = forge.raw_node(plain);
        expect(forge, node, ErrorCode::CORRUPT);
    }
}

#[test]
fn a_node_that_points_to_itself() {
    let mut forge = Forge::new();
    let here = forge.position();
    let node = forge.node(0, &vec![(b"zzzzzz".to_vec(), forge::pointer(here))]);
    assert_eq!(node, here);
    expect(forge, node, ErrorCode::CORRUPT);
}

#[test]
fn a_child_behind_its_parent() {
    let mut forge = Forge::new();
    let leaf_position = BLOCK * 2;
    let root = forge.node(0, &vec![(b"zzzzzz".to_vec(), forge::pointer(leaf_position))]);
    forge.bytes.resize(leaf_position as usize, 0);
    forge.node(1, &vec![(b"id-20".to_vec(), forge::by_id_value(0, 0))]);
    expect(forge, root, ErrorCode::CORRUPT);
}

/// Forty pointers to the same node on each of twenty levels: 40^20 ways to the only leaf.
#[test]
fn a_small_file_with_endless_ways() {
    let mut forge = Forge::new();
    let mut below = forge.node(1, &vec![(b"zz".to_vec(), forge::by_seq_value(b"x", 0, 0))]);
    for _ in 0..20 {
        let key = |number: u8| vec![b'a' + number / 10, b'0' + number % 10];
        // Equal keys too: a lookup may have to try them all.
        let entries = (0..40).map(|number| (key(number % 39), forge::pointer(below))).collect();
        below = forge.node(0, &entries);
    }
    forge.header(1000, &forge::by_seq_root(below), &forge::by_id_root(below), &forge::local_root(below));
    let memory = Memory::default();
    let size = forge.bytes.len();
    memory.put(NAME, forge.bytes);
    within_memory(size, || {
        let db = memory.options().read_only(true).open(NAME).unwrap();
        for (call, result) in read_everything(&db) {
            if ["changes_since", "all_docs", "walk_by_id", "walk_by_seq", "walk_local"].contains(&call) {
                assert_eq!(result.unwrap_err().code(), ErrorCode::CORRUPT, "{call}");
            }
        }
        assert_eq!(compact_with_recovery(&memory, &db).unwrap_err().code(), ErrorCode::CORRUPT);
    });
    within_memory(size, || change(&memory));
    assert!(memory.reads() < MOST_READS, "{} reads", memory.reads());
}

#[test]
fn a_chain_of_a_thousand_levels() {
    let mut forge = Forge::new();
    let mut below = forge.node(1, &vec![(b"zzzzzz".to_vec(), forge::by_id_value(0, 0))]);
    for _ in 0..1000 {
        below = forge.node(0, &vec![(b"zzzzzz".to_vec(), forge::pointer(below))]);
    }
    expect(forge, below, ErrorCode::CORRUPT);
}

/// Each level of pointer nodes inflates to much more than it takes in the file, and a traversal holds them all.
#[test]
fn a_chain_of_large_levels() {
    let mut forge = Forge::new();
    let mut below = forge.node(1, &vec![(b"zzzzzz".to_vec(), forge::by_id_value(0, 0))]);
    for _ in 0..12 {
        let padding = [forge::pointer(below), vec![0; 8 << 20]].concat();
        below = forge.node(0, &vec![(b"zzzzzz".to_vec(), padding)]);
    }
    expect(forge, below, ErrorCode::CORRUPT);
}

/// Chains of single children are legal: the original never makes a tree shallower.
#[test]
fn a_chain_of_a_few_levels_is_read() {
    let mut forge = Forge::new();
    let mut by_id = forge.node(1, &vec![(b"id-20".to_vec(), forge::by_id_value(0, 0))]);
    let mut by_seq = forge.node(1, &vec![(forge::be(1, 6), forge::by_seq_value(b"id-20", 0, 0))]);
    for _ in 0..30 {
        by_id = forge.node(0, &vec![(b"id-20".to_vec(), forge::pointer(by_id))]);
        let count = [forge::be(by_seq, 6), forge::be(100, 6), forge::be(5, 2), forge::be(1, 5)].concat();
        by_seq = forge.node(0, &vec![(forge::be(1, 6), count)]);
    }
    forge.header(1, &forge::by_seq_root(by_seq), &forge::by_id_root(by_id), &[]);
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.options().open(NAME).unwrap();
    assert_eq!(db.doc_info(b"id-20").unwrap().unwrap().db_seq, 1);
    assert_eq!(db.changes_count(0, 5).unwrap(), 1);
    db.save(&[Document::new(b"id-20", b"new"), Document::new(b"z", b"new")], SaveOptions::default()).unwrap();
    assert_eq!(db.get(b"id-20").unwrap().unwrap(), b"new");
    assert_eq!(db.changes_count(0, 5).unwrap(), 2);
}

/// Something that is done with a damaged file.
type Call = fn(&Memory, &Db) -> Result<()>;

/// A root with 50 000 entries that all point to one leaf, which is large once it is decompressed. Whoever steps over
/// damage must not read it again and again.
#[test]
fn a_wide_root_over_one_leaf() {
    let mut forge = Forge::new();
    let mut value = vec![0; 2_000_000];
    value[5] = 1;
    let leaf = forge.node(1, &vec![(forge::be(1, 6), value)]);
    let root = forge.node(0, &vec![(forge::be(1, 6), forge::pointer(leaf)); 50_000]);
    forge.header(1000, &forge::by_seq_root(root), &forge::by_id_root(root), &forge::local_root(root));
    let memory = Memory::default();
    let size = forge.bytes.len();
    memory.put(NAME, forge.bytes);
    let calls: [(&str, Call); 6] = [
        ("changes_since", |_, db| db.changes_since(0, TOLERANT, &mut |_| Ok(()))),
        ("all_docs", |_, db| db.all_docs(b"", TOLERANT, &mut |_| Ok(()))),
        ("walk_by_id", |_, db| db.walk_by_id(b"", TOLERANT, &mut |_, _| Ok(()))),
        ("walk_by_seq", |_, db| db.walk_by_seq(0, TOLERANT, &mut |_, _| Ok(()))),
        ("walk_local", |_, db| db.walk_local(b"", TOLERANT, &mut |_, _| Ok(()))),
        ("compact", compact_with_recovery),
    ];
    for (name, call) in calls {
        let db = memory.options().read_only(true).open(NAME).unwrap();
        within_memory(size, || {
            assert_eq!(call(&memory, &db).unwrap_err().code(), ErrorCode::CORRUPT, "{name}");
        });
        let stats = db.file_stats().unwrap();
        println!("{name}: {stats:?} for {size} bytes");
        // Compaction goes through two trees.
        assert!(stats.read_bytes < 8 * size as u64, "{name}: {stats:?} for {size} bytes");
        assert!(stats.read_count < 1000, "{name}: {stats:?}");
    }
    within_memory(size, || change(&memory));
}

/// A child that is left alone under its root becomes the root; but the header has no room for just any reduce value
/// that a damaged file has brought.
#[test]
fn a_promoted_child_with_a_long_reduce_value() {
    let mut forge = Forge::new();
    let with_reduce = |position: u64, length: usize| {
        [forge::be(position, 6), forge::be(20, 6), forge::be(length as u64, 2), vec![0; length]].concat()
    };
    let first = forge.node(1, &vec![(b"a".to_vec(), b"1".to_vec())]);
    let second = forge.node(1, &vec![(b"b".to_vec(), b"1".to_vec())]);
    let root = forge
        .node(0, &vec![(b"a".to_vec(), with_reduce(first, 2000)), (b"b".to_vec(), with_reduce(second, 0))]);
    forge.header(0, &[], &[], &forge::local_root(root));
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.options().open(NAME).unwrap();
    db.save_local(&[LocalUpdate { id: b"b", body: None }]).unwrap();
    db.commit().unwrap();
    db.close().unwrap();
    let db = memory.options().open(NAME).unwrap();
    assert_eq!(db.local(b"a").unwrap().unwrap(), b"1");
    assert_eq!(db.local(b"b").unwrap(), None);
}
