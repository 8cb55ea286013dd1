// SPDX-License-Identifier: Apache-2.0

//! How much memory things take, counted by the allocator of the whole process. The tests here run one at a time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::alloc::{Counting, held_by_process, peak_of_process};
use couchstore::{
    CompactOptions, Db, Direction, Document, LocalUpdate, OpenOptions, SaveOptions, ScanOptions, compact,
};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[global_allocator]
static COUNTING: Counting = Counting;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const MIB: usize = 1 << 20;

fn open_and_close(path: &Path) -> usize {
    let ((), peak) = peak_of_process(|| {
        for read_only in [false, true] {
            let db = OpenOptions::new().read_only(read_only).open(path).unwrap();
            assert_eq!(db.info().unwrap().doc_count, 1);
            db.close().unwrap();
        }
    });
    assert!(peak > 0, "the counting allocator is at work");
    peak
}

#[test]
fn opening_and_closing_a_gigabyte() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sparse.couch");
    let db = Db::create(&path).unwrap();
    db.save(&[Document::new(b"a", b"a")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
    db.close().unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    let search = open_and_close(&path);
    println!("peak of opening with a search through 1 GiB of zeros: {search} bytes");
    assert!(search <= MIB, "{search}");
    // Now with the header at the end, where it is at once.
    let db = Db::open(&path).unwrap();
    db.commit().unwrap();
    db.close().unwrap();
    let plain = open_and_close(&path);
    println!("peak of opening 1 GiB: {plain} bytes");
    assert!(plain <= MIB, "{plain}");
}

/// Hosts keep a thousand files open: handles must not hold what they do not need.
#[test]
fn handles_hold_little() {
    const HANDLES: isize = 50;
    let _alone = alone();
    let dir = common::temp_dir();
    let path = dir.path().join("idle.couch");
    let ids: Vec<_> = (0..5000).map(|number| format!("{number:05}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &[7; 1000])).collect();
    let read =
        |db: &Db| db.changes_since(0, ScanOptions::default(), &mut |info| db.body(info).map(drop)).unwrap();
    let write = |path: &Path| {
        let writer = Db::create(path).unwrap();
        writer.save(&docs, SaveOptions::default()).unwrap();
        read(&writer);
        writer.commit().unwrap();
        writer
    };
    // What a thread keeps for the next handle is no handle's.
    let ((), kept) = held_by_process(|| write(&dir.path().join("other.couch")).close().unwrap());
    println!("kept by the thread: {kept} bytes");
    assert!(kept <= 256 << 10, "{kept}");
    let (_writer, written) = held_by_process(|| write(&path));
    println!("held by a writer after its commit: {written} bytes");
    assert!(written < 16 << 10, "{written}");
    let (_readers, held) = held_by_process(|| {
        let readers: Vec<_> = (0..HANDLES).map(|_| Db::open(&path).unwrap()).collect();
        readers.iter().for_each(read);
        readers
    });
    println!("held by a reader with full buffers: {} bytes", held / HANDLES);
    assert!(held / HANDLES < 100 << 10, "{held}");
}

/// As hosts do it: so many files are open, and nothing is done with most of them. Each may keep 64 KiB of buffers and
/// 48 KiB of nodes; what a thread keeps for whoever works next is 256 KiB, however many handles there are.
#[test]
fn a_thousand_idle_handles() {
    const HANDLES: isize = 1024;
    const OF_THREAD: isize = 256 << 10;
    let _alone = alone();
    let dir = common::temp_dir();
    let ids: Vec<_> = (0..300).map(|number| format!("{number:05}")).collect();
    let docs: Vec<_> = ids.iter().map(|id| Document::new(id.as_bytes(), &[7; 100])).collect();
    let path = |number: isize| dir.path().join(format!("{}.couch", number % 64 + number / HANDLES * 64));
    for number in (0..64).chain(HANDLES..HANDLES + 64) {
        Db::create(path(number)).unwrap().close().unwrap();
    }
    let idle = |what: &str, after: &dyn Fn(&Db)| {
        let (handles, opened) = held_by_process(|| {
            (0..HANDLES).map(|number| Db::open(path(number)).unwrap()).collect::<Vec<_>>()
        });
        let ((), more) = held_by_process(|| handles.iter().for_each(after));
        let each = (opened + more - OF_THREAD).max(0) / HANDLES;
        println!("{HANDLES} idle handles: {} bytes each when opened, {each} after {what}", opened / HANDLES);
        assert!(opened / HANDLES < 4 << 10, "{opened}");
        assert!(each < (64 << 10) + (48 << 10), "{what}: {each}");
        each
    };
    let after_commit = idle("a commit", &|db| {
        // Others have written the file.
        db.seek(Direction::End).unwrap();
        db.save(&docs, SaveOptions::default()).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/state", body: Some(b"state") }]).unwrap();
        db.commit().unwrap();
    });
    let read = |db: &Db| db.changes_since(0, ScanOptions::default(), &mut |info| db.body(info).map(drop));
    let after_scan = idle("a scan", &|db| read(db).unwrap());
    let found = |db: &Db, id: &String| db.get(id.as_bytes()).unwrap().unwrap();
    idle("look-ups", &|db| ids.iter().for_each(|id| assert_eq!(found(db, id).len(), 100)));
    // Beside work on other files: what that needs is not left with handles that read a little.
    let (readers, held) = held_by_process(|| {
        let readers = (0..HANDLES).map(|number| {
            let writer = Db::open(path(HANDLES + number % 64)).unwrap();
            writer.save(&docs[..1], SaveOptions::default()).unwrap();
            writer.commit().unwrap();
            writer.close().unwrap();
            let reader = Db::open(path(number)).unwrap();
            assert_eq!(reader.get(ids[0].as_bytes()).unwrap().unwrap().len(), 100);
            reader
        });
        readers.collect::<Vec<_>>()
    });
    let each = (held - OF_THREAD).max(0) / readers.len() as isize;
    println!("{HANDLES} idle handles: {each} bytes each after one look-up beside commits");
    assert!(each < 16 << 10, "{each}");
    // Of buffers nothing is left after these.
    assert!(after_commit < 52 << 10 && after_scan < 52 << 10, "{after_commit} {after_scan}");
}

/// Something that takes memory.
type Step<'a> = &'a dyn Fn() -> couchstore::Result<()>;

/// What is compressed well takes its plain size, once for each buffer on its way. Reading has one such buffer, and a
/// second one only where the caller gets a copy.
#[test]
fn what_inflates_to_much_is_not_copied_about() {
    const LARGE: usize = 100 * MIB;
    let _alone = alone();
    let dir = common::temp_dir();
    let zeros = vec![0; LARGE];
    let db = Db::create(dir.path().join("large.couch")).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/large", body: Some(&zeros) }]).unwrap();
    let meta = Document { rev_meta: &zeros, ..Document::new(b"meta", b"") };
    db.save(&[meta], SaveOptions::default()).unwrap();
    let body = Document { content_meta: couchstore::COMPRESSED, ..Document::new(b"body", &zeros) };
    // In a file of its own: an entry is looked at in its node, which here holds the other's rev_meta.
    let bodies = Db::create(dir.path().join("body.couch")).unwrap();
    bodies.save(&[body], SaveOptions::new().compress(true)).unwrap();
    drop(zeros);
    let small = Document::new(b"small", b"");
    let scan = ScanOptions::default();
    // Each with the most buffers of the large size that it may take.
    let steps: [(&str, usize, Step<'_>); 7] = [
        ("get a body", 1, &|| bodies.get(b"body").map(drop)),
        ("get a local document", 1, &|| db.local(b"_local/large").map(drop)),
        ("scan local documents", 1, &|| db.scan_local(b"", &mut |_, _| Ok(()))),
        ("scan by sequence", 1, &|| db.changes_since(0, scan, &mut |_| Ok(()))),
        ("get an entry", 2, &|| db.doc_info(b"meta").map(drop)),
        ("save beside it", 4, &|| db.save(&[small], SaveOptions::default()).map(drop)),
        ("save a local document beside it", 4, &|| {
            db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"small") }])
        }),
    ];
    for (name, buffers, step) in steps {
        let (result, peak) = peak_of_process(step);
        result.unwrap();
        println!("{name}: peak {} MiB", peak / MIB);
        assert!(peak >= LARGE, "{name}: the large value is in it");
        // The compressed form is there as well, a twentieth of the size.
        assert!(peak <= buffers * LARGE + LARGE / 4, "{name}: {peak}");
    }
}

