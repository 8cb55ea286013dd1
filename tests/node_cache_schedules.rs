// SPDX-License-Identifier: Apache-2.0

//! Opens, commits and evictions of handles that share nodes, in random schedules: threads are switched at each lock of
//! the cache and at each call of the file operations. Whoever opens the file finds a state that was committed, whole, and
//! none that is older than the newest at that moment.
//!
//! 300 schedules, or as many as `COUCHSTORE_SCHEDULES` says. Needs the feature `shuttle`:
//! `cargo test --features shuttle --test node_cache_schedules`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forwarding::{Call, Forwarding};
use couchstore::{Db, Document, NodeCache, OpenOptions, SaveOptions};
use shuttle::rand::Rng;
use shuttle::sync::Mutex;
use shuttle::thread;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The library's own file operations, with a switch of threads before each call.
fn switching() -> Arc<Forwarding> {
    let yielding = |call| {
        if !matches!(call, Call::Close) {
            thread::yield_now();
        }
        Ok(())
    };
    Arc::new(Forwarding::default().before(yielding))
}

const DOCUMENTS: u32 = 40;
const COMMITS: u64 = 4;

fn save(db: &Db, state: u64) {
    let all: Vec<_> =
        (0..DOCUMENTS).map(|number| (format!("{number:03}"), format!("state {state:06}"))).collect();
    let documents: Vec<_> = all
        .iter()
        .map(|(id, meta)| Document { rev_meta: meta.as_bytes(), ..Document::new(id.as_bytes(), b"") })
        .collect();
    db.save(&documents, SaveOptions::default()).unwrap();
}

/// The state that all documents are in.
fn state_of(db: &Db) -> u64 {
    let states: Vec<u64> = (0..DOCUMENTS)
        .map(|number| {
            let info = db.doc_info(format!("{number:03}").as_bytes()).unwrap().unwrap();
            String::from_utf8_lossy(&info.rev_meta).trim_start_matches("state ").parse().unwrap()
        })
        .collect();
    assert!(states.iter().all(|&state| state == states[0]), "{states:?}");
    states[0]
}

fn schedule(path: &Path) {
    let bytes = [2_000, 20_000, 1 << 20][shuttle::rand::thread_rng().gen_range(0..3)];
    let cache = Arc::new(NodeCache::new(bytes));
    let options = OpenOptions::new().file_ops(switching()).node_cache(cache).node_sizes(200, 200);
    let first = options.clone().create(true).open(path).unwrap();
    save(&first, 0);
    first.commit().unwrap();
    drop(first);
    let newest = Arc::new(AtomicU64::new(0));
    let turn = Arc::new(Mutex::new(()));
    let writers = (0..2).map(|_| {
        let (options, newest, turn, path) = (options.clone(), newest.clone(), turn.clone(), path.to_owned());
        thread::spawn(move || {
            for _ in 0..COMMITS {
                let _turn = turn.lock().unwrap();
                let db = options.open(&path).unwrap();
                let state = newest.load(Ordering::SeqCst) + 1;
                if shuttle::rand::thread_rng().gen_bool(0.3) {
                    save(&db, 1_000 + state);
                    continue;
                }
                save(&db, state);
                db.commit().unwrap();
                newest.store(state, Ordering::SeqCst);
                assert_eq!(state_of(&db), state);
            }
        })
    });
    let readers = (0..2).map(|_| {
        let (options, newest, path) = (options.clone(), newest.clone(), path.to_owned());
        thread::spawn(move || {
            for _ in 0..2 * COMMITS {
                let before = newest.load(Ordering::SeqCst);
                let db = options.open(&path).unwrap();
                let found = state_of(&db);
                assert!((before..=before.max(newest.load(Ordering::SeqCst)) + 1).contains(&found));
            }
        })
    });
    for thread in writers.chain(readers).collect::<Vec<_>>() {
        thread.join().unwrap();
    }
}

#[test]
fn nobody_finds_what_is_not_there() {
    let count =
        std::env::var("COUCHSTORE_SCHEDULES").ok().and_then(|count| count.parse().ok()).unwrap_or(300);
    shuttle::check_random(
        || {
            let dir = tempfile::tempdir().unwrap();
            schedule(&dir.path().join("a.couch"));
        },
        count,
    );
}
