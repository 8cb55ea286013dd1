// SPDX-License-Identifier: Apache-2.0

//! Compaction trusts nobody: neither the order of a source's keys, nor how often it uses a body, nor what comes back
//! from a file that it has written itself to sort on the disk.
//!
//! Files in memory cannot be removed by compaction, so targets of failures stay there; see `compaction.rs` for those.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{self, Entries, Forge};
use common::memory::Memory;
use common::raw;
use couchstore::{
    CompactHooks, CompactOptions, Db, Document, ErrorCode, OnlineHooks, OnlineOptions, OpenOptions,
    ReplayHooks, Result, SaveOptions, compact, compact_online, compact_with, replay,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

// ---- sorting on the disk --------------------------------------------------------------------------------------------

/// Documents of which the first run holds most.
const DOCUMENTS: usize = 130;

/// Does something to the sort file before it is read.
struct Tamper<'a> {
    folder: &'a Path,
    action: &'a mut dyn FnMut(&File),
}

impl CompactHooks for Tamper<'_> {
    fn progress(&mut self, done: u64, total: u64, _: u64) -> Result<()> {
        if done == total {
            let file = common::sort_file_in(self.folder).expect("a sort file");
            (self.action)(&file);
        }
        Ok(())
    }
}

fn source_in(folder: &Path) -> Db {
    let db = Db::create(folder.join("source")).unwrap();
    let ids: Vec<_> = (0..DOCUMENTS).map(|number| (number * 37 % DOCUMENTS).to_string()).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    db.commit().unwrap();
    db
}

/// Compacts with a sort on the disk whose file is tampered with.
fn compact_tampered(db: &Db, folder: &Path, action: &mut dyn FnMut(&File)) -> Result<()> {
    let options = CompactOptions::new().memory_budget(1);
    compact_with(db, folder.join("target"), &options, &mut Tamper { folder, action })
}

fn length_of(file: &File) -> u64 {
    file.metadata().unwrap().len()
}

#[test]
fn a_sort_file_with_a_wrong_bit_anywhere_makes_no_target() {
    let folder = common::temp_dir();
    let db = source_in(folder.path());
    let mut length = 0;
    compact_tampered(&db, folder.path(), &mut |file| length = length_of(file)).unwrap();
    let target = folder.path().join("target");
    let file = raw::File::new(std::fs::read(&target).unwrap());
    let [by_id, by_seq, _] = raw::check_header(&file, &file.last_header());
    assert_eq!((by_id.entries.len(), by_seq.entries.len()), (DOCUMENTS, DOCUMENTS));
    std::fs::remove_file(&target).unwrap();
    assert!((2000..8000).contains(&length), "{length}");
    for position in 0..length {
        let mut flip = |file: &File| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 1 << (position % 8)], position).unwrap();
        };
        let error = compact_tampered(&db, folder.path(), &mut flip).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CHECKSUM_FAIL, "{position}: {error}");
        assert_eq!(common::files_in(folder.path()), 1, "there is no target");
    }
}

#[test]
fn a_sort_file_that_is_too_short_makes_no_target() {
    let folder = common::temp_dir();
    let db = source_in(folder.path());
    for cut in [1, 100, u64::MAX] {
        let mut shorten = |file: &File| file.set_len(length_of(file).saturating_sub(cut)).unwrap();
        let error = compact_tampered(&db, folder.path(), &mut shorten).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CHECKSUM_FAIL, "{cut}: {error}");
        assert!(error.to_string().contains("temporary file in "), "{error}");
        assert_eq!(common::files_in(folder.path()), 1);
    }
}

/// Recovery is for damage in the source.
#[test]
fn recovery_does_not_step_over_a_wrong_sort_file() {
    let folder = common::temp_dir();
    let db = source_in(folder.path());
    let options = CompactOptions::new().memory_budget(1).recovery(true);
    let mut flip = |file: &File| file.write_all_at(&[0xff; 8], 40).unwrap();
    let mut hooks = Tamper { folder: folder.path(), action: &mut flip };
    let error = compact_with(&db, folder.path().join("target"), &options, &mut hooks).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CHECKSUM_FAIL);
    assert_eq!(common::files_in(folder.path()), 1);
}

