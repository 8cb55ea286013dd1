// SPDX-License-Identifier: Apache-2.0

//! Numbers that the format has no room for: sequence numbers of 48 bits, positions of 47, sizes of subtrees of 48, lengths of
//! 12 and 28.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{Forge, be, local_root};
use common::memory::Memory;
use common::model::{Doc, Model};
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{
    COMPRESSED, CompactHooks, CompactOptions, Db, DocInfoRef, Document, Error, ErrorCode, LocalUpdate,
    OpenOptions, Result, SaveOptions, ScanOptions, Verdict, compact, compact_with, replay,
};
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::{Arc, Mutex};

const LAST_SEQ: u64 = (1 << 48) - 1;
const LONGEST_FILE: u64 = 1 << 47;
const BLOCK: u64 = 4096;
const NAME: &str = "limits.couch";
const AS_IS: SaveOptions = SaveOptions::new().keep_sequences(true);

fn doc(id: &str, db_seq: u64) -> Doc {
    Doc { db_seq, ..Doc::new(id.as_bytes(), b"body") }
}

fn save(db: &Db, ids: &[&str]) -> Result<Vec<u64>> {
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"body")).collect();
    db.save(&docs, SaveOptions::default())
}

// ---- lengths ---------------------------------------------------------------------------------------------------------

