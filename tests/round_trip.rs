// SPDX-License-Identifier: Apache-2.0

//! What is saved comes back: 100 000 documents and their changes against a map, by id and by sequence, after
//! closing and opening, and after compaction.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::model::{Doc, Model};
use common::raw;
use common::rng::Rng;
use couchstore::{
    COMPRESSED, CompactOptions, Db, DocInfo, Document, Error, FormatVersion, LocalUpdate, OnDocument, OnItem,
    OpenOptions, Result, SaveOptions, ScanOptions, WalkItem, compact,
};
use std::path::Path;

const COMPRESS: SaveOptions = SaveOptions::new().compress(true);

/// A document with random properties; about one in ten is deleted, half of those with a body.
fn random_doc(rng: &mut Rng, number: u64) -> Doc {
    let id = format!("document-{:07}", number * 7919 % 10_000_019).into_bytes();
    let length = rng.index(300);
    let compressed = rng.percent(50);
    let body = if compressed { rng.text(length) } else { rng.noise(length) };
    let deleted = rng.percent(10);
    let meta_length = rng.index(20);
    Doc {
        id,
        body: (!deleted || rng.percent(50)).then_some(body),
        rev_meta: rng.noise(meta_length),
        rev_seq: rng.below(1 << 48),
        db_seq: 0,
        deleted,
        content_meta: if compressed { COMPRESSED } else { 3 },
    }
}

/// Saves new documents and changes of old ones in batches, with a commit every few batches.
fn fill(db: &Db, model: &mut Model, rng: &mut Rng, documents: u64, batch: u64) {
    for first in (0..documents).step_by(batch as usize) {
        let docs: Vec<_> = (first..first + batch).map(|number| random_doc(rng, number)).collect();
        model.save_both(db, &docs, COMPRESS);
        if rng.percent(30) {
            db.commit().expect("commit");
        }
    }
    for _ in 0..documents / batch / 2 {
        let mut again = || {
            let number = rng.below(documents);
            random_doc(rng, number)
        };
        let docs: Vec<_> = (0..batch).map(|_| again()).collect();
        model.save_both(db, &docs, COMPRESS);
    }
    let local: Vec<_> =
        (0..batch).map(|number| (format!("_local/{number}").into_bytes(), Some(rng.text(50)))).collect();
    model.local_both(db, &local);
    db.commit().expect("commit");
}

/// Fills a database, compares it, opens it again, compares it, compacts it and compares the result.
fn round_trip(options: &OpenOptions, documents: u64, batch: u64) {
    let dir = common::temp_dir();
    let (path, target) = (dir.path().join("a.couch"), dir.path().join("b.couch"));
    let mut rng = Rng::new();
    let mut model = Model::default();
    let db = options.clone().create(true).open(&path).expect("create");
    fill(&db, &mut model, &mut rng, documents, batch);
    model.check(&db);
    db.close().expect("close");

    let db = options.open(&path).expect("open");
    model.check(&db);
    compact(&db, &target, &CompactOptions::default()).expect("compact");
    check_compacted(&db, &target, options, &model);
}

fn check_compacted(source: &Db, target: &Path, options: &OpenOptions, model: &Model) {
    let bytes = std::fs::read(target).unwrap();
    let legacy = source.info().unwrap().version == FormatVersion::V11;
    let file = if legacy { raw::File::with_legacy_crc(bytes) } else { raw::File::new(bytes) };
    assert_eq!(file.header_positions().len(), 1, "headers of a compacted file");
    raw::check_header(&file, &file.last_header());
    let db = options.open(target).expect("open the compacted file");
    model.compacted(false).check(&db);
    let (before, after) = (source.info().unwrap(), db.info().unwrap());
    assert_eq!((after.version, after.timestamp), (before.version, before.timestamp));
    assert!(after.file_size < before.file_size);
}

#[test]
fn a_hundred_thousand_documents() {
    round_trip(&OpenOptions::new(), 100_000, 1000);
}

#[test]
fn version_11() {
    round_trip(&OpenOptions::new().legacy_crc(true), 3000, 100);
}

#[test]
fn small_nodes() {
    round_trip(&OpenOptions::new().node_sizes(300, 200), 3000, 100);
}

#[test]
fn large_nodes() {
    round_trip(&OpenOptions::new().node_sizes(15 << 10, 15 << 10), 3000, 100);
}

#[test]
fn without_buffers() {
    round_trip(&OpenOptions::new().unbuffered(true), 3000, 100);
}

