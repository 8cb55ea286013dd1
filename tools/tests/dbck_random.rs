// SPDX-License-Identifier: Apache-2.0

//! `couch_dbck` on files with random damage, and on those of the original.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::golden::Golden;
use common::history::{History, State, is_sound};
use common::place::Place;
use common::rng::Rng;
use common::tool;
use couchstore::{Db, Document, LocalUpdate, SaveOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A file with several commits of random changes.
fn random_file(rng: &mut Rng, db: &Db) {
    for _ in 0..=rng.below(8) {
        let ids: Vec<_> = (0..=rng.below(60)).map(|_| format!("id-{:03}", rng.below(150))).collect();
        let bodies: Vec<_> = ids.iter().map(|_| rng.text(300)).collect();
        let docs: Vec<_> = ids
            .iter()
            .zip(&bodies)
            .map(|(id, body)| {
                let deleted = rng.percent(15);
                let body = (!deleted || rng.percent(50)).then_some(&body[..rng.index(300)]);
                let content_meta = if rng.percent(30) { 0x80 } else { 0 };
                let rev_meta = &id.as_bytes()[..rng.index(6)];
                let rev_seq = rng.below(100);
                Document { id: id.as_bytes(), body, rev_meta, rev_seq, deleted, content_meta, db_seq: 0 }
            })
            .collect();
        db.save(&docs, SaveOptions::new().compress(true)).unwrap();
        for _ in 0..rng.below(30) {
            let (id, body) = (format!("_local/{:02}", rng.below(40)), rng.text(60));
            db.save_local(&[LocalUpdate { id: id.as_bytes(), body: rng.percent(70).then_some(&body) }])
                .unwrap();
        }
        db.commit().unwrap();
    }
}

/// Some offsets, none of them of a block's type byte: those within chunks nobody reads. None comes twice: the damage
/// would undo itself.
fn random_damage(rng: &mut Rng, size: u64) -> BTreeSet<u64> {
    let count = [1, 3, 10, 40][rng.index(4)];
    (0..count).map(|_| rng.below(size)).filter(|offset| !offset.is_multiple_of(4096)).collect()
}

fn damaged_files(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let (place, db) = Place::new();
    random_file(&mut rng, &db);
    db.close().unwrap();
    let history = History::of(&place.path("f"));
    let size = std::fs::metadata(place.path("f")).unwrap().len();
    let offsets: Vec<_> = random_damage(&mut rng, size).into_iter().collect();
    place.damage(&offsets);
    let readable: Vec<_> =
        history.headers.iter().filter(|header| is_sound(&header.extent, &offsets)).collect();
    if readable.is_empty() {
        tool("couch_dbck", place.dir.path()).arg("f").assert().code(1);
        return;
    }
    let newest = readable[0];
    let (summary, target) = place.recover(&[]);
    let found = State::of(&target);
    assert_eq!(found.docs, newest.sound_docs(&offsets), "seed {seed}, {offsets:?}");
    assert_eq!(found.local, newest.sound_local(&offsets), "seed {seed}, {offsets:?}");
    assert_eq!(summary["recovered"], found.docs.len());
    assert_eq!(summary["lost"], newest.docs.len() - found.docs.len(), "seed {seed}");

    let (_, target) = place.recover(&["--stale"]);
    let found = State::of(&target);
    let mut expected = BTreeMap::new();
    for header in readable.iter().rev() {
        expected.extend(header.sound_docs(&offsets));
    }
    assert_eq!(found.docs, expected, "seed {seed}, {offsets:?}");
    // Of local documents: all that are sound are there; what the newest header cannot have had is not.
    for (id, body) in newest.sound_local(&offsets) {
        assert_eq!(found.local[&id], body, "seed {seed}");
    }
    let is_whole = newest.local_nodes.iter().all(|extent| is_sound(extent, &offsets));
    for (id, body) in &found.local {
        let versions = readable.iter().filter_map(|header| header.local_body(id));
        assert!(versions.into_iter().any(|version| version == body), "seed {seed}: {id:?}");
        assert!(!is_whole || newest.local_body(id) == Some(body), "seed {seed}: {id:?}");
    }
    assert_eq!(target.info().unwrap().last_sequence, newest.update_seq);
}

#[test]
fn everything_sound_is_recovered_and_nothing_else() {
    let first = common::rng::seed();
    for seed in 0..60 {
        damaged_files(first.wrapping_add(seed));
    }
}

#[test]
fn damaged_files_of_the_original() {
    let Some(golden) = Golden::find() else { return };
    let source = Db::open(golden.path("mixed-v14")).unwrap();
    let whole = State::of(&source);
    let mut compared = 0;
    for name in golden.names().into_iter().filter(|name| name.starts_with("damaged-")) {
        let place = Place::with(&std::fs::read(golden.path(&name)).unwrap());
        // The dump ends with what the original finds with the flag for recovery.
        let dump = golden.dump(&name);
        if !dump.contains(&"open recovery 0".to_owned()) {
            tool("couch_dbck", place.dir.path()).arg("f").assert().code(1);
            assert_eq!(place.files(), ["f"]);
            continue;
        }
        let (summary, target) = place.recover(&["-s"]);
        let header: Vec<_> = dump.last().unwrap().split(' ').collect();
        assert_eq!(summary["header_position"].to_string(), header[1], "{name}");
        assert_eq!(summary["lost"], 0, "{name}");
        let info = target.info().unwrap();
        let counts = format!("docs {} deleted {}", info.doc_count, info.deleted_count);
        assert!(dump.last().unwrap().contains(&counts), "{name}: {counts}");
        if info.last_sequence == source.info().unwrap().last_sequence {
            assert!(State::of(&target) == whole, "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 3, "{compared} files");
}

#[test]
fn sound_files_of_the_original() {
    let Some(golden) = Golden::find() else { return };
    for name in [
        "mixed-v11",
        "mixed-v12",
        "mixed-v13",
        "many",
        "big-bodies",
        "long-keys",
        "seq-gaps",
        "encrypted-meta-v0",
    ] {
        if !golden.can_be_read(name) {
            continue;
        }
        let place = Place::with(&std::fs::read(golden.path(name)).unwrap());
        let mut command = tool("couch_dbck", place.dir.path());
        command.arg("f").args(golden.key_options(name)).assert().success();
        let mut check = tool("couch_check", Path::new("/"));
        check.arg(place.path("f.recovered")).args(golden.key_options(name)).assert().success();
        if golden.key(name).is_none() {
            let (source, target) =
                (Db::open(place.path("f")).unwrap(), Db::open(place.path("f.recovered")).unwrap());
            assert!(State::of(&source) == State::of(&target), "{name}");
            let (source, target) = (source.info().unwrap(), target.info().unwrap());
            assert_eq!(source.timestamp, target.timestamp.min(source.timestamp), "{name}");
            assert_eq!(
                (source.last_sequence, source.purge_seq),
                (target.last_sequence, target.purge_seq),
                "{name}"
            );
        }
    }
}
