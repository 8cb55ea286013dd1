// SPDX-License-Identifier: Apache-2.0

//! The copy-on-write B+trees: looking things up, scanning, changing a batch of entries, building from sorted input.
//!
//! * [`read`]: from a root down to a key, and forward from leaf to leaf; `back`: backward
//! * `cache`: where a node on that way is looked for before it is read, and kept after it was found to be right
//! * [`modify`]: one pass from the root down to the leaves that a batch changes, and up again to a new root; [`writer`]: cuts
//!   what comes up into nodes of the right size, and appends them; [`reduce`]: the sums that go up with them
//! * [`build`]: the same from sorted entries alone, without an old tree
//! * `diff`: what two roots do not have in common
//! * `footing`: what of that may have been given up since somebody began to go through it
//!
//! Three trees share this code; they differ in how values reduce ([`reduce`]). Keys are compared as unsigned bytes
//! in all three: sequence numbers are stored big-endian.
//!
//! A node, once written, never changes: a change writes new nodes from the leaf up to the root. So a child always
//! lies before its parent in the file, which every descent checks; with a limit on depth that bounds what a damaged
//! or malicious file can make a reader do.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod back;
pub(crate) mod build;
pub(crate) mod cache;
pub(crate) mod diff;
pub(crate) mod footing;
pub(crate) mod modify;
pub(crate) mod read;
pub(crate) mod reduce;
mod writer;

pub(crate) use reduce::TreeKind;

/// Deepest tree that is followed. Legal trees of billions of entries have less than 40 levels.
pub(crate) const MAX_DEPTH: usize = 200;

/// Encoded node sizes in bytes, beyond which nodes are split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeSizes {
    /// For nodes with pointers.
    pub(crate) interior: usize,
    /// For nodes with data.
    pub(crate) leaf: usize,
}

impl Default for NodeSizes {
    fn default() -> NodeSizes {
        NodeSizes { interior: 1279, leaf: 1279 }
    }
}
