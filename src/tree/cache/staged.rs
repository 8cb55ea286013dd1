// SPDX-License-Identifier: Apache-2.0

//! Nodes that were written and are not committed yet, of a handle whose nodes are shared.

use super::grant::Granted;
use super::node::KeptNode;
use super::shared::Share;
use crate::memory;
use std::cell::{Cell, OnceCell};
use std::sync::Arc;

/// Bytes of nodes that wait for a commit, at most.
const MOST: u64 = 4 << 20;
/// Leaves leave so much of it to pointer nodes, which are more often asked for.
const FOR_POINTERS: u64 = 1 << 20;

/// Bytes of the first piece of memory for nodes. Each is as large as all before it, up to a limit.
const FIRST_PIECE: usize = 8 << 10;
const LARGEST_PIECE: usize = 64 << 10;

/// Of so many nodes it is known that they were replaced; those of more go when they have not been used for long.
const MOST_REPLACED: usize = 64 << 10;

/// A node that was written.
struct Written {
    position: u64,
    entries: usize,
    /// Bytes that it takes in the file, without the chunk's prefix.
    stored_size: u64,
    /// Where it is: the piece, the offset in that, and its length.
    at: (usize, usize, usize),
    /// As it is found, if it was asked for.
    kept: OnceCell<Arc<KeptNode>>,
}

/// Nodes by position, in ascending order: what is appended lies behind what was appended before.
///
/// Few are asked for before they are committed. So they wait one behind the other, and what they have replaced gives them its
/// memory then.
#[derive(Default)]
pub(super) struct Staged {
    nodes: Vec<Written>,
    pieces: Vec<Vec<u8>>,
    /// Memory for both, and for those that were asked for.
    bytes: Cell<u64>,
    granted: Granted,
    /// Positions of nodes that others have taken the place of.
    replaced: Vec<u64>,
}

impl Staged {
    pub(super) fn get(&self, position: u64) -> Option<Arc<KeptNode>> {
        let index = self.nodes.binary_search_by_key(&position, |written| written.position).ok()?;
        let written = self.nodes.get(index)?;
        if let Some(kept) = written.kept.get() {
            return Some(kept.clone());
        }
        let kept = Arc::new(KeptNode::of_written(self.node(written), written.entries, written.stored_size)?);
        if self.take(kept.weight()) {
            written.kept.set(kept.clone()).ok()?;
        }
        Some(kept)
    }

    fn node(&self, written: &Written) -> &[u8] {
        let (piece, start, length) = written.at;
        self.pieces.get(piece).and_then(|piece| piece.get(start..start + length)).unwrap_or_default()
    }

    /// Whether there is room for one more leaf.
    pub(super) fn has_room_for_leaves(&self) -> bool {
        self.bytes.get() < MOST - FOR_POINTERS
    }

    /// Adds a node with so many entries, if there is room for it.
    pub(super) fn push(&mut self, position: u64, node: &[u8], entries: usize, stored_size: u64) {
        // A position that comes again was taken back meanwhile: what is behind it is nowhere any more.
        if self.nodes.last().is_some_and(|written| written.position >= position) {
            self.give_up();
        }
        let has_room = self.has_room_for(node.len()) && self.take(size_of::<Written>() as u64);
        if !has_room || memory::reserve(&mut self.nodes, 1).is_err() {
            return;
        }
        let index = self.pieces.len().saturating_sub(1);
        let Some(piece) = self.pieces.last_mut() else { return };
        let at = (index, piece.len(), node.len());
        piece.extend_from_slice(node);
        self.nodes.push(Written { position, entries, stored_size, at, kept: OnceCell::new() });
    }

    /// Counts so much memory, if there is room for it.
    fn take(&self, bytes: u64) -> bool {
        let bytes = self.bytes.get() + bytes;
        if bytes > MOST {
            return false;
        }
        let more = bytes.saturating_sub(self.granted.bytes());
        if more > 0 && !self.granted.ask_for(more) {
            return false;
        }
        self.bytes.set(bytes);
        true
    }

