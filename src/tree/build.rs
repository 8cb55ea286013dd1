//! Building a tree bottom-up from entries in key order, for compaction.

use super::writer::{Child, NodeWriter};
use super::{NodeSizes, TreeKind};
use crate::error::Result;
use crate::format::header::NodeRef;
use crate::format::node::NodeKind;
use crate::io::shared::SharedFile;

/// Takes entries in ascending key order and writes nodes as they fill up.
pub(crate) struct TreeBuilder<'a> {
    file: &'a SharedFile,
    tree: TreeKind,
    sizes: NodeSizes,
    /// The leaves' level first. Levels come into being when the one below has written its first node.
    levels: Vec<NodeWriter<'a>>,
}

impl<'a> TreeBuilder<'a> {
    /// A builder that appends to `file`.
    pub(crate) fn new(file: &'a SharedFile, tree: TreeKind, sizes: NodeSizes) -> TreeBuilder<'a> {
        let leaves = NodeWriter::new(file, tree, NodeKind::Leaf, sizes);
        TreeBuilder { file, tree, sizes, levels: vec![leaves] }
    }

    /// Adds an entry.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let Some(leaves) = self.levels.first_mut() else { return Ok(()) };
        leaves.push(key, value)?;
        leaves.write_if_filled()?;
        let written = leaves.take_written();
        self.add_children(1, &written)
    }

    /// Hands written nodes to the level above, and so on upwards.
    fn add_children(&mut self, level: usize, children: &[Child]) -> Result<()> {
        if children.is_empty() {
            return Ok(());
        }
        if level == self.levels.len() {
            self.levels.push(NodeWriter::new(self.file, self.tree, NodeKind::Interior, self.sizes));
        }
        let Some(writer) = self.levels.get_mut(level) else { return Ok(()) };
        for child in children {
            writer.push_child(child)?;
            writer.write_if_filled()?;
        }
        let written = writer.take_written();
        self.add_children(level + 1, &written)
    }

    /// Writes what is pending and returns the root, `None` for an empty tree.
    pub(crate) fn finish(mut self) -> Result<Option<NodeRef>> {
        let mut level = 0;
        loop {
            let is_top = level + 1 == self.levels.len();
            let Some(writer) = self.levels.get_mut(level) else { return Ok(None) };
            if is_top && level > 0 && writer.pending() == 1 {
                // A top level that points to one child is not needed: the child is the root.
                return Ok(writer.only_child().map(|root| root.node));
            }
            writer.write_rest()?;
            let written = writer.take_written();
            self.add_children(level + 1, &written)?;
            level += 1;
        }
    }
}
