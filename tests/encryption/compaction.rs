// SPDX-License-Identifier: Apache-2.0

//! Compaction to and from encrypted files, and replay.

use crate::common::{files_in, sort_file_in, temp_dir};
use crate::support::{Noting, SECRETS, contents, creating, fill, key, keys, shows, some_keys};
use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, Document, ErrorCode, KeyDerivation, KeyStore,
    KeyStoreFailed, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, SaveOptions, Swap, compact,
    compact_online, compact_with, replay,
};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;

type Keys = Option<Arc<dyn KeyStore>>;

fn source(dir: &Path, keys: Keys) -> Db {
    let db = creating(keys).open(dir.join("source")).unwrap();
    fill(&db);
    db
}

fn with(keys: Keys) -> CompactOptions {
    CompactOptions::new().keys(keys)
}

fn open(path: &Path, keys: Keys) -> couchstore::Result<Db> {
    OpenOptions::new().keys(keys).open(path)
}

#[test]
fn from_any_key_to_any_other_or_none() {
    let wrapped = || keys("a", 1, KeyDerivation::None);
    let derived = || keys("b", 2, KeyDerivation::KeyBased);
    let all: [&dyn Fn() -> Keys; 3] = [&wrapped, &derived, &|| None];
    for from in all {
        for to in all {
            let dir = temp_dir();
            let source = source(dir.path(), from());
            let target = dir.path().join("target");
            compact(&source, &target, &with(to())).unwrap();
            let id = to().map(|keys| keys.key(b"").unwrap().unwrap().id().to_vec());
            let file = std::fs::read(&target).unwrap();
            assert_eq!(SECRETS.iter().any(|secret| shows(&file, secret)), id.is_none());
            let copy = open(&target, to()).unwrap();
            assert_eq!(copy.encryption_key_id(), id);
            assert_eq!(contents(&copy).unwrap(), contents(&source).unwrap());
            // The figure is that of the source, whatever the chunks take in the target.
            let size = |db: &Db| db.doc_info(b"secret-id-1").unwrap().unwrap().physical_size;
            assert_eq!(size(&copy), size(&source));
        }
    }
}

#[test]
fn the_store_is_asked_once_for_the_target_only() {
    let dir = temp_dir();
    drop(source(dir.path(), some_keys()));
    let source_keys = Noting::new(Ok(Some(key("some key", 7, KeyDerivation::KeyBased))));
    let source = open(&dir.path().join("source"), Some(source_keys.clone())).unwrap();
    assert_eq!(source_keys.asked(), ["some key"]);
    let store = Noting::new(Ok(Some(key("target", 9, KeyDerivation::None))));
    compact(&source, dir.path().join("target"), &with(Some(store.clone()))).unwrap();
    assert_eq!(store.asked(), [""]);
    assert!(source_keys.asked().is_empty());
}

#[test]
fn failures_leave_no_target() {
    let dir = temp_dir();
    let source = source(dir.path(), None);
    let options = with(Some(Noting::new(Err(KeyStoreFailed))));
    let error = compact(&source, dir.path().join("target"), &options).unwrap_err();
    assert_eq!((error.code(), files_in(dir.path())), (ErrorCode::ENCRYPT, 1));
}

#[test]
fn an_old_file_must_be_upgraded_to_be_encrypted() {
    let dir = temp_dir();
    let source = OpenOptions::new().create(true).legacy_crc(true).open(dir.path().join("source")).unwrap();
    fill(&source);
    let target = dir.path().join("target");
    let error = compact(&source, &target, &with(some_keys())).unwrap_err();
    assert_eq!((error.code(), files_in(dir.path())), (ErrorCode::INVALID_ARGUMENTS, 1));
    compact(&source, &target, &with(some_keys()).upgrade(true)).unwrap();
    let copy = open(&target, some_keys()).unwrap();
    assert_eq!(contents(&copy).unwrap(), contents(&source).unwrap());
}

