// SPDX-License-Identifier: Apache-2.0

//! Reading by plan: what a file that is written to again and again costs to read, and that plans change no result.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forwarding::{self, Forwarding};
use common::memory::Memory;
use common::watched::{Call, Watched};
use couchstore::io::{FileOps, IoError};
use couchstore::{
    CompactOptions, Db, DocInfoRef, Document, Error, ErrorCode, LocalUpdate, OpenOptions, SaveOptions,
    ScanOptions, compact,
};
use std::sync::Arc;

const NAME: &str = "plans.couch";
const COUNT: usize = 4000;

fn id(number: usize) -> Vec<u8> {
    format!("document {number:05}").into_bytes()
}

/// A file whose leaves are all over it: of each batch of updates a few stand beside each other.
fn scattered() -> Memory {
    let memory = Memory::default();
    let db = memory.open(NAME);
    let save = |numbers: &mut dyn Iterator<Item = usize>| {
        let ids: Vec<_> = numbers.map(id).collect();
        let docs: Vec<_> = ids.iter().map(|id| Document::new(id, b"body")).collect();
        db.save(&docs, SaveOptions::default()).unwrap();
        let locals: Vec<_> =
            ids.iter().take(200).map(|id| LocalUpdate { id, body: Some(b"local".as_slice()) }).collect();
        db.save_local(&locals).unwrap();
        db.commit().unwrap();
    };
    save(&mut (0..COUNT));
    for batch in 0..20 {
        save(&mut (0..COUNT).filter(|number| number * 7919 % COUNT % 40 == batch));
    }
    db.close().unwrap();
    memory
}

struct Reader {
    watched: Watched,
    db: Db,
}

impl Reader {
    fn new(memory: &Memory, encode: fn(OpenOptions) -> OpenOptions) -> couchstore::Result<Reader> {
        let watched = Watched::new(memory.ops());
        let db = encode(OpenOptions::new().file_ops(watched.ops())).read_only(true).open(NAME)?;
        watched.take_log();
        Ok(Reader { watched, db })
    }

    /// Number of reads since the last time, and their bytes.
    fn reads(&self) -> (usize, usize) {
        let log = self.watched.take_log();
        let lengths = log.into_iter().filter_map(|call| match call {
            Call::Read(length, _) => Some(length),
            _ => None,
        });
        lengths.fold((0, 0), |(count, bytes), length| (count + 1, bytes + length))
    }
}

fn nodes(db: &Db) -> usize {
    let mut nodes = 0;
    db.walk_by_id(b"", ScanOptions::default(), &mut |_, item| {
        nodes += usize::from(matches!(item, couchstore::WalkItem::Node { .. }));
        Ok(())
    })
    .unwrap();
    nodes
}

/// What the nodes of the tree by id take.
fn tree_size(db: &Db) -> usize {
    let mut size = 0;
    db.walk_by_id(b"", ScanOptions::default(), &mut |depth, item| {
        if let (0, couchstore::WalkItem::Node { subtree_size, .. }) = (depth, item) {
            size = *subtree_size as usize;
        }
        Ok(())
    })
    .unwrap();
    size
}

#[test]
fn plans_reach_over_pointer_nodes() {
    let memory = scattered();
    let reader = Reader::new(&memory, |options| options).unwrap();
    let nodes = nodes(&reader.db);
    reader.reads();
    let mut shown = 0;
    let mut count = |_: &DocInfoRef<'_>| {
        shown += 1;
        Ok(())
    };
    reader.db.all_docs(b"", ScanOptions::default(), &mut count).unwrap();
    assert_eq!(shown, COUNT);
    let (reads, _) = reader.reads();
    assert!(reads * 2 < nodes, "{reads} reads of {nodes} nodes");
}

/// A file that was compacted, with so many documents with bodies of this length, in another order by sequence number than by id.
fn compacted(count: usize, body_length: usize) -> Memory {
    let (source, target) = (Memory::default(), Memory::default());
    let db = source.open(NAME);
    let body: Vec<_> =
        (0..body_length as u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ids: Vec<_> = (0..count).map(|number| id(number * 7919 % count)).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id, &body)).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    db.commit().unwrap();
    compact(&db, NAME, &CompactOptions::new().file_ops(target.ops())).unwrap();
    target
}