#[test]
fn one_small_read_buffer() {
    round_trip(&OpenOptions::new().read_buffers(100, 1), 2000, 100);
}

#[test]
fn documents_at_the_limits() {
    let dir = common::temp_dir();
    let path = dir.path().join("a.couch");
    let mut model = Model::default();
    let mut rng = Rng::new();
    let longest_id = rng.noise(4095);
    let docs = [
        Doc::new(b"", b"the empty id"),
        Doc::new(b"empty body", b""),
        Doc { content_meta: COMPRESSED, ..Doc::new(b"empty body, compressed", b"") },
        Doc::new(&longest_id, b"longest id"),
        Doc::new(b"large", &rng.noise(5 << 20)),
        Doc { content_meta: COMPRESSED, ..Doc::new(b"large, compressed", &rng.text(5 << 20)) },
        Doc { rev_meta: rng.noise(100_000), rev_seq: (1 << 48) - 1, ..Doc::new(b"large meta", b"x") },
        Doc { deleted: true, ..Doc::new(b"deleted, with a body", b"body") },
        Doc::deletion(b"deleted"),
    ];
    let db = Db::create(&path).unwrap();
    model.save_both(&db, &docs, COMPRESS);
    model.local_both(&db, &[(longest_id.clone(), Some(rng.noise(1 << 20))), (vec![], Some(vec![]))]);
    model.check(&db);
    db.commit().unwrap();
    model.check(&Db::open(&path).unwrap());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let dir = common::temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let size = db.info().unwrap().file_size;
    let (long_id, long_meta) = (vec![b'x'; 4096], vec![0; 1 << 28]);
    let refused = [
        (Doc::new(&long_id, b"x"), "expected an id of at most 4095 bytes, got 4096"),
        (Doc { rev_meta: long_meta.clone(), ..Doc::new(b"x", b"x") }, "got 268435456 bytes"),
        (
            Doc::new(b"x", &long_meta),
            "expected a body of at most 268435447 bytes as it is stored, got 268435456",
        ),
    ];
    for (doc, why) in refused {
        let batch = [Doc::new(b"fine", b"fine"), doc];
        let documents: Vec<_> = batch.iter().map(Doc::document).collect();
        let result = db.save(&documents, SaveOptions::default());
        let Err(Error::Refused { index: 1, reason }) = result else { panic!("{result:?}") };
        assert!(reason.contains(why), "{reason}");
    }
    assert_eq!(db.info().unwrap().file_size, size);
    assert_eq!(db.get(b"fine").unwrap(), None);
}

