// SPDX-License-Identifier: Apache-2.0

//! `couch_check` and `couch_dbck` on files that mean harm: they come to an end, and the recovered file is sound.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::checked::problems_with;
use common::forge::{Entry, Forge, Pointer, be};
use common::place::Place;
use couchstore::inspect::Tree;

/// Gives the file three roots that point to the same node; there is something to say about it.
fn expect(mut forge: Forge, root: &Pointer) -> (Vec<String>, serde_json::Value) {
    let with_reduce = |length: usize| Pointer { reduce: vec![0xff; length], ..root.clone() };
    forge.header(1000, Some(&with_reduce(5)), Some(&with_reduce(16)), Some(&with_reduce(0)));
    let found = problems_with(&forge, &["-a", "--max-problems", "100000"]);
    assert!(!found.is_empty());
    let (summary, _) = Place::with(&forge.bytes).recover(&["--stale"]);
    (found, summary)
}

#[test]
fn endless_ways() {
    let mut forge = Forge::new();
    let mut below = forge.leaf(Tree::BySeq, &[&Entry::deletion("x", 1)]);
    for _ in 0..20 {
        below = forge.interior(Tree::BySeq, &[&below; 40]);
    }
    let (found, _) = expect(forge, &below);
    assert!(found.iter().any(|problem| problem.contains("not larger than the file in sum")), "{found:?}");
}

#[test]
fn a_node_that_points_to_itself() {
    let mut forge = Forge::new();
    let mut itself = forge.leaf(Tree::BySeq, &[&Entry::deletion("x", 1)]);
    itself.position = forge.position();
    let root = forge.interior(Tree::BySeq, &[&itself]);
    assert_eq!(root.position, itself.position);
    let (found, summary) = expect(forge, &root);
    assert!(found.iter().any(|problem| problem.contains("before its parent")), "{found:?}");
    assert_eq!(summary["recovered"], 0);
}

#[test]
fn a_chain_of_a_thousand_levels() {
    let mut forge = Forge::new();
    let mut below = forge.leaf(Tree::BySeq, &[&Entry::deletion("x", 1)]);
    for _ in 0..1000 {
        below = forge.interior(Tree::BySeq, &[&below]);
    }
    let (found, _) = expect(forge, &below);
    assert!(
        found.iter().any(|problem| problem.contains("expected a tree of at most 200 levels")),
        "{found:?}"
    );
}

#[test]
fn a_wide_root_over_one_leaf() {
    let mut forge = Forge::new();
    let many: Vec<_> = (0..20_000).map(|_| Entry::deletion("x", 1)).collect();
    let leaf = forge.leaf(Tree::BySeq, &many.iter().collect::<Vec<_>>());
    let root = forge.interior(Tree::BySeq, &vec![&leaf; 5000]);
    let (_, summary) = expect(forge, &root);
    // Read by sequence it is one document, over and over again.
    assert_eq!(summary["lost"], (1_u64 << 41) - 2 - summary["recovered"].as_u64().unwrap());
}

#[test]
fn chunks_that_claim_gigabytes() {
    let mut forge = Forge::new();
    let node = forge.leaf(Tree::BySeq, &[&Entry::deletion("x", 1)]);
    let length = node.position as usize + 1;
    forge.bytes[length..length + 4].copy_from_slice(&be(0xffff_ffff, 4));
    let (found, summary) = expect(forge, &node);
    assert!(found.iter().any(|problem| problem.contains("the file ends before")), "{found:?}");
    assert_eq!(summary["damaged"]["nodes"], 2);
}