/// Leaves stand in order there, those by sequence number with bodies between them: what is beside each other is read at
/// once, and nothing twice.
#[test]
fn a_compacted_file_is_read_in_large_pieces_and_once() {
    for (count, body_length) in [(20_000, 0), (20_000, 50), (20_000, 200), (4000, 1400), (4000, 5000)] {
        let memory = compacted(count, body_length);
        let (size, pieces) = (memory.bytes(NAME).len(), memory.bytes(NAME).len() / (256 << 10));
        let scan = |by_id: bool, read_bodies: bool| {
            let reader = Reader::new(&memory, |options| options).unwrap();
            let (mut shown, all) = (0, ScanOptions::default());
            let mut show = |info: &DocInfoRef<'_>| {
                shown += 1;
                if read_bodies {
                    assert_eq!(reader.db.body(info)?.len(), body_length);
                }
                Ok(())
            };
            if by_id {
                reader.db.all_docs(b"", all, &mut show).unwrap();
            } else {
                reader.db.changes_since(0, all, &mut show).unwrap();
            }
            assert_eq!(shown, count);
            let (reads, bytes) = reader.reads();
            (reads, bytes, format!("bodies of {body_length}: {reads} reads of {bytes} bytes"))
        };
        let reader = Reader::new(&memory, |options| options).unwrap();
        let (nodes, tree) = (nodes(&reader.db), tree_size(&reader.db));

        let (reads, bytes, told) = scan(true, false);
        assert!(reads <= 16 + nodes / 32 && bytes < tree + tree / 8 + (64 << 10), "{told}, tree of {tree}");

        // Those who read all bodies read the file but for the tree by id, and here and there a leaf by itself.
        let (reads, bytes, told) = scan(false, true);
        assert!(
            reads < 2 * pieces + nodes / 3 && bytes < size + size / 64 + (128 << 10),
            "{told}, file of {size}"
        );

        // Those who read none read some where that spares reads: where pages of the file have leaves in them anyway.
        let (reads, bytes, told) = scan(false, false);
        if body_length <= 50 {
            assert!(reads <= nodes / 8 && bytes < size, "{told}");
        } else {
            assert!(reads <= nodes + nodes / 8 && bytes < 4 * tree, "{told}");
        }
    }
}

/// Leaves that were written later stand anywhere, and a few bodies between some of them mean nothing.
#[test]
fn a_compacted_file_that_was_updated_is_read_by_plan() {
    for (count, body_length) in [(20_000, 0), (20_000, 50), (4000, 1400)] {
        let memory = compacted(count, body_length);
        let db = memory.open(NAME);
        let body = vec![7; body_length];
        let mut random = 12_345_u64;
        for _ in 0..20 {
            let mut any = || {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (random >> 33) as usize % count
            };
            let ids: std::collections::BTreeSet<_> = (0..count / 100).map(|_| id(any())).collect();
            let docs: Vec<_> = ids.iter().map(|id| Document::new(id, &body)).collect();
            db.save(&docs, SaveOptions::default()).unwrap();
            db.commit().unwrap();
        }
        let leaves = nodes(&db);
        db.close().unwrap();
        let reader = Reader::new(&memory, |options| options).unwrap();
        let mut shown = 0;
        let mut show = |info: &DocInfoRef<'_>| {
            shown += usize::from(reader.db.body(info)?.len() == body_length);
            Ok(())
        };
        reader.db.changes_since(0, ScanOptions::default(), &mut show).unwrap();
        assert_eq!(shown, count);
        let (reads, bytes) = reader.reads();
        let pieces = memory.bytes(NAME).len() / (256 << 10);
        let told = format!("bodies of {body_length}: {reads} reads of {bytes} bytes, {leaves} nodes");
        assert!(reads < leaves / 4 + 4 * pieces, "{told}");
    }
}

