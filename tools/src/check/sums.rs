// SPDX-License-Identifier: Apache-2.0

//! Fingerprints of sets of entries.
//!
//! Both indexes must hold the same documents, in different orders. To compare them entry by entry takes a lookup for
//! each, or memory for all. Here each entry is hashed with a secret key and the hashes are added up: if the sums of
//! the two trees are equal, so are the trees, but for one case in 2^64. Sums of subtrees can be kept and used again.

use super::agree::Whole;
use couchstore::DocInfoRef;
use couchstore::inspect::{ChildInfo, Tree};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

/// Most subtrees and bodies that are remembered; some 50 MB. What is not remembered is checked again.
const MOST: usize = 1 << 20;

/// Number of entries and the sum of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    pub(super) count: u64,
    hashes: u64,
}

impl Sum {
    /// A local document: there is nothing to compare it with.
    pub(super) fn local() -> Sum {
        Sum { count: 1, hashes: 0 }
    }

    /// Stands for what one of two trees has and the other has not.
    pub(super) fn minus(self, other: Sum) -> Sum {
        Sum { count: self.count.wrapping_sub(other.count), hashes: self.hashes.wrapping_sub(other.hashes) }
    }

    pub(super) fn add(&mut self, other: Sum) {
        self.count = self.count.wrapping_add(other.count);
        self.hashes = self.hashes.wrapping_add(other.hashes);
    }
}

/// A subtree in which nothing is wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clean {
    pub(super) sum: Sum,
    /// Offset behind its topmost node.
    pub(super) end: u64,
}

/// Hashes entries, and remembers what has been checked: older headers share most of their trees with newer ones.
pub(super) struct Memory {
    hasher: RandomState,
    /// Whether anything will be asked for again.
    remembers: bool,
    clean: HashMap<u64, Clean>,
    bodies: HashSet<u64>,
    /// Differences between two indexes, and which of these could be read.
    differences: HashSet<(Sum, Whole)>,
}

impl Memory {
    pub(super) fn new(remembers: bool) -> Memory {
        Memory {
            hasher: RandomState::new(),
            remembers,
            clean: HashMap::new(),
            bodies: HashSet::new(),
            differences: HashSet::new(),
        }
    }

    /// The fingerprint of one document's entry; that of its entry in the other tree is the same.
    pub(super) fn document(&self, info: &DocInfoRef<'_>) -> Sum {
        let DocInfoRef { id, db_seq, rev_seq, rev_meta, deleted, content_meta, body_position, physical_size } =
            *info;
        let fields = (id, db_seq, rev_seq, rev_meta, deleted, content_meta, body_position, physical_size);
        Sum { count: 1, hashes: self.hasher.hash_one(fields) }
    }

    /// Stands for a pointer and all that the check of its subtree depends on: what it claims, and `last_key`, the
    /// last key before.
    pub(super) fn pointer(&self, tree: Tree, child: &ChildInfo<'_>, last_key: Option<&[u8]>) -> u64 {
        let ChildInfo { position, highest_key, subtree_size, reduce, .. } = *child;
        self.hasher.hash_one((tree as u8, position, highest_key, subtree_size, reduce, last_key))
    }

    /// The subtree below a pointer, if it was clean before.
    pub(super) fn clean(&self, pointer: u64) -> Option<Clean> {
        self.clean.get(&pointer).copied()
    }

    /// The subtree below this pointer is clean.
    pub(super) fn remember(&mut self, pointer: u64, clean: Clean) {
        if self.remembers && self.clean.len() < MOST {
            self.clean.insert(pointer, clean);
        }
    }

    /// Whether two indexes are to be compared entry by entry: no headers were that differ in the same entries.
    pub(super) fn is_new_difference(&mut self, by_id: Sum, by_seq: Sum, whole: Whole) -> bool {
        let difference = (by_id.minus(by_seq), whole);
        if self.differences.len() < MOST {
            self.differences.insert(difference)
        } else {
            !self.differences.contains(&difference)
        }
    }

    /// Whether a body is to be checked: it was not before, as far as that is remembered.
    pub(super) fn is_new_body(&mut self, info: &DocInfoRef<'_>) -> bool {
        if !self.remembers {
            return true;
        }
        let key = self.hasher.hash_one((info.body_position, info.physical_size, info.content_meta));
        if self.bodies.len() < MOST { self.bodies.insert(key) } else { !self.bodies.contains(&key) }
    }
}
