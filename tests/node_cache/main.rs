// SPDX-License-Identifier: Apache-2.0

//! Nodes that handles of a process share: what is found in memory is what stands in the file, whatever happened to that
//! meanwhile.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod hits;
mod writers;

use common::forwarding::Forwarding;
use common::temp_dir;
use couchstore::{
    Db, Direction, DocInfoRef, Document, Error, LocalUpdate, NodeCache, OpenOptions, SaveOptions, ScanOptions,
};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const DOCUMENTS: u32 = 500;

fn id(number: u32) -> String {
    format!("document {number:05}")
}

/// What a document says in this state of the file. All states have the same lengths everywhere, and a byte that occurs
/// nowhere else, so that they also compress alike.
fn meta(number: u32, state: char) -> String {
    format!("{number:05} {}", state.to_ascii_uppercase())
}

/// A file, a cache, and a way to open it.
struct World {
    _dir: tempfile::TempDir,
    path: PathBuf,
    cache: Arc<NodeCache>,
    cached: OpenOptions,
}

/// The two kinds of file operations, which are asked in different ways for the file behind a handle.
fn worlds() -> [World; 2] {
    [OpenOptions::new(), OpenOptions::new().file_ops(Arc::new(Forwarding::default()))].map(|options| {
        let dir = temp_dir();
        let cache = Arc::new(NodeCache::new(64 << 20));
        World {
            path: dir.path().join("a.couch"),
            _dir: dir,
            cached: options.node_cache(cache.clone()),
            cache,
        }
    })
}

/// Saves all documents as they are in this state. The commit's time is always the same.
fn save_state(db: &Db, state: char) {
    let all: Vec<_> = (0..DOCUMENTS).map(|number| (id(number), meta(number, state))).collect();
    let documents: Vec<_> = all
        .iter()
        .map(|(id, meta)| Document { rev_meta: meta.as_bytes(), ..Document::new(id.as_bytes(), b"body") })
        .collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

fn write_state(path: &Path, state: char) {
    let db = OpenOptions::new().node_cache(None).create(true).open(path).unwrap();
    save_state(&db, state);
    db.commit_with(1, None).unwrap();
    db.close().unwrap();
}

fn state_of(db: &Db, number: u32) -> Result<String, Error> {
    let info = db.doc_info(id(number).as_bytes())?.ok_or(Error::DocNotFound)?;
    Ok(String::from_utf8_lossy(&info.rev_meta).into_owned())
}

/// Whether changes of files in this folder always show in their times: elsewhere nodes are shared later, and what is read
/// is not counted here.
fn has_fine_times(folder: &Path) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let name = std::ffi::CString::new(folder.as_os_str().as_encoded_bytes()).unwrap();
    let mut status = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: a terminated name, and room for the result, of which zeros are one.
    let status = unsafe {
        libc::statfs(name.as_ptr(), status.as_mut_ptr());
        status.assume_init()
    };
    version >= (6, 13) && [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994].contains(&(status.f_type as u64))
}

/// Scans of both trees find all documents in this state, in order.
fn expect_in_scans(db: &Db, state: char, what: &str) {
    let (mut ids, mut changes) = (0, 0);
    let options = ScanOptions::new;
    db.for_each("document".."documents", options(), |info| expect_next(&mut ids, info, state, what)).unwrap();
    let mut next_change = |info: &DocInfoRef<'_>| {
        if info.id != b"large" {
            expect_next(&mut changes, info, state, what);
        }
    };
    db.for_each_change(.., options(), &mut next_change).unwrap();
    assert_eq!((ids, changes), (DOCUMENTS, DOCUMENTS), "{what}");
}

/// Look-ups find all documents in this state.
fn expect_in_look_ups(db: &Db, state: char, what: &str) {
    for number in 0..DOCUMENTS {
        assert_eq!(state_of(db, number).unwrap(), meta(number, state), "{what}");
    }
}

fn expect_next(number: &mut u32, info: &DocInfoRef<'_>, state: char, what: &str) {
    let found = (String::from_utf8_lossy(info.id), String::from_utf8_lossy(info.rev_meta));
    assert_eq!(found, (id(*number).into(), meta(*number, state).into()), "{what}");
    *number += 1;
}

