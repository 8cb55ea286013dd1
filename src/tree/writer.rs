//! Gathers entries and writes them as nodes of the right size.

use super::{NodeSizes, TreeKind};
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::header::NodeRef;
use crate::format::ints::{MAX_KEY, MAX_VALUE};
use crate::format::node::{ChildPointer, Entries, NodeKind, encode_pointer, push_entry};
use crate::io::shared::SharedFile;

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
        }
    }

    /// Adds an entry; keys come in ascending order.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if key.len() > MAX_KEY || value.len() > MAX_VALUE {
            return Err(Error::InvalidArguments("a key or value longer than a node can hold"));
        }
        push_entry(&mut self.node, key, value);
        self.ends.push(self.node.len());
        Ok(())
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
        while self.pending() > 3 && self.length() > self.threshold {
            let enough = self.two_thirds();
            let count = self.ends.iter().take_while(|&&end| end - 1 < enough).count() + 1;
            self.write_front(count.max(self.fewest()))?;
        }
        Ok(())
    }

    /// The rule for bulk building: a node is written as soon as it is over two thirds of the threshold.
    pub(super) fn write_if_filled(&mut self) -> Result<()> {
        if self.pending() >= self.fewest() && self.length() > self.two_thirds() {
            self.write_rest()?;
        }
        Ok(())
    }

    /// Writes all pending entries, if any, as one node.
    pub(super) fn write_rest(&mut self) -> Result<()> {
        let count = self.pending();
        if count > 0 { self.write_front(count) } else { Ok(()) }
    }

    fn write_front(&mut self, count: usize) -> Result<()> {
        let Some(&end) = self.ends.get(count.min(self.pending()).wrapping_sub(1)) else { return Ok(()) };
        let rest = self.node.split_off(end);
        let child = write_node(self.file, self.tree, &self.node)?;
        self.written.push(child);
        self.node.clear();
        self.node.push(self.kind as u8);
        self.node.extend_from_slice(&rest);
        self.ends.drain(..count);
        for later in &mut self.ends {
            *later -= end - 1;
        }
        Ok(())
    }

    /// The nodes written since the last call.
    pub(super) fn take_written(&mut self) -> Vec<Child> {
        std::mem::take(&mut self.written)
    }

    /// The only pending entry, as a pointer; `None` if there are more or fewer.
    pub(super) fn only_child(&self) -> Option<Child> {
        let mut entries = Entries::of(&self.node);
        let (Some(Ok(entry)), None) = (entries.next(), entries.next()) else { return None };
        let pointer = ChildPointer::parse(entry.value).ok()?;
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
    let chunk = file.append_node(node)?;
    let node = NodeRef { position: chunk.position, subtree_size: chunk.size + below, reduce };
    Ok(Child { key, node })
}
