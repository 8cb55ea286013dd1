//! Random sequences of operations against the model.
//!
//! The model is a pair of maps for each header that was ever committed. After every reopening the newest header is
//! checked node by node, and all older ones must still read as they were committed.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::model::{Doc, Model};
use common::{raw, rng};
use couchstore::{
    COMPRESSED, CompactOptions, Db, Direction, Error, OpenOptions, SaveOptions, compact, replay,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const NAME: &str = "db.couch";
const TARGET: &str = "target.couch";

/// One document of a batch, before it has a sequence number.
#[derive(Clone, Debug)]
struct Spec {
    id: u8,
    body: Option<usize>,
    deleted: bool,
    compressed: bool,
    meta: usize,
    /// Sequence number, or how far it is beyond the one before.
    seq: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Save { docs: Vec<Spec>, compress: bool, keep_sequences: bool },
    Local(Vec<(u8, Option<usize>)>),
    Purge(u64),
    Commit,
    Reopen,
    Seek(Direction),
    SeekTo(usize),
    Compact { drop_deletes: bool, go_on_there: bool },
    Replay { base: usize },
}

fn spec(ids: u8, seqs: u64) -> impl Strategy<Value = Spec> {
    let body = prop_oneof![1 => Just(None), 6 => (0..120_usize).prop_map(Some)];
    (0..ids, body, prop::bool::weighted(0.2), any::<bool>(), 0..20_usize, 1..=seqs).prop_map(
        |(id, body, deleted, compressed, meta, seq)| Spec { id, body, deleted, compressed, meta, seq },
    )
}

fn save(ids: u8, seqs: u64) -> impl Strategy<Value = Op> {
    (prop::collection::vec(spec(ids, seqs), 1..25), any::<bool>(), any::<bool>())
        .prop_map(|(docs, compress, keep_sequences)| Op::Save { docs, compress, keep_sequences })
}

fn local() -> impl Strategy<Value = Op> {
    let body = prop_oneof![1 => Just(None), 2 => (0..60_usize).prop_map(Some)];
    prop::collection::vec((0..30_u8, body), 1..12).prop_map(Op::Local)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        9 => save(60, 3),
        3 => local(),
        1 => (0..1000_u64).prop_map(Op::Purge),
        5 => Just(Op::Commit),
        2 => Just(Op::Reopen),
        1 => Just(Op::Seek(Direction::Backward)),
        1 => Just(Op::Seek(Direction::Forward)),
        1 => Just(Op::Seek(Direction::End)),
        1 => (0..100_usize).prop_map(Op::SeekTo),
        1 => (any::<bool>(), any::<bool>())
            .prop_map(|(drop_deletes, go_on_there)| Op::Compact { drop_deletes, go_on_there }),
        1 => (0..100_usize).prop_map(|base| Op::Replay { base }),
    ]
}

/// Tells a body by its length, so that wrong ones are found.
fn pattern(length: usize, salt: u64) -> Vec<u8> {
    (0..length as u64).map(|i| (i / 3 + salt * 7) as u8).collect()
}

/// A header that was committed.
#[derive(Clone)]
struct Committed {
    position: u64,
    model: Model,
    /// Index of the header before it.
    parent: Option<usize>,
}

/// A database and what it should be.
struct World {
    memory: Memory,
    options: OpenOptions,
    db: Db,
    model: Model,
    headers: Vec<Committed>,
    /// The header that the handle stands on.
    current: usize,
}

