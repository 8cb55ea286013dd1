// SPDX-License-Identifier: Apache-2.0

//! Iterators, callbacks with errors of their own, and single documents.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{self, Forge};
use common::memory::Memory;
use common::property::check;
use common::temp_dir;
use couchstore::{Db, DocInfo, Document, Error, LocalUpdate, SaveOptions, ScanOptions};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ops::{Bound, ControlFlow};

fn id(number: u64) -> Vec<u8> {
    format!("{number:05}").into_bytes()
}

/// A database of documents with these numbers, of which every seventh is deleted. Sequence numbers are given in this
/// order.
fn filled(numbers: impl IntoIterator<Item = u64>) -> (tempfile::TempDir, Db) {
    let dir = temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let ids: Vec<_> = numbers.into_iter().map(|number| (number, id(number))).collect();
    for ids in ids.chunks(100) {
        let documents: Vec<_> = ids
            .iter()
            .map(|(number, id)| if number % 7 == 0 { Document::deletion(id) } else { Document::new(id, id) })
            .collect();
        db.save(&documents, SaveOptions::new()).unwrap();
    }
    (dir, db)
}

fn ids_of(found: impl Iterator<Item = couchstore::Result<DocInfo>>) -> Vec<Vec<u8>> {
    found.map(|info| info.unwrap().id).collect()
}

#[test]
fn both_ends_of_every_tree() {
    let (_dir, db) = filled(0..3000);
    let live: Vec<_> = (0..3000).filter(|number| number % 7 != 0).map(id).collect();
    let all: Vec<_> = (0..3000).map(id).collect();
    assert_eq!(ids_of(db.iter()), live);
    assert!(ids_of(db.iter().rev()).into_iter().eq(live.iter().rev().cloned()));
    assert_eq!(ids_of(db.iter().with_deleted(true)), all);
    assert_eq!(ids_of(db.changes(..)), all);
    assert_eq!(ids_of(db.changes(..).with_deleted(false)), live);
    assert!(ids_of(db.changes(..).rev()).into_iter().eq(all.iter().rev().cloned()));
    let both_ways = db.iter().bodies().chain(db.iter().bodies().rev()).map(|found| {
        let (info, body) = found.unwrap();
        assert_eq!(info.id, body);
    });
    assert_eq!(both_ways.count(), 2 * live.len());
    // Deleted documents have empty ones.
    let bodies: Vec<_> = db.changes(..3).bodies().map(|found| found.unwrap().1).collect();
    assert_eq!(bodies, [vec![], id(1)]);
    assert_eq!(ids_of((&db).into_iter().take(1)), [id(1)]);
    let mut seqs = db.changes(10..=12).map(|info| info.unwrap().db_seq);
    assert_eq!(
        (seqs.next_back(), seqs.next(), seqs.next(), seqs.next_back()),
        (Some(12), Some(10), Some(11), None)
    );
}

#[test]
fn an_empty_database_has_no_documents() {
    let (_dir, db) = filled([]);
    assert!(db.iter().next().is_none() && db.iter().next_back().is_none());
    assert!(db.changes(..).next().is_none() && db.local_docs().next_back().is_none());
}

#[test]
fn ranges_are_those_of_rust() {
    let (_dir, db) = filled((0..100).map(|number| 7 * number + 1));
    let numbers = |found: Vec<Vec<u8>>| -> Vec<u64> {
        found.iter().map(|id| std::str::from_utf8(id).unwrap().parse().unwrap()).collect()
    };
    assert_eq!(numbers(ids_of(db.range("00008".."00022"))), [8, 15]);
    assert_eq!(numbers(ids_of(db.range("00008"..="00022"))), [8, 15, 22]);
    assert_eq!(numbers(ids_of(db.range(.."00015"))), [1, 8]);
    assert_eq!(
        numbers(ids_of(db.range::<&str, _>((Bound::Excluded("00680"), Bound::Unbounded)))),
        [687, 694]
    );
    assert!(ids_of(db.range("00022".."00008")).is_empty());
    assert!(ids_of(db.range("00022".."00008").rev()).is_empty());
    assert_eq!(db.changes(..0).count() + db.changes(101..).count() + db.changes(u64::MAX..).count(), 0);
    assert_eq!(db.changes(99..u64::MAX).count(), 2);
    assert_eq!(db.changes((Bound::Excluded(98), Bound::Included(u64::MAX))).rev().count(), 2);
    // There are numbers of 48 bits.
    let highest = (1 << 48) - 1;
    let last = Document { db_seq: highest, ..Document::new(b"last", b"") };
    db.save(&[last], SaveOptions::new().keep_sequences(true)).unwrap();
    for beyond in [1 << 48, (1 << 48) + 1, u64::MAX] {
        assert_eq!((db.changes(beyond..).count(), db.changes(100..beyond).count()), (0, 2), "{beyond}");
    }
    assert_eq!((db.changes(highest..).count(), db.changes(100..highest).count()), (1, 1));
}

