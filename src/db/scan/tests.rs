// SPDX-License-Identifier: Apache-2.0

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::OpenOptions;
use crate::error::ErrorCode;
use crate::io::file::DbFile;
use crate::io::shared::SharedFile;
use std::cell::RefMut;

const COUNT: usize = 60;

/// Takes the file away from the moment that a document is shown until the scan says that it needs it: any use of it
/// meanwhile panics.
struct Holding<'a> {
    db: &'a Db,
    held: Option<RefMut<'a, Option<Box<DbFile>>>>,
    reads_bodies: bool,
    shown: usize,
    /// Ends the scan with an error at this document.
    last: usize,
}

impl Visitor for Holding<'_> {
    fn show(&mut self, info: &DocInfoRef<'_>) -> Result<()> {
        self.held = None;
        if self.reads_bodies && info.body_position != 0 {
            self.db.body(info)?;
        }
        self.held = Some(self.db.file.hold());
        self.shown += 1;
        if self.shown == self.last { Err(Error::Callback(ErrorCode::CANCEL)) } else { Ok(()) }
    }

    fn before_use(&mut self) {
        self.held = None;
    }
}

/// Scans with a visitor that ends at document `last`; returns how many it was shown, and how the scan ended.
fn shown(db: &Db, reads_bodies: bool, last: usize, scan: Scan<'_>) -> (usize, Result<()>) {
    let mut visitor = Holding { db, held: None, reads_bodies, shown: 0, last };
    let result = scan(db, &mut visitor);
    assert!(visitor.held.is_none(), "told at the end, too");
    (visitor.shown, result)
}

type Scan<'a> = &'a dyn Fn(&Db, &mut Holding<'_>) -> Result<()>;

fn id(number: usize) -> Vec<u8> {
    format!("document {number:04}").into_bytes()
}

/// A database with three levels of nodes.
fn database(folder: &tempfile::TempDir) -> Db {
    let db =
        OpenOptions::new().create(true).node_sizes(150, 150).open(folder.path().join("a.couch")).unwrap();
    for number in 0..COUNT {
        db.put(id(number), "a body").unwrap();
    }
    db
}

#[test]
fn the_file_is_used_only_after_the_visitor_was_told() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder);
    let all = ScanOptions::default();
    let ids: Vec<_> = (0..COUNT).map(id).collect();
    let seqs: Vec<_> = (1..=COUNT as u64).collect();
    let scans: [Scan<'_>; 6] = [
        &|db, visitor| db.scan(TreeKind::ById, b"", None, all, visitor),
        &|db, visitor| db.scan(TreeKind::BySeq, b"", None, all, visitor),
        &|db, visitor| db.scan(TreeKind::ById, b"", Some(&id(40)), all, visitor),
        &|db, visitor| db.docs_by_ids_of(&mut ids.iter().map(|id| &id[..]).collect(), all, visitor),
        &|db, visitor| db.docs_by_seqs_for(&seqs, all, visitor),
        &|db, visitor| db.only_doc_by_id(&id(7), all, visitor),
    ];
    for (scan, count) in scans.into_iter().zip([COUNT, COUNT, 41, COUNT, COUNT, 1]) {
        for reads_bodies in [false, true] {
            for last in [1, 2, 30, COUNT + 1] {
                let (shown, result) = shown(&db, reads_bodies, last, scan);
                assert_eq!((shown, result.is_ok()), (count.min(last), last > count));
            }
        }
    }
}

#[test]
fn so_it_is_when_the_scan_steps_over_damage() {
    let folder = tempfile::tempdir().unwrap();
    let db = database(&folder);
    let sound = [0; 23];
    let mut leaf = vec![1];
    for (key, value) in [("a", &sound[..]), ("b", b"too short"), ("c", &sound)] {
        leaf.extend_from_slice(&[0, 0x10, 0, 0, value.len() as u8]);
        leaf.extend_from_slice(key.as_bytes());
        leaf.extend_from_slice(value);
    }
    leaf.push(0xff);
    let root = SharedFile::append_node(&db.file, &leaf).unwrap();
    db.update_state(|state| {
        state.header.by_id =
            Some(NodeRef { position: root.position, subtree_size: root.size, reduce: vec![0; 16].into() });
    });
    let options = ScanOptions { tolerate_corruption: true, ..ScanOptions::default() };
    let (shown, result) =
        shown(&db, false, COUNT, &|db, visitor| db.scan(TreeKind::ById, b"", None, options, visitor));
    assert_eq!(shown, 3);
    assert!(result.is_err_and(|error| error.is_damage()));
}
