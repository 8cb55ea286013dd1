// SPDX-License-Identifier: Apache-2.0

//! Moving between headers, and finding the right one at open.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::Forge;
use common::forwarding::{Call, Forwarding};
use common::memory::Memory;
use common::raw::{self, BLOCK};
use common::rng::Rng;
use common::watched::{Effect, Fault, Kind, Watched};
use couchstore::inspect::Headers;
use couchstore::io::IoError;
use couchstore::{
    Db, Direction, Document, Error, ErrorCode, LocalUpdate, OpenOptions, Result, SaveOptions, Sought,
};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

const NAME: &str = "headers.couch";

fn put(db: &Db, id: &str) {
    db.save(&[Document::new(id.as_bytes(), id.as_bytes())], SaveOptions::default()).unwrap();
}

/// Saves a document, commits with this timestamp and returns the header's position.
fn step(db: &Db, id: &str, timestamp: u64) -> i64 {
    put(db, id);
    db.commit_with(timestamp, None).unwrap();
    db.header_position().cast_signed()
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

/// A database with headers at 0 and at the four positions returned.
fn history(memory: &Memory) -> (Db, [i64; 4]) {
    let db = memory.open(NAME);
    let positions = ["a", "b", "c", "d"].map(|id| step(&db, id, 1));
    (db, positions)
}

#[test]
fn blocks_of_data_are_stepped_over_on_the_way_forward() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    let first = step(&db, "first", 1);
    db.put("large", Rng::new().noise(20_000)).unwrap();
    let second = step(&db, "second", 2);
    assert!(second > first + 3 * BLOCK.cast_signed());
    db.seek(Direction::Backward).unwrap();
    assert_eq!(db.header_position().cast_signed(), first);
    db.seek(Direction::Forward).unwrap();
    assert_eq!(db.header_position().cast_signed(), second);
}

#[test]
fn a_commit_has_the_time_of_the_clock() {
    let memory = Memory::default();
    let db = memory.open("clock.couch");
    db.commit().unwrap();
    let nanoseconds = u128::from(db.info().unwrap().timestamp);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    // Not to the second: clocks are set.
    assert!(nanoseconds.abs_diff(now) < 86_400 * 1_000_000_000, "{nanoseconds} at {now}");
}

#[test]
fn backward_follows_the_branch_and_forward_the_file() {
    let memory = Memory::default();
    let (db, [a, b, c, d]) = history(&memory);
    db.seek_offset(b).unwrap();
    let e = step(&db, "e", 1);
    assert_eq!(db.info().unwrap().last_sequence, 3);
    assert_eq!(db.get(b"c").unwrap(), None);
    let positions = |direction| {
        let mut seen = Vec::new();
        while db.seek(direction).is_ok() {
            seen.push(db.header_position().cast_signed());
        }
        seen
    };
    assert_eq!(positions(Direction::Backward), [b, a, 0]);
    assert_eq!(positions(Direction::Forward), [a, b, c, d, e]);
    db.seek_offset(d).unwrap();
    assert_eq!(db.get(b"c").unwrap().unwrap(), b"c");
    assert_eq!(positions(Direction::Backward), [c, b, a, 0]);
}

#[test]
fn version_11_goes_back_block_by_block_through_abandoned_headers_too() {
    let memory = Memory::default();
    let db = memory.options().create(true).legacy_crc(true).open(NAME).unwrap();
    let [a, b] = ["a", "b"].map(|id| step(&db, id, 1));
    db.seek_offset(a).unwrap();
    step(&db, "c", 1);
    db.seek(Direction::Backward).unwrap();
    assert_eq!(db.header_position().cast_signed(), b);
}