/// Whether something was not saved because of one of its lengths.
fn is_refused<T>(result: Result<T>) -> bool {
    match result {
        Ok(_) => false,
        Err(Error::Refused { index: 0, .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn ids_and_values_have_longest_lengths() {
    let db = Memory::default().open(NAME);
    // Nobody writes to it: it takes no memory.
    let huge = vec![0; 1 << 28];
    let (longest, too_long) = (vec![b'i'; 4095], vec![b'i'; 4096]);
    for (id, refused) in [(&longest, false), (&too_long, true)] {
        assert_eq!(is_refused(db.save(&[Document::new(id, b"body")], SaveOptions::default())), refused);
        assert_eq!(is_refused(db.save_local(&[LocalUpdate { id, body: Some(b"body") }])), refused);
        assert_eq!(db.contains(id).unwrap(), !refused);
        assert_eq!(db.local(id).unwrap().is_some(), !refused);
    }
    let with_huge_meta = Document { rev_meta: &huge, ..Document::new(b"a", b"body") };
    assert!(is_refused(db.save(&[with_huge_meta], SaveOptions::default())));
    assert!(is_refused(db.save(&[Document::new(b"a", &huge)], SaveOptions::default())));
    assert!(is_refused(db.save_local(&[LocalUpdate { id: b"a", body: Some(&huge) }])));
    assert!(!db.contains(b"a").unwrap() && db.local(b"a").unwrap().is_none());
}

#[test]
fn the_longest_bodies_are_saved() {
    let longest = (1 << 28) - 1 - 8;
    let huge = vec![0; longest + 1];
    for (length, content_meta, compress, refused) in [
        (longest, 0, false, false),
        (longest + 1, 0, false, true),
        // What counts is what is stored.
        (longest + 1, COMPRESSED, true, false),
        (longest + 1, 0, true, true),
        (longest + 1, COMPRESSED, false, true),
    ] {
        let db = Memory::default().open(NAME);
        let body = Some(&huge[..length]);
        let document = Document { body, content_meta, ..Document::new(b"a", b"") };
        let saved = db.save(&[document], SaveOptions::new().compress(compress));
        assert_eq!(is_refused(saved), refused, "{length} {content_meta} {compress}");
        assert_eq!(db.contains(b"a").unwrap(), !refused);
    }
    let db = Memory::default().open(NAME);
    let huge = vec![0; (1 << 28) - 1];
    db.save_local(&[LocalUpdate { id: b"a", body: Some(&huge) }]).unwrap();
    assert!(db.local(b"a").unwrap().unwrap() == huge);
}

/// Gives every document a `rev_meta` of this length.
struct Rewriting(usize);

impl CompactHooks for Rewriting {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, _: &Db, _: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        Ok(Verdict::Keep)
    }

    fn rewrites(&self) -> bool {
        true
    }

    fn rewrite(&mut self, _: &DocInfoRef<'_>, _: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(Some(vec![0; self.0]))
    }
}

#[test]
fn a_hook_cannot_give_what_does_not_fit() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    save(&db, &["id"]).unwrap();
    let options = CompactOptions::new().file_ops(memory.ops());
    for (length, fits) in [(1000, true), (1 << 28, false)] {
        let result = compact_with(&db, "target", &options, &mut Rewriting(length));
        match result {
            Ok(()) => assert!(fits),
            Err(error) => assert!(!fits && error.code() == ErrorCode::INVALID_ARGUMENTS, "{error}"),
        }
        memory.remove("target");
    }
}

// ---- sequence numbers ----------------------------------------------------------------------------------------------

/// A database of two documents, and one whose number the caller has chosen.
fn with_far_document(seq: u64) -> (Memory, Db, Model) {
    let memory = Memory::default();
    let db = memory.open(NAME);
    let mut model = Model::default();
    model.save_both(&db, &[doc("first", 0), doc("second", 0)], SaveOptions::default());
    db.save(&[doc("far", seq).document()], AS_IS).unwrap();
    model.save(&[doc("far", seq & LAST_SEQ)], AS_IS);
    model.update_seq = model.update_seq.max(seq.min(LAST_SEQ));
    db.commit().unwrap();
    (memory, db, model)
}

#[test]
fn numbers_end_at_the_last_one() {
    // The caller's number, and how many the library can give out after it.
    for (seq, left) in [(LAST_SEQ - 2, 2), (LAST_SEQ - 1, 1), (LAST_SEQ, 0), (LAST_SEQ + 1, 0), (u64::MAX, 0)]
    {
        let (memory, db, mut model) = with_far_document(seq);
        for reopened in [false, true] {
            let db = if reopened { &memory.options().open(NAME).unwrap() } else { &db };
            model.check(db);
            // One more than are left, in one batch.
            let ids: Vec<String> = (0..=left).map(|number| format!("n{number}")).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            let before = memory.bytes(NAME);
            let error = save(db, &ids).unwrap_err();
            assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENTS, "{seq}: {error}");
            db.commit().unwrap();
            model.check(db);
            assert!(memory.bytes(NAME).starts_with(&before));
        }
        for number in 0..left {
            model.save_both(&db, &[doc(&format!("n{number}"), 0)], SaveOptions::default());
        }
        assert_eq!(db.info().unwrap().last_sequence, LAST_SEQ);
        assert_eq!(save(&db, &["more"]).unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
        // The caller's own numbers go on.
        model.save_both(&db, &[doc("second", 7)], AS_IS);
        db.commit().unwrap();
        model.check(&db);
        model.check(&memory.options().open(NAME).unwrap());
    }
}

#[test]
fn no_change_has_a_number_behind_the_last_one() {
    let (_, db, _) = with_far_document(LAST_SEQ);
    let shown = |first: u64| {
        let mut shown = 0;
        db.for_each_change(first.., ScanOptions::new(), |_| shown += 1).unwrap();
        shown
    };
    assert_eq!([1, 2, 3, LAST_SEQ, LAST_SEQ + 1, u64::MAX].map(shown), [3, 2, 1, 1, 0, 0]);
}

#[test]
fn copies_keep_the_last_number() {
    let (memory, writer, mut model) = with_far_document(LAST_SEQ);
    let source = memory.options().open(NAME).unwrap();
    writer.set_purge_seq(LAST_SEQ);
    model.purge_seq = LAST_SEQ;
    writer.commit().unwrap();
    for drop_deletes in [false, true] {
        memory.remove("target");
        let options = CompactOptions::new().drop_deletes(drop_deletes).file_ops(memory.ops());
        compact(&source, "target", &options).unwrap();
        let target = memory.options().open("target").unwrap();
        source.seek(couchstore::Direction::End).unwrap();
        let base = source.header_position();
        source.seek(couchstore::Direction::Backward).unwrap();
        replay(&source, &target, base, &mut (), 1000).unwrap();
        model.check(&target);
        assert_eq!(save(&target, &["more"]).unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
        source.seek(couchstore::Direction::End).unwrap();
    }
}

#[test]
fn what_callers_choose_is_stored_modulo_2_to_the_48() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    db.set_purge_seq(LAST_SEQ + 6);
    let document = Document { rev_seq: LAST_SEQ + 4, db_seq: LAST_SEQ + 43, ..Document::new(b"a", b"1") };
    assert_eq!(db.save(&[document], AS_IS).unwrap(), [LAST_SEQ + 43], "what the caller gave");
    for reopened in [false, true] {
        let db = if reopened { &memory.options().open(NAME).unwrap() } else { &db };
        let info = db.doc_info(b"a").unwrap().unwrap();
        assert_eq!((info.db_seq, info.rev_seq), (42, 3));
        assert_eq!(db.info().unwrap().purge_seq, 5);
        db.with_doc_info_by_seq(42, |info| {
            assert_eq!(info.id, b"a");
            Ok(())
        })
        .unwrap();
        db.commit().unwrap();
    }
}

// ---- positions -----------------------------------------------------------------------------------------------------

/// A file with holes, so that it may be long.
#[derive(Clone, Default)]
struct Sparse {
    file: Arc<Mutex<SparseFile>>,
}

#[derive(Default)]
struct SparseFile {
    blocks: BTreeMap<u64, Vec<u8>>,
    size: u64,
    writes: usize,
}

impl SparseFile {
    fn write(&mut self, buf: &[u8], offset: u64) {
        for (at, &byte) in (offset..).zip(buf) {
            let block = self.blocks.entry(at / BLOCK).or_insert_with(|| vec![0; BLOCK as usize]);
            block[(at % BLOCK) as usize] = byte;
        }
        self.size = self.size.max(offset + buf.len() as u64);
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let n = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        for (at, byte) in (offset..).zip(&mut buf[..n]) {
            *byte = self.blocks.get(&(at / BLOCK)).map_or(0, |block| block[(at % BLOCK) as usize]);
        }
        n
    }
}

impl FileOps for Sparse {
    fn open(&self, _: &CStr, _: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(self.clone()))
    }
}

impl FileHandle for Sparse {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        Ok(self.file.lock().unwrap().read(buf, offset))
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut file = self.file.lock().unwrap();
        file.writes += 1;
        file.write(buf, offset);
        Ok(buf.len())
    }
    fn size(&mut self) -> Result<u64, IoError> {
        Ok(self.file.lock().unwrap().size)
    }
    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
    fn close(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

impl Sparse {
    /// A database with one document whose newest header begins so many blocks before the last position.
    fn with_blocks_left(blocks: u64) -> Sparse {
        let sparse = Sparse::default();
        let db = sparse.open(false);
        save(&db, &["old"]).unwrap();
        db.commit().unwrap();
        let (header, end) = (db.header_position(), db.info().unwrap().file_size);
        drop(db);
        let mut bytes = vec![0; (end - header) as usize];
        let mut file = sparse.file.lock().unwrap();
        file.read(&mut bytes, header);
        // A header may stand anywhere behind what it points to.
        file.write(&bytes, LONGEST_FILE - blocks * BLOCK);
        drop(file);
        sparse
    }

    fn open(&self, unbuffered: bool) -> Db {
        let options = OpenOptions::new().file_ops(Arc::new(self.clone())).create(true);
        options.unbuffered(unbuffered).open(NAME).unwrap()
    }

    fn size(&self) -> u64 {
        self.file.lock().unwrap().size
    }

    fn take_writes(&self) -> usize {
        std::mem::take(&mut self.file.lock().unwrap().writes)
    }
}

fn assert_too_big<T: std::fmt::Debug>(result: Result<T>) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::WRITE, Some(libc::EFBIG)), "{error}");
    assert!(matches!(error, Error::Io { .. }));
}

