// SPDX-License-Identifier: Apache-2.0

//! Looking into files: headers, nodes, and where everything lies.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forge::{self, Forge};
use common::memory::Memory;
use common::raw::BLOCK;
use couchstore::inspect::{
    ChildInfo, DocCounts, FoundHeader, Headers, Item, Node, NodeVisitor, Tree, Visit, extent, parse_count,
    walk_nodes,
};
use couchstore::{COMPRESSED, Db, Document, Error, ErrorCode, LocalUpdate, Result, SaveOptions, ScanOptions};
use std::collections::BTreeSet;

const NAME: &str = "inspected.couch";

/// A file with four levels in its trees and four headers, in memory.
fn sample(memory: &Memory) -> Db {
    let db = memory.options().create(true).node_sizes(150, 150).open(NAME).unwrap();
    for round in 0..3 {
        let ids: Vec<_> = (0..60).map(|number| format!("id-{:02}", number + 20 * round)).collect();
        let docs = ids
            .iter()
            .map(|id| Document { content_meta: COMPRESSED, ..Document::new(id.as_bytes(), &[7; 99]) });
        let mut docs: Vec<_> = docs.collect();
        docs[3] = Document::deletion(docs[3].id);
        db.save(&docs, SaveOptions::new().compress(true)).unwrap();
        db.save_local(&[LocalUpdate { id: b"_local/x", body: Some(b"y") }]).unwrap();
        db.commit().unwrap();
    }
    db
}

fn positions<'a>(headers: impl Iterator<Item = FoundHeader> + 'a) -> Vec<u64> {
    headers.map(|found| found.position).collect()
}

// ---- headers ------------------------------------------------------------------------------------------------------

#[test]
fn headers_are_found_in_both_directions() {
    let memory = Memory::default();
    let db = sample(&memory);
    let backward = positions(Headers::backward(&db));
    assert_eq!((backward.len(), backward[0], backward[3]), (4, db.header_position(), 0));
    let mut forward = positions(Headers::forward_from(&db, 0));
    forward.reverse();
    assert_eq!(forward, backward);
    assert_eq!(positions(Headers::backward_from(&db, backward[1])), backward[1..]);
    assert_eq!(positions(Headers::backward_from(&db, backward[1] + 100)), backward[1..]);
    assert_eq!(positions(Headers::backward_from(&db, backward[1] - 1)), backward[2..]);
    assert_eq!(positions(Headers::forward_from(&db, backward[0])), backward[..1]);
    assert!(positions(Headers::forward_from(&db, backward[0] + 1)).is_empty());
}

#[test]
fn a_header_is_read_without_moving_the_handle() {
    let memory = Memory::default();
    let db = sample(&memory);
    let all = positions(Headers::backward(&db));
    let before = db.header();
    let older = db.header_at(all[1]).unwrap();
    assert_eq!(older.update_seq, 120);
    assert_eq!(older.previous_header(), Some(all[2]));
    assert_eq!(db.header(), before);
    assert_eq!(db.header_at(all[0]).unwrap(), before);
    assert_eq!(db.header_at(all[3]).unwrap().previous_header(), None);
    assert_eq!(db.header_at(BLOCK).unwrap_err().code(), ErrorCode::NO_HEADER);
}

