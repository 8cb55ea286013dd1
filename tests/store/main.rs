// SPDX-License-Identifier: Apache-2.0

//! The store of many threads: snapshots beside a writer and compactions, failures, and what must not wait for itself.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod handles;
mod panics;

use common::watched::{Effect, FAILURE, Fault, Kind};
use common::world::World;
use common::{files_in, rng, temp_dir};
use couchstore::{
    CompactOptions, Db, DocInfo, Document, Error, ErrorCode, OpenOptions, Snapshot, Stale, Store,
    StoreOptions,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

fn ids_of(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    snapshot.iter().map(|info| info.unwrap().id).collect()
}

fn number(body: Option<Vec<u8>>) -> u64 {
    body.map_or(0, |body| String::from_utf8(body).unwrap().parse().unwrap())
}

#[test]
fn everything_of_it_may_go_to_other_threads() {
    fn is<T: Send + Sync + 'static>() {}
    is::<Store>();
    is::<Snapshot>();
    is::<StoreOptions>();
    is::<couchstore::Docs<Snapshot>>();
    is::<couchstore::LocalDocs<Snapshot>>();
}

#[test]
fn a_batch_shows_itself_and_is_all_or_nothing() {
    let dir = temp_dir();
    let store = Store::open(dir.path().join("a.couch")).unwrap();
    store.put("a", "1").unwrap();
    let before = store.snapshot();
    let returned = store.write(|batch| {
        assert!(batch.is_empty());
        assert_eq!(batch.get("a")?.unwrap(), b"1");
        batch.put("a", "2");
        batch.put("b", "1");
        assert!(batch.delete("b")? && !batch.delete("b")? && !batch.delete("c")?);
        batch.put("d", "first");
        batch.put("d", "last");
        batch.put_local("_local/x", "{}");
        batch.put_local("_local/y", "{}");
        batch.delete_local("_local/y");
        batch.save(&Document {
            rev_seq: 7,
            rev_meta: b"meta",
            content_meta: 0x80,
            ..Document::new(b"e", &[9; 5000])
        });
        assert_eq!((batch.get("a")?.unwrap(), batch.get("b")?, batch.len()), (b"2".to_vec(), None, 6));
        assert_eq!((batch.local("_local/x")?.unwrap(), batch.local("_local/y")?), (b"{}".to_vec(), None));
        assert_eq!(batch.get("e")?.unwrap(), [9; 5000]);
        assert_eq!(store.get("a")?.unwrap(), b"1", "nobody else sees it");
        Ok(17)
    });
    assert_eq!(returned.unwrap(), 17);
    let after = store.snapshot();
    assert_eq!(ids_of(&after), [b"a", b"d", b"e"]);
    assert_eq!(
        (after.get("d").unwrap().unwrap(), after.get("e").unwrap().unwrap()),
        (b"last".to_vec(), vec![9; 5000])
    );
    let info = after.doc_info("e").unwrap().unwrap();
    assert!(info.physical_size < 1000 && info.rev_seq == 7 && info.rev_meta == b"meta");
    assert_eq!(after.body(&info).unwrap(), [9; 5000]);
    assert_eq!(
        after.local_docs().map(Result::unwrap).collect::<Vec<_>>(),
        [(b"_local/x".to_vec(), b"{}".to_vec())]
    );
    assert!(after.doc_info("b").unwrap().unwrap().deleted && !after.contains("b").unwrap());
    let changes: Vec<DocInfo> = after.changes(before.last_sequence() + 1..).map(Result::unwrap).collect();
    assert_eq!(changes.iter().map(|info| info.id.as_slice()).collect::<Vec<_>>(), [b"a", b"b", b"d", b"e"]);
    assert_eq!((before.get("a").unwrap().unwrap(), ids_of(&before).len()), (b"1".to_vec(), 1));
}

/// What fails changes nothing, neither now nor with what is written next.
#[test]
fn a_write_that_fails_changes_nothing() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let store = Store::open(&path).unwrap();
    for (round, end) in ["error", "panic", "refused", "refused local"].into_iter().enumerate() {
        let sequence = store.snapshot().last_sequence();
        let write = || {
            store.write(|batch| {
                batch.put("new", "1");
                match end {
                    "error" => return Err(Error::DocNotFound),
                    "panic" => panic!("on purpose"),
                    "refused" => batch.put(vec![7; 4096], ""),
                    // Noticed only when the documents are saved already.
                    _ => batch.put_local(vec![7; 4096], ""),
                }
                Ok(())
            })
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(write));
        assert!(
            result.is_err() == (end == "panic")
                && result.is_ok_and(|result| result.is_err()) == (end != "panic")
        );
        assert_eq!((store.get("new").unwrap(), store.snapshot().last_sequence()), (None, sequence), "{end}");
        store.put("next", end).unwrap();
        let db = Db::open(&path).unwrap();
        assert_eq!(
            (db.get(b"new").unwrap(), db.get(b"next").unwrap().unwrap()),
            (None, end.as_bytes().to_vec())
        );
        assert_eq!(store.snapshot().last_sequence(), round as u64 + 1);
    }
    store.write(|_| Ok(())).unwrap();
    assert_eq!(store.snapshot().last_sequence(), 4, "no change, no commit");
}

