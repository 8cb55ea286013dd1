// SPDX-License-Identifier: Apache-2.0

//! Panics in what a caller has given: they end one call, and the store goes on.

use crate::common::forwarding::{Call, Forwarding};
use crate::common::temp_dir;
use crate::{check, ids_of, write_round};
use couchstore::{
    EncryptionKey, ErrorCode, KeyDerivation, KeyStore, KeyStoreFailed, OpenOptions, Store, StoreOptions,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the next call of what a caller has given panics.
#[derive(Clone, Default)]
struct Panics(Arc<AtomicBool>);

impl Panics {
    fn come(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn pass(&self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "as the test wants it");
    }
}

/// A store of one document whose file operations panic while something is written.
fn store_in(folder: &Path) -> (Store, Panics) {
    let panics = Panics::default();
    let passing = panics.clone();
    let ops = Forwarding::default().before(move |call| {
        if matches!(call, Call::Write(_)) {
            passing.pass();
        }
        Ok(())
    });
    let open = OpenOptions::new().file_ops(Arc::new(ops));
    let store = StoreOptions::new().open(open).open_store(folder.join("a.couch")).unwrap();
    store.put("a", "1").unwrap();
    (store, panics)
}

#[test]
fn writes_panic() {
    // The small one panics in the commit, the large one, which does not fit into buffers, while it is saved.
    for length in [1, 1 << 20] {
        let dir = temp_dir();
        let (store, panics) = store_in(dir.path());
        let body = vec![7; length];
        panics.come();
        let ended = catch_unwind(AssertUnwindSafe(|| store.put("b", body.as_slice())));
        assert!(ended.is_err() || ended.is_ok_and(|result| result.is_err()), "{length}");
        assert_eq!(ids_of(&store.snapshot()), [b"a"], "{length}");
        store.put("c", body.as_slice()).unwrap();
        assert_eq!(ids_of(&store.snapshot()), [b"a", b"c"], "{length}");
    }
}

/// One key, until it panics.
struct Keys(EncryptionKey, Panics);

impl KeyStore for Keys {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        self.1.pass();
        self.0.key(id)
    }
}

#[test]
fn compactions_panic() {
    let (dir, panics) = (temp_dir(), Panics::default());
    let key = EncryptionKey::new("key", &[7; 32], KeyDerivation::KeyBased).unwrap();
    let open = OpenOptions::new().keys(Some(Arc::new(Keys(key, panics.clone()))));
    let store = StoreOptions::new().open(open).open_store(dir.path().join("a.couch")).unwrap();
    write_round(&store, 20);
    panics.come();
    assert!(store.compact_in_background().unwrap());
    let error = store.wait_for_compaction().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::INTERNAL, "{error}");
    write_round(&store, 20);
    store.compact().unwrap();
    write_round(&store, 20);
    assert_eq!(check(&store.snapshot(), 20), 3);
}
