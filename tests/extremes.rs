// SPDX-License-Identifier: Apache-2.0

//! Numbers at the edges of their types, in every public function that takes one: a result or an error, and never an
//! overflow, a number that is cut where it matters, or the end of the process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use couchstore::inspect::{
    BLOCK_SIZE, Headers, NodeRef, NodeVisitor, Tree, extent, is_size_of, markers_in, walk_nodes,
};
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfoRef, Document, Error, ErrorCode, LocalUpdate, OnDocument,
    OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, SaveOptions, ScanOptions, compact, compact_online,
    replay,
};
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "a.couch";
const MAX_48: u64 = (1 << 48) - 1;

/// Numbers around every power of two that is the limit of something, and around `end`.
fn edges(end: u64) -> Vec<u64> {
    let limits = [
        0,
        4096,
        end,
        1 << 28,
        1 << 31,
        1 << 32,
        1 << 40,
        1 << 47,
        1 << 48,
        1 << 63,
        u64::MAX - 4095,
        u64::MAX,
    ];
    let around = |limit: u64| [limit.wrapping_sub(4096), limit.wrapping_sub(1), limit, limit.wrapping_add(1)];
    let mut edges: Vec<u64> = limits.into_iter().flat_map(around).collect();
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// A file with some headers, documents and local documents.
fn sample(options: &OpenOptions) -> Db {
    let db = options.clone().create(true).open(NAME).unwrap();
    for round in 0..5_u8 {
        let body = vec![round; 3000];
        let ids: Vec<_> = (0..20).map(|number| format!("id-{round}-{number}")).collect();
        let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &body)).collect();
        db.save(&docs, SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(&body) }]).unwrap();
        db.commit().unwrap();
    }
    db
}

#[test]
fn positions_of_headers_and_blocks() {
    let memory = Memory::default();
    for options in [memory.options(), memory.options().unbuffered(true)] {
        memory.remove(NAME);
        let db = sample(&options);
        let end = db.file_end();
        let all: Vec<_> = Headers::forward_from(&db, 0).map(|found| found.position).collect();
        assert_eq!(all.len(), 6);
        for edge in edges(end) {
            let forward: Vec<_> = Headers::forward_from(&db, edge).map(|found| found.position).collect();
            assert!(forward.iter().eq(all.iter().filter(|&&position| position >= edge)), "{edge}");
            let backward: Vec<_> = Headers::backward_from(&db, edge).collect();
            if edge - edge % BLOCK_SIZE < end {
                let expected = all.iter().rev().filter(|&&position| position <= edge);
                assert!(backward.iter().map(|found| &found.position).eq(expected), "{edge}");
            } else {
                assert!(backward.len() == 1 && backward[0].header.is_err(), "{edge}: {backward:?}");
            }
            let is_aligned = edge % BLOCK_SIZE == 0;
            match db.block_type(edge) {
                Ok(marker) => assert!(is_aligned && marker.is_some() == (edge < end), "{edge}: {marker:?}"),
                Err(error) => {
                    assert!(!is_aligned && matches!(error, Error::InvalidArguments(_)), "{edge}: {error}");
                }
            }
            match db.header_at(edge) {
                Ok(_) => assert!(all.contains(&edge), "{edge}"),
                Err(Error::NoHeader { .. }) => assert!(is_aligned && !all.contains(&edge), "{edge}"),
                Err(error) => {
                    assert!(!is_aligned && matches!(error, Error::InvalidArguments(_)), "{edge}: {error}");
                }
            }
            let sought = db.seek_offset(edge as i64);
            assert_eq!(sought.is_ok(), all.contains(&edge), "{edge}: {sought:?}");
            for granularity in edges(end) {
                let found = db.seek_first_header_containing(edge, granularity);
                assert_eq!(found.is_ok(), granularity > 0, "{edge} {granularity}: {found:?}");
            }
            assert!(!db.is_closed(), "{edge}");
        }
    }
}

#[test]
fn places_and_sizes() {
    for position in edges(100_000) {
        for size in edges(position.wrapping_neg()) {
            let place = extent(position, size);
            assert_eq!(place.start, position);
            let length = place.end - position;
            // So many type bytes at most.
            let most = size.saturating_add(size / 4095).saturating_add(2);
            assert!(
                length <= most && (length >= size || place.end == u64::MAX),
                "{position} {size}: {place:?}"
            );
            assert!(is_size_of(size, size, Some(position)) && is_size_of(size, size, None));
            let _ =
                (is_size_of(position, size, Some(size)), is_size_of(position, size, None), markers_in(size));
        }
    }
}

