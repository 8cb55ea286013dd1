// SPDX-License-Identifier: Apache-2.0

//! Gathers entries and writes them as nodes of the right size.

use super::cache::file::TreeFile;
use super::reduce::{Limit, Summed, Sums};
use super::{NodeSizes, TreeKind};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_U48, MAX_VALUE, put_u12_u28};
use crate::format::node::{
    ChildPointer, ENTRY_PREFIX, NodeKind, POINTER_FIXED, entry_at, key_at, put_pointer,
};
use crate::memory;

/// Sizes of subtrees are stored in 48 bits; this leaves room for the node above. Only pointers that lie say more.
const LARGEST_SUBTREE: u64 = MAX_U48 - (1 << 32);

/// A changed node that is too large is only split if it has more entries than this.
const MOST_UNSPLIT: usize = 3;

/// Pointers to written nodes, as entries of the node above: encoded one behind the other.
#[derive(Default)]
pub(super) struct Pointers {
    bytes: Vec<u8>,
}

impl Pointers {
    /// Bytes that they take: a place to come back to.
    pub(super) fn end(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Those behind this place.
    pub(super) fn behind(&self, place: usize) -> &[u8] {
        self.bytes.get(place..).unwrap_or_default()
    }

    /// Drops those behind this place.
    pub(super) fn go_back_to(&mut self, place: usize) {
        self.bytes.truncate(place);
    }

    /// The key of the first.
    #[inline]
    pub(super) fn first_key(&self) -> Option<&[u8]> {
        (!self.is_empty()).then(|| key_at(&self.bytes, 0))
    }

    /// The only pointer, as what can be a root; `None` if there are more or none.
    pub(super) fn only(&self) -> Option<NodeRef> {
        let (entry, _) = entry_at(&self.bytes, 0).ok()?.filter(|&(_, behind)| behind == self.end())?;
        let ChildPointer { position, subtree_size, reduce } = ChildPointer::parse(entry.value).ok()?;
        Some(NodeRef { position, subtree_size, reduce: reduce.into() })
    }
}

/// Pending entries of one level of a tree.
pub(super) struct NodeWriter<'a> {
    file: &'a TreeFile,
    tree: TreeKind,
    kind: NodeKind,
    threshold: usize,
    two_thirds: usize,
    /// The node as it would be written now: kind, then entries.
    node: Vec<u8>,
    /// Where the entry begins that was pushed last; 0: none is pending.
    last: usize,
    /// Where the node is that entries are taken over from.
    source: Option<u64>,
}

impl<'a> NodeWriter<'a> {
    /// A writer that begins with this memory. `source`: where the node is that entries are taken over from.
    pub(super) fn new(
        file: &'a TreeFile,
        tree: TreeKind,
        kind: NodeKind,
        sizes: NodeSizes,
        (memory, source): (Vec<u8>, Option<u64>),
    ) -> Self {
        let mut node = memory;
        node.clear();
        node.push(kind as u8);
        let threshold = match kind {
            NodeKind::Interior => sizes.interior,
            NodeKind::Leaf => sizes.leaf,
        };
        NodeWriter { file, tree, kind, threshold, two_thirds: threshold * 2 / 3, node, last: 0, source }
    }

    /// Its memory, for another one.
    pub(super) fn into_memory(self) -> Vec<u8> {
        self.node
    }

