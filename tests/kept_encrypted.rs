// SPDX-License-Identifier: Apache-2.0

//! Encrypted files that are kept with the tests: builds with encryption read them, builds without it say why they
//! cannot, and work on everything else.
//!
//! `tests/data/encrypted-wrapped.couch` and `encrypted-derived.couch` hold the documents "a" and "b" and a local one.
//! Their key has the id "kept" and 32 bytes of 0x4b.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::files_in;
use common::memory::Memory;
use couchstore::{
    CompactHooks, CompactOptions, Db, Document, ENCRYPTION, EncryptionKey, Error, ErrorCode, KeyDerivation,
    KeyStore, KeyStoreFailed, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, SaveOptions, compact,
    compact_online,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const KEPT: [&str; 2] = ["encrypted-wrapped", "encrypted-derived"];

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).with_extension("couch")
}

/// A store with the key of these files, which counts how often it is asked.
#[derive(Default)]
struct Store(AtomicU32);

impl KeyStore for Store {
    fn key(&self, _id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        self.0.fetch_add(1, Relaxed);
        Ok(Some(EncryptionKey::new("kept", &[0x4b; 32], KeyDerivation::KeyBased).unwrap()))
    }
}

/// A store without keys.
struct Empty;

impl KeyStore for Empty {
    fn key(&self, _id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok(None)
    }
}

struct NoHooks;
impl CompactHooks for NoHooks {}
impl ReplayHooks for NoHooks {}
impl OnlineHooks for NoHooks {}

fn with_key() -> OpenOptions {
    OpenOptions::new().keys(Some(Arc::new(Store::default())))
}

#[track_caller]
fn assert_left_out<T>(result: Result<T, Error>) {
    let Err(error) = result else { panic!("no error") };
    assert!(matches!(error, Error::EncryptionLeftOut { .. }), "{error}");
    assert_eq!(error.code(), ErrorCode::NOT_SUPPORTED);
    assert!(error.to_string().contains("has no encryption"));
}

#[test]
fn kept_files_are_read_or_refused() {
    for name in KEPT {
        for recovery in [false, true] {
            let store = Arc::new(Store::default());
            let options = OpenOptions::new().read_only(true).recovery(recovery);
            let (without, opened) =
                (options.open(kept(name)), options.keys(Some(store.clone())).open(kept(name)));
            if ENCRYPTION {
                assert!(matches!(without, Err(Error::NoEncryptionKey { .. })));
                let db = opened.unwrap();
                assert_eq!(
                    (db.get(b"a").unwrap().unwrap(), db.get(b"b").unwrap().unwrap()),
                    (b"first".to_vec(), vec![7; 300])
                );
                assert_eq!(db.local(b"_local/l").unwrap().unwrap(), b"{}");
            } else {
                assert_left_out(without);
                let text = opened.as_ref().unwrap_err().to_string();
                assert!(text.contains(name) && text.ends_with("this build of the library has no encryption"));
                assert_left_out(opened);
                assert_eq!(store.0.load(Relaxed), 0, "a key that would be of no use");
            }
        }
    }
}

/// New files, in each way of creating them: encrypted, or not there.
#[test]
fn new_files_with_a_key() {
    let dir = common::temp_dir();
    let path = dir.path().join("new");
    let memory = Memory::default();
    let creating = with_key().create(true);
    let in_memory = creating.clone().file_ops(memory.ops());
    let ways = [
        (&creating, path.as_path()),
        (&creating.clone().no_commit_at_create(true), &path),
        (&in_memory, Path::new("new")),
        (&in_memory.clone().unbuffered(true), Path::new("new")),
    ];
    for (options, path) in ways {
        let made = options.open(path);
        if ENCRYPTION {
            assert_eq!(made.unwrap().encryption_key_id(), Some(b"kept".to_vec()));
        } else {
            assert_left_out(made);
            assert!(memory.file("new").is_none_or(|bytes| bytes.lock().unwrap().is_empty()));
        }
        assert_eq!(files_in(dir.path()), usize::from(ENCRYPTION && path.is_absolute()));
        let _ = std::fs::remove_file(dir.path().join("new"));
        memory.remove("new");
    }
}

fn plain(path: &Path, options: &OpenOptions) -> Db {
    let db = options.clone().create(true).open(path).unwrap();
    db.save(&[Document::new(b"a", b"first")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
    db
}

#[test]
fn a_file_that_is_empty_stays_so_if_it_cannot_be_encrypted() {
    let dir = common::temp_dir();
    let path = dir.path().join("empty");
    std::fs::write(&path, b"").unwrap();
    let made = with_key().open(&path);
    assert_eq!(made.is_ok(), ENCRYPTION);
    drop(made);
    assert_eq!(std::fs::read(&path).unwrap().is_empty(), !ENCRYPTION);
}

#[test]
fn compaction_to_a_key() {
    let dir = common::temp_dir();
    let source = plain(&dir.path().join("source"), &OpenOptions::new());
    let target = dir.path().join("target");
    let options = || CompactOptions::new().keys(Some(Arc::new(Store::default())));
    let compacted = compact(&source, &target, &options());
    if ENCRYPTION {
        compacted.unwrap();
        assert_eq!(with_key().open(&target).unwrap().get(b"a").unwrap().unwrap(), b"first");
        return;
    }
    assert_left_out(compacted);
    let online = OnlineOptions::new().compact(options());
    assert_left_out(compact_online(dir.path().join("source"), &target, &online, &mut NoHooks));
    assert_eq!(files_in(dir.path()), 1);
    source.save(&[Document::new(b"b", b"second")], SaveOptions::default()).unwrap();
    source.commit().unwrap();
    compact(&source, &target, &CompactOptions::default()).unwrap();
    assert_eq!(Db::open(&target).unwrap().get(b"b").unwrap().unwrap(), b"second");
}

#[test]
fn a_store_without_keys_is_no_hindrance() {
    let dir = common::temp_dir();
    let options = OpenOptions::new().keys(Some(Arc::new(Empty)));
    let db = plain(&dir.path().join("plain"), &options);
    assert_eq!(db.get(b"a").unwrap().unwrap(), b"first");
    let options = CompactOptions::new().keys(Some(Arc::new(Empty)));
    compact(&db, dir.path().join("target"), &options).unwrap();
    assert_eq!(Db::open(dir.path().join("target")).unwrap().encryption_key_id(), None);
    // Files that are not encrypted open with any store.
    assert_eq!(with_key().open(dir.path().join("target")).unwrap().get(b"a").unwrap().unwrap(), b"first");
}
