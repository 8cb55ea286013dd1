// SPDX-License-Identifier: Apache-2.0

//! Writers whose file is no longer what they take it for: they are told, and write nothing.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forwarding::{Call, Forwarding};
use common::{files_in, temp_dir};
use couchstore::{
    CompactHooks, CompactOptions, Db, Direction, Document, ENCRYPTION, EncryptionKey, Error, ErrorCode,
    KeyDerivation, KeyStore, KeyStoreFailed, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, Result,
    SaveOptions, Stale, Swap, compact, compact_online, replay,
};
use std::ffi::CString;
use std::fs::OpenOptions as FileOptions;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Keys;

impl KeyStore for Keys {
    fn key(&self, _: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        Ok(Some(EncryptionKey::new(b"id", &[7; 32], KeyDerivation::KeyBased).unwrap()))
    }
}

/// The ways to write that differ in how bytes get to the file.
fn ways() -> Vec<(&'static str, OpenOptions)> {
    let plain = OpenOptions::new();
    let mut ways = vec![
        ("buffered", plain.clone()),
        ("unbuffered", plain.clone().unbuffered(true)),
        ("periodic sync", plain.clone().periodic_sync(Some(1024))),
        ("validated", plain.clone().write_validation(true)),
    ];
    if ENCRYPTION {
        ways.push(("encrypted", plain.keys(Some(Arc::new(Keys)))));
    }
    ways
}

fn put(db: &Db, id: &str, body: &[u8]) -> Result<()> {
    db.save(&[Document::new(id.as_bytes(), body)], SaveOptions::default()).map(|_| ())
}

/// Saves and commits; what fails first is returned.
fn write(db: &Db, id: &str, body: &[u8]) -> Result<()> {
    put(db, id, body)?;
    db.commit()
}

struct World {
    _dir: tempfile::TempDir,
    path: PathBuf,
    options: OpenOptions,
    db: Db,
}

/// A committed file with one document, open for writing.
fn world(options: &OpenOptions) -> World {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let db = options.clone().create(true).open(&path).unwrap();
    write(&db, "first", b"body").unwrap();
    World { _dir: dir, path, options: options.clone(), db }
}

impl World {
    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    /// The writer is refused, tells why, writes nothing, and goes on reading.
    fn expect_refused(&self, what: &str) -> Stale {
        let before = self.bytes();
        // More than the write buffer holds in the second case: then already saving fails.
        let mut reason = None;
        for body in [vec![b'x'; 10], vec![b'x'; 300_000]] {
            let error = write(&self.db, "refused", &body).unwrap_err();
            let Error::Stale { reason: found, .. } = &error else { panic!("{what}: {error}") };
            assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID, "{what}");
            assert_eq!(error.os_error(), Some(libc::ESTALE), "{what}");
            assert_eq!(self.db.last_os_error(), libc::ESTALE, "{what}");
            let told = error.to_string();
            assert!(told.contains("a.couch") && told.contains("not written"), "{what}: {told}");
            reason = Some(*found);
        }
        assert!(!self.db.is_closed(), "{what}");
        assert_eq!(self.db.get(b"first").unwrap().unwrap(), b"body", "{what}");
        assert_eq!(self.db.close().map_err(|error| error.to_string()), Ok(()), "{what}");
        assert!(self.bytes() == before, "{what}: something was written");
        reason.unwrap()
    }
}

#[test]
fn the_second_of_two_writers_is_refused() {
    for (way, options) in ways() {
        let world = world(&options);
        let other = options.open(&world.path).unwrap();
        let size = world.bytes().len() as u64;
        put(&world.db, "second", b"body").unwrap();
        write(&other, "other", b"of the other").unwrap_or_else(|error| {
            // Without buffers the first writer's bytes are there already, and the other one is the second.
            assert_eq!((way, error.code()), ("unbuffered", ErrorCode::DB_NO_LONGER_VALID));
        });
        if way == "unbuffered" {
            world.db.commit().unwrap();
            assert_eq!(options.open(&world.path).unwrap().get(b"second").unwrap().unwrap(), b"body");
            continue;
        }
        let found = world.bytes().len() as u64;
        assert_eq!(world.expect_refused(way), Stale::Size { found, least: size, most: size });
        // The first one's data stays, and it goes on.
        write(&other, "more", b"body").unwrap();
        let reader = options.open(&world.path).unwrap();
        assert_eq!(reader.get(b"other").unwrap().unwrap(), b"of the other");
        assert_eq!(reader.get(b"more").unwrap().unwrap(), b"body");
        assert_eq!(reader.get(b"refused").unwrap(), None);
    }
}