#[test]
fn damaged_headers_are_found_with_their_error() {
    let memory = Memory::default();
    let all = positions(Headers::backward(&sample(&memory)));
    let mut bytes = memory.bytes(NAME);
    bytes[all[1] as usize + 20] ^= 1;
    memory.put(NAME, bytes);
    let db = memory.options().open(NAME).unwrap();
    let found: Vec<_> = Headers::backward(&db).collect();
    assert_eq!(found.iter().map(|found| found.position).collect::<Vec<_>>(), all);
    let damaged: Vec<_> = found.iter().map(|found| found.header.is_err()).collect();
    assert_eq!(damaged, [false, true, false, false]);
    assert_eq!(found[1].header.as_ref().unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
}

#[test]
fn headers_show_changes_that_are_not_committed() {
    let memory = Memory::default();
    let db = sample(&memory);
    db.save(&[Document::new(b"new", b"")], SaveOptions::default()).unwrap();
    db.raise_update_seq(1000);
    db.raise_update_seq(10);
    assert_eq!(db.header().update_seq, 1000);
    assert_eq!(db.header_at(db.header_position()).unwrap().update_seq, 180);
    db.commit().unwrap();
    assert_eq!(memory.options().open(NAME).unwrap().info().unwrap().last_sequence, 1000);
}

// ---- nodes --------------------------------------------------------------------------------------------------------

/// Notes what it is shown, and checks what each node says against what is below it.
#[derive(Default)]
struct Watch {
    /// Nodes that have been entered and not left, with the sum of their sizes so far.
    open: Vec<(u64, u64)>,
    last_key: Vec<u8>,
    documents: Vec<(Vec<u8>, u64)>,
    local: usize,
    depth: usize,
    extents: BTreeSet<(u64, u64)>,
}

impl NodeVisitor for Watch {
    fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
        assert_eq!(child.depth, self.open.len());
        assert_eq!(child.highest_key.is_none(), child.depth == 0);
        assert!(self.open.last().is_none_or(|(parent, _)| child.position < *parent));
        Ok(Visit::Enter)
    }

    fn node(&mut self, node: &Node<'_>) -> Result<()> {
        assert_eq!(node.reduce().unwrap(), node.info.reduce);
        let lies = extent(node.info.position, node.stored_size);
        assert!(self.extents.insert((lies.start, lies.end)));
        self.open.push((node.info.position, node.stored_size));
        self.depth = self.depth.max(node.info.depth + 1);
        for item in node.items() {
            let (key, item) = item.unwrap();
            match item {
                Item::Child(_) => assert!(!node.is_leaf()),
                Item::Document(info) => self.documents.push((info.id.to_vec(), info.db_seq)),
                Item::Local { id, body } => {
                    assert_eq!((id, body), (key, &b"y"[..]));
                    self.local += 1;
                }
            }
            if node.is_leaf() {
                assert!(self.last_key.as_slice() < key);
                self.last_key = key.to_vec();
            }
        }
        Ok(())
    }

    fn leave(&mut self, node: &Node<'_>) -> Result<()> {
        let (position, size) = self.open.pop().unwrap();
        assert_eq!((position, size), (node.info.position, node.info.subtree_size));
        assert!(node.info.highest_key.is_none_or(|key| key == self.last_key));
        if let Some((_, parent)) = self.open.last_mut() {
            *parent += size;
        }
        Ok(())
    }
}

fn watch(db: &Db, tree: Tree) -> Watch {
    let mut watch = Watch::default();
    walk_nodes(db, tree, db.header().root(tree), &mut watch).unwrap();
    assert!(watch.open.is_empty());
    watch
}

#[test]
fn trees_are_shown_node_by_node() {
    let memory = Memory::default();
    let db = sample(&memory);
    let (by_id, by_seq, local) = (watch(&db, Tree::ById), watch(&db, Tree::BySeq), watch(&db, Tree::Local));
    let mut expected = Vec::new();
    let all = ScanOptions::default();
    db.all_docs(b"", all, &mut |info| {
        expected.push((info.id.to_vec(), info.db_seq));
        Ok(())
    })
    .unwrap();
    assert_eq!(by_id.documents, expected);
    expected.sort_by_key(|(_, seq)| *seq);
    assert_eq!(by_seq.documents, expected);
    assert_eq!((by_id.depth, by_seq.depth, local.depth, local.local), (4, 4, 1, 1));
    // No two nodes overlap, whatever trees they belong to.
    let all: Vec<_> = [by_id, by_seq, local].into_iter().flat_map(|watch| watch.extents).collect();
    let sorted: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(sorted.len(), all.len());
    assert!(sorted.iter().zip(sorted.iter().skip(1)).all(|(a, b)| a.1 <= b.0));
}

#[test]
fn roots_tell_the_counts() {
    let memory = Memory::default();
    let db = sample(&memory);
    let (header, info) = (db.header(), db.info().unwrap());
    let counts = DocCounts::parse(&header.root(Tree::ById).unwrap().reduce).unwrap();
    assert_eq!((counts.live, counts.deleted), (info.doc_count, info.deleted_count));
    assert_eq!(parse_count(&header.root(Tree::BySeq).unwrap().reduce).unwrap(), 100);
}