// ---- keys in disorder ---------------------------------------------------------------------------------------------------

/// By-sequence entries with one body for all.
fn by_seq(body: u64, documents: &[(u64, &str)]) -> Entries {
    let value = |id: &str| forge::by_seq_value(id.as_bytes(), body, 12);
    documents.iter().map(|(seq, id)| (forge::be(*seq, 6), value(id))).collect()
}

fn locals(documents: &[(&str, Vec<u8>)]) -> Entries {
    documents.iter().map(|(id, body)| (id.as_bytes().to_vec(), body.clone())).collect()
}

/// Leaves with these entries under one root, or the only leaf.
fn tree(forge: &mut Forge, leaves: &[Entries]) -> u64 {
    let nodes: Vec<_> = leaves
        .iter()
        .map(|entries| (entries.last().unwrap().0.clone(), forge::pointer(forge.node(1, entries))))
        .collect();
    if let [_] = nodes[..] { raw::number(&nodes[0].1[..6]) } else { forge.node(0, &nodes) }
}

/// The result of compacting a file with these two trees, and its target in recovery mode, which is checked.
fn compact_forged(by_seq_leaves: &[Entries], local_leaves: &[Entries]) -> (Result<()>, Memory) {
    let mut forge = Forge::new();
    // Trees lie behind the only body: see `BODY`.
    assert_eq!(forge.chunk(b"body"), BODY);
    let by_seq = tree(&mut forge, by_seq_leaves);
    let local =
        if local_leaves.is_empty() { Vec::new() } else { forge::local_root(tree(&mut forge, local_leaves)) };
    forge.header(9, &forge::by_seq_root(by_seq), &[], &local);
    let memory = Memory::default();
    memory.put("source", forge.bytes);
    let source = memory.options().read_only(true).open("source").unwrap();
    let mut options = CompactOptions::new().file_ops(memory.ops());
    let strict = compact(&source, "target", &options);
    memory.remove("target");
    options.recovery = true;
    let recovered = compact(&source, "target", &options);
    let codes = [&strict, &recovered].map(|result| result.as_ref().map_err(couchstore::Error::code).copied());
    assert_eq!(codes[0], codes[1], "the same code, with a target");
    let file = raw::File::new(memory.bytes("target"));
    raw::check_header(&file, &file.last_header());
    (strict, memory)
}

/// Where the only body is.
const BODY: u64 = 4096;

fn documents(memory: &Memory) -> Vec<(u64, String)> {
    let db = memory.options().open("target").unwrap();
    let mut found = Vec::new();
    db.changes_since(0, couchstore::ScanOptions::default(), &mut |info| {
        assert_eq!(db.body(info)?, b"body");
        found.push((info.db_seq, String::from_utf8(info.id.to_vec()).unwrap()));
        Ok(())
    })
    .unwrap();
    found
}

fn owned(documents: &[(u64, &str)]) -> Vec<(u64, String)> {
    documents.iter().map(|(seq, id)| (*seq, (*id).to_owned())).collect()
}

#[test]
fn descending_sequences_are_corrupt_and_recovery_steps_over_them() {
    let cases: [&[Entries]; 2] = [
        &[by_seq(BODY, &[(2, "b"), (1, "a"), (3, "c")])],
        &[by_seq(BODY, &[(1, "x"), (5, "b")]), by_seq(BODY, &[(4, "a"), (6, "c")])],
    ];
    let kept: [&[(u64, &str)]; 2] = [&[(2, "b"), (3, "c")], &[(1, "x"), (5, "b"), (6, "c")]];
    for (leaves, kept) in cases.into_iter().zip(kept) {
        let (result, memory) = compact_forged(leaves, &[]);
        let error = result.unwrap_err();
        assert_eq!(error.code(), ErrorCode::CORRUPT);
        assert!(error.to_string().starts_with("source: malformed data at offset "), "{error}");
        assert_eq!(documents(&memory), owned(kept));
    }
}