#[test]
fn a_file_that_was_replaced_is_not_written() {
    let by_rename = |world: &World| {
        let other = world.path.with_extension("new");
        std::fs::copy(&world.path, &other).unwrap();
        std::fs::rename(&other, &world.path).unwrap();
    };
    let by_removal = |world: &World| {
        std::fs::remove_file(&world.path).unwrap();
        std::fs::write(&world.path, "something else").unwrap();
    };
    let by_compaction = |world: &World| {
        let options = OnlineOptions::new().swap(Swap::Replace);
        let keys = ENCRYPTION.then(|| Arc::new(Keys) as Arc<dyn KeyStore>);
        let compact = CompactOptions::new().keys(keys);
        let options = options.compact(compact);
        compact_online(&world.path, &world.path, &options, &mut NoHooks).unwrap();
    };
    let ways_to_replace =
        [("rename", &by_rename as &dyn Fn(&World)), ("removal", &by_removal), ("compaction", &by_compaction)];
    for (how, replace) in ways_to_replace {
        for (way, options) in ways() {
            let world = world(&options);
            put(&world.db, "pending", b"body").unwrap();
            replace(&world);
            assert_eq!(world.expect_refused(&format!("{way}, {how}")), Stale::Replaced);
        }
    }
}

struct NoHooks;
impl CompactHooks for NoHooks {}
impl ReplayHooks for NoHooks {}
impl OnlineHooks for NoHooks {}

#[test]
fn a_file_that_was_cut_or_lengthened_is_not_written() {
    for (way, options) in ways() {
        for change in [-1, -40, -4096, 1, 100_000] {
            let world = world(&options);
            let size = world.bytes().len() as i64;
            let file = FileOptions::new().write(true).open(&world.path).unwrap();
            file.set_len((size + change) as u64).unwrap();
            let before = world.bytes();
            // Not by a save: that would read what is not there any more, and fail before it writes.
            let error = world.db.commit().unwrap_err();
            let (found, size) = ((size + change) as u64, size as u64);
            let expected = Stale::Size { found, least: size, most: size };
            assert!(
                matches!(error, Error::Stale { reason, .. } if reason == expected),
                "{way} {change}: {error}"
            );
            world.db.close().unwrap();
            assert!(world.bytes() == before, "{way} {change}");
        }
    }
}

#[test]
fn what_was_written_since_counts() {
    for (way, options) in ways() {
        let world = world(&options);
        for index in 0..3 {
            write(&world.db, &index.to_string(), &vec![b'x'; 200_000]).unwrap();
        }
        // Still more than when it was opened.
        let size = world.bytes().len() as u64;
        let file = FileOptions::new().write(true).open(&world.path).unwrap();
        file.set_len(size - 1000).unwrap();
        let error = world.db.commit().unwrap_err();
        assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID, "{way}");
    }
}

#[test]
fn files_may_be_removed_or_renamed_while_they_are_used() {
    for (way, options) in ways() {
        let world = world(&options);
        std::fs::remove_file(&world.path).unwrap();
        for id in ["a", "b"] {
            write(&world.db, id, b"body").expect(way);
        }
        world.db.seek(Direction::End).unwrap();
        assert_eq!(world.db.get(b"b").unwrap().unwrap(), b"body");
        world.db.close().unwrap();

        // Moved away, with another file in its place: it still has a name, and is a backup that somebody keeps.
        let world = self::world(&options);
        std::fs::rename(&world.path, world.path.with_extension("old")).unwrap();
        std::fs::write(&world.path, "something else").unwrap();
        write(&world.db, "a", b"body").expect(way);
    }
}