#[test]
fn trees_of_older_headers_are_shown_too() {
    let memory = Memory::default();
    let db = sample(&memory);
    let numbers = |header: &couchstore::inspect::FileHeader| {
        let mut watch = Watch::default();
        walk_nodes(&db, Tree::BySeq, header.root(Tree::BySeq), &mut watch).unwrap();
        watch.documents.len()
    };
    let found: Vec<_> = Headers::backward(&db).map(|found| numbers(&found.header.unwrap())).collect();
    assert_eq!(found, [100, 80, 60, 0]);
}

/// Leaves the children of the root out; counts nodes, and the ones that are damaged if it is tolerant.
#[derive(Default)]
struct Counter {
    skips: bool,
    stops: bool,
    tolerates: bool,
    nodes: usize,
    left: usize,
    damaged: Vec<u64>,
}

impl NodeVisitor for Counter {
    fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
        Ok(if self.skips && child.depth == 1 { Visit::Skip } else { Visit::Enter })
    }

    fn node(&mut self, _: &Node<'_>) -> Result<()> {
        self.nodes += 1;
        if self.stops { Err(Error::Callback(ErrorCode(-4711))) } else { Ok(()) }
    }

    fn leave(&mut self, _: &Node<'_>) -> Result<()> {
        self.left += 1;
        Ok(())
    }

    fn damaged(&mut self, child: &ChildInfo<'_>, error: Error) -> Result<()> {
        self.damaged.push(child.position);
        if self.tolerates { Ok(()) } else { Err(error) }
    }
}

fn count(db: &Db, mut counter: Counter) -> (Result<()>, Counter) {
    let result = walk_nodes(db, Tree::ById, db.header().root(Tree::ById), &mut counter);
    (result, counter)
}

#[test]
fn visitors_skip_and_stop() {
    let memory = Memory::default();
    let db = sample(&memory);
    let (result, all) = count(&db, Counter::default());
    assert!(result.is_ok() && all.nodes > 10 && all.nodes == all.left);
    let (result, skipped) = count(&db, Counter { skips: true, ..Counter::default() });
    assert!(result.is_ok());
    assert_eq!((skipped.nodes, skipped.left), (1, 1));
    let (result, stopped) = count(&db, Counter { stops: true, ..Counter::default() });
    assert_eq!(result.unwrap_err().code(), ErrorCode(-4711));
    assert_eq!((stopped.nodes, stopped.left), (1, 0));
    walk_nodes(&db, Tree::ById, None, &mut Counter { stops: true, ..Counter::default() }).unwrap();
    let header = db.header();
    db.close().unwrap();
    let closed = walk_nodes(&db, Tree::ById, header.root(Tree::ById), &mut Counter::default());
    assert_eq!(closed.unwrap_err().code(), ErrorCode::FILE_CLOSED);
}

#[test]
fn damaged_nodes_are_stepped_over_if_the_visitor_wants_that() {
    let memory = Memory::default();
    let db = sample(&memory);
    let leaf = {
        let mut watch = Watch::default();
        walk_nodes(&db, Tree::ById, db.header().root(Tree::ById), &mut watch).unwrap();
        watch.extents.iter().next().unwrap().0
    };
    let (_, whole) = count(&db, Counter::default());
    let mut bytes = memory.bytes(NAME);
    bytes[leaf as usize + 12] ^= 1;
    memory.put(NAME, bytes);
    let db = memory.options().open(NAME).unwrap();
    let (result, counter) = count(&db, Counter { tolerates: true, ..Counter::default() });
    assert!(result.is_ok());
    assert_eq!((counter.damaged, counter.nodes), (vec![leaf], whole.nodes - 1));
    let (result, _) = count(&db, Counter::default());
    assert_eq!(result.unwrap_err().code(), ErrorCode::CHECKSUM_FAIL);
}

// ---- files that mean harm -----------------------------------------------------------------------------------------

fn forged(mut forge: Forge, root: u64) -> (Memory, Db) {
    forge.header(1, &forge::by_seq_root(root), &forge::by_id_root(root), &forge::local_root(root));
    let memory = Memory::default();
    memory.put(NAME, forge.bytes);
    let db = memory.options().open(NAME).unwrap();
    (memory, db)
}