impl World {
    fn counts_reads(&self) -> bool {
        has_fine_times(self.path.parent().unwrap())
    }

    fn open(&self) -> Db {
        self.cached.open(&self.path).unwrap()
    }

    /// Whoever opens the file finds this state in it, through the cache, whether that knows the file already or not.
    fn expect(&self, state: char, what: &str) {
        for round in 0..2 {
            expect_in_scans(&self.open(), state, &format!("{what}, scans of round {round}"));
            let db = self.open();
            expect_in_look_ups(&db, state, &format!("{what}, round {round}"));
        }
    }

    /// Reads that fetching one document's entry takes.
    fn reads(&self, number: u32) -> u64 {
        let db = self.open();
        state_of(&db, number).unwrap();
        db.file_stats().unwrap().read_count
    }
}

#[test]
fn what_was_read_once_is_not_read_again_and_commits_put_in_what_they_write() {
    for world in worlds().into_iter().filter(World::counts_reads) {
        write_state(&world.path, 'a');
        assert!(world.reads(7) > 2);
        assert_eq!(world.reads(7), 1, "the header");
        let writer = world.open();
        save_state(&writer, 'b');
        let before = world.cache.len();
        writer.commit().unwrap();
        // What was replaced has gone.
        assert!(world.cache.len() < before + before / 2);
        assert_eq!(world.reads(7), 1, "by a handle that was opened after the commit");
        world.expect('b', "committed");
        drop(writer);
        // A writer that is opened anew for each batch.
        for state in ['c', 'd', 'e'] {
            let writer = world.open();
            assert_eq!(writer.file_stats().unwrap().read_count, 1);
            save_state(&writer, state);
            writer.commit().unwrap();
            assert_eq!(writer.file_stats().unwrap().read_count, 1);
            drop(writer);
            assert_eq!(world.reads(9), 1);
        }
        world.expect('e', "in turn");
    }
}

#[test]
fn what_is_not_committed_is_nobodys() {
    for world in worlds() {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let writer = world.open();
        save_state(&writer, 'b');
        assert_eq!(state_of(&writer, 3).unwrap(), meta(3, 'b'));
        world.expect('a', "while it is not committed");
        writer.seek(Direction::End).unwrap();
        assert_eq!(state_of(&writer, 3).unwrap(), meta(3, 'a'));
        // To the same positions.
        save_state(&writer, 'c');
        assert_eq!(state_of(&writer, 3).unwrap(), meta(3, 'c'));
        writer.commit().unwrap();
        world.expect('c', "after another try");
    }
}

#[test]
fn another_process_writes_the_file() {
    if let Some(path) = std::env::var_os("NODE_CACHE_TEST_FILE") {
        let state = std::env::var("NODE_CACHE_TEST_STATE").unwrap().chars().next().unwrap();
        write_state(Path::new(&path), state);
        return;
    }
    for world in worlds() {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let reader = world.open();
        for state in 'b'..'f' {
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "another_process_writes_the_file"])
                .env("NODE_CACHE_TEST_FILE", &world.path)
                .env("NODE_CACHE_TEST_STATE", state.to_string())
                .stdout(std::process::Stdio::null())
                .status();
            assert!(status.unwrap().success());
            world.expect(state, "written by another process");
            if world.counts_reads() {
                assert_eq!(world.reads(7), 1, "once somebody has looked");
            }
            assert_eq!(state_of(&reader, 5).unwrap(), meta(5, 'a'));
        }
    }
}

