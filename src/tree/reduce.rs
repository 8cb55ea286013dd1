// SPDX-License-Identifier: Apache-2.0

//! Reduce values: what a pointer says about all entries below it.
//!
//! ```text
//! by-id   u40 documents that are not deleted | u40 deleted ones | u48 sum of physical sizes
//! by-seq  u40 entries
//! local   nothing
//! ```

use crate::format::Malformed;
use crate::format::docinfo::by_id_counted;
use crate::format::ints::{MAX_U40, MAX_U48, eight, five, put_u40, put_u48};
use crate::format::node::{ChildPointer, Entries, NodeKind, split_entry};

/// Which of the three trees a node belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// Documents by id.
    ById,
    /// Documents by sequence number.
    BySeq,
    /// Local documents.
    Local,
}

/// Reduce value of the by-id tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DocCounts {
    /// Documents that are not deleted.
    pub live: u64,
    /// Deleted documents.
    pub deleted: u64,
    /// Sum of the physical sizes of all of them.
    pub size: u64,
}

impl DocCounts {
    /// Reads a reduce value.
    #[inline]
    pub fn parse(reduce: &[u8]) -> Result<DocCounts, Malformed> {
        let fixed = reduce.first_chunk::<16>().ok_or(Malformed("a by-id reduce value of 16 bytes"))?;
        let live = eight::<0, 16>(fixed) >> 24;
        let deleted = eight::<2, 16>(fixed) & MAX_U40;
        let size = eight::<8, 16>(fixed) & MAX_U48;
        Ok(DocCounts { live, deleted, size })
    }

    /// Sums are stored in 40 and 48 bits; those of damaged files need not even fit into 64.
    fn add(&mut self, other: DocCounts) {
        self.live = self.live.wrapping_add(other.live);
        self.deleted = self.deleted.wrapping_add(other.deleted);
        self.size = self.size.wrapping_add(other.size);
    }
}

/// Reads the reduce value of the by-sequence tree: the number of entries.
#[inline]
pub fn parse_count(reduce: &[u8]) -> Result<u64, Malformed> {
    let fixed = reduce.first_chunk::<5>().ok_or(Malformed("a by-sequence reduce value of 5 bytes"))?;
    Ok(five(*fixed))
}

/// What is summed up over the entries of a node: for its reduce value, and for what its parent says of its size.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// In the by-sequence tree entries count as live documents.
    counts: DocCounts,
    /// Disk size of all nodes below.
    pub(super) below: u64,
}

impl Sums {
    /// An entry of the by-sequence tree.
    fn of_one() -> Sums {
        Sums { counts: DocCounts { live: 1, ..DocCounts::default() }, below: 0 }
    }

    fn add(&mut self, other: &Sums) {
        self.counts.add(other.counts);
        self.below = self.below.saturating_add(other.below);
    }
}

impl TreeKind {
    /// Length of a reduce value in bytes.
    pub(crate) fn reduce_length(self) -> usize {
        match self {
            TreeKind::ById => 16,
            TreeKind::BySeq => 5,
            TreeKind::Local => 0,
        }
    }

    /// Sums up the entries that begin at byte `start` of a node, up to the `limit`.
    pub(super) fn sum(
        self,
        kind: NodeKind,
        node: &[u8],
        start: usize,
        limit: Limit,
    ) -> Result<Summed, Malformed> {
        let nothing = |_: &[u8]| Ok(Sums::default());
        match (kind, self) {
            (NodeKind::Leaf, TreeKind::ById) => sum_up(node, start, limit, count_document),
            (NodeKind::Leaf, TreeKind::BySeq) => sum_up(node, start, limit, |_| Ok(Sums::of_one())),
            (NodeKind::Leaf, TreeKind::Local) => sum_up(node, start, limit, nothing),
            (NodeKind::Interior, TreeKind::ById) => {
                sum_up(node, start, limit, |value| pointed_to(value, DocCounts::parse))
            }
            (NodeKind::Interior, TreeKind::BySeq) => {
                let counts =
                    |reduce: &_| Ok(DocCounts { live: parse_count(reduce)?, ..DocCounts::default() });
                sum_up(node, start, limit, |value| pointed_to(value, counts))
            }
            (NodeKind::Interior, TreeKind::Local) => {
                sum_up(node, start, limit, |value| pointed_to(value, |_| Ok(DocCounts::default())))
            }
        }
    }

    /// Appends the reduce value over entries with these sums.
    pub(super) fn put_reduce(self, sums: &Sums, out: &mut Vec<u8>) {
        let DocCounts { live, deleted, size } = sums.counts;
        match self {
            TreeKind::ById => {
                put_u40(out, live);
                put_u40(out, deleted);
                put_u48(out, size);
            }
            TreeKind::BySeq => put_u40(out, live),
            TreeKind::Local => {}
        }
    }