impl World {
    fn new(options: impl Fn(OpenOptions) -> OpenOptions) -> World {
        let memory = Memory::default();
        let options = options(memory.options());
        let db = options.clone().create(true).open(NAME).unwrap();
        let first = Committed { position: 0, model: Model::default(), parent: None };
        World { memory, options, db, model: Model::default(), headers: vec![first], current: 0 }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Save { docs, compress, keep_sequences } => self.save(docs, *compress, *keep_sequences),
            Op::Local(updates) => {
                let updates: Vec<_> = updates
                    .iter()
                    .map(|(id, body)| {
                        (format!("_local/{id}").into_bytes(), body.map(|length| pattern(length, 5)))
                    })
                    .collect();
                self.model.local_both(&self.db, &updates);
            }
            Op::Purge(purge_seq) => {
                self.db.set_purge_seq(*purge_seq);
                self.model.purge_seq = *purge_seq;
            }
            Op::Commit => self.commit(),
            Op::Reopen => self.reopen(),
            Op::Seek(direction) => self.seek(*direction),
            Op::SeekTo(number) => {
                let index = number % self.headers.len();
                self.db.seek_offset(self.headers[index].position.cast_signed()).unwrap();
                self.stand_on(index);
            }
            Op::Compact { drop_deletes, go_on_there } => self.compact(*drop_deletes, *go_on_there),
            Op::Replay { base } => self.replay(*base),
        }
        self.model.check(&self.db);
    }

    fn save(&mut self, specs: &[Spec], compress: bool, keep_sequences: bool) {
        let mut seq = self.model.update_seq;
        let doc = |spec: &Spec| {
            seq += spec.seq;
            Doc {
                id: format!("id-{:03}", spec.id).into_bytes(),
                body: spec.body.map(|length| pattern(length, seq)),
                rev_meta: pattern(spec.meta, 1),
                rev_seq: seq * 3,
                db_seq: seq,
                deleted: spec.deleted,
                // Without the option to compress, a body with this bit would have to be compressed already.
                content_meta: if compress && spec.compressed { COMPRESSED } else { 1 },
            }
        };
        let docs: Vec<_> = specs.iter().map(doc).collect();
        self.model.save_both(&self.db, &docs, SaveOptions { compress, keep_sequences });
    }

    fn commit(&mut self) {
        self.db.commit().unwrap();
        let position = self.db.header_position();
        self.headers.push(Committed { position, model: self.model.clone(), parent: Some(self.current) });
        self.current = self.headers.len() - 1;
    }

    /// The handle stands on this header now, without uncommitted changes.
    fn stand_on(&mut self, index: usize) {
        self.current = index;
        self.model = self.headers[index].model.clone();
        assert_eq!(self.db.header_position(), self.headers[index].position);
    }

    fn reopen(&mut self) {
        self.db.close().unwrap();
        self.db = self.options.open(NAME).unwrap();
        self.stand_on(self.headers.len() - 1);
        let file = raw::File::new(self.memory.bytes(NAME));
        let positions: Vec<_> = self.headers.iter().map(|header| header.position).collect();
        assert_eq!(file.header_positions(), positions);
        let [by_id, by_seq, _] = raw::check_header(&file, &file.last_header());
        assert_eq!(by_id.entries.len(), by_seq.entries.len());
        let reader = self.options.clone().read_only(true).open(NAME).unwrap();
        for header in &self.headers {
            reader.seek_offset(header.position.cast_signed()).unwrap();
            header.model.check(&reader);
        }
    }

    fn seek(&mut self, direction: Direction) {
        let goal = match direction {
            Direction::Backward => self.headers[self.current].parent,
            Direction::Forward => Some(self.current + 1).filter(|&next| next < self.headers.len()),
            Direction::End => Some(self.headers.len() - 1),
        };
        let result = self.db.seek(direction);
        if let Some(goal) = goal {
            result.unwrap();
            return self.stand_on(goal);
        }
        assert!(matches!(result, Err(Error::NoHeader { .. })), "{result:?}");
        // Where it is plain that there is nothing older, the handle is not touched.
        let untouched = direction == Direction::Backward && self.headers[self.current].position == 0;
        if !untouched {
            self.stand_on(self.current);
        }
    }

    fn compact_options(&self, drop_deletes: bool) -> CompactOptions {
        CompactOptions { drop_deletes, file_ops: self.memory.ops(), ..CompactOptions::default() }
    }

    fn compact(&mut self, drop_deletes: bool, go_on_there: bool) {
        compact(&self.db, TARGET, &self.compact_options(drop_deletes)).unwrap();
        let bytes = self.memory.bytes(TARGET);
        self.memory.remove(TARGET);
        let expected = self.model.compacted(drop_deletes);
        let file = raw::File::new(bytes.clone());
        let positions = file.header_positions();
        assert_eq!(positions.len(), 1);
        raw::check_header(&file, &file.last_header());
        if go_on_there {
            self.memory.put(NAME, bytes);
            self.db = self.options.open(NAME).unwrap();
            self.headers = vec![Committed { position: positions[0], model: expected, parent: None }];
            self.stand_on(0);
        } else {
            self.memory.put(TARGET, bytes);
            expected.check(&self.options.open(TARGET).unwrap());
            self.memory.remove(TARGET);
        }
    }

    /// Copies an older header that the newest is based on, and brings the copy up to date.
    fn replay(&mut self, base: usize) {
        self.reopen();
        let mut ancestors = vec![self.current];
        while let Some(parent) = self.headers[*ancestors.last().unwrap()].parent {
            ancestors.push(parent);
        }
        let base = ancestors[base % ancestors.len()];
        let source = self.options.clone().read_only(true).open(NAME).unwrap();
        source.seek_offset(self.headers[base].position.cast_signed()).unwrap();
        compact(&source, TARGET, &self.compact_options(false)).unwrap();
        let target = self.options.open(TARGET).unwrap();
        let end = self.headers.last().unwrap();
        replay(&source, &target, end.position, &mut (), base * 50).unwrap();
        end.model.check(&target);
        target.close().unwrap();
        let target = self.options.open(TARGET).unwrap();
        end.model.check(&target);
        self.memory.remove(TARGET);
    }
}