/// A million small documents.
fn source(path: &Path) -> Db {
    let db = Db::create(path).unwrap();
    for first in (0..1_000_000_u64).step_by(10_000) {
        let ids: Vec<_> =
            (first..first + 10_000).map(|number| format!("{:08}", number * 7919 % 1_000_003)).collect();
        let docs: Vec<_> = ids
            .iter()
            .map(|id| Document {
                rev_meta: b"0123456789abcdef",
                ..Document::new(id.as_bytes(), id.as_bytes())
            })
            .collect();
        db.save(&docs, SaveOptions::default()).unwrap();
    }
    db.save_local(&[LocalUpdate { id: b"_local/a", body: Some(b"a") }]).unwrap();
    db.commit().unwrap();
    db
}

fn check_copy(path: &Path) {
    let db = Db::open(path).unwrap();
    let info = db.info().unwrap();
    assert_eq!((info.doc_count, info.last_sequence), (1_000_000, 1_000_000));
    let (mut number, mut previous) = (0_u64, Vec::new());
    db.all_docs(b"", ScanOptions::default(), &mut |info| {
        assert!(info.id > previous.as_slice() || number == 0);
        if number.is_multiple_of(997) {
            assert_eq!(db.body(info)?, info.id);
        }
        previous = info.id.to_vec();
        number += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(number, 1_000_000);
    assert_eq!(db.changes_count(1, 1_000_000).unwrap(), 1_000_000);
    assert_eq!(db.local(b"_local/a").unwrap().unwrap(), b"a");
}

#[test]
fn compaction_of_a_million_documents() {
    let _alone = alone();
    let dir = common::temp_dir();
    let db = source(&dir.path().join("source.couch"));
    // The default budget, and one that makes it spill to the disk several times.
    let default = CompactOptions::default();
    let small = CompactOptions::new().memory_budget(8 * MIB);
    for (options, limit, name) in [(default, 150 * MIB, "default"), (small, 24 * MIB, "small")] {
        let target = dir.path().join(name);
        let started = std::time::Instant::now();
        let (result, peak) = peak_of_process(|| compact(&db, &target, &options));
        result.unwrap();
        println!("compaction, {name} budget: peak {} MiB, {:?}", peak / MIB, started.elapsed());
        assert!(peak <= limit, "{name}: {peak}");
        check_copy(&target);
        std::fs::remove_file(&target).unwrap();
        // The runs were in files without a name.
        assert_eq!(common::files_in(dir.path()), 1);
    }
}