/// What was saved at once is read in large pieces, and not what stands behind it.
#[test]
fn nothing_is_read_behind_the_last_leaf() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    let ids: Vec<_> = (0..20_000).map(id).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id, b"")).collect();
    db.save(&docs, SaveOptions::default()).unwrap();
    let local = vec![1; 1 << 20];
    db.save_local(&[LocalUpdate { id: b"_local/large", body: Some(&local) }]).unwrap();
    db.commit().unwrap();
    let tree = tree_size(&db);
    db.close().unwrap();
    for last in [None, Some(id(19_999)), Some(id(15_000))] {
        let reader = Reader::new(&memory, |options| options).unwrap();
        let mut ignore = |_: &DocInfoRef<'_>| Ok(());
        reader.db.docs_in_range(b"", last.as_deref(), ScanOptions::default(), &mut ignore).unwrap();
        let (reads, bytes) = reader.reads();
        let part = if last == Some(id(15_000)) { tree * 3 / 4 } else { tree };
        assert!(bytes < part + part / 8, "{last:?}: {reads} reads of {bytes} bytes, tree of {tree}");
    }
}

#[test]
fn who_wants_little_reads_little() {
    let memory = scattered();
    let reader = Reader::new(&memory, |options| options).unwrap();
    let mut left = 20;
    let ended = reader.db.all_docs(&id(1000), ScanOptions::default(), &mut |_| {
        left -= 1;
        if left > 0 { Ok(()) } else { Err(Error::DocNotFound) }
    });
    assert!(matches!(ended, Err(Error::DocNotFound)));
    let (_, bytes) = reader.reads();
    assert!(bytes < 64 << 10, "{bytes} bytes");
}

#[test]
fn many_keys_are_looked_up_by_plan() {
    let memory = scattered();
    let reader = Reader::new(&memory, |options| options).unwrap();
    let look_up = |numbers: &mut dyn Iterator<Item = usize>| {
        let ids: Vec<_> = numbers.map(id).collect();
        let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
        let mut found = Vec::new();
        reader.reads();
        let show = &mut |info: &DocInfoRef<'_>| {
            found.push(info.id.to_vec());
            Ok(())
        };
        reader.db.docs_by_id(&ids, ScanOptions::default(), show).unwrap();
        let mut expected: Vec<_> = ids.into_iter().map(<[u8]>::to_vec).collect();
        expected.sort_unstable();
        expected.retain(|id| id.as_slice() < b"document 04000".as_slice());
        assert_eq!(found, expected);
        reader.reads()
    };
    // Every third of a quarter of them, and some behind the last.
    let (dense, _) = look_up(&mut (2000..3000).chain(5000..5100).step_by(3));
    assert!(dense < 40, "{dense} reads");
    let few = [17, 1234, 3000];
    let (sparse, bytes) = look_up(&mut few.into_iter());
    assert!(sparse <= 4 * few.len() && bytes < 32 << 10, "{sparse} reads of {bytes} bytes");
}

#[test]
fn local_documents_are_scanned_by_plan() {
    let memory = scattered();
    let reader = Reader::new(&memory, |options| options).unwrap();
    let mut shown = 0;
    reader
        .db
        .scan_local(b"", &mut |_, body| {
            assert_eq!(body, b"local");
            shown += 1;
            Ok(())
        })
        .unwrap();
    assert!(shown > COUNT / 4, "{shown}");
    let (reads, _) = reader.reads();
    assert!(reads * 50 < shown, "{reads} reads for {shown} documents");
}

/// What a scan shows, and what it ends with.
type Outcome = (Vec<Vec<u8>>, Option<String>);

fn outcomes(reader: &Reader) -> Vec<Outcome> {
    let (mut outcomes, db) = (Vec::new(), &reader.db);
    let wanted: Vec<_> = (0..COUNT).step_by(2).map(id).collect();
    let wanted: Vec<_> = wanted.iter().map(Vec::as_slice).collect();
    for tolerate_corruption in [false, true] {
        let options = ScanOptions::new().tolerate_corruption(tolerate_corruption);
        for scan in 0..3 {
            let mut shown = Vec::new();
            let show = &mut |info: &DocInfoRef<'_>| {
                shown.push(info.id.to_vec());
                Ok(())
            };
            let ended = match scan {
                0 => db.changes_since(0, options, show),
                1 => db.all_docs(b"", options, show),
                _ => db.docs_by_id(&wanted, options, show),
            };
            outcomes.push((shown, ended.err().map(|error| error.to_string())));
        }
    }
    outcomes
}

