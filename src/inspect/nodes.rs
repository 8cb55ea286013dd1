// SPDX-License-Identifier: Apache-2.0

//! A tree node by node.

use crate::db::Db;
use crate::error::Result;
use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::header::NodeRef;
use crate::format::node::{ChildPointer, Entries, Entry, NodeKind};
use crate::io::file::Hint;
use crate::tree::TreeKind;
use crate::tree::cache::file::Reading;
use crate::tree::read::{Child, Guarded};

/// What points to a node says of it.
#[derive(Clone, Copy, Debug)]
pub struct ChildInfo<'a> {
    /// File offset of its chunk.
    pub position: u64,
    /// 0 for the root.
    pub depth: usize,
    /// The highest key below it; unknown for the root.
    pub highest_key: Option<&'a [u8]>,
    /// Disk size of its chunk and all node chunks below it; see [`is_size_of`](super::is_size_of).
    pub subtree_size: u64,
    /// Reduce value over it, in the layout of its tree.
    pub reduce: &'a [u8],
}

/// A node as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// What points to it says.
    pub info: ChildInfo<'a>,
    /// The tree that it belongs to.
    pub tree: TreeKind,
    /// Disk size of its chunk, without block-type bytes.
    pub stored_size: u64,
    /// Its bytes, inflated: the kind, then the entries.
    pub bytes: &'a [u8],
}

/// An entry of a node.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// Points to a node one level below.
    Child(ChildInfo<'a>),
    /// An entry of the by-id or by-sequence tree.
    Document(DocInfoRef<'a>),
    /// A local document.
    Local {
        /// Its id.
        id: &'a [u8],
        /// Its body.
        body: &'a [u8],
    },
}

impl<'a> Node<'a> {
    /// Whether its entries are documents.
    pub fn is_leaf(&self) -> bool {
        NodeKind::of(self.bytes) == Ok(NodeKind::Leaf)
    }

    /// Its entries in the order in which they are stored: key and what it stands for. Ends after the first one that
    /// runs over the node's end.
    pub fn items(&self) -> impl Iterator<Item = Result<(&'a [u8], Item<'a>), Malformed>> + use<'a> {
        let (tree, leaf, depth) = (self.tree, self.is_leaf(), self.info.depth + 1);
        Entries::of(self.bytes).map(move |entry| {
            let Entry { key, value } = entry?;
            let item = match (leaf, tree) {
                (false, _) => Item::Child(child_info(key, ChildPointer::parse(value)?, depth)),
                (true, TreeKind::ById) => Item::Document(DocInfoRef::parse_by_id(key, value)?),
                (true, TreeKind::BySeq) => Item::Document(DocInfoRef::parse_by_seq(key, value)?),
                (true, TreeKind::Local) => Item::Local { id: key, body: value },
            };
            Ok((key, item))
        })
    }

    /// The reduce value over its entries.
    pub fn reduce(&self) -> Result<Vec<u8>, Malformed> {
        self.tree.reduce(self.bytes)
    }
}

fn child_info<'a>(key: &'a [u8], pointer: ChildPointer<'a>, depth: usize) -> ChildInfo<'a> {
    let ChildPointer { position, subtree_size, reduce } = pointer;
    ChildInfo { position, depth, highest_key: Some(key), subtree_size, reduce }
}

/// Whether to read a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Read it and go on to what is below.
    Enter,
    /// Leave it and all below out.
    Skip,
}

/// Is shown a tree: a node, then all below it, then that it is left. An error ends the walk, which returns it.
pub trait NodeVisitor {
    /// Something points to a node: whether to read it.
    fn child(&mut self, child: &ChildInfo<'_>) -> Result<Visit> {
        let _ = child;
        Ok(Visit::Enter)
    }

    /// A node has been read. Its entries may still be malformed.
    fn node(&mut self, node: &Node<'_>) -> Result<()>;

    /// All below a node has been shown.
    fn leave(&mut self, node: &Node<'_>) -> Result<()> {
        let _ = node;
        Ok(())
    }

    /// A node cannot be read; it is stepped over. The default ends the walk with the error.
    fn damaged(&mut self, child: &ChildInfo<'_>, error: crate::Error) -> Result<()> {
        let _ = child;
        Err(error)
    }
}

/// Shows the tree below `root` to `visitor`: any root of any header of the handle's file; `None` is an empty tree.
///
/// Entries that make no sense are left to the visitor, which sees them in [`Node::items`]. Safe with files that mean
/// harm: nodes must lie before what points to them, depth is limited, and no more is read than the file is large.
pub fn walk_nodes(
    db: &Db,
    tree: TreeKind,
    root: Option<&NodeRef>,
    visitor: &mut dyn NodeVisitor,
) -> Result<()> {
    db.check_open()?;
    let Some(NodeRef { position, subtree_size, reduce }) = root else { return Ok(()) };
    let root =
        ChildInfo { position: *position, depth: 0, highest_key: None, subtree_size: *subtree_size, reduce };
    Walk { db, tree, guarded: Guarded::new(db.file(), Reading::Verifying), visitor }.visit(root, u64::MAX)
}

struct Walk<'a> {
    db: &'a Db,
    tree: TreeKind,
    guarded: Guarded<'a>,
    visitor: &'a mut dyn NodeVisitor,
}

impl Walk<'_> {
    /// Shows the node that `info` describes, to which one at `parent` points. The depth of the recursion is limited
    /// by [`Guarded`].
    fn visit(&mut self, info: ChildInfo<'_>, parent: u64) -> Result<()> {
        if self.visitor.child(&info)? == Visit::Skip {
            return Ok(());
        }
        let (kind, stored) = match self.guarded.read_stored(Child {
            position: info.position,
            parent,
            depth: info.depth,
            hint: Hint::None,
        }) {
            Ok(read) => read,
            Err(error) if error.is_damage() => return self.visitor.damaged(&info, error),
            Err(error) => return Err(error),
        };
        let stored_size = self.db.file().with(|file| Ok(file.chunk_size(stored.stored_size)))?;
        let node = Node { info, tree: self.tree, stored_size, bytes: &stored.bytes };
        self.visitor.node(&node)?;
        if kind == NodeKind::Interior {
            for (_, item) in node.items().flatten() {
                if let Item::Child(child) = item {
                    self.visit(child, info.position)?;
                }
            }
        }
        self.visitor.leave(&node)
    }
}