#[test]
fn uncommitted_changes_and_large_sorts_are_copied() {
    let dir = temp_dir();
    let source = source(dir.path(), some_keys());
    let ids: Vec<_> =
        (0..60_000_u64).map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
    let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"x")).collect();
    source.save(&documents, SaveOptions::default()).unwrap();
    let target = dir.path().join("target");
    // The budget forces runs onto the disk; `spill.rs` tests that they are not readable there.
    let options = with(some_keys()).memory_budget(1 << 20);
    compact(&source, &target, &options).unwrap();
    let copy = open(&target, some_keys()).unwrap();
    assert!(contents(&copy).unwrap() == contents(&source).unwrap());
    assert_eq!(files_in(dir.path()), 2);
}

/// Looks into the file that a compaction sorts in, once all is in it.
struct SortFile<'a> {
    folder: &'a Path,
    /// What was in it.
    bytes: Vec<u8>,
}

impl CompactHooks for SortFile<'_> {
    fn progress(&mut self, done: u64, total: u64, _: u64) -> couchstore::Result<()> {
        if done == total && self.bytes.is_empty() {
            let mut file = sort_file_in(self.folder).expect("a file to sort in");
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut self.bytes).unwrap();
        }
        Ok(())
    }
}

#[test]
fn what_is_sorted_is_as_secret_as_the_files() {
    for (from, to) in [(None, None), (some_keys(), None), (None, some_keys()), (some_keys(), some_keys())] {
        let dir = temp_dir();
        let is_secret = from.is_some() || to.is_some();
        let source = source(dir.path(), from);
        let ids: Vec<_> = (0..130).map(|number| format!("secret-id-{:03}", number * 37 % 130)).collect();
        let documents: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), b"x")).collect();
        source.save(&documents, SaveOptions::default()).unwrap();
        let mut hooks = SortFile { folder: dir.path(), bytes: Vec::new() };
        compact_with(&source, dir.path().join("target"), &with(to).memory_budget(1), &mut hooks).unwrap();
        assert_eq!(shows(&hooks.bytes, "secret-id"), !is_secret);
    }
}

struct NoHooks;

impl ReplayHooks for NoHooks {}

#[test]
fn replay_from_one_key_to_another() {
    let dir = temp_dir();
    let source = source(dir.path(), some_keys());
    let target = dir.path().join("target");
    compact(&source, &target, &with(keys("other", 3, KeyDerivation::None))).unwrap();
    source.save(&[Document::new(b"late", b"secret-body")], SaveOptions::default()).unwrap();
    source.commit().unwrap();
    let newest = source.header_position();
    source.seek(Direction::Backward).unwrap();
    let copy = open(&target, keys("other", 3, KeyDerivation::None)).unwrap();
    replay(&source, &copy, newest, &mut NoHooks, 1 << 20).unwrap();
    copy.close().unwrap();
    let copy = open(&target, keys("other", 3, KeyDerivation::None)).unwrap();
    assert_eq!(copy.get(b"late").unwrap().unwrap(), b"secret-body");
    // Unlike a compaction, a replay says what the chunk takes in the target.
    assert_eq!(copy.doc_info(b"late").unwrap().unwrap().physical_size, 11 + 20);
    assert!(!shows(&std::fs::read(&target).unwrap(), "secret"));
}

/// Saves one document between the copy and the catching up.
struct Late<'a>(&'a Db);

impl CompactHooks for Late<'_> {
    fn copied(&mut self, _target: &Db) -> couchstore::Result<()> {
        self.0.save(&[Document::new(b"late", b"secret-body")], SaveOptions::default())?;
        self.0.commit()
    }
}
impl ReplayHooks for Late<'_> {}
impl OnlineHooks for Late<'_> {}

#[test]
fn a_file_in_use_is_compacted_under_its_key() {
    for swap in [Swap::None, Swap::Replace] {
        let dir = temp_dir();
        let source = source(dir.path(), some_keys());
        let (from, to) = (dir.path().join("source"), dir.path().join("target"));
        let options = OnlineOptions::new().compact(with(some_keys())).swap(swap);
        compact_online(&from, &to, &options, &mut Late(&source)).unwrap();
        let result = if swap == Swap::None { to } else { from };
        let copy = open(&result, some_keys()).unwrap();
        assert_eq!(copy.encryption_key_id().as_deref(), Some(&b"some key"[..]));
        assert_eq!(copy.get(b"late").unwrap().unwrap(), b"secret-body");
        assert_eq!(contents(&copy).unwrap().len(), 7);
        assert!(!shows(&std::fs::read(&result).unwrap(), "secret"));
    }
}
