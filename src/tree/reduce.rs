//! Reduce values: what a pointer says about all entries below it.
//!
//! ```text
//! by-id   u40 documents that are not deleted | u40 deleted ones | u48 sum of physical sizes
//! by-seq  u40 entries
//! local   nothing
//! ```

use crate::format::Malformed;
use crate::format::docinfo::DocInfoRef;
use crate::format::ints::{Fields, put_u40, put_u48};
use crate::format::node::{ChildPointer, Entries, NodeKind};

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
    pub fn parse(reduce: &[u8]) -> Result<DocCounts, Malformed> {
        let short = |_| Malformed("a by-id reduce value of 16 bytes");
        let mut fields = Fields(reduce);
        let live = fields.u40().map_err(short)?;
        let deleted = fields.u40().map_err(short)?;
        let size = fields.u48().map_err(short)?;
        Ok(DocCounts { live, deleted, size })
    }

    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        put_u40(&mut out, self.live);
        put_u40(&mut out, self.deleted);
        put_u48(&mut out, self.size);
        out
    }

    /// Sums are stored in 40 and 48 bits; those of damaged files need not even fit into 64.
    fn add(&mut self, other: DocCounts) {
        self.live = self.live.wrapping_add(other.live);
        self.deleted = self.deleted.wrapping_add(other.deleted);
        self.size = self.size.wrapping_add(other.size);
    }
}

/// Reads the reduce value of the by-sequence tree: the number of entries.
pub fn parse_count(reduce: &[u8]) -> Result<u64, Malformed> {
    Fields(reduce).u40().map_err(|_| Malformed("a by-sequence reduce value of 5 bytes"))
}

fn encode_count(count: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(5);
    put_u40(&mut out, count);
    out
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

    /// Reduce value over all entries of an encoded node.
    pub(crate) fn reduce(self, node: &[u8]) -> Result<Vec<u8>, Malformed> {
        let entries = Entries::of(node);
        match (self, NodeKind::of(node)?) {
            (TreeKind::Local, _) => Ok(Vec::new()),
            (TreeKind::BySeq, NodeKind::Leaf) => Ok(encode_count(entries.count() as u64)),
            (TreeKind::BySeq, NodeKind::Interior) => {
                let mut sum: u64 = 0;
                for entry in entries {
                    sum = sum.wrapping_add(parse_count(ChildPointer::parse(entry?.value)?.reduce)?);
                }
                Ok(encode_count(sum))
            }
            (TreeKind::ById, kind) => {
                let mut sum = DocCounts::default();
                for entry in entries {
                    let entry = entry?;
                    sum.add(match kind {
                        NodeKind::Leaf => count_document(&DocInfoRef::parse_by_id(entry.key, entry.value)?),
                        NodeKind::Interior => DocCounts::parse(ChildPointer::parse(entry.value)?.reduce)?,
                    });
                }
                Ok(sum.encode())
            }
        }
    }
}

fn count_document(info: &DocInfoRef<'_>) -> DocCounts {
    let deleted = u64::from(info.deleted);
    DocCounts { live: 1 - deleted, deleted, size: info.physical_size }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
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
            encode_pointer(&NodeRef { position: 1, subtree_size: 1, reduce: reduce.clone() }, &mut value);
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
