// SPDX-License-Identifier: Apache-2.0

//! Nodes that stay in memory, inflated and with the offsets of their entries, by their position in the file.
//!
//! A node, once written, never changes. So what was read of a committed state stays right as long as the file is the
//! one that it was read from; and what was not committed yet goes when the handle that wrote it turns away from it.
//!
//! * `node`: a node as it is kept
//! * `own`: what one handle keeps for itself
//! * `grant`: how much all handles keep together
//! * [`shared`]: what all handles of a process share, if they are told to
//! * `staged`: what is not committed yet of a handle whose nodes are shared
//! * `files`: whether the file that is opened is the one that shared nodes are from
//! * [`process`]: the shared cache of handles that are not told which
//! * [`file`]: a handle's file together with what is kept of its nodes
//!
//! A node is kept only after its checksum, its compression and its structure were found to be right. What a traversal
//! checks besides (order of nodes, depth, amount) it also checks of nodes that are kept. Damage done on the disk later
//! is not noticed by those who find a node here.

pub(crate) mod file;
mod files;
mod grant;
mod node;
mod own;
pub(crate) mod process;
pub(crate) mod shared;
mod staged;

pub(crate) use node::Node;