/// Neither what is saved nor what is committed by the same handle meanwhile shows, nor going to another header.
#[test]
fn an_iterator_stays_with_what_it_began_with() {
    let (_dir, db) = filled(0..2000);
    db.commit().unwrap();
    let mut ids = db.iter().with_deleted(true);
    let mut changes = db.changes(..);
    let mut found = vec![ids.next().unwrap().unwrap().id];
    let mut sequences = vec![changes.next().unwrap().unwrap().db_seq];
    for number in (0..2000).step_by(3) {
        db.put(id(number), "another body").unwrap();
    }
    found.push(ids.next().unwrap().unwrap().id);
    db.commit().unwrap();
    found.extend(ids_of(ids.by_ref().take(1000)));
    db.seek(couchstore::Direction::Backward).unwrap();
    found.extend(ids_of(ids));
    sequences.extend(changes.map(|info| info.unwrap().db_seq));
    assert!(found.into_iter().eq((0..2000).map(id)));
    assert!(sequences.into_iter().eq(1..=2000));
}

/// What comes after a discarded change may get its place in the file.
#[test]
fn what_is_discarded_is_not_taken_for_something_else() {
    let (_dir, db) = filled(1..2);
    db.commit().unwrap();
    let mut committed = db.iter();
    db.put("a", "1").unwrap();
    db.put_local("a", "1").unwrap();
    let (mut ids, mut changes, mut locals) = (db.iter(), db.changes(..).rev(), db.local_docs());
    db.seek(couchstore::Direction::End).unwrap();
    db.put("b", "2").unwrap();
    db.put_local("b", "2").unwrap();
    assert!(matches!(ids.next(), Some(Err(Error::InvalidArguments(_)))));
    assert!(matches!(changes.next(), Some(Err(Error::InvalidArguments(_)))));
    assert!(matches!(locals.next(), Some(Err(Error::InvalidArguments(_)))));
    assert!(ids.next().is_none());
    assert!(committed.next().unwrap().unwrap().id == id(1) && committed.next().is_none());
}

#[test]
fn after_an_error_there_is_nothing() {
    let (_dir, db) = filled(0..2000);
    let (mut forward, mut backward) = (db.iter(), db.iter().rev());
    forward.next().unwrap().unwrap();
    backward.next().unwrap().unwrap();
    db.close().unwrap();
    assert!(matches!(forward.find_map(Result::err), Some(Error::FileClosed)));
    assert!(forward.next().is_none() && forward.next_back().is_none());
    assert!(matches!(backward.find_map(Result::err), Some(Error::FileClosed)));
    assert!(backward.next().is_none());
}

#[test]
fn local_documents() {
    let (_dir, db) = filled([1]);
    let ids: Vec<_> = (0..700).map(|number| format!("_local/{number:03}")).collect();
    let updates: Vec<_> =
        ids.iter().map(|id| LocalUpdate { id: id.as_bytes(), body: Some(id.as_bytes()) }).collect();
    db.save_local(&updates).unwrap();
    let found: Vec<_> = db.local_docs().map(Result::unwrap).collect();
    assert!(
        found
            .iter()
            .map(|(id, body)| (id.as_slice(), body.as_slice()))
            .eq(ids.iter().map(|id| (id.as_bytes(), id.as_bytes())))
    );
    assert!(db.local_docs().rev().map(Result::unwrap).eq(found.into_iter().rev()));
    db.put_local("_local/000", "2").unwrap();
    assert_eq!(db.local(b"_local/000").unwrap().unwrap(), b"2");
    assert!(db.delete_local("_local/000").unwrap() && !db.delete_local("_local/000").unwrap());
    assert_eq!(db.local(b"_local/000").unwrap(), None);
}