/// What the readers of a snapshot check: all that one write has put is there, and nothing else.
fn check(snapshot: &Snapshot, documents: u64) -> u64 {
    let round = number(snapshot.get("round").unwrap());
    assert_eq!(number(snapshot.local("_local/round").unwrap()), round);
    let all: Vec<_> = snapshot.range("doc".."dod").bodies().map(Result::unwrap).collect();
    // Each write sets all documents, and every third deletes one of them.
    let expected = if round == 0 { 0 } else { documents - u64::from(round.is_multiple_of(3)) };
    assert_eq!(all.len() as u64, expected, "round {round}");
    assert!(all.iter().all(|(_, body)| number(Some(body.clone())) == round), "round {round}");
    let back: Vec<_> = snapshot.range("doc".."dod").rev().map(|info| info.unwrap().id).collect();
    assert!(all.iter().rev().map(|(info, _)| &info.id).eq(&back));
    let mut last = 0;
    for info in snapshot.changes(..) {
        let info = info.unwrap();
        assert!(info.db_seq > last && info.db_seq <= snapshot.last_sequence());
        last = info.db_seq;
    }
    assert_eq!(snapshot.info().unwrap().last_sequence, snapshot.last_sequence());
    round
}

fn write_round(store: &Store, documents: u64) {
    store
        .write(|batch| {
            let round = number(batch.get("round")?) + 1;
            for number in 0..documents {
                batch.put(format!("doc{number:03}"), round.to_string());
            }
            if round.is_multiple_of(3) {
                batch.delete(format!("doc{:03}", round % documents))?;
            }
            batch.put("round", round.to_string());
            batch.put_local("_local/round", round.to_string());
            Ok(())
        })
        .unwrap();
}