/// Runs a property with the seed of this run.
fn check<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value)) {
    let seed = rng::seed();
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let result = TestRunner::new_with_rng(config, rng).run(strategy, |value| {
        test(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}\nto run this again: COUCHSTORE_TEST_SEED={seed}");
    }
}

fn run(ops: &[Op], options: impl Fn(OpenOptions) -> OpenOptions) {
    let mut world = World::new(options);
    for op in ops.iter().chain(&[Op::Commit, Op::Reopen]) {
        world.apply(op);
    }
}

#[test]
fn any_sequence_of_operations_does_what_the_model_does() {
    check(1500, &prop::collection::vec(op(), 1..40), |ops| run(&ops, |options| options));
}

#[test]
fn with_small_nodes() {
    check(1500, &prop::collection::vec(op(), 1..40), |ops| run(&ops, |options| options.node_sizes(80, 80)));
}

#[test]
fn without_buffers() {
    check(600, &prop::collection::vec(op(), 1..40), |ops| run(&ops, |options| options.unbuffered(true)));
}

/// The caller may give several documents the same sequence number.
#[test]
fn equal_sequence_numbers() {
    let batch = prop::collection::vec(spec(30, 5), 1..25);
    check(1500, &prop::collection::vec(batch, 1..8), |batches| {
        let mut world = World::new(|options| options.node_sizes(120, 120));
        for batch in batches {
            let docs: Vec<_> = batch
                .iter()
                .map(|spec| Doc { db_seq: spec.seq, ..Doc::new(&[spec.id], &pattern(spec.meta, spec.seq)) })
                .collect();
            let keep = SaveOptions { compress: false, keep_sequences: true };
            world.model.save_both(&world.db, &docs, keep);
            world.model.check(&world.db);
        }
        world.apply(&Op::Compact { drop_deletes: false, go_on_there: false });
    });
}

/// The smallest case of the above that takes more than one leaf.
#[test]
fn a_sequence_number_that_is_used_again_replaces_all_its_entries() {
    let mut world = World::new(|options| options.node_sizes(120, 120));
    let docs = |ids: std::ops::Range<u8>| -> Vec<_> {
        ids.map(|id| Doc { db_seq: 5, ..Doc::new(&[id], b"body") }).collect()
    };
    let keep = SaveOptions { compress: false, keep_sequences: true };
    world.model.save_both(&world.db, &docs(0..20), keep);
    world.model.check(&world.db);
    world.model.save_both(&world.db, &docs(30..31), keep);
    world.model.check(&world.db);
}

/// A document that is saved again under its own number leaves those alone that share it.
#[test]
fn a_document_that_keeps_its_sequence_number_replaces_only_itself() {
    let mut world = World::new(|options| options.node_sizes(120, 120));
    let docs = |ids: std::ops::Range<u8>, body: &[u8]| -> Vec<_> {
        ids.map(|id| Doc { db_seq: 7, ..Doc::new(&[id], body) }).collect()
    };
    let keep = SaveOptions { compress: false, keep_sequences: true };
    world.model.save_both(&world.db, &docs(0..60, b"first"), keep);
    world.model.save_both(&world.db, &docs(50..51, b"second"), keep);
    world.model.check(&world.db);
    assert_eq!(world.db.changes_count(7, 7).unwrap(), 60);
}