#[test]
fn moving_to_the_end_makes_a_writer_of_a_refused_handle_again() {
    for (way, options) in ways() {
        let world = world(&options);
        let other = world.options.open(&world.path).unwrap();
        write(&other, "other", b"body").unwrap();
        write(&world.db, "mine", b"body").unwrap_err();
        world.db.seek(Direction::End).unwrap();
        assert_eq!(world.db.get(b"other").unwrap().unwrap(), b"body", "{way}");
        assert_eq!(world.db.get(b"mine").unwrap(), None, "{way}");
        write(&world.db, "mine", b"body").expect(way);
        // Now the other one is behind.
        assert_eq!(
            write(&other, "more", b"body").unwrap_err().code(),
            ErrorCode::DB_NO_LONGER_VALID,
            "{way}"
        );
        let reader = options.open(&world.path).unwrap();
        assert_eq!(reader.get(b"mine").unwrap().unwrap(), b"body");
        assert_eq!(reader.get(b"other").unwrap().unwrap(), b"body");
    }
}

#[test]
fn a_move_to_the_end_that_fails_changes_nothing() {
    let world = world(&OpenOptions::new());
    let before = world.bytes();
    // A header that is damaged, as if by a writer of another kind.
    let mut more = before.clone();
    more.resize(before.len().next_multiple_of(4096), 0);
    more.extend_from_slice(b"\x01\0\0\0\x20\x12\x34\x56\x78not what the checksum says");
    std::fs::write(&world.path, &more).unwrap();
    world.db.seek(Direction::End).unwrap_err();
    assert_eq!(write(&world.db, "refused", b"body").unwrap_err().code(), ErrorCode::DB_NO_LONGER_VALID);
    world.db.close().unwrap();
    assert!(world.bytes() == more);
}

#[test]
fn opening_again_makes_a_writer_of_a_refused_handle_again() {
    for (way, options) in ways().into_iter().filter(|(way, _)| *way != "encrypted") {
        let world = world(&options);
        let copy = world.path.with_extension("new");
        std::fs::copy(&world.path, &copy).unwrap();
        std::fs::rename(&copy, &world.path).unwrap();
        let name = CString::new(world.path.as_os_str().as_bytes()).unwrap();
        put(&world.db, "mine", b"body").ok();
        world.db.commit().unwrap_err();
        world.db.seek(Direction::End).unwrap();
        // It is the old file still.
        assert_eq!(
            write(&world.db, "mine", b"body").unwrap_err().code(),
            ErrorCode::DB_NO_LONGER_VALID,
            "{way}"
        );
        world.db.seek(Direction::End).unwrap();
        world.db.reopen(&name, &options).expect(way);
        write(&world.db, "mine", b"body").expect(way);
        assert_eq!(options.open(&world.path).unwrap().get(b"mine").unwrap().unwrap(), b"body", "{way}");
    }
}

#[test]
fn it_can_be_switched_off() {
    for (way, options) in ways() {
        let world = world(&options.stale_check(false));
        let copy = world.path.with_extension("new");
        std::fs::copy(&world.path, &copy).unwrap();
        std::fs::rename(&copy, &world.path).unwrap();
        write(&world.db, "lost", b"body").expect(way);
    }
}

#[test]
fn what_is_in_order_is_not_refused() {
    for (way, options) in ways() {
        let world = world(&options);
        for index in 0..4 {
            write(&world.db, &index.to_string(), &vec![b'x'; 100_000]).expect(way);
        }
        // A new branch of the history.
        world.db.seek(Direction::Backward).unwrap();
        world.db.seek(Direction::Backward).unwrap();
        write(&world.db, "branch", b"body").expect(way);
        assert_eq!(world.db.get(b"3").unwrap(), None);

        // A file that has no header yet, and one that was empty.
        let name = world.path.with_extension("late");
        let late = options.clone().create(true).no_commit_at_create(true).open(&name).unwrap();
        write(&late, "a", b"body").expect(way);
        std::fs::write(world.path.with_extension("empty"), "").unwrap();
        let empty = options.open(world.path.with_extension("empty")).unwrap();
        write(&empty, "a", b"body").expect(way);
    }
}