/// Writers, readers and compactions at the same time: every snapshot is what one write has left, a later one is no older,
/// and an old one never changes, whatever becomes of its file.
#[test]
fn snapshots_beside_writers_and_compactions() {
    const DOCUMENTS: u64 = 40;
    const WRITERS: usize = 3;
    for (options, rounds) in [
        (StoreOptions::new(), 60),
        (StoreOptions::new().compact_at(Some(30)).compact_from(100_000), 60),
        (StoreOptions::new().node_cache_bytes(0).group_commit(false), 30),
        (StoreOptions::new().open(OpenOptions::new().read_buffers(4096, 4)).compress(true), 30),
    ] {
        let dir = temp_dir();
        let compacts_itself = options.compact_at.is_some();
        let told = Arc::new(AtomicUsize::new(0));
        let counter = told.clone();
        let options = options.on_compaction(Some(Arc::new(move |result| {
            assert!(result.is_ok(), "{result:?}");
            counter.fetch_add(1, Ordering::Relaxed);
        })));
        let store = options.open_store(dir.path().join("a.couch")).unwrap();
        let (is_done, left) = (AtomicBool::new(false), AtomicUsize::new(WRITERS));
        let newest = AtomicU64::new(0);
        let kept = Mutex::new(BTreeMap::new());
        // A small machine may run a thread only when the writers are done: all of them do their part once at least.
        let is_over = || is_done.load(Ordering::SeqCst);
        thread::scope(|scope| {
            for _ in 0..WRITERS {
                scope.spawn(|| {
                    for _ in 0..rounds {
                        write_round(&store, DOCUMENTS);
                        // It is in every snapshot from here on.
                        newest.fetch_max(number(store.get("round").unwrap()), Ordering::SeqCst);
                    }
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 {
                        is_done.store(true, Ordering::SeqCst);
                    }
                });
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    loop {
                        let is_last = is_over();
                        let known = newest.load(Ordering::SeqCst);
                        let snapshot = store.snapshot();
                        let round = check(&snapshot, DOCUMENTS);
                        assert!(round >= last && round >= known, "{round} after {last}, {known}");
                        last = round;
                        kept.lock().unwrap().entry(round % 16).or_insert((round, snapshot));
                        if is_last {
                            break;
                        }
                    }
                });
            }
            if !compacts_itself {
                scope.spawn(|| {
                    loop {
                        let is_last = is_over();
                        assert!(store.compact_in_background().unwrap());
                        store.wait_for_compaction().unwrap().unwrap();
                        if is_last {
                            break;
                        }
                    }
                });
            }
        });
        assert_eq!(check(&store.snapshot(), DOCUMENTS), (WRITERS * rounds) as u64);
        assert!(store.wait_for_compaction().is_some() || told.load(Ordering::Relaxed) == 0);
        assert!(told.load(Ordering::Relaxed) > 0);
        drop(store);
        // They outlive the store.
        for (round, snapshot) in kept.into_inner().unwrap().into_values() {
            assert_eq!(check(&snapshot, DOCUMENTS), round);
        }
        assert_eq!(files_in(dir.path()), 1);
        assert_eq!(
            number(Db::open(dir.path().join("a.couch")).unwrap().get(b"round").unwrap()),
            (WRITERS * rounds) as u64
        );
    }
}

/// Readers of one snapshot at the same time, each on its own.
#[test]
fn one_snapshot_for_many_threads() {
    let dir = temp_dir();
    let store = Store::open(dir.path().join("a.couch")).unwrap();
    for _ in 0..3 {
        write_round(&store, 100);
    }
    let snapshot = store.snapshot();
    thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(check(&snapshot, 100), 3)));
        }
    });
    // A handle that somebody has closed or moved is not for others.
    snapshot.read(Db::close).unwrap();
    snapshot.read(|db| db.seek(couchstore::Direction::Backward)).unwrap();
    let change = |db: &Db| -> couchstore::Result<()> {
        db.set_purge_seq(99);
        Ok(())
    };
    snapshot.read(change).unwrap();
    let refused = snapshot.read(|db| db.put("x", "y")).unwrap_err();
    assert!(matches!(refused, Error::ReadOnly { .. }), "{refused}");
    assert_eq!((check(&snapshot, 100), snapshot.info().unwrap().purge_seq), (3, 0));
}

#[test]
fn what_would_wait_for_itself_is_refused() {
    let dir = temp_dir();
    let store = Store::open(dir.path().join("a.couch")).unwrap();
    store
        .write(|batch| {
            batch.put("a", "1");
            for error in
                [store.put("b", "1").unwrap_err(), store.compact().unwrap_err(), store.reopen().unwrap_err()]
            {
                assert_eq!(error.code(), ErrorCode::INVALID_ARGUMENTS, "{error}");
            }
            // It waits for this write; this write does not wait for it.
            assert!(store.compact_in_background()?);
            store.wait_for_compaction();
            assert!(store.snapshot().iter().next().is_none());
            Ok(())
        })
        .unwrap();
    store.wait_for_compaction().unwrap().unwrap();
    assert_eq!(ids_of(&store.snapshot()), [b"a"]);
    store.compact().unwrap();
    store.reopen().unwrap();
    assert_eq!(ids_of(&store.snapshot()), [b"a"]);
}