#[test]
fn single_documents() {
    let (_dir, db) = filled([]);
    assert_eq!((db.put("a", "1").unwrap(), db.put("b", "").unwrap()), (1, 2));
    assert_eq!(db.get(b"b").unwrap().unwrap(), b"");
    assert!(db.contains("a").unwrap() && !db.contains("c").unwrap());
    assert!(!db.delete("c").unwrap() && db.delete("a").unwrap() && !db.delete("a").unwrap());
    assert_eq!((db.get(b"a").unwrap(), db.info().unwrap().last_sequence), (None, 3));
    // A deleted document may have a body, which only those find who ask for it.
    let deleted = Document { deleted: true, ..Document::new(b"c", b"body") };
    db.save(&[deleted], SaveOptions::new()).unwrap();
    let info = db.doc_info(b"c").unwrap().unwrap();
    assert_eq!((db.get(b"c").unwrap(), db.body(&info.borrowed()).unwrap()), (None, b"body".to_vec()));
    assert!(!db.contains("c").unwrap());
    assert_eq!(db.doc_info_by_seq(info.db_seq).unwrap(), Some(info));
    assert_eq!((db.doc_info(b"d").unwrap(), db.doc_info_by_seq(3000).unwrap()), (None, None));
}

#[derive(Debug, PartialEq)]
enum Own {
    Enough(u64),
    Store(String),
}

impl From<Error> for Own {
    fn from(error: Error) -> Own {
        Own::Store(error.to_string())
    }
}

/// What lies beside a range is not read.
#[test]
fn a_range_is_gone_through_from_its_beginning_to_its_end() {
    let (dir, db) = filled(1..10_000);
    db.commit().unwrap();
    let reads = |range: (Bound<&str>, Bound<&str>)| {
        let db = Db::open(dir.path().join("a.couch")).unwrap();
        db.for_each::<&str, _>(range, ScanOptions::new(), |_| ()).unwrap();
        db.file_stats().unwrap().read_count
    };
    let one = reads((Bound::Included("05000"), Bound::Included("05000")));
    let all = reads((Bound::Unbounded, Bound::Unbounded));
    for half in [(Bound::Included("05000"), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded("05000"))] {
        assert!(one < reads(half) && reads(half) < all);
    }
}

#[test]
fn callbacks_decide_what_comes_back() {
    let (_dir, db) = filled(1..100);
    let mut seen = 0;
    db.for_each("00090".."00095", ScanOptions::new(), |_| seen += 1).unwrap();
    assert_eq!(seen, 5);
    let enough = |info: &couchstore::DocInfoRef<'_>| {
        if info.db_seq < 7 { Ok(()) } else { Err(Own::Enough(info.db_seq)) }
    };
    assert_eq!(db.for_each_change(.., ScanOptions::new(), enough), Err(Own::Enough(7)));
    assert_eq!(db.for_each_change(..7, ScanOptions::new(), enough), Ok(()));
    let found = db.for_each("00020"..="00020", ScanOptions::new(), |info| ControlFlow::Break(info.db_seq));
    assert_eq!(found.unwrap(), ControlFlow::Break(20));
    let found = db.for_each("x".., ScanOptions::new(), |_| ControlFlow::Break(()));
    assert_eq!(found.unwrap(), ControlFlow::Continue(()));
    db.put_local("_local/a", "b").unwrap();
    let mut locals = Vec::new();
    db.for_each_local(|id, body| locals.push((id.to_vec(), body.to_vec()))).unwrap();
    assert_eq!(locals, [(b"_local/a".to_vec(), b"b".to_vec())]);
    let mut after = Vec::new();
    db.for_each_change((Bound::Excluded(97), Bound::Excluded(99)), ScanOptions::new(), |info| {
        after.push(info.db_seq);
    })
    .unwrap();
    assert_eq!(after, [98]);
    db.close().unwrap();
    let closed = db.for_each_change(.., ScanOptions::new(), enough);
    assert_eq!(closed, Err(Own::Store(Error::FileClosed.to_string())));
}

/// What is done with a range: from which end the next one is taken, until there are no more.
fn model_of(documents: &BTreeSet<Vec<u8>>, range: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> Vec<Vec<u8>> {
    use std::ops::RangeBounds;
    documents.iter().filter(|key| range.contains(*key)).cloned().collect()
}

fn bounds() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![
        Just(Bound::Unbounded),
        (0..320_u64).prop_map(|number| Bound::Included(id(number))),
        (0..320_u64).prop_map(|number| Bound::Excluded(id(number))),
    ]
}