#[derive(Default)]
struct Count(usize);

impl NodeVisitor for Count {
    fn node(&mut self, _: &couchstore::inspect::Node<'_>) -> couchstore::Result<()> {
        self.0 += 1;
        Ok(())
    }
}

#[test]
fn positions_of_nodes_and_bodies() {
    let memory = Memory::default();
    let db = sample(&memory.options());
    let root = db.header().by_id.unwrap();
    for edge in edges(db.file_end()) {
        for number in edges(db.file_end()) {
            let wrong = NodeRef { position: edge, subtree_size: number, ..root.clone() };
            let walked = walk_nodes(&db, Tree::ById, Some(&wrong), &mut Count::default());
            assert!(walked.is_err(), "{edge}");
            let info =
                DocInfoRef { id: b"id", body_position: edge, physical_size: number, ..DocInfoRef::default() };
            let read = db.stored_body(&info);
            assert!(read.is_err(), "{edge}: {read:?}");
            assert!(db.body(&DocInfoRef { content_meta: 0xff, ..info }).is_err(), "{edge}");
            assert!(db.inflate_body(&info, b"no snappy").is_err(), "{edge}");
        }
        let right = NodeRef { subtree_size: edge, ..root.clone() };
        let mut count = Count::default();
        walk_nodes(&db, Tree::ById, Some(&right), &mut count).unwrap();
        assert!(count.0 > 1);
    }
}

/// How many documents a scan shows.
fn shown(scan: impl FnOnce(OnDocument<'_>) -> couchstore::Result<()>) -> u64 {
    let mut count = 0;
    let mut seen = |_: &DocInfoRef<'_>| {
        count += 1;
        Ok(())
    };
    scan(&mut seen).unwrap();
    count
}

#[test]
fn sequence_numbers_that_are_looked_for() {
    let memory = Memory::default();
    let db = sample(&memory.options());
    let all = ScanOptions::default();
    for edge in edges(50) {
        let from_there = 101_u64.saturating_sub(edge.max(1));
        let seen = shown(|seen| db.changes_since(edge, all, seen));
        assert_eq!(seen, from_there, "{edge}");
        let seen = shown(|seen| db.changes_in_range(edge, Some(u64::MAX), all, seen));
        assert_eq!(seen, from_there, "{edge}");
        let seen = shown(|seen| db.changes_in_range(0, Some(edge), all, seen));
        assert_eq!(seen, edge.min(100), "{edge}");
        assert_eq!(db.changes_count(edge, u64::MAX).unwrap(), from_there, "{edge}");
        assert_eq!(db.changes_count(0, edge).unwrap(), edge.min(100), "{edge}");
        db.walk_by_seq(edge, all, &mut |_, _| Ok(())).unwrap();
        // These are looked up as they are stored.
        let is_there = (1..=100).contains(&(edge & MAX_48));
        assert_eq!(
            db.with_doc_info_by_seq(edge, |info| Ok(info.db_seq)).ok(),
            is_there.then_some(edge & MAX_48)
        );
        let seen = shown(|seen| db.docs_by_seq(&[edge], all, seen));
        assert_eq!(seen, u64::from(is_there), "{edge}");
    }
}

/// Whatever numbers callers choose, what was committed can be opened again, also under the same handle.
#[test]
fn numbers_that_are_saved() {
    for edge in edges(100_000) {
        let memory = Memory::default();
        let db = memory.open(NAME);
        let name = CString::new(NAME).unwrap();
        let doc = Document { db_seq: edge, rev_seq: edge, ..Document::new(b"id", b"body") };
        db.save(&[doc], SaveOptions::new().keep_sequences(true)).unwrap();
        db.set_purge_seq(edge);
        db.commit_with(edge, None).unwrap();
        db.reopen(&name, &memory.options()).unwrap();
        let info = db.info().unwrap();
        // A number that does not fit is cut where it is stored; the next one is above all that were given.
        assert_eq!(
            (info.last_sequence, info.purge_seq, info.timestamp),
            (edge.min(MAX_48), edge & MAX_48, edge)
        );
        let found = db.doc_info(b"id").unwrap().unwrap();
        assert_eq!((found.db_seq, found.rev_seq), (edge & MAX_48, edge & MAX_48), "{edge}");
        db.raise_update_seq(edge);
        db.commit().unwrap();
        db.reopen(&name, &memory.options()).unwrap();
        db.save(
            &[Document { db_seq: 7, ..Document::new(b"id", b"") }],
            SaveOptions::new().keep_sequences(true).compress(true),
        )
        .unwrap();
        db.commit().unwrap();
        db.reopen(&name, &memory.options()).unwrap();
        assert_eq!(db.get(b"id").unwrap().unwrap(), b"");
    }
}