#[test]
fn equal_sequences_stay() {
    let all = [(1, "b"), (1, "a"), (2, "c"), (2, "d")];
    let (result, memory) = compact_forged(&[by_seq(BODY, &all[..3]), by_seq(BODY, &all[3..])], &[]);
    result.unwrap();
    assert_eq!(documents(&memory), owned(&all));
    assert_eq!(memory.options().open("target").unwrap().info().unwrap().doc_count, 4);
}

#[test]
fn of_equal_ids_the_last_stays() {
    let (result, memory) = compact_forged(&[by_seq(BODY, &[(1, "a"), (2, "b"), (3, "a")])], &[]);
    result.unwrap();
    let db = memory.options().open("target").unwrap();
    assert_eq!(db.doc_info(b"a").unwrap().unwrap().db_seq, 3);
    assert_eq!(db.info().unwrap().doc_count, 2);
}

#[test]
fn descending_local_documents_are_corrupt_and_recovery_steps_over_them() {
    let one = |ids: &[&str]| locals(&ids.iter().map(|id| (*id, vec![7; 3])).collect::<Vec<_>>());
    for leaves in [&[one(&["b", "a", "c"])][..], &[one(&["a", "c"]), one(&["b", "d"])]] {
        let (result, memory) = compact_forged(&[by_seq(BODY, &[(1, "x")])], leaves);
        assert_eq!(result.unwrap_err().code(), ErrorCode::CORRUPT);
        let db = memory.options().open("target").unwrap();
        assert_eq!(db.local(b"c").unwrap().unwrap(), [7; 3]);
    }
}

/// The first of them may fill a node, which is written at once, with others before it or alone.
#[test]
fn of_equal_local_documents_the_last_stays() {
    for (before, first, last) in [(1, 10, 20), (1, 2000, 20), (0, 2000, 20), (1, 2000, 2000), (3, 100_000, 1)]
    {
        for leaves_apart in [false, true] {
            let mut all: Vec<_> = (0..before).map(|number| (["a", "b", "c"][number], vec![1; 30])).collect();
            all.extend([("x", vec![2; first]), ("x", vec![3; first / 2]), ("x", vec![4; last])]);
            all.push(("y", vec![5; 10]));
            let cut = if leaves_apart { before + 1 } else { all.len() };
            let (front, back) = all.split_at(cut);
            let mut leaves = vec![locals(front)];
            leaves.extend((!back.is_empty()).then(|| locals(back)));
            let (result, memory) = compact_forged(&[by_seq(BODY, &[(1, "x")])], &leaves);
            result.unwrap();
            let db = memory.options().open("target").unwrap();
            let mut found = Vec::new();
            db.scan_local(b"", &mut |id, body| {
                found.push((id[0], body.to_vec()));
                Ok(())
            })
            .unwrap();
            let mut expected: Vec<_> = (0..before).map(|number| (b'a' + number as u8, vec![1; 30])).collect();
            expected.extend([(b'x', vec![4; last]), (b'y', vec![5; 10])]);
            assert_eq!(found, expected);
        }
    }
}

// ---- bodies that are used many times ------------------------------------------------------------------------------------

/// A file whose newest header has `entries` documents with one body of `length` bytes; the header before has none, but
/// a local document if one is wanted.
fn one_body_for_all(entries: u64, length: usize, with_local: bool) -> (Vec<u8>, [u64; 2]) {
    let mut forge = Forge::new();
    let local = forge.node(1, &vec![(b"_local/x".to_vec(), b"1".to_vec())]);
    let local = if with_local { forge::local_root(local) } else { Vec::new() };
    let empty = forge.header(0, &[], &[], &local);
    forge.previous = empty << 1;
    forge.bytes.resize(forge.bytes.len().next_multiple_of(4096), 0);
    let body = forge.chunk(&vec![b'x'; length]);
    let ids: Vec<_> = (0..entries).map(|number| format!("{number:07}")).collect();
    let size = length as u64 + 8;
    let by_seq: Entries = (1..)
        .zip(&ids)
        .map(|(seq, id)| (forge::be(seq, 6), forge::by_seq_value(id.as_bytes(), body, size)))
        .collect();
    let by_id: Entries = (1..)
        .zip(&ids)
        .map(|(seq, id)| {
            let value: [Vec<u8>; 5] =
                [forge::be(seq, 6), forge::be(size, 4), forge::be(body, 6), forge::be(1, 6), forge::be(0, 1)];
            (id.as_bytes().to_vec(), value.concat())
        })
        .collect();
    let (by_seq, by_id) = (forge.node(1, &by_seq), forge.node(1, &by_id));
    let by_seq = [forge::be(by_seq, 6), forge::be(100, 6), forge::be(entries, 5)].concat();
    let by_id =
        [forge::be(by_id, 6), forge::be(100, 6), forge::be(entries, 5), forge::be(0, 5), forge::be(100, 6)];
    let full = forge.header(entries, &by_seq, &by_id.concat(), &local);
    (forge.bytes, [empty, full])
}