/// Two files of the same length with the same newest header, which differ in a leaf, where document 7 says these words.
fn twins(folder: &Path) -> [(PathBuf, String); 2] {
    let header = |path: &Path| {
        let db = OpenOptions::new().node_cache(None).read_only(true).open(path).unwrap();
        let bytes = std::fs::read(path).unwrap();
        (bytes.len(), bytes[usize::try_from(db.info().unwrap().header_position).unwrap()..].to_vec())
    };
    let files = ["Qzj3Xv8K", "wV7!Lm2~", "%Hb9^Ry4", "&Tn6Gd1?"].map(|words| {
        let path = folder.join(format!("{}.couch", words.len() + usize::from(words.as_bytes()[0])));
        let db = OpenOptions::new().node_cache(None).create(true).open(&path).unwrap();
        save_state(&db, 'a');
        let name = id(7);
        let document = Document { rev_meta: words.as_bytes(), ..Document::new(name.as_bytes(), b"body") };
        db.save(&[document], SaveOptions::default()).unwrap();
        db.commit_with(1, None).unwrap();
        (path, words.to_string())
    });
    for (index, one) in files.iter().enumerate() {
        if let Some(other) = files[..index].iter().find(|other| header(&other.0) == header(&one.0)) {
            return [one.clone(), other.clone()];
        }
    }
    panic!("no two files that differ in their leaves alone");
}

#[test]
fn a_file_is_restored_in_place_while_an_old_reader_goes_on() {
    for world in worlds() {
        let twins = twins(world.path.parent().unwrap());
        std::fs::copy(&twins[0].0, &world.path).unwrap();
        assert_eq!(state_of(&world.open(), 7).unwrap(), twins[0].1);
        let old = world.open();
        // Again and again, as fast as it goes: times must not be too coarse to tell.
        for _ in 0..50 {
            for (path, words) in twins.iter().rev() {
                std::fs::copy(path, &world.path).unwrap();
                for number in 0..DOCUMENTS {
                    let _ = state_of(&old, number);
                }
                for _ in 0..2 {
                    assert_eq!(&state_of(&world.open(), 7).unwrap(), words);
                }
            }
        }
    }
}

/// The file has grown, and where its newest header was there is one still; but not the same.
#[test]
fn another_header_stands_where_the_known_one_did() {
    let commit = |path: &Path, time: u64| {
        let db = OpenOptions::new().node_cache(None).open(path).unwrap();
        let update = LocalUpdate { id: b"local", body: Some(b"1") };
        db.save_local(&[update]).unwrap();
        db.commit_with(time, None).unwrap();
        db.info().unwrap().header_position
    };
    for world in worlds() {
        let [(known, _), (other, words)] = twins(world.path.parent().unwrap());
        assert_eq!(commit(&known, 5), commit(&other, 6));
        std::fs::copy(known, &world.path).unwrap();
        assert_ne!(state_of(&world.open(), 7).unwrap(), words);
        std::fs::copy(other, &world.path).unwrap();
        commit(&world.path, 7);
        assert_eq!(state_of(&world.open(), 7).unwrap(), words);
    }
}

#[test]
fn a_file_is_cut_and_grows_again() {
    for world in worlds() {
        write_state(&world.path, 'a');
        let length = std::fs::metadata(&world.path).unwrap().len();
        for state in ['b', 'c', 'd'] {
            write_state(&world.path, state);
            world.expect(state, "grown");
            let reader = world.open();
            std::fs::OpenOptions::new().write(true).open(&world.path).unwrap().set_len(length).unwrap();
            let _ = state_of(&reader, 5);
            world.expect('a', "cut");
        }
        // Cut and grown by others while nobody looks.
        write_state(&world.path, 'e');
        world.expect('e', "grown");
        std::fs::OpenOptions::new().write(true).open(&world.path).unwrap().set_len(length).unwrap();
        write_state(&world.path, 'f');
        world.expect('f', "cut and grown");
    }
}

#[test]
fn another_file_gets_the_name_or_the_inode() {
    for world in worlds() {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let old = world.open();
        let other = world.path.with_extension("new");
        write_state(&other, 'b');
        std::fs::rename(&other, &world.path).unwrap();
        world.expect('b', "renamed to its name");
        assert_eq!(state_of(&old, 400).unwrap(), meta(400, 'a'));
        drop(old);
        let mut reused = 0;
        for _ in 0..10 {
            for state in ['c', 'd'] {
                let inode = std::fs::metadata(&world.path).unwrap().ino();
                std::fs::remove_file(&world.path).unwrap();
                write_state(&world.path, state);
                reused += u32::from(std::fs::metadata(&world.path).unwrap().ino() == inode);
                world.expect(state, "made anew");
            }
        }
        println!("{reused} of 20 files had the inode of the one before");
    }
}

