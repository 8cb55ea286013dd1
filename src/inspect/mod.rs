// SPDX-License-Identifier: Apache-2.0

//! Looking into a file below the level of documents: its headers, the nodes of its trees, where everything lies.
//! For tools that check, repair or show files.
//!
//! ```
//! # fn main() -> couchstore::Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("a.couch");
//! use couchstore::inspect::{Headers, Node, NodeVisitor, Tree, walk_nodes};
//! use couchstore::{Db, Document, SaveOptions};
//!
//! let db = Db::create(&path)?;
//! db.save(&[Document::new(b"one", b"1")], SaveOptions::default())?;
//! db.commit()?;
//! assert_eq!(Headers::backward(&db).filter(|found| found.header.is_ok()).count(), 2);
//!
//! #[derive(Default)]
//! struct Leaves(usize);
//! impl NodeVisitor for Leaves {
//!     fn node(&mut self, node: &Node<'_>) -> couchstore::Result<()> {
//!         self.0 += usize::from(node.is_leaf());
//!         Ok(())
//!     }
//! }
//! let mut leaves = Leaves::default();
//! walk_nodes(&db, Tree::ById, db.header().root(Tree::ById), &mut leaves)?;
//! assert_eq!(leaves.0, 1);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

mod bodies;
mod headers;
mod nodes;
mod sizes;

pub use crate::compact::bodies::BodyLimit;
pub use crate::format::Malformed;
pub use crate::format::block::BLOCK_SIZE;
pub use crate::format::chunk::Checksum;
pub use crate::format::header::{FileHeader, NodeRef};
pub use crate::format::reduce::Reduce;
pub use crate::tree::reduce::{DocCounts, TreeKind as Tree, parse_count};
pub use headers::{FoundHeader, Headers};
pub use nodes::{ChildInfo, Item, Node, NodeVisitor, Visit, walk_nodes};
pub use sizes::{extent, is_size_of, markers_in};