#[test]
fn ranges_and_lists_of_keys() {
    let dir = common::temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let mut model = Model::default();
    let mut rng = Rng::new();
    fill(&db, &mut model, &mut rng, 2000, 100);
    let ids: Vec<_> = model.by_id.keys().cloned().collect();
    for _ in 0..100 {
        // A list in any order, with keys that are not there and keys that come twice.
        let mut asked: Vec<Vec<u8>> = (0..20).map(|_| ids[rng.index(ids.len())].clone()).collect();
        asked.push(b"document-".to_vec());
        asked.push([ids[0].as_slice(), b"x"].concat());
        let keys: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
        let mut expected: Vec<_> = asked.iter().filter(|id| model.by_id.contains_key(*id)).cloned().collect();
        expected.sort();
        expected.dedup();
        let found = gather(|take| db.docs_by_id(&keys, ScanOptions::default(), take));
        assert_eq!(found.into_iter().map(|info| info.id).collect::<Vec<_>>(), expected);

        let (low, high) = (rng.below(3000), rng.below(3000));
        let found = gather(|take| db.changes_in_range(low, Some(high), ScanOptions::default(), take));
        let expected =
            model.by_seq.keys().filter(|(seq, _)| *seq >= low && *seq <= high).map(|(seq, _)| *seq);
        assert_eq!(found.iter().map(|info| info.db_seq).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        let count = if low <= high { found.len() as u64 } else { 0 };
        assert_eq!(db.changes_count(low, high).unwrap(), count);
    }
    let all = model.by_id.len();
    let deleted = gather(|take| db.all_docs(b"", ScanOptions::new().deletes_only(true), take));
    let live = gather(|take| db.all_docs(b"", ScanOptions::new().no_deletes(true), take));
    assert!(deleted.iter().all(|info| info.deleted) && live.iter().all(|info| !info.deleted));
    assert_eq!(deleted.len() + live.len(), all);
}

fn gather(scan: impl FnOnce(OnDocument<'_>) -> Result<()>) -> Vec<DocInfo> {
    let mut found = Vec::new();
    scan(&mut |info| {
        found.push(info.to_owned());
        Ok(())
    })
    .expect("scan");
    found
}

/// The ids that a scan shows.
fn shown(scan: impl FnOnce(OnDocument<'_>) -> Result<()>) -> Vec<Vec<u8>> {
    gather(scan).into_iter().map(|info| info.id).collect()
}

/// The documents that a walk shows.
fn walked(walk: impl FnOnce(OnItem<'_>) -> Result<()>) -> Vec<(Vec<u8>, u64)> {
    let mut found = Vec::new();
    walk(&mut |_, item| {
        if let WalkItem::Document(info) = item {
            found.push((info.id.to_vec(), info.physical_size));
        }
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn scans_show_deleted_documents_or_others_or_both() {
    let dir = common::temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let ids: Vec<_> = (0..10).map(|number| format!("{number}").into_bytes()).collect();
    let documents = ids.iter().enumerate().map(|(number, id)| {
        if number % 3 == 0 { Document::deletion(id) } else { Document::new(id, b"body") }
    });
    db.save(&documents.collect::<Vec<_>>(), SaveOptions::default()).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"12345") }]).unwrap();
    let all: Vec<&[u8]> = ids.iter().map(Vec::as_slice).collect();
    let numbers: Vec<_> = (1..=10).collect();
    let options = ScanOptions::default;
    for (options, wanted) in [
        (options(), [true, true]),
        (options().no_deletes(true), [true, false]),
        (options().deletes_only(true), [false, true]),
    ] {
        let expected = ids.iter().enumerate().filter(|(number, _)| wanted[usize::from(number % 3 == 0)]);
        let expected: Vec<_> = expected.map(|(_, id)| id.clone()).collect();
        assert_eq!(shown(|visit| db.all_docs(b"", options, visit)), expected);
        assert_eq!(shown(|visit| db.changes_since(0, options, visit)), expected);
        assert_eq!(shown(|visit| db.docs_by_id(&all, options, visit)), expected);
        assert_eq!(shown(|visit| db.docs_by_seq(&numbers, options, visit)), expected);
        let one_by_one: Vec<_> =
            all.iter().flat_map(|id| shown(|visit| db.docs_by_id(&[id], options, visit))).collect();
        assert_eq!(one_by_one, expected);
        let by_id = walked(|visit| db.walk_by_id(b"", options, visit)).into_iter().map(|(id, _)| id);
        assert!(by_id.eq(expected));
        // These are never deleted, and always shown.
        assert_eq!(walked(|visit| db.walk_local(b"", options, visit)), [(b"_local/a".to_vec(), 5)]);
    }
}

#[test]
fn ids_that_differ_late_are_different() {
    let dir = common::temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    // The first has nothing in common with the others, which are sorted by their first eight bytes and then by the rest.
    let given =
        [("b", "1"), ("aaaaaaaa-2", "2"), ("aaaaaaaa-1", "3"), ("aaaaaaaa-2", "4"), ("aaaaaaaa", "5")];
    let documents = given.map(|(id, body)| Document::new(id.as_bytes(), body.as_bytes()));
    db.save(&documents, SaveOptions::default()).unwrap();
    let found: Vec<_> =
        db.iter().bodies().map(|found| found.unwrap()).map(|(info, body)| (info.id, body)).collect();
    let expected = [("aaaaaaaa", "5"), ("aaaaaaaa-1", "3"), ("aaaaaaaa-2", "4"), ("b", "1")];
    assert_eq!(found, expected.map(|(id, body)| (id.as_bytes().to_vec(), body.as_bytes().to_vec())));
}

#[test]
fn all_documents_with_a_number_are_shown() {
    let dir = common::temp_dir();
    let db = Db::create(dir.path().join("a.couch")).unwrap();
    let document = |id: &'static [u8], db_seq| Document { db_seq, ..Document::new(id, b"") };
    let documents = [document(b"a", 7), document(b"b", 8), document(b"c", 7), document(b"d", 9)];
    db.save(&documents, SaveOptions::new().keep_sequences(true)).unwrap();
    assert_eq!(shown(|visit| db.docs_by_seq(&[9, 7], ScanOptions::default(), visit)), [b"a", b"c", b"d"]);
}