    /// Reduce value over all entries of an encoded node.
    pub(crate) fn reduce(self, node: &[u8]) -> Result<Vec<u8>, Malformed> {
        let kind = NodeKind::of(node)?;
        let mut sums = Sums::default();
        match (self, kind) {
            (TreeKind::Local, _) => {}
            (TreeKind::BySeq, NodeKind::Leaf) => sums.counts.live = Entries::of(node).count() as u64,
            _ => sums = self.sum(kind, node, 1, Limit::NONE)?.sums,
        }
        let mut reduce = Vec::with_capacity(self.reduce_length());
        self.put_reduce(&sums, &mut reduce);
        Ok(reduce)
    }
}

/// Where summing up ends: with the entry that reaches byte `enough`, but with no fewer entries than `fewest`.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) enough: usize,
    pub(super) fewest: usize,
}

impl Limit {
    /// It ends with the node.
    pub(super) const NONE: Limit = Limit { enough: usize::MAX, fewest: 0 };
}

/// Neighbouring entries of a node, and what they sum up to.
pub(super) struct Summed {
    pub(super) sums: Sums,
    pub(super) count: usize,
    /// Where the last of them begins, and where it ends.
    pub(super) last: usize,
    pub(super) end: usize,
}

#[inline]
fn sum_up(
    node: &[u8],
    start: usize,
    limit: Limit,
    weigh: impl Fn(&[u8]) -> Result<Sums, Malformed>,
) -> Result<Summed, Malformed> {
    let (mut sums, mut count) = (Sums::default(), 0);
    let mut rest = node.get(start..).unwrap_or_default();
    // Bytes that are left, from the last entry on, and behind that which is enough.
    let (mut last, enough) = (rest.len(), node.len().saturating_sub(limit.enough));
    while rest.len() > enough || count < limit.fewest && !rest.is_empty() {
        let (entry, behind) = split_entry(rest)?;
        sums.add(&weigh(entry.value)?);
        count += 1;
        (last, rest) = (rest.len(), behind);
    }
    Ok(Summed { sums, count, last: node.len() - last, end: node.len() - rest.len() })
}

/// What a leaf entry of the by-id tree adds.
#[inline]
fn count_document(value: &[u8]) -> Result<Sums, Malformed> {
    let (deleted, size) = by_id_counted(value)?;
    let deleted = u64::from(deleted);
    Ok(Sums { counts: DocCounts { live: 1 - deleted, deleted, size }, below: 0 })
}

/// What a pointer adds, whose reduce value means these `counts`.
#[inline]
fn pointed_to(
    value: &[u8],
    counts: impl Fn(&[u8]) -> Result<DocCounts, Malformed>,
) -> Result<Sums, Malformed> {
    let pointer = ChildPointer::parse(value)?;
    Ok(Sums { counts: counts(pointer.reduce)?, below: pointer.subtree_size })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::docinfo::DocInfoRef;
    use crate::format::header::NodeRef;
    use crate::format::node::{encode_pointer, push_entry};

    #[test]
    fn by_id_counts_and_sizes_add_up() {
        let mut leaf = vec![NodeKind::Leaf as u8];
        for (id, deleted, physical_size) in [(b"a", false, 100), (b"b", true, 0), (b"c", false, 11)] {
            let info = DocInfoRef { id, deleted, physical_size, ..DocInfoRef::default() };
            let mut value = Vec::new();
            info.encode_by_id(&mut value);
            push_entry(&mut leaf, id, &value);
        }
        let reduce = TreeKind::ById.reduce(&leaf).unwrap();
        assert_eq!(DocCounts::parse(&reduce).unwrap(), DocCounts { live: 2, deleted: 1, size: 111 });

        let mut interior = vec![NodeKind::Interior as u8];
        for key in [b"c", b"d"] {
            let mut value = Vec::new();
            encode_pointer(
                &NodeRef { position: 1, subtree_size: 1, reduce: reduce.clone().into() },
                &mut value,
            );
            push_entry(&mut interior, key, &value);
        }
        let twice = TreeKind::ById.reduce(&interior).unwrap();
        assert_eq!(DocCounts::parse(&twice).unwrap(), DocCounts { live: 4, deleted: 2, size: 222 });
        assert!(TreeKind::Local.reduce(&leaf).unwrap().is_empty());
    }

    #[test]
    fn short_reduce_values_are_malformed() {
        assert!(DocCounts::parse(&[0; 15]).is_err());
        assert!(parse_count(&[0; 4]).is_err());
    }
}