/// How far a save and a commit have got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Got {
    Nowhere,
    Saved,
    Committed,
}

/// Saves a batch with bodies of this length, commits, and checks what is there then.
fn save_at_the_end(sparse: &Sparse, unbuffered: bool, (length, bodies): (usize, usize)) -> Got {
    let db = sparse.open(unbuffered);
    sparse.take_writes();
    let body = vec![7; length];
    let ids = ["new", "new 1", "new 2", "new 3"];
    let batch: Vec<_> = ids[..bodies].iter().map(|id| Document::new(id.as_bytes(), &body)).collect();
    let before = db.info().unwrap();
    let mut told = 0;
    let saved = db.save_and_tell(&batch, SaveOptions::default(), &mut |_, _, _| {
        told += 1;
        Ok(())
    });
    let got = if saved.is_err() {
        assert_too_big(saved);
        assert_eq!((sparse.take_writes(), told), (0, 0), "nothing is written");
        assert_eq!(db.info().unwrap(), before, "nothing has changed");
        Got::Nowhere
    } else if let Err(error) = {
        assert_eq!(told, bodies);
        sparse.take_writes();
        db.commit()
    } {
        assert_too_big::<()>(Err(error));
        assert_eq!(sparse.take_writes(), 0, "nothing of the header");
        Got::Saved
    } else {
        Got::Committed
    };
    assert_eq!(db.get(b"old").unwrap().unwrap(), b"body");
    db.close().unwrap();
    assert!(sparse.size() <= LONGEST_FILE);
    let db = sparse.open(unbuffered);
    assert_eq!(db.get(b"old").unwrap().unwrap(), b"body");
    match db.get(b"new").unwrap() {
        Some(found) => assert!(got == Got::Committed && found == body),
        None => assert!(got != Got::Committed),
    }
    got
}