#[test]
fn dropping_a_store_ends_its_compaction() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let options = StoreOptions::new().compact(CompactOptions::new().memory_budget(1));
    let store = options.open_store(&path).unwrap();
    let body = vec![7; 1000];
    for round in 0..10 {
        store
            .write(|batch| {
                (0..1000).for_each(|number| batch.put(format!("{round}/{number}"), body.as_slice()));
                Ok(())
            })
            .unwrap();
    }
    assert!(store.compact_in_background().unwrap());
    drop(store);
    // Nobody has it any more, and whatever was made has gone.
    assert_eq!(files_in(dir.path()), 1);
    let store = Store::open(&path).unwrap();
    assert_eq!(store.snapshot().iter().count(), 10_000);
    assert!(store.wait_for_compaction().is_none());
}

#[test]
fn the_last_clone_may_be_dropped_by_what_is_told() {
    let dir = temp_dir();
    let held: Arc<Mutex<Option<Store>>> = Arc::default();
    let (holder, done) = (held.clone(), Arc::new(AtomicBool::new(false)));
    let told = done.clone();
    let options = StoreOptions::new().on_compaction(Some(Arc::new(move |result| {
        assert!(result.is_ok());
        let store = holder.lock().unwrap().take().unwrap();
        assert!(store.wait_for_compaction().unwrap().is_ok());
        store.put("from", "there").unwrap();
        drop(store);
        told.store(true, Ordering::SeqCst);
    })));
    let store = options.open_store(dir.path().join("a.couch")).unwrap();
    *held.lock().unwrap() = Some(store.clone());
    store.compact_in_background().unwrap();
    drop(store);
    while !done.load(Ordering::SeqCst) {
        thread::yield_now();
    }
    assert_eq!(Db::open(dir.path().join("a.couch")).unwrap().get(b"from").unwrap().unwrap(), b"there");
}

/// Somebody else puts another file in the place.
#[test]
fn a_file_that_was_replaced() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let store = Store::open(&path).unwrap();
    store.put("a", "ours").unwrap();
    let other = dir.path().join("other.couch");
    let db = Db::create(&other).unwrap();
    db.put("a", "theirs").unwrap();
    db.commit().unwrap();
    drop(db);
    std::fs::rename(&other, &path).unwrap();
    let before = store.snapshot();
    for _ in 0..2 {
        let error = store.put("b", "1").unwrap_err();
        assert!(matches!(error, Error::Stale { reason: Stale::Replaced, .. }), "{error}");
    }
    assert_eq!(store.compact().unwrap_err().code(), ErrorCode::DB_NO_LONGER_VALID);
    assert_eq!((store.get("a").unwrap().unwrap(), store.get("b").unwrap()), (b"ours".to_vec(), None));
    store.reopen().unwrap();
    store.put("b", "1").unwrap();
    assert_eq!(store.get("a").unwrap().unwrap(), b"theirs");
    assert_eq!(before.get("a").unwrap().unwrap(), b"ours");
}

fn failed(kind: Kind, index: usize) -> Fault {
    Fault { kind, index, times: 1, effect: Effect::Fail }
}

fn on(world: &World, name: &str) -> Store {
    let open = OpenOptions::new().file_ops(world.watched.ops());
    StoreOptions::new().open(open).open_store(name).unwrap()
}