    /// Whether the last piece has room for a node of this length; takes another one if need be.
    fn has_room_for(&mut self, length: usize) -> bool {
        if self.pieces.last().is_some_and(|piece| piece.capacity() - piece.len() >= length) {
            return true;
        }
        let so_far: usize = self.pieces.iter().map(Vec::capacity).sum();
        let size = so_far.clamp(FIRST_PIECE, LARGEST_PIECE).max(length);
        let mut piece = Vec::new();
        self.take(size as u64)
            && memory::reserve_exact(&mut piece, size).is_ok()
            && memory::push(&mut self.pieces, piece).is_ok()
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
        let mut staged = std::mem::take(self);
        let replaced = std::mem::take(&mut staged.replaced);
        // Most were committed before; few are of this transaction.
        let first = staged.nodes.first().map_or(u64::MAX, |written| written.position);
        let mut removed =
            replaced.iter().filter(|&&position| position < first).map(|&position| share.remove(position));
        let own = memory::collect(replaced.iter().copied().filter(|&position| position >= first));
        // Without memory for those none is handed over.
        let (mut own, nodes) = own.map_or((Vec::new(), &[][..]), |own| (own, &staged.nodes[..]));
        own.sort_unstable();
        for written in nodes {
            if own.binary_search(&written.position).is_ok() {
                continue;
            }
            let kept = written.kept.get().cloned();
            let kept = kept.or_else(|| staged.keep(written, removed.next().flatten()));
            if let Some(kept) = kept {
                share.insert(written.position, kept);
            }
        }
        removed.for_each(drop);
    }

    /// A node as it is kept, in the memory of one that is not, if that is nobody else's and of the right size.
    fn keep(&self, written: &Written, memory: Option<Arc<KeptNode>>) -> Option<Arc<KeptNode>> {
        let Written { entries, stored_size, .. } = *written;
        let node = self.node(written);
        if let Some(mut memory) = memory
            && Arc::get_mut(&mut memory).is_some_and(|old| old.renew(node, entries, stored_size))
        {
            return Some(memory);
        }
        KeptNode::of_written(node, entries, stored_size).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::grant::Pool;
    use super::super::node::Node;
    use super::*;
    use crate::format::node::NodeKind;

    #[test]
    fn what_was_taken_back_is_not_found() {
        let sizes = |staged: &Staged| {
            [10, 20, 30].map(|position| staged.get(position).map_or(0, |node| node.stored_size()))
        };
        let push = |staged: &mut Staged, position, stored_size| {
            staged.push(position, &[NodeKind::Leaf as u8], 0, stored_size);
        };
        let mut staged = Staged::default();
        for (position, size) in [(10, 1), (20, 2), (30, 3)] {
            push(&mut staged, position, size);
        }
        assert_eq!(sizes(&staged), [1, 2, 3]);
        push(&mut staged, 20, 4);
        assert_eq!(sizes(&staged), [0, 4, 0]);
        push(&mut staged, 30, 5);
        assert_eq!(sizes(&staged), [0, 4, 5]);
        push(&mut staged, 30, 6);
        assert_eq!(sizes(&staged), [0, 0, 6]);
        staged.give_up();
        assert_eq!(sizes(&staged), [0, 0, 0]);
    }

    /// A node that is told from others by what is in it.
    fn node(number: u64, length: usize) -> Vec<u8> {
        let mut node = vec![NodeKind::Interior as u8];
        crate::format::node::push_entry(&mut node, &number.to_be_bytes(), &vec![number as u8; length]);
        node
    }

    #[test]
    fn nodes_wait_one_behind_the_other() {
        let mut staged = Staged { granted: Granted::of(&POOL), ..Staged::default() };
        // Some are longer than a piece of memory.
        let length =
            |number: u64| if number % 50 == 49 { LARGEST_PIECE + 9 } else { number as usize * 7 % 3000 };
        for number in 0..400 {
            staged.push(number * 10, &node(number, length(number)), 1, number);
            assert!(staged.get(number * 10 + 1).is_none());
        }
        for _ in 0..2 {
            for number in 0..400 {
                let found = Node::Kept(staged.get(number * 10).unwrap());
                assert!(found[..] == node(number, length(number)), "{number}");
            }
        }
        // Asked for once more it is the same one.
        assert!(Arc::ptr_eq(&staged.get(70).unwrap(), &staged.get(70).unwrap()));
    }

    static POOL: Pool = Pool::new(MOST);

    #[test]
    fn what_waits_has_a_bound() {
        let mut staged = Staged { granted: Granted::of(&BOUNDED), ..Staged::default() };
        let mut held = 0;
        for number in 0..10_000 {
            staged.push(number, &node(number, 990), 1, number);
            held += usize::from(staged.get(number).is_some());
            let memory: usize = staged.pieces.iter().map(Vec::capacity).sum();
            assert!(memory as u64 <= staged.bytes.get() && staged.bytes.get() <= MOST, "{number}");
        }
        assert!(held > 1000 && !staged.has_room_for_leaves());
        // Nor more than the handles of a process may have.
        let mut other = Staged { granted: Granted::of(&BOUNDED), ..Staged::default() };
        other.push(1, &node(1, 10), 1, 1);
        assert!(other.get(1).is_none());
        staged.give_up();
    }

    static BOUNDED: Pool = Pool::new(MOST);
}
