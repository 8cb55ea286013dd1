//! Gathers entries and writes them as nodes of the right size.

use super::{NodeSizes, TreeKind};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_U48, MAX_VALUE};
use crate::format::node::{ChildPointer, ENTRY_PREFIX, Entries, NodeKind, encode_pointer, push_entry};
use crate::io::shared::SharedFile;
use crate::memory;

/// Memory of a node that was larger than this is given back before the next one is read.
const LARGE: usize = 64 << 10;

/// Sizes of subtrees are stored in 48 bits; this leaves room for the node above. Only pointers that lie say more.
const LARGEST_SUBTREE: u64 = MAX_U48 - (1 << 32);

/// A written node and the highest key below it: what the parent's entry will say.
#[derive(Clone, Debug)]
pub(super) struct Child {
    pub(super) key: Vec<u8>,
    pub(super) node: NodeRef,
}

/// Pending entries of one level of a tree.
pub(super) struct NodeWriter<'a> {
    file: &'a SharedFile,
    tree: TreeKind,
    kind: NodeKind,
    threshold: usize,
    /// The node as it would be written now: kind, then entries.
    node: Vec<u8>,
    /// End of each entry in `node`.
    ends: Vec<usize>,
    written: Vec<Child>,
    /// Of the last node that was written as it filled up: all but the last entry, and where they end.
    before_last: (Vec<u8>, Vec<usize>),
}

impl<'a> NodeWriter<'a> {
    pub(super) fn new(file: &'a SharedFile, tree: TreeKind, kind: NodeKind, sizes: NodeSizes) -> Self {
        let threshold = match kind {
            NodeKind::Interior => sizes.interior,
            NodeKind::Leaf => sizes.leaf,
        };
        NodeWriter {
            file,
            tree,
            kind,
            threshold,
            node: vec![kind as u8],
            ends: Vec::new(),
            written: Vec::new(),
            before_last: (Vec::new(), Vec::new()),
        }
    }

