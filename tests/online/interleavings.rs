// SPDX-License-Identifier: Apache-2.0

//! Random histories: whatever the writer does between the points of a compaction, the result is what the source held
//! at its last header before the lock.

use crate::common::files_in;
use crate::common::model::Model;
use crate::common::rng::{Rng, seed};
use crate::setting;
use crate::steps::Steps;
use crate::world::{Habits, World};
use couchstore::{CompactOptions, Db, OnlineOptions, OnlineStats, Swap, compact, compact_online};

pub(crate) fn habits(rng: &mut Rng) -> Habits {
    Habits { rewinds: rng.percent(40), old_sequences: rng.percent(20), legacy: rng.percent(25) }
}

pub(crate) fn options(rng: &mut Rng) -> OnlineOptions {
    let compact = CompactOptions::new().drop_deletes(rng.percent(25)).upgrade(rng.percent(50));
    // With the second thread, and without.
    let threads = 1 + usize::from(compact.upgrade);
    let compact = compact.threads(threads);
    let mut options = OnlineOptions::new()
        .swap(if rng.percent(50) { Swap::Replace } else { Swap::None })
        .max_unlocked_rounds(rng.below(4) as u32)
        .delta_bytes_for_lock(if rng.percent(70) { 0 } else { 20_000 });
    options.compact = compact;
    options
}

/// What the result must hold: tombstones that were made while the compaction ran stay.
fn expected(committed: &Model, drop_deletes: bool, copied_seq: u64) -> Model {
    let mut model = committed.compacted(false);
    if drop_deletes {
        model.purge_seq += 1;
        model.by_seq.retain(|_, entry| !entry.info.deleted || entry.info.db_seq > copied_seq);
        model.by_id = model.by_seq.values().map(|entry| (entry.info.id.clone(), entry.clone())).collect();
    }
    model
}

/// One history with one compaction.
fn run(seed: u64) -> OnlineStats {
    let mut rng = Rng::with_seed(seed);
    let (habits, options, percent) = (habits(&mut rng), options(&mut rng), rng.below(60));
    let filters = rng.percent(30);
    let mut world = World::new(rng, habits);
    let (source, target) = (world.source(), world.target());
    let mut steps = Steps { filters, ..Steps::new(&mut world, percent) };
    let stats = compact_online(&source, &target, &options, &mut steps).unwrap();
    steps.check_released();
    assert_eq!(steps.published, 1);
    let drop_deletes = options.compact.drop_deletes && !filters;
    let mut model = expected(steps.world.committed(), drop_deletes, steps.copied_seq);
    if options.compact.drop_deletes && filters {
        model.purge_seq += 1;
    }
    world.check_untouched();
    world.committed().check(&Db::open(world.lasting_path()).unwrap());

    let replaced = options.swap == Swap::Replace;
    assert_eq!(files_in(world.folder.path()), if replaced { 1 } else { 2 });
    assert_eq!(world.writer.is_current().unwrap(), Some(!replaced));
    let result = if replaced { source } else { target };
    let db = Db::open(&result).unwrap();
    model.check(&db);
    assert_eq!(stats.documents, model.by_id.len() as u64);
    assert_eq!(stats.bytes, db.info().unwrap().file_size);
    check_like_at_rest(&world, &db, &options.compact, drop_deletes);
    check_fixpoint(&world, &db, &model);
    // The new file goes on.
    db.save(&[couchstore::Document::new(b"after", b"1")], couchstore::SaveOptions::default()).unwrap();
    db.commit().unwrap();
    assert_eq!(Db::open(&result).unwrap().get(b"after").unwrap().unwrap(), b"1");
    stats
}

/// Sequences, purge sequence, version, counts and timestamp are those of a compaction with all at rest.
fn check_like_at_rest(world: &World, db: &Db, options: &CompactOptions, drop_deletes: bool) {
    let (_folder, at_rest) = world.compacted_at_rest(options);
    let (found, expected) = (db.info().unwrap(), at_rest.info().unwrap());
    assert_eq!(found.version, expected.version);
    assert_eq!((found.last_sequence, found.purge_seq), (expected.last_sequence, expected.purge_seq));
    assert_eq!(found.timestamp, expected.timestamp);
    if !drop_deletes && !options.drop_deletes {
        assert_eq!((found.doc_count, found.deleted_count), (expected.doc_count, expected.deleted_count));
    }
}

/// Compacting the result changes nothing but positions, and doing it again not even those.
fn check_fixpoint(world: &World, db: &Db, model: &Model) {
    let (once, twice) = (world.folder.path().join("once"), world.folder.path().join("twice"));
    compact(db, &once, &CompactOptions::default()).unwrap();
    let second = Db::open(&once).unwrap();
    model.check(&second);
    compact(&second, &twice, &CompactOptions::default()).unwrap();
    assert!(std::fs::read(&once).unwrap() == std::fs::read(&twice).unwrap());
}

#[test]
fn every_history_ends_in_the_state_at_the_last_header() {
    let first = seed();
    let runs = if std::env::var_os("COUCHSTORE_TEST_SEED").is_some() {
        1
    } else {
        setting("COUCHSTORE_ONLINE_RUNS", 3000)
    };
    let mut sum = OnlineStats::default();
    for run_number in 0..runs {
        let stats = run(first.wrapping_add(run_number));
        sum.rounds += stats.rounds;
        sum.restarts += stats.restarts;
        sum.documents += stats.documents;
        sum.locked_bytes += u64::from(stats.locked_bytes > 0);
    }
    println!(
        "{runs} histories from seed {first}: {} rounds without lock, {} with changes left for the lock, {} restarts",
        sum.rounds, sum.locked_bytes, sum.restarts
    );
    assert!(
        runs < 1000 || (sum.rounds > runs as u32 / 4 && sum.restarts > 20 && sum.locked_bytes > runs / 4)
    );
}