#[test]
fn offsets_that_are_no_headers() {
    let memory = Memory::default();
    let (db, [.., d]) = history(&memory);
    put(&db, "uncommitted");
    // These leave the handle alone.
    assert_eq!(code(db.seek_offset(1)), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(code(db.seek_offset(-4095)), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(code(db.seek_offset(i64::MAX - 4095)), ErrorCode::NO_HEADER);
    let end = db.info().unwrap().file_size.next_multiple_of(BLOCK);
    assert_eq!(code(db.seek_offset(end.cast_signed())), ErrorCode::NO_HEADER);
    assert!(db.get(b"uncommitted").unwrap().is_some());
    // After these the current header is loaded again.
    assert_eq!(code(db.seek_offset(-4096)), ErrorCode::NO_HEADER);
    assert_eq!(db.get(b"uncommitted").unwrap(), None);
    put(&db, "uncommitted");
    let large = vec![1; 20_000];
    db.save(&[Document::new(b"large", &large)], SaveOptions::default()).unwrap();
    assert_eq!(code(db.seek_offset(d + 8192)), ErrorCode::NO_HEADER);
    assert_eq!(db.header_position().cast_signed(), d);
    assert_eq!(db.get(b"uncommitted").unwrap(), None);
}

#[test]
fn the_ends_of_the_history() {
    let memory = Memory::default();
    let (db, [.., d]) = history(&memory);
    put(&db, "uncommitted");
    assert_eq!(code(db.seek(Direction::Forward)), ErrorCode::NO_HEADER);
    assert_eq!(db.header_position().cast_signed(), d);
    assert_eq!(db.get(b"uncommitted").unwrap(), None, "the header was loaded again");
    db.seek_offset(0).unwrap();
    put(&db, "uncommitted");
    assert_eq!(code(db.seek(Direction::Backward)), ErrorCode::NO_HEADER);
    assert!(db.get(b"uncommitted").unwrap().is_some(), "the handle was not touched");
}

#[test]
fn rewind_closes_the_file_when_there_is_nothing_older() {
    let memory = Memory::default();
    let (db, [.., c, _]) = history(&memory);
    db.rewind().unwrap();
    assert_eq!(db.header_position().cast_signed(), c);
    db.fast_forward().unwrap();
    assert_eq!(code(db.fast_forward()), ErrorCode::DB_NO_LONGER_VALID);
    assert_eq!(code(db.get(b"a")), ErrorCode::FILE_CLOSED);
    assert_eq!(code(db.seek(Direction::End)), ErrorCode::FILE_CLOSED);
}

/// In encrypted files the first header is not at position 0, and says itself that it is the first.
#[test]
fn before_a_first_header_that_is_not_at_the_start() {
    let mut forge = Forge::new();
    forge.previous = (1 << 48) - 2;
    forge.header(0, &[], &[], &[]);
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.options().open(NAME).unwrap();
    let error = db.seek(Direction::Backward).unwrap_err();
    let Error::DbNoLongerValid(cause) = &error else { panic!("{error}") };
    assert!(matches!(**cause, Error::NoHeader { sought: Sought::AtOrBelow(0), .. }), "{error:?}");
    put(&db, "still usable");
}

/// A header may lie about where the one before it is: then that is searched for.
#[test]
fn there_is_no_header_where_the_one_before_is_said_to_be() {
    // The header itself, one behind it that is not its successor, the end of the file, within a block, and a block of data.
    for previous in [3 * BLOCK, 4 * BLOCK, 5 * BLOCK, 2 * BLOCK + 1, 0] {
        let mut forge = Forge::new();
        forge.header(1, &[], &[], &[]);
        let before = forge.header(2, &[], &[], &[]);
        forge.previous = previous << 1;
        assert_eq!(forge.header(3, &[], &[], &[]), 3 * BLOCK);
        forge.header(4, &[], &[], &[]);
        let memory = Memory::default();
        memory.put(NAME, forge.bytes);
        let db = memory.options().open(NAME).unwrap();
        db.seek_offset(3 * BLOCK as i64).unwrap();
        db.seek(Direction::Backward).unwrap();
        assert_eq!(db.header_position(), before, "{previous}");
    }
}

#[test]
fn of_headers_with_the_same_sequence_the_first_has_reached_it() {
    let memory = Memory::default();
    let (db, [.., d]) = history(&memory);
    db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"1") }]).unwrap();
    db.commit().unwrap();
    assert!(db.header_position().cast_signed() > d);
    db.seek_first_header_containing(4, 1).unwrap();
    assert_eq!(db.header_position().cast_signed(), d);
}

#[test]
fn only_seeking_the_end_shows_what_others_have_committed() {
    let memory = Memory::default();
    let (writer, [.., d]) = history(&memory);
    let reader = memory.options().read_only(true).open(NAME).unwrap();
    let e = step(&writer, "e", 1);
    assert_eq!(reader.get(b"e").unwrap(), None);
    assert_eq!(code(reader.seek(Direction::Forward)), ErrorCode::NO_HEADER);
    assert_eq!(reader.header_position().cast_signed(), d);
    reader.seek(Direction::End).unwrap();
    assert_eq!(reader.header_position().cast_signed(), e);
    assert_eq!(reader.get(b"e").unwrap().unwrap(), b"e");
    assert_eq!(reader.info().unwrap().file_size, writer.info().unwrap().file_size);
}

