// SPDX-License-Identifier: Apache-2.0

//! Histories that a replay by sequence number alone would get wrong.

use crate::common::model::Doc;
use crate::common::rng::Rng;
use crate::steps::Steps;
use crate::world::{Habits, World};
use couchstore::{
    CompactHooks, Db, DocInfoRef, LocalUpdate, OnlineHooks, OnlineOptions, OnlineStats, ReplayHooks, Result,
    SaveOptions, compact_online,
};

const KEEP: SaveOptions = SaveOptions::new().keep_sequences(true);

fn world() -> World {
    let habits = Habits { rewinds: false, old_sequences: false, legacy: false };
    World::new(Rng::with_seed(1), habits)
}

/// Does something at the end of the first copy only, when there is a lot left to catch up with.
struct Once<'a> {
    steps: Steps<'a>,
    action: Option<fn(&mut World)>,
}

impl CompactHooks for Once<'_> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        if let Some(action) = self.action.take() {
            action(self.steps.world);
        }
        Ok(())
    }
}

impl ReplayHooks for Once<'_> {}

impl OnlineHooks for Once<'_> {
    fn lock(&mut self) {
        self.steps.lock();
    }
    fn unlock(&mut self) {
        self.steps.unlock();
    }
}

/// Compacts while this is done, and compares the result with the model.
fn compact_while(action: fn(&mut World)) -> OnlineStats {
    let mut world = world();
    let (source, target) = (world.source(), world.target());
    let options = OnlineOptions::new().delta_bytes_for_lock(0);
    let mut hooks = Once { steps: Steps::new(&mut world, 0), action: Some(action) };
    let stats = compact_online(&source, &target, &options, &mut hooks).unwrap();
    hooks.steps.check_released();
    world.committed().compacted(false).check(&Db::open(&target).unwrap());
    stats
}

fn save(world: &mut World, id: &str, db_seq: u64) {
    let doc = Doc { db_seq, ..Doc::new(id.as_bytes(), b"body") };
    world.model.save_both(&world.writer, &[doc], KEEP);
}

#[test]
fn a_header_that_changes_local_documents_only_is_caught_up_with() {
    let stats = compact_while(|world| {
        world.model.local_both(&world.writer, &[(b"_local/new".to_vec(), Some(b"1".to_vec()))]);
        world.commit();
    });
    assert_eq!((stats.rounds, stats.restarts), (1, 0));
}

#[test]
fn local_documents_that_vanish_are_removed() {
    let stats = compact_while(|world| {
        let all: Vec<_> = world.model.local.keys().map(|id| (id.clone(), None)).collect();
        world.model.local_both(&world.writer, &all);
        world.commit();
    });
    assert_eq!(stats.restarts, 0);
}

#[test]
fn a_header_that_changes_nothing_is_caught_up_with() {
    let stats = compact_while(World::commit);
    assert_eq!((stats.rounds, stats.restarts), (1, 0));
}

#[test]
fn a_purge_sequence_alone_is_caught_up_with() {
    compact_while(|world| {
        world.model.purge_seq = 77;
        world.writer.set_purge_seq(77);
        world.commit();
    });
}

#[test]
fn gaps_between_sequences_stay() {
    let stats = compact_while(|world| {
        let next = world.model.update_seq;
        save(world, "far", next + 1000);
        world.commit();
        save(world, "farther", next + 5000);
        world.commit();
    });
    assert_eq!(stats.restarts, 0);
}

#[test]
fn a_sequence_number_that_was_in_use_begins_the_copy_anew() {
    let stats = compact_while(|world| {
        save(world, "old number", 1);
        world.commit();
    });
    assert_eq!(stats.restarts, 1);
}

/// A document changes and then loses its new sequence number to another one, which leaves it in the by-id tree
/// alone. A copy at rest does not have it; a copy from before has its old state.
#[test]
fn a_document_that_loses_its_number_begins_the_copy_anew() {
    let stats = compact_while(|world| {
        let id = world.model.by_id.keys().next().unwrap().clone();
        let next = world.model.update_seq + 1;
        save(world, std::str::from_utf8(&id).unwrap(), next);
        save(world, "robber", next);
        world.commit();
    });
    assert_eq!(stats.restarts, 1);
}

#[test]
fn a_rewound_source_begins_the_copy_anew() {
    let stats = compact_while(|world| {
        let (position, model) = world.commits[world.commits.len() - 2].clone();
        world.writer.seek_offset(position as i64).unwrap();
        world.model = model;
        save(world, "another branch", 1_000_000);
        world.commit();
    });
    assert_eq!(stats.restarts, 1);
}

/// The writer goes back beyond what was copied, and its new branch reaches the same sequence number.
#[test]
fn another_branch_with_the_same_sequence_is_noticed() {
    let stats = compact_while(|world| {
        let seq = world.model.update_seq;
        let (position, model) = world.commits[world.commits.len() - 2].clone();
        world.writer.seek_offset(position as i64).unwrap();
        world.model = model;
        save(world, "another branch", seq);
        world.commit();
    });
    assert_eq!(stats.restarts, 1);
}

