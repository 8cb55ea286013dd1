// SPDX-License-Identifier: Apache-2.0

//! What writers have written, committed, failed to write or given up, and who finds it.

use crate::common::forwarding::{Call, Forwarding};
use crate::common::temp_dir;
use crate::{
    DOCUMENTS, World, expect_in_look_ups, expect_in_scans, id, meta, save_state, state_of, worlds,
    write_state,
};
use couchstore::io::IoError;
use couchstore::{
    Db, Direction, Document, Error, ErrorCode, LocalUpdate, NodeCache, OpenOptions, SaveOptions, Snapshot,
    StoreOptions,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn save_local(db: &Db, body: &[u8]) {
    db.save_local(&[LocalUpdate { id: b"local", body: Some(body) }]).unwrap();
}

fn reads(db: &Db) -> u64 {
    db.file_stats().unwrap().read_count
}

/// Through a caller's operations two writers may write to the same places, of which the first is a node's.
#[test]
fn a_writer_finds_its_own_nodes_where_another_has_committed() {
    let [_, world] = worlds();
    write_state(&world.path, 'a');
    let writers = [world.open(), world.open()];
    for (writer, state) in writers.iter().zip(['b', 'c']) {
        save_local(writer, meta(0, state).as_bytes());
        save_state(writer, state);
        for committed in [false, true] {
            let case = format!("{state} {committed}");
            expect_in_scans(writer, state, &case);
            assert_eq!(writer.local(b"local").unwrap().unwrap(), meta(0, state).as_bytes(), "{case}");
            expect_in_look_ups(writer, state, &case);
            if !committed {
                writer.commit_with(1, None).unwrap();
            }
        }
        world.expect(state, "in turn");
    }
}

/// Nodes that are too large to wait for a commit are read from the file meanwhile.
#[test]
fn what_a_writer_has_given_up_is_nobodys() {
    for world in worlds() {
        // Large nodes are not kept in small caches.
        let cache = Arc::new(NodeCache::new(1 << 30));
        let cached = world.cached.clone().node_cache(cache.clone());
        write_state(&world.path, 'a');
        let writer = cached.open(&world.path).unwrap();
        for (byte, committed) in [(b'1', false), (b'2', true)] {
            let large = vec![byte; 5 << 20];
            let shared = cache.bytes();
            save_local(&writer, &large);
            assert!(writer.local(b"local").unwrap().unwrap() == large);
            assert_eq!(cache.bytes(), shared);
            if committed {
                writer.commit().unwrap();
                assert!(cached.open(&world.path).unwrap().local(b"local").unwrap().unwrap() == large);
            } else {
                writer.seek(Direction::End).unwrap();
            }
        }
    }
}

#[test]
fn a_writer_goes_on_finding_nodes_after_its_commit() {
    for world in worlds().into_iter().filter(World::counts_reads) {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let writer = world.open();
        for state in ['b', 'c'] {
            save_state(&writer, state);
            writer.commit().unwrap();
            let before = reads(&writer);
            for number in 0..DOCUMENTS {
                assert_eq!(state_of(&writer, number).unwrap(), meta(number, state));
            }
            assert_eq!(reads(&writer), before);
        }
    }
}

/// One save that does not fit into the write buffer, and somebody who opens the file before the commit.
#[test]
fn readers_come_after_the_only_save_of_a_transaction() {
    for world in worlds().into_iter().filter(World::counts_reads) {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let writer = world.open();
        let large = vec![7; 300_000];
        writer.save(&[Document::new(b"large", &large)], SaveOptions::default()).unwrap();
        world.expect('a', "while the file grows");
        writer.commit().unwrap();
        assert_eq!(world.reads(7), 1);
    }
}

/// A failed save is no transaction under way: nodes are shared again.
#[test]
fn readers_come_after_a_save_that_has_failed() {
    let (dir, fails) = (temp_dir(), Arc::new(AtomicBool::new(false)));
    let failing = fails.clone();
    let ops = Forwarding::default().before(move |call| match call {
        Call::Write(_) if failing.load(Ordering::Relaxed) => {
            Err(IoError::new(ErrorCode::WRITE, libc::ENOSPC))
        }
        _ => Ok(()),
    });
    let cache = Arc::new(NodeCache::new(64 << 20));
    let cached = OpenOptions::new().file_ops(Arc::new(ops)).node_cache(cache.clone());
    let world = World { path: dir.path().join("a.couch"), _dir: dir, cache, cached };
    if !world.counts_reads() {
        return;
    }
    write_state(&world.path, 'a');
    world.expect('a', "at first");
    let writer = world.open();
    let large = vec![7; 300_000];
    let save = || writer.save(&[Document::new(b"large", &large)], SaveOptions::default());
    save().unwrap();
    fails.store(true, Ordering::Relaxed);
    save().unwrap_err();
    world.expect('a', "after the failure");
    // Finding the header takes more of them, behind which there is what the writer has left.
    assert_eq!(world.reads(7), reads(&world.open()));
}

/// What others have appended, as their newest header tells, leaves the nodes that they have not replaced.
#[test]
fn nodes_that_others_have_not_replaced_stay() {
    for world in worlds().into_iter().filter(World::counts_reads) {
        write_state(&world.path, 'a');
        world.expect('a', "at first");
        let other = OpenOptions::new().node_cache(None).open(&world.path).unwrap();
        other.save(&[Document::new(id(0).as_bytes(), b"body")], SaveOptions::default()).unwrap();
        other.commit().unwrap();
        let uncached = world.cached.clone().node_cache(None).open(&world.path).unwrap();
        state_of(&uncached, DOCUMENTS - 1).unwrap();
        assert!(world.reads(DOCUMENTS - 1) < reads(&uncached));
    }
}

/// Nor do the snapshots of a store whose writer has missed another's commit.
#[test]
fn snapshots_of_a_writer_that_missed_anothers_commit_share_nothing() {
    let [_, world] = worlds();
    write_state(&world.path, 'a');
    let options = StoreOptions::new().open(world.cached.clone()).node_cache_bytes(0);
    let store = options.open_store(&world.path).unwrap();
    let expect = |snapshot: &Snapshot, state, what: &str| {
        let read = snapshot.read(|db| {
            expect_in_scans(db, state, what);
            expect_in_look_ups(db, state, what);
            Ok::<_, Error>(())
        });
        read.unwrap();
    };
    let older = store.snapshot();
    expect(&older, 'a', "before");
    let other = world.open();
    save_state(&other, 'b');
    other.commit_with(1, None).unwrap();
    let texts: Vec<_> = (0..DOCUMENTS).map(|number| (id(number), meta(number, 'c'))).collect();
    let wrote = store.write(|batch| {
        for (id, meta) in &texts {
            batch.save(&Document { rev_meta: meta.as_bytes(), ..Document::new(id.as_bytes(), b"body") });
        }
        Ok(())
    });
    wrote.unwrap();
    expect(&store.snapshot(), 'c', "after another's commit");
    expect(&older, 'a', "an older snapshot");
    world.expect('c', "opened anew");
}