/// After a failed sync the file is opened again by the next write.
#[test]
fn a_failed_sync_is_told_and_the_store_goes_on() {
    for index in [0, 1] {
        let world = World::new(false);
        let store = on(&world, common::world::NAME);
        let before = store.snapshot();
        world.watched.set_fault(Some(failed(Kind::Sync, index)));
        assert_eq!(store.put("new", "new").unwrap_err().code(), FAILURE);
        world.watched.set_fault(None);
        assert_eq!(store.get("new").unwrap(), None, "what has failed is not shown");
        store.put("next", "next").unwrap();
        // With the second sync failed the write is there after all.
        assert_eq!(store.get("new").unwrap().is_some(), index == 1);
        assert_eq!(
            (store.get("next").unwrap().unwrap(), before.get("next").unwrap()),
            (b"next".to_vec(), None)
        );
        drop((store, before));
        let db = world.memory.options().open(common::world::NAME).unwrap();
        assert_eq!(
            (db.get(b"new").unwrap().is_some(), db.get(b"next").unwrap().is_some()),
            (index == 1, true)
        );
    }
}

/// A write that fails elsewhere is forgotten, and so is nothing else.
#[test]
fn a_failed_write_leaves_nothing_behind() {
    for index in 0..3 {
        let world = World::new(false);
        let store = on(&world, common::world::NAME);
        store.put("kept", "1").unwrap();
        world.watched.set_fault(Some(failed(Kind::Write, index)));
        let body = vec![5; 300_000];
        let failed = store.put("new", body.as_slice());
        world.watched.set_fault(None);
        store.put("next", "next").unwrap();
        assert_eq!(store.get("new").unwrap().is_some(), failed.is_ok());
        assert!(failed.is_err() || index > 0);
        let db = world.memory.options().open(common::world::NAME).unwrap();
        assert_eq!(db.get(b"new").unwrap().is_some(), failed.is_ok());
        assert!(db.get(b"kept").unwrap().is_some() && db.get(b"next").unwrap().is_some());
    }
}

/// A compaction that fails changes nothing; the store goes on with its file.
#[test]
fn a_compaction_that_fails() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = told.clone();
    let options = StoreOptions::new().on_compaction(Some(Arc::new(move |result| {
        teller.lock().unwrap().push(result.as_ref().err().cloned());
    })));
    let store = options.open_store(&path).unwrap();
    write_round(&store, 10);
    let other = Db::open(&path).unwrap();
    drop(other);
    // Nothing can be made there.
    std::fs::rename(&path, dir.path().join("away")).unwrap();
    store.compact_in_background().unwrap();
    let error = store.wait_for_compaction().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::NO_SUCH_FILE, "{error}");
    assert_eq!(told.lock().unwrap().len(), 1);
    std::fs::rename(dir.path().join("away"), &path).unwrap();
    write_round(&store, 10);
    store.compact().unwrap();
    assert_eq!((check(&store.snapshot(), 10), told.lock().unwrap().len()), (2, 2));
    assert_eq!(files_in(dir.path()), 1);
}

#[test]
fn opening() {
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let missing = StoreOptions::new().create(false).open_store(&path).unwrap_err();
    assert_eq!(missing.code(), ErrorCode::NO_SUCH_FILE);
    assert!(!path.exists());
    Store::open(&path).unwrap().put("a", "1").unwrap();
    let store = StoreOptions::new().create(false).open_store(&path).unwrap();
    assert_eq!(store.get("a").unwrap().unwrap(), b"1");
    assert!(format!("{store:?} {:?}", StoreOptions::new()).contains("a.couch"));
}

/// Nodes that the writer has put are found by readers without any reading of the file.
#[test]
fn snapshots_share_the_nodes_of_the_writer() {
    let dir = temp_dir();
    let cache = Arc::new(couchstore::NodeCache::new(8 << 20));
    let open = OpenOptions::new().node_cache(cache.clone());
    let options = StoreOptions::new().open(open).node_cache_bytes(0);
    let store = options.open_store(dir.path().join("a.couch")).unwrap();
    write_round(&store, 1000);
    if cache.is_empty() {
        // The operating system does not tell enough of files here.
        return;
    }
    let snapshot = store.snapshot();
    let reads =
        |snapshot: &Snapshot| snapshot.read(|db| Ok::<_, Error>(db.file_stats()?.read_count)).unwrap();
    let before = reads(&snapshot);
    for number in 0..100 {
        assert!(snapshot.contains(format!("doc{number:03}")).unwrap());
    }
    assert_eq!(reads(&snapshot), before);
}

