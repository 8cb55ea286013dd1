// SPDX-License-Identifier: Apache-2.0

//! The input: settings, and a sequence of operations.

use crate::common::store::Query;
use couchstore::{Direction, ENCRYPTION, KeyDerivation, ScanOptions};
use proptest::prelude::*;

/// Settings and operations.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) settings: Settings,
    pub(crate) ops: Vec<Op>,
}

/// What decides about the bytes of a file, and two ways to work on it that must not.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) version: u8,
    pub(crate) key: Option<KeyDerivation>,
    pub(crate) nodes: Nodes,
    /// Callers give sequence numbers that are not new, too.
    pub(crate) any_sequences: bool,
    pub(crate) ways: [Way; 2],
}

/// Sizes of tree nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nodes {
    Default,
    /// Of nodes with pointers and of leaves, in KiB: what the flags of C can say.
    Kib(u8, u8),
    /// In bytes.
    Tiny(usize),
}

/// Settings of a handle that change neither an answer nor a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) unbuffered: bool,
    /// As in the flags of C: `n` for `2^(n-1)` KiB each, and `m` for `8 * 2^(m-1)` of them; 0: the default.
    pub(crate) buffers: (u8, u8),
    /// File operations that hand every call on to the library's own.
    pub(crate) forwarding: bool,
    /// Periodic syncs, writes that are read back, buffers that are guarded. Only without `forwarding`.
    pub(crate) guards: bool,
    /// Nodes that handles share. For the Rust API alone; for the others the environment says it for all of a run.
    pub(crate) nodes: SharedNodes,
}

/// A cache of nodes, which all handles of a case share that have one of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedNodes {
    None,
    /// Hardly any node fits in.
    Tiny,
    Large,
}

/// One document of a batch, before it has a sequence number.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) id: u8,
    pub(crate) body: Option<usize>,
    pub(crate) deleted: bool,
    pub(crate) compressed: bool,
    pub(crate) meta: usize,
    /// How far its sequence number is beyond the one before, if the caller gives it.
    pub(crate) seq: u64,
    /// A sequence number that may have been used, in so many of 256 parts of the highest.
    pub(crate) old_seq: Option<u8>,
}

/// Documents that are saved together.
#[derive(Clone, Debug)]
pub(crate) struct Save {
    pub(crate) docs: Vec<Spec>,
    pub(crate) compress: bool,
    pub(crate) keep_sequences: bool,
}

/// What the second handle does.
#[derive(Clone, Debug)]
pub(crate) enum Second {
    Open,
    Seek(Direction),
    SeekTo(usize),
    /// Takes the place of the first one, which goes on as the second.
    Swap,
    Compact {
        drop_deletes: bool,
    },
}

/// How a file is copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Copying {
    pub(crate) drop_deletes: bool,
    pub(crate) upgrade: bool,
    /// The copy takes the source's place.
    pub(crate) go_on_there: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Save(Save),
    Local(Vec<(u8, Option<usize>)>),
    Purge(u64),
    Commit,
    Read(Query, ScanOptions),
    Get(u8),
    /// Closes the file and opens it with a new handle; with the same one.
    Reopen,
    ReopenInPlace,
    Seek(Direction),
    SeekTo(usize),
    /// By the sequence number that an older header has, and so many units of time.
    SeekContaining(usize, u64),
    /// The calls that lose the handle when they fail.
    Rewind,
    FastForward,
    Second(Second),
    Compact(Copying),
    /// Beside these saves, each of which is committed.
    Online {
        copying: Copying,
        meanwhile: Vec<Save>,
    },
    Replay {
        base: usize,
    },
}

/// The name of a document; some are long, so that trees grow.
pub(crate) fn id(number: u8) -> Vec<u8> {
    format!("id-{number:03}{}", "-long".repeat(usize::from(number % 4) * 10)).into_bytes()
}

pub(crate) fn local_id(number: u8) -> Vec<u8> {
    format!("_local/{number}").into_bytes()
}

fn way() -> impl Strategy<Value = Way> {
    let buffers = prop_oneof![1 => Just((0, 0)), 1 => (0..4_u8, 0..4_u8)];
    let nodes = prop_oneof![1 => Just(SharedNodes::None), 1 => Just(SharedNodes::Tiny), 2 => Just(SharedNodes::Large)];
    (any::<bool>(), buffers, any::<bool>(), prop::bool::weighted(0.2), nodes).prop_map(
        |(unbuffered, buffers, forwarding, guards, nodes)| Way {
            unbuffered,
            buffers,
            forwarding,
            guards: guards && !forwarding,
            nodes,
        },
    )
}

