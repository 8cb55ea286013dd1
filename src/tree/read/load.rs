// SPDX-License-Identifier: Apache-2.0

//! Nodes that are going to be read at once, and when they are enough.

use crate::error::Result;
use crate::format::chunk::PREFIX;
use crate::format::node::{ChildPointer, compare_keys, entry_at};
use crate::io::buffered::{GAP, MOST_AHEAD};
use crate::memory;

/// Nodes of a plan take about as much in the file. They are read with what is between them, which is no more than
/// [`MOST_AHEAD`].
const ENOUGH: u64 = 112 << 10;
/// Leaves with no more than this between them are read as one even by those who do not want what is there: with each page of
/// the file there comes one of them. Those who do want it read as one all that is read as one anyway.
const NEAR: u64 = 4 << 10;
/// So many leaves in order in the file are not so by chance.
const IN_ORDER: usize = 4;

/// Nodes that are to be read at once, in the order of their keys.
#[derive(Default)]
pub(super) struct Load {
    /// Their positions and sizes.
    nodes: Vec<(u64, u64)>,
    /// What they take in the file, with what is between near ones; for pointer nodes with all that is below them.
    length: u64,
    /// Where the last one ends.
    end: Option<u64>,
    /// The highest of all keys below them.
    highest: Vec<u8>,
    near: u64,
    with_bodies: bool,
    /// No more than so many.
    most: usize,
}

impl Load {
    /// None yet.
    pub(super) fn of_leaves(with_bodies: bool) -> Load {
        let near = if with_bodies { GAP } else { NEAR };
        Load { near, with_bodies, most: usize::MAX, ..Load::default() }
    }

    /// None yet, and up to `most`, below which there are leaves for a plan that has `length` bytes already.
    pub(super) fn of_pointers(most: usize, length: u64) -> Load {
        Load { length, most, ..Load::default() }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn highest(&self) -> &[u8] {
        &self.highest
    }

    /// One of the nodes has this highest key.
    pub(super) fn note_key(&mut self, key: &[u8]) {
        if compare_keys(key, &self.highest).is_gt() {
            self.highest.clear();
            self.highest.extend_from_slice(key);
        }
    }

    pub(super) fn into_nodes(self) -> Vec<(u64, u64)> {
        self.nodes
    }

    pub(super) fn has_enough(&self) -> bool {
        self.length >= ENOUGH || self.nodes.len() >= self.most
    }

    pub(super) fn add(&mut self, child: &ChildPointer<'_>) -> Result<()> {
        let ChildPointer { position, subtree_size: size, .. } = *child;
        let between =
            self.end.and_then(|end| position.checked_sub(end)).filter(|between| *between <= self.near);
        let size = size.max(PREFIX as u64);
        self.length = self.length.saturating_add(between.unwrap_or(0)).saturating_add(size);
        self.end = Some(position.saturating_add(size));
        memory::push(&mut self.nodes, (position, size))
    }

    /// Whether there are bodies before this leaf that will be read before it, and this with them. `node` has others behind it,
    /// from byte `next` on: if they are not in order, it stands there by chance.
    pub(super) fn comes_with_bodies(&self, leaf: &ChildPointer<'_>, node: &[u8], next: usize) -> bool {
        let leads_on =
            |end: u64, position: u64| position.checked_sub(end).is_some_and(|gap| gap <= MOST_AHEAD);
        let Some(end) = self.end.filter(|_| self.with_bodies) else { return false };
        if leaf.position.saturating_sub(end) <= self.near || !leads_on(end, leaf.position) {
            return false;
        }
        let (mut offset, mut end) = (next, leaf.position.saturating_add(leaf.subtree_size));
        for _ in 1..IN_ORDER {
            let Ok(Some((entry, next))) = entry_at(node, offset) else { break };
            let Ok(child) = ChildPointer::parse(entry.value) else { break };
            if !leads_on(end, child.position) {
                return false;
            }
            (offset, end) = (next, child.position.saturating_add(child.subtree_size));
        }
        true
    }
}