#[test]
fn rewound_and_written_again() {
    for world in worlds() {
        write_state(&world.path, 'a');
        write_state(&world.path, 'b');
        world.expect('b', "at first");
        for state in ['c', 'd', 'e'] {
            let writer = world.open();
            writer.rewind().unwrap();
            assert_ne!(state_of(&writer, 8).unwrap(), meta(8, state));
            save_state(&writer, state);
            writer.commit().unwrap();
            assert_eq!(state_of(&writer, 8).unwrap(), meta(8, state));
            world.expect(state, "rewound and written");
        }
    }
}

#[test]
fn two_writers_take_turns() {
    for world in worlds() {
        write_state(&world.path, 'a');
        let writers = [world.open(), world.open()];
        for (turn, state) in ('b'..'k').enumerate() {
            let writer = &writers[turn % 2];
            writer.seek(Direction::End).unwrap();
            save_state(writer, state);
            writer.commit().unwrap();
            world.expect(state, "in turns");
            assert_eq!(state_of(writer, 100).unwrap(), meta(100, state));
        }
    }
}

/// A writer through a caller's operations is not told that somebody else has written: both write to the same place.
#[test]
fn a_writer_that_missed_anothers_commit_shares_nothing() {
    let [_, world] = worlds();
    write_state(&world.path, 'a');
    let writers = [world.open(), world.open()];
    save_state(&writers[0], 'b');
    writers[0].commit_with(1, None).unwrap();
    world.expect('b', "the first");
    save_state(&writers[1], 'c');
    writers[1].commit_with(1, None).unwrap();
    world.expect('c', "the second, over the first");
}

/// Whoever opens the file between the first bytes of a transaction and its commit does not spoil it for others.
#[test]
fn readers_come_while_a_transaction_is_written() {
    for world in worlds() {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let writer = world.open();
        save_state(&writer, 'b');
        // More than the write buffer holds: the file grows.
        let large = vec![7; 300_000];
        writer.save(&[Document::new(b"large", &large)], SaveOptions::default()).unwrap();
        world.expect('a', "while the file grows");
        writer.commit().unwrap();
        assert!(world.reads(7) == 1 || !world.counts_reads());
        world.expect('b', "after the commit");
        // A writer that gives up.
        save_state(&writer, 'c');
        writer.save(&[Document::new(b"large", &large)], SaveOptions::default()).unwrap();
        drop(writer);
        world.expect('b', "given up");
        write_state(&world.path, 'd');
        world.expect('d', "written by others");
    }
}

#[test]
fn what_is_not_to_be_shared_is_not() {
    let [world, _] = worlds();
    write_state(&world.path, 'a');
    for options in [world.cached.clone().unbuffered(true), world.cached.clone().recovery(true)] {
        let db = options.open(&world.path).unwrap();
        state_of(&db, 1).unwrap();
        assert!(world.cache.is_empty());
    }
    state_of(&world.open(), 1).unwrap();
    assert!(!world.cache.is_empty());
    world.cache.clear();
    assert_eq!(world.cache.bytes(), 0);
}

#[test]
fn no_more_memory_is_taken_than_was_given() {
    for bytes in [0, 1, 3000, 20_000, 100_000] {
        let dir = temp_dir();
        let path = dir.path().join("a.couch");
        write_state(&path, 'a');
        let cache = Arc::new(NodeCache::new(bytes));
        let options = OpenOptions::new().node_cache(cache.clone());
        for state in ['b', 'c'] {
            let db = options.open(&path).unwrap();
            for number in 0..DOCUMENTS {
                state_of(&db, number).unwrap();
                assert!(cache.bytes() <= bytes, "{} of {bytes}", cache.bytes());
            }
            save_state(&db, state);
            db.commit().unwrap();
            assert!(cache.bytes() <= bytes, "{} of {bytes}", cache.bytes());
        }
        assert_eq!(cache.is_empty(), bytes < 3000);
    }
}