/// Settings; with `tiny` nodes smaller than the flags of C can say.
pub(crate) fn settings(tiny: bool) -> impl Strategy<Value = Settings> {
    let nodes = prop_oneof![
        2 => Just(Nodes::Default),
        2 => (0..3_u8, 1..3_u8).prop_map(|(interior, leaf)| Nodes::Kib(interior, leaf)),
        if tiny { 4 } else { 0 } => (60..400_usize).prop_map(Nodes::Tiny),
    ];
    let version = prop_oneof![2 => Just(11_u8), 1 => Just(12_u8), 1 => Just(13_u8), 6 => Just(14_u8)];
    let keys = prop_oneof![
        2 => Just(None),
        1 => Just(Some(KeyDerivation::None)),
        1 => Just(Some(KeyDerivation::KeyBased)),
    ];
    (version, keys, nodes, prop::bool::weighted(0.2), way(), way()).prop_map(
        |(version, key, nodes, any_sequences, first, second)| Settings {
            version,
            key: key.filter(|_| ENCRYPTION && version == 14),
            nodes,
            any_sequences,
            ways: [first, second],
        },
    )
}

fn spec() -> impl Strategy<Value = Spec> {
    let body = prop_oneof![10 => Just(None), 59 => (0..120_usize).prop_map(Some), 1 => (3000..9000_usize).prop_map(Some)];
    let old_seq = prop::option::weighted(0.15, any::<u8>());
    (0..60_u8, body, prop::bool::weighted(0.2), any::<bool>(), 0..20_usize, 1..4_u64, old_seq).prop_map(
        |(id, body, deleted, compressed, meta, seq, old_seq)| Spec {
            id,
            body,
            deleted,
            compressed,
            meta,
            seq,
            old_seq,
        },
    )
}

fn save() -> impl Strategy<Value = Save> {
    (prop::collection::vec(spec(), 1..25), any::<bool>(), any::<bool>())
        .prop_map(|(docs, compress, keep_sequences)| Save { docs, compress, keep_sequences })
}

fn local() -> impl Strategy<Value = Op> {
    let body = prop_oneof![1 => Just(None), 2 => (0..60_usize).prop_map(Some)];
    prop::collection::vec((0..30_u8, body), 1..12).prop_map(Op::Local)
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![Just(Direction::Backward), Just(Direction::Forward), Just(Direction::End)]
}

fn query() -> impl Strategy<Value = Query> {
    let number = || 0..62_u8;
    let seq = || 0..120_u64;
    prop_oneof![
        seq().prop_map(Query::ChangesSince),
        number().prop_map(|from| Query::AllDocs(id(from))),
        prop::collection::vec(number(), 1..9).prop_map(|ids| {
            let mut ids: Vec<_> = ids.into_iter().map(id).collect();
            ids.sort();
            ids.dedup();
            ids.reverse();
            Query::Ids(ids)
        }),
        (number(), prop::option::of(number()))
            .prop_map(|(from, to)| Query::IdRange(id(from), to.map(|to| id(from.saturating_add(to))))),
        prop::collection::btree_set(seq(), 1..9)
            .prop_map(|seqs| Query::Seqs(seqs.into_iter().rev().collect())),
        (seq(), prop::option::of(seq())).prop_map(|(from, to)| Query::SeqRange(from, to.map(|to| from + to))),
    ]
}

fn scan_options() -> impl Strategy<Value = ScanOptions> {
    (0..4_u8).prop_map(|kind| {
        ScanOptions::new().deletes_only(kind == 1).no_deletes(kind == 2).tolerate_corruption(kind == 3)
    })
}

fn second() -> impl Strategy<Value = Second> {
    prop_oneof![
        2 => Just(Second::Open),
        3 => direction().prop_map(Second::Seek),
        1 => (0..100_usize).prop_map(Second::SeekTo),
        1 => Just(Second::Swap),
        1 => any::<bool>().prop_map(|drop_deletes| Second::Compact { drop_deletes }),
    ]
}

fn copying() -> impl Strategy<Value = Copying> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(drop_deletes, upgrade, go_on_there)| Copying {
        drop_deletes,
        upgrade,
        go_on_there,
    })
}

/// One operation.
pub(crate) fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        18 => save().prop_map(Op::Save),
        6 => local(),
        2 => (0..1000_u64).prop_map(Op::Purge),
        10 => Just(Op::Commit),
        4 => (query(), scan_options()).prop_map(|(query, options)| Op::Read(query, options)),
        2 => (0..62_u8).prop_map(Op::Get),
        2 => Just(Op::Reopen),
        1 => Just(Op::ReopenInPlace),
        4 => direction().prop_map(Op::Seek),
        2 => (0..100_usize).prop_map(Op::SeekTo),
        2 => (0..100_usize, 1..6_u64).prop_map(|(header, unit)| Op::SeekContaining(header, unit)),
        1 => Just(Op::Rewind),
        1 => Just(Op::FastForward),
        6 => second().prop_map(Op::Second),
        3 => copying().prop_map(Op::Compact),
        2 => (copying(), prop::collection::vec(save(), 0..3))
            .prop_map(|(copying, meanwhile)| Op::Online { copying, meanwhile }),
        2 => (0..100_usize).prop_map(|base| Op::Replay { base }),
    ]
}

/// Cases for a language; with `tiny` nodes if it can have them.
pub(crate) fn case(tiny: bool) -> impl Strategy<Value = Case> {
    (settings(tiny), prop::collection::vec(op(), 1..40)).prop_map(|(settings, ops)| Case { settings, ops })
}