#[test]
fn seeking_the_end_discards_what_is_not_committed() {
    let memory = Memory::default();
    let (db, [.., d]) = history(&memory);
    put(&db, "uncommitted");
    db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(b"x") }]).unwrap();
    db.set_purge_seq(9);
    db.seek(Direction::End).unwrap();
    assert_eq!(db.header_position().cast_signed(), d);
    assert_eq!(db.get(b"uncommitted").unwrap(), None);
    assert_eq!(db.local(b"_local/x").unwrap(), None);
    assert_eq!(db.info().unwrap().purge_seq, 0);
    // What is saved then goes behind it, and the file stays in order.
    step(&db, "e", 1);
    let file = raw::File::new(memory.bytes(NAME));
    raw::check_header(&file, &file.last_header());
}

#[test]
fn seeking_the_end_of_a_file_with_only_its_first_header() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    put(&db, "uncommitted");
    db.seek(Direction::End).unwrap();
    assert_eq!(db.info().unwrap().last_sequence, 0);
    step(&db, "a", 1);
    assert_eq!(memory.options().open(NAME).unwrap().get(b"a").unwrap().unwrap(), b"a");
}

#[test]
fn seeking_the_end_reports_a_damaged_header_and_stays() {
    let memory = Memory::default();
    let (writer, [.., d]) = history(&memory);
    let reader = memory.options().read_only(true).open(NAME).unwrap();
    let size = reader.info().unwrap().file_size;
    let e = step(&writer, "e", 1);
    memory.file(NAME).unwrap().lock().unwrap()[e as usize + 20] ^= 1;
    assert_eq!(code(reader.seek(Direction::End)), ErrorCode::CHECKSUM_FAIL);
    assert_eq!((reader.header_position().cast_signed(), reader.info().unwrap().file_size), (d, size));
    assert_eq!(reader.get(b"d").unwrap().unwrap(), b"d");
}

#[test]
fn a_file_without_header_cannot_be_sought_in() {
    let memory = Memory::default();
    let db = memory.options().create(true).no_commit_at_create(true).open(NAME).unwrap();
    put(&db, "a");
    assert_eq!(code(db.seek(Direction::End)), ErrorCode::DB_NO_LONGER_VALID);
    assert!(db.is_closed());
    assert_eq!(code(memory.options().open(NAME)), ErrorCode::NO_HEADER);
}

#[test]
fn the_first_header_that_has_reached_a_sequence() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    // Timestamps 0, 5, 10, ... and one document each, so that header n has sequence n.
    let positions: Vec<_> =
        (0..20).map(|number| step(&db, &format!("{number}"), u64::from(number as u8) * 5)).collect();
    let newest = positions[19];
    for seq in 1..=20 {
        db.seek_offset(newest).unwrap();
        db.seek_first_header_containing(seq, 1).unwrap();
        assert_eq!(db.header_position().cast_signed(), positions[seq as usize - 1], "sequence {seq}");
    }
    // Intervals of 20: the headers with timestamps 0, 5, 10, 15 belong together.
    for (seq, index) in [(1, 3), (4, 3), (5, 7), (18, 19)] {
        db.seek_offset(newest).unwrap();
        db.seek_first_header_containing(seq, 20).unwrap();
        assert_eq!(db.header_position().cast_signed(), positions[index], "sequence {seq}");
    }
    db.seek_offset(newest).unwrap();
    db.seek_first_header_containing(21, 1).unwrap();
    assert_eq!(db.header_position().cast_signed(), newest, "none: it stays");
    assert_eq!(code(db.seek_first_header_containing(1, 0)), ErrorCode::INVALID_ARGUMENTS);
}

// ---- opening ------------------------------------------------------------------------------------------------------

#[test]
fn files_that_hold_no_header() {
    let memory = Memory::default();
    for bytes in [vec![0], vec![1], vec![7], vec![0; 3 * BLOCK as usize]] {
        memory.put(NAME, bytes);
        assert_eq!(code(memory.options().create(true).open(NAME)), ErrorCode::NO_HEADER);
    }
    memory.put(NAME, vec![]);
    assert_eq!(code(memory.options().read_only(true).open(NAME)), ErrorCode::NO_HEADER);
    memory.options().open(NAME).unwrap().close().unwrap();
    assert_eq!(memory.bytes(NAME).len(), 48, "an empty file gets its first header");
}

