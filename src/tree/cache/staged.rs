// SPDX-License-Identifier: Apache-2.0

//! Nodes that were written and are not committed yet, of a handle whose nodes are shared.

use super::grant::Granted;
use super::node::KeptNode;
use super::shared::Share;
use std::sync::Arc;

/// Bytes of nodes that wait for a commit, at most.
const MOST: u64 = 4 << 20;
/// Leaves leave so much of it to pointer nodes, which are more often asked for.
const FOR_POINTERS: u64 = 1 << 20;

/// Of so many nodes it is known that they were replaced; those of more go when they have not been used for long.
const MOST_REPLACED: usize = 64 << 10;

/// Nodes by position, in ascending order: what is appended lies behind what was appended before.
#[derive(Default)]
pub(super) struct Staged {
    nodes: Vec<(u64, Arc<KeptNode>)>,
    bytes: u64,
    granted: Granted,
    /// Positions of nodes that others have taken the place of.
    replaced: Vec<u64>,
}

impl Staged {
    pub(super) fn get(&self, position: u64) -> Option<Arc<KeptNode>> {
        let index = self.nodes.binary_search_by_key(&position, |&(at, _)| at).ok()?;
        self.nodes.get(index).map(|(_, node)| node.clone())
    }

    /// Whether there is room for one more leaf.
    pub(super) fn has_room_for_leaves(&self) -> bool {
        self.bytes < MOST - FOR_POINTERS
    }

    /// Adds a node, if there is room for it.
    pub(super) fn push(&mut self, position: u64, node: Arc<KeptNode>) {
        // A position that comes again was taken back meanwhile: what is behind it is nowhere any more.
        if self.nodes.last().is_some_and(|&(at, _)| at >= position) {
            self.give_up();
        }
        let bytes = self.bytes + node.weight();
        if bytes > MOST || bytes > self.granted.bytes() && !self.granted.ask_for_more() {
            return;
        }
        self.bytes += node.weight();
        self.nodes.push((position, node));
    }

    /// Nothing of it is going to be committed.
    pub(super) fn give_up(&mut self) {
        *self = Staged::default();
    }

    /// Another node takes the place of this one.
    pub(super) fn note_replaced(&mut self, position: u64) {
        if self.replaced.len() < MOST_REPLACED {
            self.replaced.push(position);
        }
    }

    /// They are committed: from now on they are shared, and those that they have replaced make room for them.
    pub(super) fn hand_over(&mut self, share: &Share) {
        let Staged { nodes, mut replaced, .. } = std::mem::take(self);
        for &position in &replaced {
            share.remove(position);
        }
        // Most were committed before; few are of this transaction.
        let first = nodes.first().map_or(u64::MAX, |&(position, _)| position);
        replaced.retain(|&position| position >= first);
        replaced.sort_unstable();
        for (position, node) in nodes {
            if replaced.binary_search(&position).is_err() {
                share.insert(position, node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::node::NodeKind;

    #[test]
    fn what_was_taken_back_is_not_found() {
        let node =
            |stored_size| Arc::new(KeptNode::of_written(&[NodeKind::Leaf as u8], 0, stored_size).unwrap());
        let sizes = |staged: &Staged| {
            [10, 20, 30].map(|position| staged.get(position).map_or(0, |node| node.stored_size()))
        };
        let mut staged = Staged::default();
        for (position, size) in [(10, 1), (20, 2), (30, 3)] {
            staged.push(position, node(size));
        }
        assert_eq!(sizes(&staged), [1, 2, 3]);
        staged.push(20, node(4));
        assert_eq!(sizes(&staged), [0, 4, 0]);
        staged.push(30, node(5));
        assert_eq!(sizes(&staged), [0, 4, 5]);
        staged.push(30, node(6));
        assert_eq!(sizes(&staged), [0, 0, 6]);
        staged.give_up();
        assert_eq!(sizes(&staged), [0, 0, 0]);
    }
}
