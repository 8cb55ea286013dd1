// SPDX-License-Identifier: Apache-2.0

//! A node as it is kept, and a node as a traversal holds it.

use crate::format::Malformed;
use crate::format::node::{NodeKind, Sought, compare_keys, entry_at};
use crate::memory::{self, Room};
use crate::prefetch::prefetch;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// An inflated node whose structure is known: entries up to its end.
#[derive(Debug)]
pub(crate) struct KeptNode {
    bytes: Vec<u8>,
    kind: NodeKind,
    /// Number of its entries.
    entries: usize,
    /// Where they begin: found when a key is sought for the first time, as many nodes take another one's place before that.
    offsets: OnceLock<Box<[u32]>>,
    /// Bytes that it takes in the file, without the chunk's prefix.
    stored_size: u64,
}

/// Most nodes are no longer.
const USUAL_NODE: usize = 1280;

/// What a node costs in tables beside its own memory, about, with what is remembered of nodes that had to go.
const OVERHEAD: usize = 96;

impl KeptNode {
    /// Of an inflated node. `None`: its structure is not such that it can be kept; whoever goes through its entries meets what
    /// is wrong with it.
    pub(super) fn new(node: &[u8], stored_size: u64) -> Option<KeptNode> {
        let (kind, offsets) = offsets_of(node)?;
        let entries = offsets.len();
        Some(KeptNode {
            bytes: memory::copy(node).ok()?,
            kind,
            entries,
            offsets: offsets.into(),
            stored_size,
        })
    }

    /// Becomes another node, which was just written, in the same memory. False: that is too small or much too large, and nothing
    /// has changed.
    pub(super) fn renew(&mut self, node: &[u8], entries: usize, stored_size: u64) -> bool {
        let room = self.bytes.capacity();
        if room < node.len() || room - node.len() > room / 4 {
            return false;
        }
        let Ok(kind) = NodeKind::of(node) else { return false };
        (self.kind, self.entries, self.stored_size) = (kind, entries, stored_size);
        self.bytes.clear();
        self.bytes.extend_from_slice(node);
        self.offsets = OnceLock::new();
        true
    }

    /// Of a node that was just written, with so many entries. `None`: it is too large.
    pub(super) fn of_written(node: &[u8], entries: usize, stored_size: u64) -> Option<KeptNode> {
        let kind = NodeKind::of(node).ok()?;
        u32::try_from(node.len()).ok()?;
        Some(KeptNode {
            bytes: memory::copy(node).ok()?,
            kind,
            entries,
            offsets: OnceLock::new(),
            stored_size,
        })
    }

    /// It is about to be read. Of many nodes each stands anywhere in memory, and looking for a key would wait for each part of it
    /// that it comes to.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(&self.bytes, USUAL_NODE);
    }

    pub(crate) fn kind(&self) -> NodeKind {
        self.kind
    }

    pub(crate) fn stored_size(&self) -> u64 {
        self.stored_size
    }

    /// Bytes of memory that keeping it takes.
    pub(super) fn weight(&self) -> u64 {
        let own = self.bytes.capacity() + self.entries * size_of::<u32>();
        (own + size_of::<KeptNode>() + OVERHEAD) as u64
    }

    /// Where its entries begin. None: their keys are not in order, since some were taken over from a damaged node.
    fn offsets(&self) -> &[u32] {
        self.offsets.get_or_init(|| offsets_of(&self.bytes).map(|(_, offsets)| offsets).unwrap_or_default())
    }

    /// Offset of the first entry at or behind byte `from` with a key of at least `key`; the node's end if there is none.
    fn seek(&self, from: usize, key: &[u8]) -> usize {
        let sought = Sought::new(key);
        let offsets = self.offsets();
        if offsets.is_empty() {
            return sought.find(&self.bytes, from).map_or(self.bytes.len(), |spot| spot.at);
        }
        let (mut low, mut high) = (0, offsets.len());
        if from > 1 {
            low = offsets.partition_point(|&offset| (offset as usize) < from);
        }
        // By hand, so that nothing is called at each step.
        let mut found = self.bytes.len();
        while low < high {
            let middle = low + (high - low) / 2;
            let Some(&offset) = offsets.get(middle) else { break };
            if sought.is_above(&self.bytes, offset as usize) {
                low = middle + 1;
            } else {
                (high, found) = (middle, offset as usize);
            }
        }
        found
    }
}

/// Kind and offsets of the entries, if all is as it should be.
fn offsets_of(bytes: &[u8]) -> Option<(NodeKind, Box<[u32]>)> {
    let kind = NodeKind::of(bytes).ok()?;
    u32::try_from(bytes.len()).ok()?;
    let (mut count, mut offset, mut last_key) = (0, 1, &[][..]);
    while let Some((entry, behind)) = entry_at(bytes, offset).ok()? {
        if compare_keys(entry.key, last_key).is_lt() {
            return None;
        }
        count += 1;
        (offset, last_key) = (behind, entry.key);
    }
    // Counted first, so that they are in one piece of memory from the beginning.
    let mut offsets = Vec::new();
    memory::reserve_exact(&mut offsets, count).ok()?;
    offset = 1;
    while let Ok(Some((_, behind))) = entry_at(bytes, offset) {
        offsets.push(offset as u32);
        offset = behind;
    }
    Some((kind, offsets.into_boxed_slice()))
}