    /// Adds an entry; keys come in ascending order.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(Error::InvalidArguments(
                "expected a key of at most 4095 bytes and a value below 2^28 bytes",
            ));
        }
        memory::reserve(&mut self.node, ENTRY_PREFIX + key.len() + value.len())?;
        push_entry(&mut self.node, key, value);
        memory::push(&mut self.ends, self.node.len())
    }

    /// Adds the pointer to a child.
    pub(super) fn push_child(&mut self, child: &Child) -> Result<()> {
        let mut value = Vec::with_capacity(32);
        encode_pointer(&child.node, &mut value);
        self.push(&child.key, &value)
    }

    /// Number of entries that are not written yet.
    pub(super) fn pending(&self) -> usize {
        self.ends.len()
    }

    /// Encoded length of the pending entries, without the node's kind byte.
    fn length(&self) -> usize {
        self.node.len() - 1
    }

    fn two_thirds(&self) -> usize {
        self.threshold * 2 / 3
    }

    /// Fewest entries of a node: a pointer node with one child only would add a level for nothing.
    fn fewest(&self) -> usize {
        match self.kind {
            NodeKind::Interior => 2,
            NodeKind::Leaf => 1,
        }
    }

    /// The rule for changed nodes: with more than 3 entries over the threshold, nodes of at least two thirds of it
    /// are written from the front.
    pub(super) fn split_if_large(&mut self) -> Result<()> {
        // Entries up to `done`, bytes up to `start` are written; they are dropped once, at the end.
        let (mut done, mut start) = (0, 1);
        while self.pending() - done > 3 && self.node.len() - start > self.threshold {
            let enough = start + self.two_thirds();
            let pending = self.ends.get(done..).unwrap_or_default();
            let count = pending.iter().take_while(|&&end| end < enough).count() + 1;
            done += count.max(self.fewest());
            start = self.write_slice(start, done)?;
        }
        self.forget(done, start);
        Ok(())
    }

    /// The rule for bulk building: a node is written as soon as it is over two thirds of the threshold.
    pub(super) fn write_if_filled(&mut self) -> Result<()> {
        if self.pending() >= self.fewest() && self.length() > self.two_thirds() {
            if self.kind == NodeKind::Leaf {
                self.keep_before_last();
            }
            self.write_rest()?;
            if self.node.capacity() > LARGE {
                self.node = vec![self.kind as u8];
            }
        }
        Ok(())
    }

    /// They are less than two thirds of the threshold, however large the last entry is.
    fn keep_before_last(&mut self) {
        let kept = self.pending().saturating_sub(1);
        let ends = self.ends.get(..kept).unwrap_or_default();
        let entries = self.node.get(..ends.last().copied().unwrap_or(1)).unwrap_or_default();
        let (node, node_ends) = &mut self.before_last;
        node.clear();
        node.extend_from_slice(entries);
        node_ends.clear();
        node_ends.extend_from_slice(ends);
    }

    /// Takes the last entry back, also out of a node that [`NodeWriter::write_if_filled`] has just written: that
    /// node is forgotten then.
    pub(super) fn take_back_last(&mut self) {
        if self.ends.pop().is_some() {
            self.node.truncate(self.ends.last().copied().unwrap_or(1));
        } else if self.written.pop().is_some() {
            let (node, ends) = &self.before_last;
            self.node.clone_from(node);
            self.ends.clone_from(ends);
        }
    }

    /// Writes all pending entries, if any, as one node.
    pub(super) fn write_rest(&mut self) -> Result<()> {
        let count = self.pending();
        if count > 0 {
            let end = self.write_slice(1, count)?;
            self.forget(count, end);
        }
        Ok(())
    }

    /// Writes a node of the entries from byte `start` up to the entry `end`; returns the byte behind it.
    fn write_slice(&mut self, start: usize, end: usize) -> Result<usize> {
        let end = end.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(start);
        let entries = self.node.get(start..end).unwrap_or_default();
        let child = if start == 1 && end == self.node.len() {
            write_node(self.file, self.tree, &self.node)?
        } else {
            let mut node = Vec::new();
            memory::reserve_exact(&mut node, 1 + entries.len())?;
            node.push(self.kind as u8);
            node.extend_from_slice(entries);
            write_node(self.file, self.tree, &node)?
        };
        memory::push(&mut self.written, child)?;
        Ok(end)
    }

    /// Drops the first `count` entries, which end at byte `end`.
    fn forget(&mut self, count: usize, end: usize) {
        if count == 0 {
            return;
        }
        self.node.drain(1..end);
        self.ends.drain(..count);
        for later in &mut self.ends {
            *later -= end - 1;
        }
    }

    /// The nodes written since the last call.
    pub(super) fn take_written(&mut self) -> Vec<Child> {
        std::mem::take(&mut self.written)
    }

    /// The only pending entry, as a pointer to what can be a root; `None` if there are more or fewer.
    pub(super) fn only_child(&self) -> Option<Child> {
        let mut entries = Entries::of(&self.node);
        let (Some(Ok(entry)), None) = (entries.next(), entries.next()) else { return None };
        let pointer = ChildPointer::parse(entry.value).ok()?;
        if pointer.reduce.len() != self.tree.reduce_length() {
            // Carried over from a damaged file: a header has no room for just any.
            return None;
        }
        let node = NodeRef {
            position: pointer.position,
            subtree_size: pointer.subtree_size,
            reduce: pointer.reduce.to_vec(),
        };
        Some(Child { key: entry.key.to_vec(), node })
    }
}

/// Writes an encoded node and computes what its parent says of it.
fn write_node(file: &SharedFile, tree: TreeKind, node: &[u8]) -> Result<Child> {
    let summary = || -> Result<(Vec<u8>, u64, Vec<u8>), Malformed> {
        let kind = NodeKind::of(node)?;
        let mut below = 0;
        let mut key = &[][..];
        for entry in Entries::of(node) {
            let entry = entry?;
            key = entry.key;
            if kind == NodeKind::Interior {
                below += ChildPointer::parse(entry.value)?.subtree_size;
            }
        }
        Ok((key.to_vec(), below, tree.reduce(node)?))
    };
    // Entries that were carried over from the file may be damaged.
    let (key, below, reduce) = summary().map_err(|rule| file.malformed(file.end(), rule))?;
    if below > LARGEST_SUBTREE {
        return file.with(|file| Err(file.too_big(file.end())));
    }
    let chunk = file.append_node(node)?;
    let node = NodeRef { position: chunk.position, subtree_size: chunk.size + below, reduce };
    Ok(Child { key, node })
}