/// A writer that rewinds again and again is kept out in the end.
#[test]
fn endless_rewinds_end_under_the_lock() {
    struct Rewinding<'a>(Steps<'a>);
    impl CompactHooks for Rewinding<'_> {
        fn copied(&mut self, _: &Db) -> Result<()> {
            if !self.0.locked {
                let world = &mut *self.0.world;
                let (position, model) = world.commits[1].clone();
                world.writer.seek_offset(position as i64).unwrap();
                world.model = model;
                save(world, "x", 1000);
                world.commit();
            }
            Ok(())
        }
    }
    impl ReplayHooks for Rewinding<'_> {}
    impl OnlineHooks for Rewinding<'_> {
        fn lock(&mut self) {
            self.0.lock();
        }
        fn unlock(&mut self) {
            self.0.unlock();
        }
    }
    for max_unlocked_rounds in [0, 10] {
        let mut world = world();
        let (source, target) = (world.source(), world.target());
        let options = OnlineOptions::new().delta_bytes_for_lock(0).max_unlocked_rounds(max_unlocked_rounds);
        let mut hooks = Rewinding(Steps::new(&mut world, 0));
        let stats = compact_online(&source, &target, &options, &mut hooks).unwrap();
        hooks.0.check_released();
        assert_eq!(stats.restarts, 3);
        world.committed().compacted(false).check(&Db::open(&target).unwrap());
    }
}

/// The largest sequence number that the format can store: nothing comes after it.
#[test]
fn the_last_sequence_number_of_all() {
    let mut world = world();
    save(&mut world, "last", (1 << 48) - 1);
    world.commit();
    let (source, target) = (world.source(), world.target());
    let options = OnlineOptions::new().delta_bytes_for_lock(0);
    let local = |world: &mut World| {
        world.writer.save_local(&[LocalUpdate { id: b"_local/x", body: Some(b"1") }]).unwrap();
        world.commit();
    };
    let mut hooks = Once { steps: Steps::new(&mut world, 0), action: Some(local) };
    let stats = compact_online(&source, &target, &options, &mut hooks).unwrap();
    assert_eq!(stats.restarts, 0);
    let result = Db::open(&target).unwrap();
    assert_eq!(result.info().unwrap().last_sequence, (1 << 48) - 1);
    assert_eq!(result.local(b"_local/x").unwrap().unwrap(), b"1");
}

/// A writer that saves whenever it can.
struct Greedy<'a> {
    steps: Steps<'a>,
    /// Saves that are left for the time of waiting for the lock.
    before_lock: u32,
    beside_replay: bool,
}

impl Greedy<'_> {
    fn save_much(&mut self) {
        let world = &mut *self.steps.world;
        for number in 0..3 {
            let doc = Doc::new(format!("greedy {number}").as_bytes(), &[b'x'; 5000]);
            world.model.save_both(&world.writer, &[doc], SaveOptions::default());
        }
        world.commit();
    }
}

impl CompactHooks for Greedy<'_> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        self.save_much();
        Ok(())
    }
}

impl ReplayHooks for Greedy<'_> {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        if self.beside_replay && !self.steps.locked {
            self.save_much();
        }
        Ok(true)
    }
}

impl OnlineHooks for Greedy<'_> {
    fn lock(&mut self) {
        if self.before_lock > 0 {
            self.before_lock -= 1;
            self.save_much();
        }
        self.steps.lock();
    }
    fn unlock(&mut self) {
        self.steps.unlock();
    }
}

/// Compacts beside a greedy writer; returns how often the lock was taken, too.
fn compact_beside_greedy(before_lock: u32, beside_replay: bool) -> (OnlineStats, u32) {
    let mut world = world();
    let (source, target) = (world.source(), world.target());
    let options = OnlineOptions::new().delta_bytes_for_lock(4096);
    let mut hooks = Greedy { steps: Steps::new(&mut world, 0), before_lock, beside_replay };
    let stats = compact_online(&source, &target, &options, &mut hooks).unwrap();
    hooks.steps.check_released();
    let locks = hooks.steps.locks;
    world.committed().compacted(false).check(&Db::open(&target).unwrap());
    (stats, locks)
}

/// Each round leaves as much as the one before, until the writer is kept out for short times.
#[test]
fn a_writer_that_outruns_the_rounds_is_slowed_down() {
    let (stats, locks) = compact_beside_greedy(0, true);
    assert!(locks > 1, "locked {locks} times");
    assert!(stats.rounds < 10 && stats.locked_bytes <= 8192, "{stats:?}");
}

/// What comes while the compaction waits for the lock is not all left for the time under it.
#[test]
fn much_that_comes_before_the_lock_is_one_more_round() {
    let (stats, locks) = compact_beside_greedy(3, false);
    assert_eq!((stats.rounds, locks), (4, 4));
    assert_eq!(stats.locked_bytes, 0);
}