/// Damage is met where it is without plans: what comes before it is shown.
#[test]
fn plans_change_no_result() {
    let memory = scattered();
    let whole = memory.bytes(NAME);
    let mut damaged = 0;
    for round in 0..60 {
        let mut bytes = whole.clone();
        for place in 0..=round % 12 {
            // Most of what is reached stands in the last two thirds.
            let at = whole.len() - 1 - (round * 104_729 + place * 7919 * 13) % (whole.len() * 2 / 3);
            bytes[at] ^= 0x55;
        }
        memory.put(NAME, bytes);
        let planned = Reader::new(&memory, |options| options);
        let plain = Reader::new(&memory, |options| options.unbuffered(true));
        let (Ok(planned), Ok(plain)) = (planned, plain) else { continue };
        let (planned, plain) = (outcomes(&planned), outcomes(&plain));
        damaged += usize::from(plain.iter().any(|(_, error)| error.is_some()));
        for (scan, (planned, plain)) in planned.iter().zip(&plain).enumerate() {
            let (shown, expected) = (planned.0.len(), plain.0.len());
            assert_eq!((shown, &planned.1), (expected, &plain.1), "round {round}, scan {scan}");
            assert!(planned.0 == plain.0, "round {round}, scan {scan}");
        }
    }
    assert!(damaged > 20, "{damaged} of the files");
}

/// File operations that can read no more than a few nodes at once: what a plan reads fails.
fn narrow(ops: Arc<dyn FileOps>) -> Forwarding {
    Forwarding::on(ops).before(|call| match call {
        forwarding::Call::Read(range) if range.end - range.start > 4096 => {
            Err(IoError::new(ErrorCode::READ, libc::EIO))
        }
        _ => Ok(()),
    })
}

/// A plan reads what lies between nodes, and nodes that may never be wanted. That it fails is told; but whoever steps over
/// damage is shown all that can be read.
#[test]
fn what_only_a_plan_cannot_read_is_shown_all_the_same() {
    let memory = scattered();
    let all = Reader::new(&memory, |options| options.unbuffered(true)).unwrap();
    let db = OpenOptions::new().file_ops(Arc::new(narrow(memory.ops()))).read_only(true).open(NAME).unwrap();
    let is_told =
        |result: couchstore::Result<()>| matches!(result, Err(Error::Io { os_error: libc::EIO, .. }));
    let scan = |db: &Db, tolerate_corruption, whole: &dyn Fn(couchstore::Result<()>) -> bool| {
        let options = ScanOptions::new().tolerate_corruption(tolerate_corruption);
        let mut found = Vec::new();
        let mut visit = |info: &DocInfoRef<'_>| {
            found.push((info.id.to_vec(), info.db_seq, db.body(info)?));
            Ok(())
        };
        assert!(whole(db.changes_since(0, options, &mut visit)));
        assert!(whole(db.all_docs(b"", options, &mut visit)));
        let ids: Vec<_> = (0..COUNT).step_by(3).map(id).collect();
        let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
        assert!(whole(db.docs_by_id(&ids, options, &mut visit)));
        found
    };
    let expected = scan(&all.db, false, &|result| result.is_ok());
    assert!(scan(&db, true, &is_told) == expected);
    assert!(scan(&db, false, &is_told).len() < expected.len());
    let dir = common::temp_dir();
    let target = dir.path().join("target");
    let options = |recovery| CompactOptions::new().recovery(recovery);
    assert!(is_told(compact(&db, &target, &options(false))) && !target.exists());
    assert!(is_told(compact(&db, &target, &options(true))));
    let info = Db::open(&target).unwrap().info().unwrap();
    assert_eq!(info.doc_count, COUNT as u64);
}