#[test]
fn a_damaged_newest_header_needs_the_recovery_mode() {
    let memory = Memory::default();
    let (db, [.., c, d]) = history(&memory);
    db.close().unwrap();
    let damages: [(usize, u8, ErrorCode); 3] =
        [(20, 0x55, ErrorCode::CHECKSUM_FAIL), (1, 0x80, ErrorCode::CORRUPT), (0, 0x07, ErrorCode::CORRUPT)];
    for (offset, change, expected) in damages {
        let mut bytes = memory.bytes(NAME);
        bytes[d as usize + offset] ^= change;
        let name = "damaged.couch";
        memory.put(name, bytes);
        assert_eq!(code(memory.options().open(name)), expected);
        let db = memory.options().recovery(true).open(name).unwrap();
        assert_eq!(db.header_position().cast_signed(), c);
        // The next header goes to the end and points to the one that was recovered.
        let e = step(&db, "e", 1);
        assert!(e > d);
        assert_eq!(db.info().unwrap().previous_header, Some(c.cast_unsigned()));
        db.seek(Direction::Backward).unwrap();
        assert_eq!(db.header_position().cast_signed(), c);
    }
}

/// A file with bad sectors: reads that touch one of these offsets fail.
fn with_bad_sectors(memory: &Memory, bad: Vec<u64>) -> Forwarding {
    Forwarding::on(memory.ops()).before(move |call| match call {
        Call::Read(range) if bad.iter().any(|bad| range.contains(bad)) => {
            Err(IoError::new(ErrorCode::READ, libc::EIO))
        }
        _ => Ok(()),
    })
}

/// Blocks whose type byte cannot be read are damage like any other, wherever they lie: at the newest header, or far
/// behind it, among blocks that are read many at once.
#[test]
fn unreadable_blocks_need_the_recovery_mode() {
    let memory = Memory::default();
    let (db, [.., c, d]) = history(&memory);
    db.close().unwrap();
    let (c, d) = (c.cast_unsigned(), d.cast_unsigned());
    let mut with_tail = memory.bytes(NAME);
    with_tail.resize(d as usize + 100 * BLOCK as usize, 0);
    let tail: Vec<_> = [3, 40, 41, 42, 99].iter().map(|block| d + block * BLOCK).collect();
    let cases = [
        (memory.bytes(NAME), vec![d], c),
        (with_tail.clone(), tail.clone(), d),
        (with_tail, [tail, vec![d]].concat(), c),
    ];
    for (bytes, bad, expected) in cases {
        memory.put("damaged", bytes);
        let ops = Arc::new(with_bad_sectors(&memory, bad.clone()));
        for unbuffered in [false, true] {
            let options = OpenOptions::new().file_ops(ops.clone()).unbuffered(unbuffered).read_only(true);
            assert_eq!(code(options.clone().open("damaged")), ErrorCode::READ);
            let db = options.recovery(true).open("damaged").unwrap();
            assert_eq!(db.header_position(), expected);
            assert_eq!(db.get(b"a").unwrap().unwrap(), b"a");
            // Whoever looks for all headers is told of all such blocks, and finds the headers between them.
            let found: Vec<_> = Headers::backward(&db).collect();
            let failed: Vec<_> = found.iter().filter(|found| found.header.is_err()).collect();
            let mut places: Vec<_> = failed.iter().map(|failed| failed.position).collect();
            places.sort_unstable();
            let mut bad = bad.clone();
            bad.sort_unstable();
            assert_eq!(places, bad);
            assert!(found.iter().any(|found| found.position == c && found.header.is_ok()));
            let forward: Vec<_> = Headers::forward_from(&db, 0).map(|found| found.position).collect();
            assert!(forward.contains(&c));
            // A read buffer may reach into the next block.
            assert!(!unbuffered || forward.iter().rev().eq(found.iter().map(|found| &found.position)));
        }
    }
    // What ends everything does so here, too.
    let fault = Fault { kind: Kind::Read, index: 0, times: 1, effect: Effect::FailWith(ErrorCode::CANCEL) };
    let watched = Watched::new(memory.ops());
    watched.set_fault(Some(fault));
    let options = OpenOptions::new().file_ops(watched.ops()).recovery(true);
    assert_eq!(code(options.open(NAME)), ErrorCode::CANCEL);
}

#[test]
fn an_unknown_version_ends_every_search() {
    let memory = Memory::default();
    let mut forge = Forge::new();
    forge.header(1, &[], &[], &[]);
    forge.version = 15;
    forge.header(2, &[], &[], &[]);
    memory.put(NAME, forge.bytes);
    for recovery in [false, true] {
        assert_eq!(code(memory.options().recovery(recovery).open(NAME)), ErrorCode::HEADER_VERSION);
    }
}

