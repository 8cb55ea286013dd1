// SPDX-License-Identifier: Apache-2.0

//! The handles that snapshots read with: when there are new ones, and what they keep.

use crate::common::forwarding::{Call, Forwarding};
use crate::common::temp_dir;
use couchstore::{Db, Error, ErrorCode, OpenOptions, Snapshot, Stale, Store, StoreOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A store of a few documents, and how often its file was opened. Whoever opens it is not told which file it is.
fn store_in(folder: &Path) -> (Store, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let counted = opened.clone();
    let ops = Forwarding::default().before(move |call| {
        counted.fetch_add(usize::from(matches!(call, Call::Open)), Ordering::Relaxed);
        Ok(())
    });
    let open = OpenOptions::new().file_ops(Arc::new(ops));
    let store = StoreOptions::new().open(open).open_store(folder.join("a.couch")).unwrap();
    for number in 0..20 {
        store.put(format!("{number}"), "body").unwrap();
    }
    (store, opened)
}

/// What the snapshot reads, while another handle of it does so, too.
fn read_beside_another(snapshot: &Snapshot) -> Result<bool, Error> {
    snapshot.read(|_| snapshot.contains("7"))
}

#[test]
fn a_handle_is_used_again_unless_it_was_changed() {
    let folder = temp_dir();
    let (store, opened) = store_in(folder.path());
    let snapshot = store.snapshot();
    let opens = || opened.load(Ordering::Relaxed);
    assert!(read_beside_another(&snapshot).unwrap());
    let before = opens();
    for _ in 0..10 {
        assert!(read_beside_another(&snapshot).unwrap());
    }
    assert_eq!(opens(), before);
    // Two wait.
    for _ in 0..2 {
        let changed = snapshot.read(|db| {
            db.set_purge_seq(5);
            Ok::<_, Error>(())
        });
        changed.unwrap();
    }
    assert_eq!(opens(), before);
    assert_eq!(snapshot.info().unwrap().purge_seq, 0);
    assert_eq!(opens(), before + 1);
}

#[test]
fn a_file_that_was_replaced_is_not_found_by_its_name() {
    let folder = temp_dir();
    let (store, _) = store_in(folder.path());
    let snapshot = store.snapshot();
    store.compact().unwrap();
    store.put("7", "new").unwrap();
    // One handle is open since before.
    assert_eq!(snapshot.get("7").unwrap().unwrap(), b"body");
    let error = read_beside_another(&snapshot).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID);
    assert!(matches!(error, Error::Stale { reason: Stale::Replaced, .. }), "{error}");
    assert!(read_beside_another(&store.snapshot()).unwrap());
}

/// Reads of twenty look-ups of one document, one after the other.
fn reads(open: OpenOptions) -> Vec<u64> {
    let folder = temp_dir();
    let store = StoreOptions::new().open(open).open_store(folder.path().join("a.couch")).unwrap();
    store.put("7", "body").unwrap();
    let look_up = |db: &Db| {
        let before = db.file_stats()?.read_count;
        assert!(db.contains(b"7")?);
        Ok(db.file_stats()?.read_count - before)
    };
    store.snapshot().read(|db| (0..20).map(|_| look_up(db)).collect::<Result<_, Error>>()).unwrap()
}

#[test]
fn a_handle_without_buffers_keeps_no_nodes() {
    let [first, .., last] = reads(OpenOptions::new().unbuffered(true))[..] else { unreachable!() };
    assert!(first > 0 && last == first);
    let [.., last] = reads(OpenOptions::new())[..] else { unreachable!() };
    assert_eq!(last, 0);
}
