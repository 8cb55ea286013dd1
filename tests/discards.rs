// SPDX-License-Identifier: Apache-2.0

//! Whoever goes through a file in which the callback gives up what was not committed, and saves something else in its place:
//! neither wrong documents nor wrong bodies come of it, whatever is gone through.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, DocInfoRef, Document, Error, LocalUpdate, NodeCache,
    OpenOptions, Result, SaveOptions, ScanOptions, Verdict, compact_with,
};
use std::cell::Cell;
use std::sync::Arc;

const NAME: &str = "a.couch";
const TARGET: &str = "b.couch";

fn id(number: usize) -> String {
    format!("{number:05}")
}

/// Saves so many local documents and documents whose content begins with this letter.
fn save(db: &Db, letter: char, count: usize) {
    // Their first leaf stands right behind the header.
    save_local(db, letter, count);
    let docs: Vec<_> = (0..count).map(|number| (id(number), format!("{letter} {number}"))).collect();
    let rev_meta = letter.to_string();
    let documents: Vec<_> = docs
        .iter()
        .map(|(id, body)| Document {
            rev_meta: rev_meta.as_bytes(),
            ..Document::new(id.as_bytes(), body.as_bytes())
        })
        .collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

fn save_local(db: &Db, letter: char, count: usize) {
    let docs: Vec<_> = (0..count).map(|number| (id(number), format!("{letter} {number}"))).collect();
    let updates: Vec<_> = docs
        .iter()
        .map(|(id, body)| LocalUpdate { id: id.as_bytes(), body: Some(body.as_bytes()) })
        .collect();
    db.save_local(&updates).unwrap();
}

/// Is told of each item that is shown, and whose it is if that can be told.
type Tell<'a> = &'a mut dyn FnMut(Option<u8>) -> Result<()>;

struct Copying<'a, 'b> {
    tell: Tell<'a>,
    source: &'b Db,
    rewrites: bool,
}

impl CompactHooks for Copying<'_, '_> {
    fn filters(&self) -> bool {
        true
    }

    fn filter(&mut self, _: &Db, info: &DocInfoRef<'_>, _: Option<&[u8]>) -> Result<Verdict> {
        if !self.rewrites {
            (self.tell)(info.rev_meta.first().copied())?;
        }
        Ok(Verdict::Keep)
    }

    fn rewrites(&self) -> bool {
        self.rewrites
    }

    fn rewrite(&mut self, info: &DocInfoRef<'_>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        assert_eq!(body.first(), info.rev_meta.first());
        (self.tell)(body.first().copied())?;
        Ok(None)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        assert!(std::ptr::eq(source, self.source));
        target.all_docs(b"", ScanOptions::default(), &mut |info| {
            assert_eq!(target.body(info)?.first(), info.rev_meta.first());
            Ok(())
        })
    }
}

fn compacted(db: &Db, rewrites: bool, tell: Tell<'_>) -> Result<()> {
    let options = CompactOptions::new().file_ops(Memory::default().ops());
    compact_with(db, TARGET, &options, &mut Copying { tell, source: db, rewrites })
}

type Way = (&'static str, fn(&Db, usize, Tell<'_>) -> Result<()>);

fn of(info: &DocInfoRef<'_>) -> Option<u8> {
    info.rev_meta.first().copied()
}

fn of_item(item: &couchstore::WalkItem<'_>) -> Option<u8> {
    match item {
        couchstore::WalkItem::Document(info) => of(info),
        couchstore::WalkItem::Node { .. } => None,
    }
}