#[test]
fn opening_with_contradicting_options() {
    let memory = Memory::default();
    drop(history(&memory));
    let refused = |options: OpenOptions| code(options.open(NAME));
    assert_eq!(refused(memory.options().read_only(true).create(true)), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(refused(memory.options().exclusive(true)), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(refused(memory.options().legacy_crc(true)), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(refused(memory.options().create(true).exclusive(true)), ErrorCode::OPEN_FILE);
    assert_eq!(code(memory.options().open("none")), ErrorCode::NO_SUCH_FILE);
}

#[test]
fn reopening_checks_that_it_is_the_same_database() {
    let dir = common::temp_dir();
    let path = |name: &str| CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap();
    let db = Db::create(dir.path().join("a")).unwrap();
    step(&db, "a", 1);
    let other = Db::create(dir.path().join("b")).unwrap();
    step(&other, "b", 1);
    step(&other, "c", 1);
    let old = Db::open(dir.path().join("a")).unwrap();
    step(&db, "b", 1);
    old.reopen(&path("a"), &OpenOptions::new()).unwrap();
    assert_eq!(old.info().unwrap().last_sequence, 1);
    old.seek(Direction::End).unwrap();
    let error = old.reopen(&path("missing"), &OpenOptions::new()).unwrap_err();
    assert!(matches!(error, Error::DbNoLongerValid(_)));
    assert!(old.is_closed());
}

#[test]
fn a_file_that_is_cut_after_opening_is_noticed() {
    let memory = Memory::default();
    let (db, _) = history(&memory);
    db.close().unwrap();
    let db = memory.options().open(NAME).unwrap();
    memory.file(NAME).unwrap().lock().unwrap().truncate(BLOCK as usize);
    assert_eq!(code(db.get(b"d")), ErrorCode::READ);
}

/// After a crash a file system may leave a long tail of zeros. The search for a header goes through it in large
/// pieces.
#[test]
fn a_gigabyte_of_zeros_behind_the_newest_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.couch");
    let position = step(&Db::create(&path).unwrap(), "a", 1);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    for read_only in [true, false, true] {
        let db = OpenOptions::new().read_only(read_only).open(&path).unwrap();
        assert_eq!(db.header_position().cast_signed(), position);
        let stats = db.file_stats().unwrap();
        assert!(stats.read_count < 3000, "{stats:?}");
        assert_eq!(db.get(b"a").unwrap().unwrap(), b"a");
    }
    // A marked block somewhere in the middle is not stepped over.
    file.write_all_at(&[3], 700 << 20).unwrap();
    assert_eq!(code(Db::open(&path)), ErrorCode::CORRUPT);
    let db = OpenOptions::new().recovery(true).open(&path).unwrap();
    assert_eq!(db.header_position().cast_signed(), position);
    // New data goes behind the tail.
    step(&db, "b", 1);
    assert!(db.header_position() > 1 << 30);
    assert_eq!(Db::open(&path).unwrap().get(b"b").unwrap().unwrap(), b"b");
}

/// A save under way has put chunks into the file that its trees are going to point to.
#[test]
fn reopening_inside_a_save_callback_is_refused() {
    let memory = Memory::default();
    let (db, _) = history(&memory);
    let other = memory.open("other");
    step(&other, "x", 1);
    other.close().unwrap();
    let before = memory.bytes("other");
    let mut refused = 0;
    let docs = [Document::new(b"e", b"e"), Document::new(b"f", b"f")];
    db.save_and_tell(&docs, SaveOptions::default(), &mut |_, _, _| {
        for name in [c"other", c"headers.couch", c"missing"] {
            assert_eq!(code(db.reopen(name, &memory.options())), ErrorCode::INVALID_ARGUMENTS);
            refused += 1;
        }
        assert!(!db.is_closed());
        Ok(())
    })
    .unwrap();
    assert_eq!(refused, 6);
    db.commit().unwrap();
    db.close().unwrap();
    assert!(memory.bytes("other") == before);
    let db = memory.options().open(NAME).unwrap();
    for id in ["a", "b", "c", "d", "e", "f"] {
        assert_eq!(db.get(id.as_bytes()).unwrap().unwrap(), id.as_bytes());
    }
}

#[test]
fn reopening_under_the_handles_own_name() {
    let memory = Memory::default();
    let (db, [.., d]) = history(&memory);
    db.reopen(&db.filename(), &memory.options()).unwrap();
    assert_eq!(db.filename().as_c_str(), c"headers.couch");
    assert_eq!(db.header_position().cast_signed(), d);
    assert_eq!(db.get(b"d").unwrap().unwrap(), b"d");
    step(&db, "e", 1);
    assert_eq!(memory.options().open(NAME).unwrap().get(b"e").unwrap().unwrap(), b"e");
}