#[cfg(feature = "encryption")]
#[test]
fn encrypted_files_stay_encrypted() {
    use couchstore::{EncryptionKey, KeyDerivation};
    let dir = temp_dir();
    let path = dir.path().join("a.couch");
    let key = Arc::new(EncryptionKey::new("key", &[7; 32], KeyDerivation::KeyBased).unwrap());
    let options = || StoreOptions::new().open(OpenOptions::new().keys(Some(key.clone())));
    let store = options().open_store(&path).unwrap();
    for _ in 0..3 {
        write_round(&store, 20);
    }
    let snapshot = store.snapshot();
    store.compact().unwrap();
    write_round(&store, 20);
    assert_eq!((check(&snapshot, 20), check(&store.snapshot(), 20)), (3, 4));
    assert_eq!(snapshot.read(|db| Ok::<_, Error>(db.encryption_key_id())).unwrap().unwrap(), b"key");
    drop(store);
    assert_eq!(Db::open(&path).unwrap_err().code(), ErrorCode::NO_ENCRYPTION_KEY);
    assert_eq!(check(&options().open_store(&path).unwrap().snapshot(), 20), 4);
}

/// Random operations against a map, with snapshots that are kept for a while.
#[test]
fn random_histories() {
    let mut rng = rng::Rng::new();
    for _ in 0..4 {
        let dir = temp_dir();
        history(&mut rng, &dir.path().join("a.couch"));
    }
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn check_model(snapshot: &Snapshot, model: &Model) {
    let found: Model =
        snapshot.iter().bodies().map(Result::unwrap).map(|(info, body)| (info.id, body)).collect();
    assert_eq!(found, *model);
}

fn history(rng: &mut rng::Rng, path: &Path) {
    let open = || StoreOptions::new().node_cache_bytes(1 << 20).open_store(path).unwrap();
    let mut store = open();
    let mut model = Model::new();
    let mut kept: Vec<(Snapshot, Model)> = Vec::new();
    for step in 0..150_u64 {
        match rng.below(12) {
            0 => {
                store.wait_for_compaction();
                store.compact().unwrap();
            }
            1 => drop(store.compact_in_background().unwrap()),
            2 => kept.push((store.snapshot(), model.clone())),
            3 if kept.len() > 5 => {
                let (snapshot, model) = kept.swap_remove(rng.below(kept.len() as u64) as usize);
                check_model(&snapshot, &model);
            }
            4 if rng.percent(30) => {
                drop(store);
                store = open();
            }
            5 => store.reopen().unwrap(),
            _ => {
                let mut next = model.clone();
                let fails = rng.percent(15);
                let result = store.write(|batch| {
                    for _ in 0..rng.below(30) {
                        let id = format!("{:03}", rng.below(200)).into_bytes();
                        if rng.percent(30) {
                            assert_eq!(batch.delete(id.clone())?, next.remove(&id).is_some());
                        } else {
                            let body = step.to_string().into_bytes();
                            batch.put(id.clone(), body.clone());
                            next.insert(id, body);
                        }
                    }
                    if fails { Err(Error::DocNotFound) } else { Ok(()) }
                });
                assert_eq!(result.is_err(), fails);
                if !fails {
                    model = next;
                }
            }
        }
        check_model(&store.snapshot(), &model);
    }
    store.wait_for_compaction().map_or(Ok(()), |result| result.map(drop)).unwrap();
    drop(store);
    for (snapshot, model) in &kept {
        check_model(snapshot, model);
    }
    check_model(&open().snapshot(), &model);
}