/// Everything that shows what is in a file.
const WAYS: &[Way] = &[
    ("all documents", |db, _, tell| db.all_docs(b"", ScanOptions::default(), &mut |info| tell(of(info)))),
    ("changes", |db, _, tell| db.changes_since(0, ScanOptions::default(), &mut |info| tell(of(info)))),
    ("ids", |db, count, tell| {
        let ids: Vec<_> = (0..count).map(id).collect();
        let ids: Vec<_> = ids.iter().map(String::as_bytes).collect();
        db.docs_by_id(&ids, ScanOptions::default(), &mut |info| tell(of(info)))
    }),
    ("sequence numbers", |db, count, tell| {
        let first = db.info()?.last_sequence - count as u64 + 1;
        let seqs: Vec<_> = (first..first + count as u64).collect();
        db.docs_by_seq(&seqs, ScanOptions::default(), &mut |info| tell(of(info)))
    }),
    ("a walk by id", |db, _, tell| {
        db.walk_by_id(b"", ScanOptions::default(), &mut |_, item| tell(of_item(item)))
    }),
    ("a walk by sequence number", |db, _, tell| {
        db.walk_by_seq(0, ScanOptions::default(), &mut |_, item| tell(of_item(item)))
    }),
    ("local documents", |db, _, tell| db.scan_local(b"", &mut |_, body| tell(body.first().copied()))),
    ("a walk of local documents", |db, _, tell| {
        db.walk_local(b"", ScanOptions::default(), &mut |_, item| tell(of_item(item)))
    }),
    ("a compaction", |db, _, tell| compacted(db, false, tell)),
    ("a compaction that rewrites", |db, _, tell| compacted(db, true, tell)),
];

/// What the callback does at the item `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Discards what is gone through, which was not committed.
    Discard,
    /// The same, but what is gone through was committed before.
    DiscardOther,
    /// Commits it first.
    Commit,
}

fn play(db: &Db, (name, way): &Way, count: usize, at: usize, then: Then) {
    let case = format!("{name}, {count} documents, {then:?} at {at}");
    save(db, 'o', count / 2);
    db.commit().unwrap();
    save(db, 'a', count);
    if then == Then::DiscardOther {
        db.commit().unwrap();
        save(db, 'x', 1);
        db.seek(Direction::End).unwrap();
    }
    let mut shown = 0;
    let result = way(db, count, &mut |letter| {
        shown += 1;
        assert!(letter.is_none_or(|letter| letter == b'a'), "{case}");
        if shown == at {
            if then == Then::Commit {
                db.commit()?;
            }
            db.seek(Direction::End)?;
            save(db, 'b', count);
        }
        Ok(())
    });
    if then == Then::Discard {
        assert!(matches!(result, Err(Error::InvalidArguments(_))), "{case}: {result:?}");
        assert_eq!(shown, at, "{case}");
    } else {
        result.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert!(shown >= count, "{case}");
    }
    // The handle goes on with what it has saved since.
    assert_eq!(db.get(id(0).as_bytes()).unwrap().unwrap(), b"b 0", "{case}");
    db.close().unwrap();
}

fn with(open: impl Fn() -> Db) {
    for way in WAYS {
        // In one leaf, and in many.
        for (count, ats) in [(30, &[1, 3, 20][..]), (1500, &[2, 700])] {
            for &at in ats {
                for then in [Then::Discard, Then::DiscardOther, Then::Commit] {
                    play(&open(), way, count, at, then);
                }
            }
        }
    }
}

#[test]
fn with_buffers() {
    with(|| Memory::default().open(NAME));
}

#[test]
fn without_buffers() {
    with(|| Memory::default().options().create(true).unbuffered(true).open(NAME).unwrap());
}

#[test]
fn with_nodes_that_handles_share() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Arc::new(NodeCache::new(64 << 20));
    let number = Cell::new(0);
    with(|| {
        number.set(number.get() + 1);
        let name = dir.path().join(id(number.get()));
        // What is just being made is not shared.
        Db::create(&name).unwrap().close().unwrap();
        OpenOptions::new().node_cache(cache.clone()).open(&name).unwrap()
    });
}

/// They come last, and may be all that is not committed.
#[test]
fn a_compaction_whose_local_documents_are_given_up() {
    for at in [1, 30] {
        let db = Memory::default().open(NAME);
        save(&db, 'a', 30);
        db.commit().unwrap();
        save_local(&db, 'b', 30);
        let mut shown = 0;
        let result = compacted(&db, false, &mut |_| {
            shown += 1;
            if shown == at {
                db.seek(Direction::End)?;
                save_local(&db, 'c', 30);
            }
            Ok(())
        });
        assert!(matches!(result, Err(Error::InvalidArguments(_))), "{at}: {result:?}");
        assert_eq!(shown, 30);
    }
}
