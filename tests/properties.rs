// SPDX-License-Identifier: Apache-2.0

//! Sequence numbers that the caller gives, also to several documents, against the model. (`tests/differential` plays
//! random sequences of all operations.)

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::model::{Doc, Model};
use common::property::check;
use common::raw;
use couchstore::{CompactOptions, Db, SaveOptions, compact};
use proptest::prelude::*;

const TARGET: &str = "target.couch";
const KEEP: SaveOptions = SaveOptions::new().keep_sequences(true);

/// A database with small nodes, and what it should be.
struct World {
    memory: Memory,
    db: Db,
    model: Model,
}

impl World {
    fn new() -> World {
        let memory = Memory::default();
        let db = memory.options().create(true).node_sizes(120, 120).open("db.couch").unwrap();
        World { memory, db, model: Model::default() }
    }

    fn save(&mut self, docs: &[Doc]) {
        self.model.save_both(&self.db, docs, KEEP);
        self.model.check(&self.db);
    }

    fn check_compaction(&self) {
        let options = CompactOptions::new().file_ops(self.memory.ops());
        compact(&self.db, TARGET, &options).unwrap();
        let file = raw::File::new(self.memory.bytes(TARGET));
        assert_eq!(file.header_positions().len(), 1);
        raw::check_header(&file, &file.last_header());
        self.model.compacted(false).check(&self.memory.options().open(TARGET).unwrap());
    }
}

/// Documents with ids of one byte, all with this sequence number.
fn docs(ids: std::ops::Range<u8>, seq: u64, body: &[u8]) -> Vec<Doc> {
    ids.map(|id| Doc { db_seq: seq, ..Doc::new(&[id], body) }).collect()
}

/// The caller may give several documents the same sequence number.
#[test]
fn equal_sequence_numbers() {
    let doc = (0..30_u8, 0..20_usize, 1..=5_u64)
        .prop_map(|(id, length, seq)| Doc { db_seq: seq, ..Doc::new(&[id], &vec![id; length]) });
    let batch = prop::collection::vec(doc, 1..25);
    check(1500, &prop::collection::vec(batch, 1..8), |batches| {
        let mut world = World::new();
        for docs in &batches {
            world.save(docs);
        }
        world.check_compaction();
    });
}

/// The smallest case of the above that takes more than one leaf.
#[test]
fn a_sequence_number_that_is_used_again_replaces_all_its_entries() {
    let mut world = World::new();
    world.save(&docs(0..20, 5, b"body"));
    world.save(&docs(30..31, 5, b"body"));
}

/// A document that is saved again under its own number leaves those alone that share it.
#[test]
fn a_document_that_keeps_its_sequence_number_replaces_only_itself() {
    let mut world = World::new();
    world.save(&docs(0..60, 7, b"first"));
    world.save(&docs(50..51, 7, b"second"));
    assert_eq!(world.db.changes_count(7, 7).unwrap(), 60);
}