/// Entries with the same sequence number, too, come once each, from whichever end.
#[test]
fn any_range_from_any_end() {
    let strategy = (prop::collection::vec((0..300_u64, 1..40_u64), 0..400), bounds(), bounds(), any::<u64>());
    check(60, &strategy, |(saved, first, last, ends)| {
        let db = Memory::default().options().create(true).node_sizes(120, 120).open("a.couch").unwrap();
        let ids: Vec<_> = saved.iter().map(|&(number, _)| id(number)).collect();
        let documents: Vec<_> = ids
            .iter()
            .zip(&saved)
            .map(|(id, &(_, db_seq))| Document { db_seq, ..Document::new(id, b"body") })
            .collect();
        // Whoever keeps its number is put beside others that have it by now.
        for documents in documents.chunks(7).chain(documents.chunks(7)) {
            db.save(documents, SaveOptions::new().keep_sequences(true)).unwrap();
        }
        let range = (first, last);
        let mut expected = model_of(&ids.iter().cloned().collect(), &range);
        let mut found = db.range(range);
        for turn in 0.. {
            let is_front = ends >> (turn % 64) & 1 == 0;
            let (next, wanted) = if is_front {
                (found.next(), (!expected.is_empty()).then(|| expected.remove(0)))
            } else {
                (found.next_back(), expected.pop())
            };
            assert_eq!(next.map(|info| info.unwrap().id), wanted);
            if wanted.is_none() {
                break;
            }
        }
        let mut all = Vec::new();
        db.changes_since(0, ScanOptions::new(), &mut |info| {
            all.push(info.to_owned());
            Ok(())
        })
        .unwrap();
        let mut changes = db.changes(..);
        let mut front = Vec::new();
        let mut back = Vec::new();
        for turn in 0.. {
            let is_front = ends >> (turn % 64) & 1 == 0;
            let next = if is_front { changes.next() } else { changes.next_back() };
            let Some(next) = next else { break };
            if is_front { front.push(next.unwrap()) } else { back.push(next.unwrap()) }
        }
        front.extend(back.into_iter().rev());
        assert_eq!(front, all);
    });
}

/// A file whose three trees are this leaf.
fn with_leaf(entries: &[(Vec<u8>, Vec<u8>)]) -> Db {
    let mut forge = Forge::new();
    let leaf = forge.node(1, &entries.to_vec());
    forge.header(9, &forge::by_seq_root(leaf), &forge::by_id_root(leaf), &forge::local_root(leaf));
    let memory = Memory::default();
    memory.put("forged", forge.bytes);
    memory.options().read_only(true).open("forged").unwrap()
}

/// Each page begins where the last one has ended: with such keys again and again at the same place.
#[test]
fn keys_in_disorder_end_an_iterator() {
    let entries: Vec<_> = (0..1025)
        .map(|index| {
            let key = if [0, 1007, 1024].contains(&index) { "1" } else { "2" };
            (key.as_bytes().to_vec(), forge::by_id_value(0, 0))
        })
        .collect();
    let db = with_leaf(&entries);
    let is_damage = |result: Result<(), Error>| matches!(result, Err(Error::Corrupt { .. }));
    assert!(is_damage(db.local_docs().try_for_each(|found| found.map(drop))));
    assert!(is_damage(db.local_docs().rev().try_for_each(|found| found.map(drop))));
    assert!(is_damage(db.iter().with_deleted(true).try_for_each(|found| found.map(drop))));
    assert!(is_damage(db.iter().with_deleted(true).rev().try_for_each(|found| found.map(drop))));
}

/// Damage that was stepped over is told at the end, wherever the range ends; what cannot be decoded is shown.
#[test]
fn damage_that_is_stepped_over_is_told_of_every_range() {
    let key = |seq: u8| vec![0, 0, 0, 0, 0, seq];
    let entries: Vec<_> = (1..=5)
        .map(|seq| (key(seq), if seq == 2 { vec![0] } else { forge::by_seq_value(b"x", 0, 0) }))
        .collect();
    let db = with_leaf(&entries);
    let options = ScanOptions::new().tolerate_corruption(true);
    for (range, expected) in [(0..5, 4), (1..5, 4), (1..6, 5), (2..9, 4), (1..3, 2)] {
        let mut shown = 0;
        let result = db.for_each_change(range.clone(), options, |_| shown += 1);
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{range:?}: {result:?}");
        assert_eq!(shown, expected, "{range:?}");
    }
    let mut shown = Vec::new();
    db.for_each_change((Bound::Excluded(2), Bound::Excluded(5)), options, |info| shown.push(info.db_seq))
        .unwrap();
    assert_eq!(shown, [3, 4]);
    for empty in [(Bound::Excluded(u64::MAX), Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(0))] {
        db.for_each_change(empty, options, |_| -> () { unreachable!() }).unwrap();
    }
}