#[test]
fn malformed_entries_are_shown_once() {
    /// What the items of the only node are.
    struct Items(Vec<bool>);
    impl NodeVisitor for Items {
        fn node(&mut self, node: &Node<'_>) -> Result<()> {
            self.0 = node.items().map(|item| item.is_ok()).collect();
            assert!(node.reduce().is_err());
            Ok(())
        }
    }
    let mut forge = Forge::new();
    let good = (b"a".to_vec(), forge::by_id_value(0, 0));
    let mut plain = vec![1];
    for (key, value) in [&good, &(b"b".to_vec(), b"short".to_vec()), &good] {
        plain.extend(forge::be((key.len() as u64) << 28 | value.len() as u64, 5));
        plain.extend([key.as_slice(), value].concat());
    }
    plain.extend(b"an entry without end");
    let root = forge.raw_node(&plain);
    let (_memory, db) = forged(forge, root);
    let mut items = Items(Vec::new());
    walk_nodes(&db, Tree::ById, db.header().root(Tree::ById), &mut items).unwrap();
    assert_eq!(items.0, [true, false, true, false]);
}

#[test]
fn endless_ways_come_to_an_end() {
    let mut forge = Forge::new();
    let mut below = forge.node(1, &vec![(b"zz".to_vec(), forge::by_id_value(0, 0))]);
    for _ in 0..20 {
        below = forge.node(0, &vec![(b"zz".to_vec(), forge::pointer(below)); 40]);
    }
    let (_memory, db) = forged(forge, below);
    let (result, counter) = count(&db, Counter::default());
    assert_eq!(result.unwrap_err().code(), ErrorCode::CORRUPT);
    assert!(counter.nodes < 1000, "{}", counter.nodes);
}

#[test]
fn a_node_that_points_to_itself_is_damaged() {
    let mut forge = Forge::new();
    let here = forge.position();
    let root = forge.node(0, &vec![(b"zz".to_vec(), forge::pointer(here))]);
    let (_memory, db) = forged(forge, root);
    let (result, counter) = count(&db, Counter { tolerates: true, ..Counter::default() });
    assert!(result.is_ok());
    assert_eq!((counter.nodes, counter.damaged), (1, vec![here]));
}

#[test]
fn sums_of_reduce_values_that_exceed_all_bounds() {
    /// Asks for the reduce value of the root only.
    struct Root(Vec<u8>);
    impl NodeVisitor for Root {
        fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
            Ok(if child.depth == 0 { Visit::Enter } else { Visit::Skip })
        }
        fn node(&mut self, node: &Node<'_>) -> Result<()> {
            self.0 = node.reduce().unwrap();
            Ok(())
        }
    }
    let mut forge = Forge::new();
    let huge = [forge::be(1, 6), forge::be(1, 6), forge::be(16, 2), vec![0xff; 16]].concat();
    let root = forge.node(0, &vec![(b"k".to_vec(), huge); 70_000]);
    let (_memory, db) = forged(forge, root);
    let mut found = Root(Vec::new());
    walk_nodes(&db, Tree::ById, db.header().root(Tree::ById), &mut found).unwrap();
    assert_eq!(found.0.len(), 16);
}

// ---- places and bodies --------------------------------------------------------------------------------------------

#[test]
fn extents_count_the_type_bytes_of_blocks() {
    assert_eq!(extent(100, 50), 100..150);
    assert_eq!(extent(4000, 96), 4000..4096);
    assert_eq!(extent(4000, 97), 4000..4098);
    assert_eq!(extent(4096, 10), 4096..4107);
    assert_eq!(extent(4000, 96 + 4095 + 1), 4000..8194);
    let largest = (1 << 48) - 1;
    assert!(extent(largest, largest).end > largest);
}

#[test]
fn bodies_are_inflated_as_read() {
    let memory = Memory::default();
    let db = sample(&memory);
    db.with_doc_info_by_id(b"id-50", |info| {
        let stored = db.stored_body(info)?;
        assert!(stored.len() < 99);
        assert_eq!(db.inflate_body(info, &stored)?, [7; 99]);
        assert_eq!(db.inflate_body(info, b"").unwrap(), b"");
        let error = db.inflate_body(info, b"no Snappy").unwrap_err();
        assert_eq!(error.code(), ErrorCode::CORRUPT);
        assert!(error.to_string().contains(&format!("offset {}", info.body_position)), "{error}");
        Ok(())
    })
    .unwrap();
}