#[test]
fn nothing_is_written_where_positions_do_not_reach() {
    let mut unbuffered = Vec::new();
    for blocks in 1..=3 {
        for (length, bodies) in (0..12_000).step_by(100).flat_map(|length| [(length, 1), (length / 4, 4)]) {
            let got = save_at_the_end(&Sparse::with_blocks_left(blocks), true, (length, bodies));
            let buffered = save_at_the_end(&Sparse::with_blocks_left(blocks), false, (length, bodies));
            assert_eq!(buffered, got, "{blocks} blocks, {bodies} bodies of {length} bytes");
            unbuffered.push(got);
        }
    }
    for got in [Got::Nowhere, Got::Saved, Got::Committed] {
        assert!(unbuffered.contains(&got), "{got:?}");
    }
    // Headers alone fill the last block, and no other.
    let sparse = Sparse::with_blocks_left(2);
    let db = sparse.open(false);
    db.commit().unwrap();
    assert_too_big(db.commit());
    assert_eq!(db.header_position(), LONGEST_FILE - BLOCK);
}

/// Local documents that take several nodes, of which the first ones would fit.
#[test]
fn nodes_are_not_written_either_where_positions_do_not_reach() {
    for unbuffered in [false, true] {
        let sparse = Sparse::with_blocks_left(3);
        let db = sparse.open(unbuffered);
        let bodies: Vec<_> = (0..20).map(|number| common::rng::Rng::with_seed(number).noise(1000)).collect();
        let ids: Vec<_> = (0..20).map(|number| format!("_local/{number:02}")).collect();
        let updates = |count| -> Vec<_> {
            let both = ids.iter().zip(&bodies).take(count);
            both.map(|(id, body)| LocalUpdate { id: id.as_bytes(), body: Some(body) }).collect()
        };
        sparse.take_writes();
        let before = db.info().unwrap();
        assert_too_big(db.save_local(&updates(20)));
        assert_eq!(sparse.take_writes(), 0);
        assert_eq!(db.info().unwrap(), before);
        db.save_local(&updates(3)).unwrap();
        db.commit().unwrap();
        assert_eq!(sparse.open(unbuffered).local(b"_local/02").unwrap().unwrap(), bodies[2]);
    }
}

// ---- sizes of subtrees ---------------------------------------------------------------------------------------------

/// Only a damaged or malicious file says that a subtree is larger than the longest file.
#[test]
fn sizes_of_subtrees_that_do_not_fit_are_refused() {
    for size in [100, LAST_SEQ] {
        let mut forge = Forge::new();
        let leaf = |id: &[u8]| vec![(id.to_vec(), b"body".to_vec())];
        let (a, m) = (forge.node(1, &leaf(b"a")), forge.node(1, &leaf(b"m")));
        let pointer = |position: u64| [be(position, 6), be(size, 6), be(0, 2)].concat();
        let root = forge.node(0, &vec![(b"a".to_vec(), pointer(a)), (b"m".to_vec(), pointer(m))]);
        forge.header(0, b"", b"", &local_root(root));
        let memory = Memory::default();
        memory.put(NAME, forge.bytes);
        let db = memory.options().open(NAME).unwrap();
        let saved = db.save_local(&[LocalUpdate { id: b"a", body: Some(b"new") }]);
        if size < LAST_SEQ {
            saved.unwrap();
        } else {
            assert_too_big(saved);
            assert_eq!(db.local(b"a").unwrap().unwrap(), b"body");
        }
    }
}