/// A node in the hands of a traversal.
#[derive(Debug)]
pub(crate) enum Node {
    /// It was read just for this.
    Read(Room),
    Kept(Arc<KeptNode>),
}

impl Node {
    /// Offset of the first entry at or behind byte `from` with a key of at least `key`; the node's end if there is none.
    #[inline]
    pub(crate) fn seek(&self, from: usize, key: &[u8]) -> Result<usize, Malformed> {
        match self {
            Node::Read(bytes) => Sought::new(key).find(bytes, from).map(|spot| spot.at),
            Node::Kept(node) => Ok(node.seek(from, key)),
        }
    }

    /// Its memory, for another one; none if it is kept.
    pub(crate) fn into_memory(self) -> Room {
        match self {
            Node::Read(bytes) => bytes,
            Node::Kept(_) => Room::default(),
        }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node::Read(Room::default())
    }
}

impl Deref for Node {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Node::Read(bytes) => bytes,
            Node::Kept(node) => &node.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::node::push_entry;

    fn node_of(keys: &[&str]) -> Vec<u8> {
        let mut node = vec![NodeKind::Leaf as u8];
        for key in keys {
            push_entry(&mut node, key.as_bytes(), b"value");
        }
        node
    }

    fn key_found(node: &[u8], offset: usize) -> Option<&[u8]> {
        entry_at(node, offset).unwrap().map(|(entry, _)| entry.key)
    }

    #[test]
    fn seeking_finds_the_first_of_the_entries_that_going_through_them_finds() {
        let bytes = node_of(&["b", "d", "d", "f"]);
        let written = KeptNode::of_written(&bytes, 4, 0).unwrap();
        for node in [KeptNode::new(&bytes, 0).unwrap(), written] {
            all_seeks_of(&bytes, &node);
        }
    }

    #[test]
    fn memory_of_one_node_becomes_another_one() {
        let mut node = KeptNode::new(&node_of(&["a", "c", "e", "g"]), 1).unwrap();
        let bytes = node_of(&["b", "d", "dd"]);
        for number in 0..2 {
            assert!(node.renew(&bytes, 3, 2 + number));
            assert_eq!(node.stored_size(), 2 + number);
            all_seeks_of(&bytes, &node);
        }
        // Neither larger nodes nor such as would waste it.
        let whole = KeptNode::new(&node_of(&["a", "c", "e", "g"]), 1).unwrap().weight();
        assert!(
            !node.renew(&node_of(&["a", "c", "e", "gg"]), 4, 9) && !node.renew(&node_of(&["a", "b"]), 2, 9)
        );
        assert_eq!((&node.bytes, node.stored_size()), (&bytes, 3));
        assert!(node.renew(&node_of(&["a", "c", "e", "h"]), 4, 4));
        assert_eq!(node.weight(), whole);
    }

    #[test]
    fn what_was_taken_over_from_a_damaged_node_is_sought_in_its_order() {
        let bytes = node_of(&["b", "f", "d", "d"]);
        all_seeks_of(&bytes, &KeptNode::of_written(&bytes, 4, 0).unwrap());
    }

    fn all_seeks_of(bytes: &[u8], node: &KeptNode) {
        for key in ["", "a", "b", "c", "d", "e", "f", "g"] {
            let mut from = 1;
            loop {
                let mut expected = from;
                while key_found(bytes, expected).is_some_and(|found| found < key.as_bytes()) {
                    expected = entry_at(bytes, expected).unwrap().unwrap().1;
                }
                assert_eq!(node.seek(from, key.as_bytes()), expected, "{key} from {from}");
                let Some((_, behind)) = entry_at(bytes, from).unwrap() else { break };
                from = behind;
            }
        }
    }

    #[test]
    fn what_is_out_of_order_or_cut_is_not_kept() {
        assert!(KeptNode::new(&node_of(&["b", "a"]), 0).is_none());
        let whole = node_of(&["a", "b"]);
        for length in 0..whole.len() {
            let cut = whole.get(..length).unwrap();
            let ends_with_an_entry = length == 1 || length == node_of(&["a"]).len();
            assert_eq!(KeptNode::new(cut, 0).is_some(), ends_with_an_entry);
        }
        assert!(KeptNode::new(&[7], 0).is_none());
    }

    #[test]
    fn memory_that_is_not_needed_is_not_kept() {
        let mut bytes = Vec::with_capacity(10_000);
        bytes.extend(node_of(&["a"]));
        assert!(KeptNode::new(&bytes, 0).unwrap().weight() < 400);
    }
}
