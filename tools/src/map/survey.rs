// SPDX-License-Identifier: Apache-2.0

//! What each byte of a file is for, as far as it is known.

use super::histogram::{BodySizes, NodeFill};
use super::kind::Bytes;
use super::ledger::{Claim, Ledger};
use couchstore::inspect::{DocCounts, FileHeader, Tree};
use std::ops::Range;

/// Examples of damage that are kept.
const DAMAGE_EXAMPLES: usize = 5;

/// Everything that a picture shows.
#[derive(Debug)]
pub(super) struct Survey {
    pub(super) file_size: u64,
    pub(super) header_position: u64,
    pub(super) header: FileHeader,
    pub(super) documents: DocCounts,
    pub(super) encrypted: bool,
    /// Headers in the whole file.
    pub(super) headers: u64,
    /// Bytes that a cell stands for; a multiple of the block size.
    pub(super) cell_size: u64,
    pub(super) cells: Ledger,
    pub(super) commits: Ledger,
    pub(super) node_fill: NodeFill,
    pub(super) body_sizes: BodySizes,
    pub(super) damage: Damage,
}

/// What is wrong with a file.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

impl Damage {
    pub(super) fn note(&mut self, what: impl std::fmt::Display) {
        self.count += 1;
        if self.examples.len() < DAMAGE_EXAMPLES {
            self.examples.push(what.to_string());
        }
    }
}

impl Survey {
    /// What the file is made of.
    pub(super) fn total(&self) -> Bytes {
        self.cells.total()
    }

    /// Whether there are nodes, but none of them can be decrypted.
    pub(super) fn is_unreadable(&self) -> bool {
        let has_nodes =
            [Tree::ById, Tree::BySeq, Tree::Local].iter().any(|&tree| self.header.root(tree).is_some());
        self.encrypted && has_nodes && self.node_fill.count() == 0
    }

    /// Notes what a range is for; what lies beyond the file is left out.
    pub(super) fn claim(&mut self, range: Range<u64>, claim: Claim) {
        self.cells.add(&range, claim);
        self.commits.add(&range, claim);
    }

    /// Notes that the last bytes of a range that is for a body may be for something else.
    pub(super) fn doubt(&mut self, range: Range<u64>) {
        self.cells.doubt(&range);
        self.commits.doubt(&range);
    }
}