#[test]
fn targets_of_compactions_and_replays_are_not_refused() {
    let world = world(&OpenOptions::new());
    let target = world.path.with_extension("target");
    for unbuffered in [false, true] {
        let options = CompactOptions::new().unbuffered(unbuffered);
        compact(&world.db, &target, &options).unwrap();
        std::fs::remove_file(&target).unwrap();
    }
    compact(&world.db, &target, &CompactOptions::default()).unwrap();
    write(&world.db, "more", b"body").unwrap();
    let end = world.db.header_position();
    world.db.seek(Direction::Backward).unwrap();
    let copy = Db::open(&target).unwrap();
    replay(&world.db, &copy, end, &mut (), 1000).unwrap();
    assert_eq!(copy.get(b"more").unwrap().unwrap(), b"body");
    // A target that somebody else writes.
    let other = Db::open(&target).unwrap();
    write(&other, "other", b"body").unwrap();
    world.db.seek_offset(0).unwrap();
    let error = replay(&world.db, &copy, end, &mut (), 1000).unwrap_err();
    assert_eq!(error.code(), ErrorCode::DB_NO_LONGER_VALID);
    assert_eq!(Db::open(&target).unwrap().get(b"other").unwrap().unwrap(), b"body");
}

/// Hooks that save to the target of an online compaction, before and after it has its name.
struct Saving<'a> {
    path: &'a Path,
}

impl CompactHooks for Saving<'_> {
    fn copied(&mut self, target: &Db) -> Result<()> {
        put(target, "copied", &vec![b'x'; 200_000])
    }
}
impl ReplayHooks for Saving<'_> {}
impl OnlineHooks for Saving<'_> {
    fn publish(&mut self, _: &Db, target: &Db) -> Result<()> {
        write(target, "published", b"body")?;
        // Somebody puts another file there at once: then it is a file like any other.
        let other = self.path.with_extension("other");
        std::fs::copy(self.path, &other).unwrap();
        std::fs::rename(&other, self.path).unwrap();
        assert_eq!(write(target, "lost", b"body").unwrap_err().code(), ErrorCode::DB_NO_LONGER_VALID);
        Ok(())
    }
}

#[test]
fn hooks_save_to_targets_before_they_have_their_name() {
    for swap in [Swap::None, Swap::Replace] {
        let world = world(&OpenOptions::new());
        let target = world.path.with_extension("target");
        let path = if swap == Swap::None { &target } else { &world.path };
        let options = OnlineOptions::new().swap(swap);
        compact_online(&world.path, &target, &options, &mut Saving { path }).unwrap();
        let result = Db::open(path).unwrap();
        assert_eq!(result.get(b"published").unwrap().unwrap(), b"body", "{swap:?}");
        assert_eq!(result.get(b"copied").unwrap().unwrap().len(), 200_000, "{swap:?}");
        assert_eq!(files_in(world.path.parent().unwrap()), if swap == Swap::None { 2 } else { 1 });
    }
}

// ---- costs -----------------------------------------------------------------------------------------------------

#[test]
fn one_look_for_each_flush_or_without_buffers_for_each_call() {
    for unbuffered in [false, true] {
        let dir = temp_dir();
        let (looks, writes) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = || (looks.swap(0, Ordering::Relaxed), writes.swap(0, Ordering::Relaxed));
        let (counted_looks, counted_writes) = (looks.clone(), writes.clone());
        let ops = Arc::new(Forwarding::default().shows_file().before(move |call| {
            match call {
                Call::Status => counted_looks.fetch_add(1, Ordering::Relaxed),
                Call::Write(_) => counted_writes.fetch_add(1, Ordering::Relaxed),
                _ => 0,
            };
            Ok(())
        }));
        let options = OpenOptions::new().unbuffered(unbuffered).file_ops(ops);
        let db = options.clone().create(true).open(dir.path().join("a")).unwrap();
        counts();
        put(&db, "a", b"body").unwrap();
        // Body and two nodes, each with its prefix; or nothing, because it fits into the buffer.
        assert_eq!(counts(), if unbuffered { (1, 6) } else { (0, 0) });
        db.commit().unwrap();
        // The header, its mark; without buffers a prefix besides.
        assert_eq!(counts(), if unbuffered { (1, 3) } else { (2, 2) });
        put(&db, "b", &vec![b'x'; 3 << 17]).unwrap();
        let (looks, writes) = counts();
        assert_eq!((looks, writes >= 3), if unbuffered { (1, true) } else { (3, true) });
        assert!(unbuffered || writes == looks);
        db.seek(Direction::End).unwrap();
        db.get(b"a").unwrap().unwrap();
        db.close().unwrap();
        assert_eq!(counts(), (0, 0));

        let reader = options.read_only(true).open(dir.path().join("a")).unwrap();
        reader.get(b"a").unwrap().unwrap();
        reader.seek(Direction::End).unwrap();
        assert_eq!(counts(), (0, 0));
    }
}