/// Scans find leaves that look-ups and commits have put in. They put in none: each is read once.
#[test]
fn scans_use_leaves_that_are_shared_and_share_none() {
    for world in worlds().into_iter().filter(World::counts_reads) {
        write_state(&world.path, 'a');
        let reads_of_scans = |state| {
            let db = world.open();
            expect_in_scans(&db, state, "a scan");
            db.file_stats().unwrap().read_count
        };
        assert!(reads_of_scans('a') > 5);
        let pointer_nodes = world.cache.len();
        assert!(reads_of_scans('a') > 3, "leaves are read again");
        assert_eq!(world.cache.len(), pointer_nodes);
        let db = world.open();
        for number in 0..DOCUMENTS {
            state_of(&db, number).unwrap();
        }
        let kept = world.cache.len();
        assert!(kept > pointer_nodes + 10, "look-ups put leaves in");
        let half = reads_of_scans('a');
        let writer = world.open();
        save_state(&writer, 'b');
        writer.commit().unwrap();
        assert!(half > 1 && reads_of_scans('b') == 1, "the header alone, after a commit of all documents");
    }
}

/// A handle that looks up many keys keeps their nodes for itself, and what it reads later is what it wrote meanwhile.
#[test]
fn a_handle_keeps_its_own_nodes() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    write_state(&path, 'a');
    let db = OpenOptions::new().node_cache(None).open(&path).unwrap();
    for number in 0..DOCUMENTS {
        state_of(&db, number).unwrap();
    }
    let reads = || db.file_stats().unwrap().read_count;
    let before = reads();
    for number in 0..DOCUMENTS {
        state_of(&db, number).unwrap();
    }
    assert_eq!(reads(), before);
    expect_in_scans(&db, 'a', "nodes of its own");
    for state in ['b', 'c', 'd'] {
        save_state(&db, state);
        assert_eq!(state_of(&db, 17).unwrap(), meta(17, state));
        db.seek(Direction::End).unwrap();
        assert_eq!(state_of(&db, 17).unwrap(), meta(17, 'a'));
    }
}

/// Who seeks the end finds what is there, also where it has written itself, and where what it keeps for itself was.
#[test]
fn who_seeks_the_end_forgets_what_it_kept() {
    for world in worlds() {
        let uncached = world.cached.clone().node_cache(None);
        write_state(&world.path, 'a');
        let look_up = |db: &Db| {
            for number in 0..DOCUMENTS {
                let _ = state_of(db, number);
            }
        };
        // Restored in place.
        let twins = twins(world.path.parent().unwrap());
        std::fs::copy(&twins[0].0, &world.path).unwrap();
        let db = uncached.open(&world.path).unwrap();
        look_up(&db);
        std::fs::copy(&twins[1].0, &world.path).unwrap();
        db.seek(Direction::End).unwrap();
        assert_eq!(state_of(&db, 7).unwrap(), twins[1].1);
    }
    // Two writers write to the same place. Only callers' operations let them.
    let [_, world] = worlds();
    let uncached = world.cached.clone().node_cache(None);
    write_state(&world.path, 'a');
    let writers = [uncached.open(&world.path).unwrap(), uncached.open(&world.path).unwrap()];
    for number in 0..DOCUMENTS {
        state_of(&writers[0], number).unwrap();
    }
    save_state(&writers[0], 'b');
    writers[0].commit_with(1, None).unwrap();
    save_state(&writers[1], 'c');
    writers[1].commit_with(1, None).unwrap();
    writers[0].seek(Direction::End).unwrap();
    for number in 0..DOCUMENTS {
        assert_eq!(state_of(&writers[0], number).unwrap(), meta(number, 'c'));
    }
}

/// What is not shared, and leaves nothing behind in memory.
#[test]
fn handles_for_recovery_keep_nothing() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    write_state(&path, 'a');
    let db = OpenOptions::new().recovery(true).open(&path).unwrap();
    let reads = || db.file_stats().unwrap().read_count;
    for number in 0..20 {
        state_of(&db, number).unwrap();
    }
    let before = reads();
    state_of(&db, 400).unwrap();
    let once = reads();
    state_of(&db, 100).unwrap();
    state_of(&db, 400).unwrap();
    assert!(once > before && reads() > once + 2);
}