#[test]
fn a_body_for_thousands_of_entries_is_not_copied_as_often() {
    let (bytes, _) = one_body_for_all(6000, 30_000, false);
    let size = bytes.len() as u64;
    let memory = Memory::default();
    memory.put("source", bytes);
    let source = memory.options().read_only(true).open("source").unwrap();
    for recovery in [false, true] {
        let options = CompactOptions::new().recovery(recovery).file_ops(memory.ops());
        let error = compact(&source, "target", &options).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CORRUPT);
        assert!(error.to_string().contains("four times the file"), "{error}");
        memory.remove("target");
    }
    let read = source.file_stats().unwrap().read_bytes;
    assert!(read < 12 * size, "{read} bytes read of a file of {size}");
}

#[test]
fn a_body_for_a_few_entries_is_copied_for_each() {
    let (bytes, _) = one_body_for_all(4, 30_000, false);
    let memory = Memory::default();
    memory.put("source", bytes);
    let source = memory.options().read_only(true).open("source").unwrap();
    let options = CompactOptions::new().file_ops(memory.ops());
    compact(&source, "target", &options).unwrap();
    assert_eq!(
        memory.options().open("target").unwrap().get(b"0000003").unwrap().unwrap(),
        vec![b'x'; 30_000]
    );
}

#[test]
fn a_replay_does_not_copy_it_either() {
    let (bytes, [empty, full]) = one_body_for_all(6000, 30_000, false);
    let size = bytes.len() as u64;
    let memory = Memory::default();
    memory.put("source", bytes);
    let source = memory.options().read_only(true).open("source").unwrap();
    source.seek_offset(empty.cast_signed()).unwrap();
    let options = CompactOptions::new().file_ops(memory.ops());
    compact(&source, "target", &options).unwrap();
    let target = memory.options().open("target").unwrap();
    for flush_threshold in [0, 1 << 20, 100 << 20] {
        let error = replay(&source, &target, full, &mut (), flush_threshold).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CORRUPT);
        assert_eq!(source.header_position(), empty);
        assert_eq!(target.info().unwrap().doc_count, 0);
    }
    let written = target.file_stats().unwrap().write_bytes;
    assert!(written < 20 * size, "{written} bytes written for a file of {size}");
}

/// Appends the rest of the source once the first copy is made.
struct Grows<'a> {
    path: &'a Path,
    rest: &'a [u8],
}

impl CompactHooks for Grows<'_> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        let file = File::options().write(true).open(self.path).unwrap();
        file.write_all_at(self.rest, length_of(&file)).unwrap();
        Ok(())
    }
}

impl ReplayHooks for Grows<'_> {}
impl OnlineHooks for Grows<'_> {}

#[test]
fn nor_does_an_online_compaction() {
    let (bytes, [_, full]) = one_body_for_all(6000, 30_000, true);
    // Behind the first header, up to a block boundary.
    let cut = 3 * 4096;
    assert!(full as usize > cut);
    for (first, delta) in [(cut, 0), (cut, 1 << 30), (bytes.len(), 0)] {
        let folder = common::temp_dir();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        std::fs::write(&source, &bytes[..first]).unwrap();
        OpenOptions::new().read_only(true).open(&source).unwrap();
        let options = OnlineOptions::new().delta_bytes_for_lock(delta);
        let mut hooks = Grows { path: &source, rest: &bytes[first..] };
        let error = compact_online(&source, &target, &options, &mut hooks).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CORRUPT, "{error}");
        assert_eq!(common::files_in(folder.path()), 1);
    }
}
