// SPDX-License-Identifier: Apache-2.0

//! Figures that need all nodes of the trees.

use crate::program::Failure;
use couchstore::Db;
use couchstore::inspect::{FileHeader, Node, NodeVisitor, Tree, walk_nodes};
use serde::Serialize;

/// What `fill` is relative to: the node size of files for which no other was chosen. Files do not tell theirs.
const DEFAULT_NODE_SIZE: u64 = 1279;

/// The three trees of a header.
#[derive(Debug, Serialize)]
pub(super) struct Trees {
    pub(super) by_id: TreeFigures,
    pub(super) by_seq: TreeFigures,
    pub(super) local: TreeFigures,
}

/// One tree.
#[derive(Debug, Default, Serialize)]
pub(super) struct TreeFigures {
    /// Levels of nodes; 0: empty.
    pub(super) depth: usize,
    pub(super) interior: Nodes,
    pub(super) leaf: Nodes,
}

/// The nodes of one kind.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nodes {
    pub(super) count: u64,
    pub(super) entries: u64,
    /// Bytes of all, inflated.
    pub(super) bytes: u64,
    /// Bytes of their chunks in the file.
    pub(super) stored_bytes: u64,
    /// Mean size in percent of the default node size.
    pub(super) fill: f64,
}

impl Trees {
    /// Walks the trees of a header.
    pub(super) fn of(db: &Db, header: &FileHeader) -> Result<Trees, Failure> {
        let tree = |tree| -> Result<TreeFigures, Failure> {
            let mut figures = TreeFigures::default();
            walk_nodes(db, tree, header.root(tree), &mut figures)?;
            figures.interior.set_fill();
            figures.leaf.set_fill();
            Ok(figures)
        };
        Ok(Trees { by_id: tree(Tree::ById)?, by_seq: tree(Tree::BySeq)?, local: tree(Tree::Local)? })
    }
}

impl NodeVisitor for TreeFigures {
    fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
        self.depth = self.depth.max(node.info.depth + 1);
        let nodes = if node.is_leaf() { &mut self.leaf } else { &mut self.interior };
        nodes.count += 1;
        nodes.entries += node.items().flatten().count() as u64;
        nodes.bytes += node.bytes.len() as u64;
        nodes.stored_bytes += node.stored_size;
        Ok(())
    }
}

impl Nodes {
    fn set_fill(&mut self) {
        self.fill = crate::text::share(self.bytes, self.count.saturating_mul(DEFAULT_NODE_SIZE));
    }
}