    /// Adds an entry; keys come in ascending order.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.push_with(key.len(), value.len(), |node| {
            node.extend_from_slice(key);
            node.extend_from_slice(value);
        })
    }

    /// Adds an entry whose key and value, of these lengths, are appended by `put`.
    #[inline]
    pub(super) fn push_with(
        &mut self,
        key_length: usize,
        value_length: usize,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<()> {
        if key_length > MAX_KEY || value_length > MAX_VALUE {
            return Err(Error::InvalidArguments(
                "expected a key of at most 4095 bytes and a value below 2^28 bytes",
            ));
        }
        memory::reserve(&mut self.node, ENTRY_PREFIX + key_length + value_length)?;
        self.last = self.node.len();
        put_u12_u28(&mut self.node, key_length, value_length);
        put(&mut self.node);
        Ok(())
    }

    /// Adds encoded entries: neighbours of another node, or [`Pointers`]. What is wrong with them is found when they are
    /// written.
    pub(super) fn put(&mut self, entries: &[u8]) -> Result<()> {
        memory::reserve(&mut self.node, entries.len())?;
        self.node.extend_from_slice(entries);
        Ok(())
    }

    /// Adds these pointers one by one, and writes whenever enough of them have come together: [`NodeWriter::is_filled`].
    pub(super) fn fill_with(&mut self, pointers: &Pointers, out: &mut Pointers) -> Result<()> {
        let mut offset = 0;
        while let Ok(Some((entry, behind))) = entry_at(&pointers.bytes, offset) {
            self.push(entry.key, entry.value)?;
            offset = behind;
            if self.is_filled() {
                self.write_rest(out)?;
            }
        }
        Ok(())
    }

    /// The key that was pushed last, if it is pending.
    #[inline]
    pub(super) fn last_key(&self) -> Option<&[u8]> {
        (self.last > 0).then(|| key_at(&self.node, self.last))
    }

    /// The pending entries without the one that was pushed last, which is at hand: the bytes of the node.
    pub(super) fn before_last(&self) -> &[u8] {
        self.node.get(..self.last).unwrap_or_default()
    }

    /// Drops the entry that was pushed last, if it is pending. Until the next one is pushed it is not known which is the
    /// last.
    pub(super) fn take_back_last(&mut self) -> bool {
        let is_pending = self.last > 0;
        if is_pending {
            self.node.truncate(self.last);
            self.last = 0;
        }
        is_pending
    }

    /// Takes up what [`NodeWriter::before_last`] was once; nothing is pending.
    pub(super) fn resume(&mut self, before_last: &[u8]) {
        self.node.clear();
        self.node.extend_from_slice(before_last);
    }

    /// Gives its memory back if it is more than this; nothing is pending.
    pub(super) fn let_go_if_larger(&mut self, most: usize) {
        if self.node.capacity() > most {
            self.node = vec![self.kind as u8];
        }
    }

    /// Fewest entries of a node: a pointer node with one child only would add a level for nothing.
    fn fewest(&self) -> usize {
        match self.kind {
            NodeKind::Interior => 2,
            NodeKind::Leaf => 1,
        }
    }

    /// Whether the entries from byte `start` on are more than a node should have.
    #[inline]
    fn is_large(&self, start: usize) -> Result<bool> {
        Ok(self.node.len() - start > self.threshold && self.has_more_than(MOST_UNSPLIT, start)?)
    }

    #[inline(never)]
    fn has_more_than(&self, count: usize, start: usize) -> Result<bool> {
        let mut offset = start;
        for _ in 0..=count {
            match entry_at(&self.node, offset).map_err(|rule| self.malformed(rule))? {
                Some((_, behind)) => offset = behind,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// The rule for changed nodes: with more than [`MOST_UNSPLIT`] entries over the threshold, nodes of at least two
    /// thirds of it are written from the front.
    #[inline]
    pub(super) fn split_if_large(&mut self, out: &mut Pointers) -> Result<()> {
        if self.is_large(1)? { self.split(out) } else { Ok(()) }
    }

    // Seldom needed: by itself, so that whether it is becomes a part of whoever asks.
    #[inline(never)]
    fn split(&mut self, out: &mut Pointers) -> Result<()> {
        // What is written is dropped once, at the end.
        let mut start = 1;
        while self.is_large(start)? {
            let limit = Limit { enough: start + self.two_thirds, fewest: self.fewest() };
            start = self.write_slice(start, limit, out)?;
        }
        self.node.drain(1..start);
        Ok(())
    }

    /// The rule for bulk building: a node is written as soon as it is over two thirds of the threshold. Entries were pushed
    /// one by one.
    #[inline]
    pub(super) fn is_filled(&self) -> bool {
        let is_enough = match self.kind {
            NodeKind::Interior => self.last > 1,
            NodeKind::Leaf => self.last > 0,
        };
        is_enough && self.node.len() - 1 > self.two_thirds
    }

    /// Writes all pending entries, if any, as one node.
    pub(super) fn write_rest(&mut self, out: &mut Pointers) -> Result<()> {
        if self.node.len() > 1 {
            self.write_slice(1, Limit::NONE, out)?;
            self.node.truncate(1);
            self.last = 0;
        }
        Ok(())
    }

    /// Writes a node of the entries that begin at byte `start`, up to the `limit`; returns the byte behind them.
    fn write_slice(&mut self, start: usize, limit: Limit, out: &mut Pointers) -> Result<usize> {
        let summed = self.tree.sum(self.kind, &self.node, start, limit);
        let Summed { mut sums, count, last, end } = summed.map_err(|rule| self.malformed(rule))?;
        if sums.below > LARGEST_SUBTREE {
            return self.file.with(|file| Err(file.too_big(file.end())));
        }
        // The byte before the entries is not needed any more: it ends one that is written.
        if let Some(kind) = start.checked_sub(1).and_then(|before| self.node.get_mut(before)) {
            *kind = self.kind as u8;
        }
        let node = self.node.get(start - 1..end).unwrap_or_default();
        let chunk = self.file.append_node(node, self.kind, count)?;
        sums.below += chunk.size;
        self.point_to(chunk.position, key_at(&self.node, last), &sums, out)?;
        Ok(end)
    }

    /// Adds the pointer to the node at `position`, with this highest key.
    fn point_to(&self, position: u64, key: &[u8], sums: &Sums, out: &mut Pointers) -> Result<()> {
        let reduce_length = self.tree.reduce_length();
        let value_length = POINTER_FIXED + reduce_length;
        memory::reserve(&mut out.bytes, ENTRY_PREFIX + key.len() + value_length)?;
        put_u12_u28(&mut out.bytes, key.len(), value_length);
        out.bytes.extend_from_slice(key);
        put_pointer(&mut out.bytes, position, sums.below, reduce_length);
        self.tree.put_reduce(sums, &mut out.bytes);
        Ok(())
    }

    /// An entry was carried over from a damaged node.
    fn malformed(&self, rule: Malformed) -> Error {
        self.file.malformed(self.source.unwrap_or_else(|| self.file.end()), rule)
    }

    /// Hands the only pending entry on as a pointer to what can be a root. False if there are more or fewer, or if it
    /// was carried over from a damaged file: a header has no room for just any reduce value.
    pub(super) fn take_only_child(&mut self, out: &mut Pointers) -> Result<bool> {
        let only = entry_at(&self.node, 1).ok().flatten().filter(|&(_, behind)| behind == self.node.len());
        let fits = |pointer: ChildPointer<'_>| pointer.reduce.len() == self.tree.reduce_length();
        if !only.is_some_and(|(entry, _)| ChildPointer::parse(entry.value).is_ok_and(fits)) {
            return Ok(false);
        }
        let entry = self.node.get(1..).unwrap_or_default();
        memory::reserve(&mut out.bytes, entry.len())?;
        out.bytes.extend_from_slice(entry);
        self.node.truncate(1);
        self.last = 0;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::Db;

    #[test]
    fn what_does_not_fit_into_an_entry_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::create(dir.path().join("a.couch")).unwrap();
        let sizes = NodeSizes::default();
        let mut writer =
            NodeWriter::new(db.file(), TreeKind::Local, NodeKind::Leaf, sizes, (Vec::new(), None));
        for (key, value) in [(MAX_KEY + 1, 0), (1, MAX_VALUE + 1)] {
            let pushed = writer.push_with(key, value, |_| panic!("nothing is put"));
            assert!(matches!(pushed, Err(Error::InvalidArguments(_))));
        }
        writer.push(&[b'k'; MAX_KEY], b"v").unwrap();
        assert_eq!(writer.into_memory().len(), 1 + ENTRY_PREFIX + MAX_KEY + 1);
    }
}
