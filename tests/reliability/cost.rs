// SPDX-License-Identifier: Apache-2.0

//! How many syncs creating and opening take.

use crate::common::naming::Faulty;
use crate::common::temp_dir;
use crate::oracle::{NAME, options};
use couchstore::OpenOptions;
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::fault::CallKind;

/// With the default operations.
#[test]
fn creating_syncs_the_directory_once_and_opening_never() {
    let dir = temp_dir();
    let naming = Faulty::counting();
    let options = OpenOptions::new().create(true).naming(naming.clone());
    let path = dir.path().join("new.couch");
    let db = options.open(&path).unwrap();
    assert_eq!(db.file_stats().unwrap().sync_count, 1, "one sync of the file");
    let calls = naming.log();
    assert_eq!(calls.iter().filter(|call| **call == "sync directory").count(), 1);
    drop(db);
    for options in [options, OpenOptions::new()] {
        let before = naming.log().len();
        let db = options.open(&path).unwrap();
        assert_eq!(db.file_stats().unwrap().sync_count, 0, "opening syncs nothing");
        assert_eq!(naming.log().len(), before, "opening asks nothing of the directory");
    }
}

#[test]
fn creating_through_the_callers_operations() {
    let disk = SimDisk::new();
    disk.set_fault(None);
    let bootstrap = options(&disk).create(true).bootstrap(true).naming(disk.naming());
    drop(bootstrap.open(NAME).unwrap());
    assert_eq!((disk.calls(CallKind::Sync), disk.calls(CallKind::Open)), (1, 2));
    disk.set_fault(None);
    drop(bootstrap.open(NAME).unwrap());
    assert_eq!((disk.calls(CallKind::Sync), disk.calls(CallKind::Naming)), (0, 0), "opening syncs nothing");
    // In place nothing is written before the first commit or close.
    disk.set_fault(None);
    let db = options(&disk).create(true).open("in-place.couch").unwrap();
    assert_eq!((disk.calls(CallKind::Sync), disk.calls(CallKind::Write)), (0, 0));
    drop(db);
    assert_eq!((disk.calls(CallKind::Sync), disk.calls(CallKind::Write)), (0, 1));
}

/// A commit has two syncs, and nothing else has any.
#[test]
fn syncs_of_a_commit() {
    let disk = SimDisk::new();
    let db = options(&disk).create(true).open(NAME).unwrap();
    disk.set_fault(None);
    db.save(&[couchstore::Document::new(b"a", &vec![1; 300_000])], couchstore::SaveOptions::default())
        .unwrap();
    assert_eq!(disk.calls(CallKind::Sync), 0);
    db.commit().unwrap();
    assert_eq!(disk.calls(CallKind::Sync), 2);
    db.close().unwrap();
    assert_eq!(disk.calls(CallKind::Sync), 2);
}