/// Another state of the file is noticed all the same.
#[test]
fn reopening_compares_sequence_numbers() {
    let memory = Memory::default();
    let db = memory.open(NAME);
    db.raise_update_seq(MAX_48 - 1);
    db.commit().unwrap();
    db.raise_update_seq(MAX_48 + 6);
    assert_eq!(db.info().unwrap().last_sequence, MAX_48);
    let name = CString::new(NAME).unwrap();
    assert!(matches!(db.reopen(&name, &memory.options()), Err(Error::DbNoLongerValid(_))));
}

/// The end of a replay is a position of the source's.
#[test]
fn a_replay_has_no_end_at_2_to_the_63() {
    let memory = Memory::default();
    let (source, target) = (sample(&memory.options()), memory.open("target.couch"));
    for end in [1 << 63, u64::MAX] {
        let replayed = replay(&source, &target, end, &mut (), 0);
        assert!(matches!(replayed, Err(Error::InvalidArguments(_))), "{end}");
        assert_eq!(target.info().unwrap().doc_count, 0);
        assert_ne!(source.info().unwrap().doc_count, 0);
    }
}

/// The operating system could only be given the part before it.
#[test]
fn no_name_has_a_zero_byte() {
    let (dir, memory) = (tempfile::tempdir().unwrap(), Memory::default());
    let (whole, wrong) = (dir.path().join("a.couch"), dir.path().join("a.couch\0b"));
    let source = OpenOptions::new().create(true).open(&whole).unwrap();
    let online = |source: &Path, target: &Path| {
        compact_online(source, target, &OnlineOptions::new(), &mut Nothing).map(drop)
    };
    let results = [
        memory.options().open(&wrong).map(drop),
        OpenOptions::new().create(true).open(&wrong).map(drop),
        compact(&source, &wrong, &CompactOptions::new()),
        online(&whole, &wrong),
        online(&wrong, &whole),
    ];
    for (index, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(Error::InvalidArguments(_))), "{index}");
    }
}

#[test]
fn sizes_of_buffers() {
    let memory = Memory::default();
    sample(&memory.options()).close().unwrap();
    let most = 256_usize << 20;
    for unit in [0, 1, 100, 4095, most, most + 1, 1 << 40, usize::MAX - 1, usize::MAX] {
        for count in [0, 1, 16, 1 << 20, 1 << 40, usize::MAX] {
            let opened = memory.options().read_only(true).read_buffers(unit, count).open(NAME);
            let bytes = unit.max(1).checked_mul(count.max(1));
            if bytes.is_none_or(|bytes| bytes > most) {
                assert!(matches!(opened, Err(Error::InvalidArguments(_))), "{unit} {count}");
                continue;
            }
            let db = opened.unwrap();
            let seen = shown(|seen| {
                db.changes_since(0, ScanOptions::default(), &mut |info| {
                    db.body(info)?;
                    seen(info)
                })
            });
            assert_eq!(seen, 100, "{unit} {count}");
        }
    }
}

#[test]
fn sizes_of_nodes() {
    for size in [
        0,
        1,
        5,
        1 << 20,
        16 << 20,
        (16 << 20) + 1,
        1 << 32,
        1 << 40,
        usize::MAX / 2,
        usize::MAX - 1,
        usize::MAX,
    ] {
        for (interior, leaf) in [(size, 1279), (1279, size), (size, size)] {
            let memory = Memory::default();
            let opened = memory.options().create(true).node_sizes(interior, leaf).open(NAME);
            if size > 16 << 20 {
                assert!(matches!(opened, Err(Error::InvalidArguments(_))), "{size}");
                assert!(memory.file(NAME).is_none());
                continue;
            }
            drop(opened);
            memory.remove(NAME);
            let db = sample(&memory.options().node_sizes(interior, leaf));
            let seen = shown(|seen| db.all_docs(b"", ScanOptions::default(), seen));
            assert_eq!(seen, 100, "{size}");
            let dir = tempfile::tempdir().unwrap();
            compact(&db, dir.path().join("b"), &CompactOptions::default()).unwrap();
            assert_eq!(Db::open(dir.path().join("b")).unwrap().info().unwrap().doc_count, 100, "{size}");
        }
    }
}

#[derive(Debug)]
struct Nothing;

impl CompactHooks for Nothing {}
impl ReplayHooks for Nothing {}
impl OnlineHooks for Nothing {}

#[test]
fn options_of_syncs_and_compactions() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let edges = [0, 1, 4095, 1 << 20, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX];
    for number in edges {
        // A sync for each byte takes long.
        let periodic = Some(number).filter(|&bytes| bytes != 1);
        let db = OpenOptions::new().create(true).periodic_sync(periodic).open(path("a")).unwrap();
        let body = vec![1; 1000];
        for round in 0..50_u8 {
            db.save(&[Document::new(&[round], &body)], SaveOptions::default()).unwrap();
        }
        db.commit().unwrap();
        let memory_budget = usize::try_from(number).unwrap();
        let options = CompactOptions::new().periodic_sync(periodic).memory_budget(memory_budget);
        compact(&db, path("b"), &options).unwrap();
        for max_unlocked_rounds in [0, 1, u32::MAX] {
            let online = OnlineOptions::new()
                .compact(options.clone())
                .max_unlocked_rounds(max_unlocked_rounds)
                .delta_bytes_for_lock(number);
            compact_online(path("a"), path("c"), &online, &mut Nothing).unwrap();
            for name in ["b", "c"] {
                assert_eq!(Db::open(path(name)).unwrap().info().unwrap().doc_count, 50, "{number}");
            }
            std::fs::remove_file(path("c")).unwrap();
        }
        std::fs::remove_file(path("a")).unwrap();
        std::fs::remove_file(path("b")).unwrap();
    }
}

fn c_name(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

#[test]
fn offsets_of_system_calls() {
    let dir = tempfile::tempdir().unwrap();
    let mode = OpenMode { create: true, ..OpenMode::default() };
    let mut file = PosixOps.open(&c_name(&dir.path().join("f")), mode).unwrap();
    file.pwrite(b"abc", 0).unwrap();
    for offset in edges(3).into_iter().filter(|&offset| offset >= 3) {
        let read = file.pread(&mut [0; 10], offset);
        let is_possible = i64::try_from(offset).is_ok_and(|offset| offset.checked_add(10).is_some());
        assert_eq!(read.is_ok(), is_possible, "{offset}: {read:?}");
        assert!(read.is_err() || read == Ok(0), "{offset}: {read:?}");
        if i64::try_from(offset).is_err() {
            assert!(file.pwrite(b"x", offset).is_err(), "{offset}");
        }
    }
    assert_eq!(file.size(), Ok(3));
}

/// A file that says that it is of another size than it is.
struct Huge {
    memory: Memory,
    size: u64,
}

impl FileOps for Huge {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(HugeFile { file: FileOps::open(&self.memory, name, mode)?, size: self.size }))
    }
}

struct HugeFile {
    file: Box<dyn FileHandle>,
    size: u64,
}

impl FileHandle for HugeFile {
    /// All bytes there are, and zeros behind them.
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        match self.file.pread(buf, offset.min(i64::MAX as u64))? {
            0 if offset < self.size => {
                buf.fill(0);
                Ok(buf.len())
            }
            read => Ok(read),
        }
    }

    fn pwrite(&mut self, _: &[u8], _: u64) -> Result<usize, IoError> {
        Err(IoError::new(ErrorCode::WRITE, libc::EFBIG))
    }

    fn size(&mut self) -> Result<u64, IoError> {
        Ok(self.size)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

#[test]
fn sizes_that_callers_operations_tell() {
    let memory = Memory::default();
    sample(&memory.options()).close().unwrap();
    for size in edges(1 << 20).into_iter().filter(|&size| size > i64::MAX as u64) {
        for unbuffered in [false, true] {
            let ops = Arc::new(Huge { memory: memory.clone(), size });
            let opened = OpenOptions::new().file_ops(ops).unbuffered(unbuffered).open(NAME);
            let error = opened.err().unwrap();
            assert!(matches!(error, Error::Io { os_error: libc::EOVERFLOW, .. }), "{size}: {error:?}");
        }
    }
}
