// SPDX-License-Identifier: Apache-2.0

//! The file header: the state of a database as of one commit.
//!
//! ```text
//! u8  version (11..14)
//! u48 update_seq | u48 purge_seq | u48 purge_ptr
//! u16 by-seq root size | u16 by-id root size | u16 local root size
//! u64 timestamp                                      versions 13, 14
//! u48 previous header << 1 | has metadata header     version 14
//! by-seq root | by-id root | local root              each: u48 position, u48 subtree size, reduce value
//! ```

use super::Malformed;
use super::block::content_end;
use super::chunk::{Checksum, PREFIX};
use super::ints::{Fields, MAX_U48, eight, put_u48};
use super::reduce::Reduce;

/// Stands in the previous-header field of the first header of a file.
pub(crate) const NO_PREVIOUS: u64 = (1 << 47) - 1;
/// Bytes of a root before its reduce value.
const ROOT_FIXED: usize = 12;
/// Bytes of a header up to the sizes of the roots.
const FIXED: usize = 25;

/// Version of the file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FormatVersion {
    /// CRC-32 checksums, no timestamps.
    V11 = 11,
    /// CRC-32C checksums from here on.
    V12 = 12,
    /// Headers carry a timestamp.
    V13 = 13,
    /// Headers point to the previous one; files may be encrypted.
    V14 = 14,
}

impl FormatVersion {
    /// The version that new files get.
    pub const NEWEST: FormatVersion = FormatVersion::V14;

    /// The version with this number.
    pub fn from_number(number: u8) -> Option<FormatVersion> {
        match number {
            11 => Some(FormatVersion::V11),
            12 => Some(FormatVersion::V12),
            13 => Some(FormatVersion::V13),
            14 => Some(FormatVersion::V14),
            _ => None,
        }
    }
}

impl Checksum {
    /// The kind that files of this version have.
    pub fn of(version: FormatVersion) -> Checksum {
        if version == FormatVersion::V11 { Checksum::Crc32 } else { Checksum::Crc32c }
    }
}

/// Points to a node: where it is, how much disk its subtree takes, and the reduce value over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// File offset of the node's chunk.
    pub position: u64,
    /// Disk size of the node's chunk and all node chunks below it, without block-type bytes.
    pub subtree_size: u64,
    /// Reduce value, in the layout of its tree.
    pub reduce: Reduce,
}

impl NodeRef {
    /// Reads a root from a header that stands at `header_position`.
    #[inline]
    fn parse_root(bytes: &[u8], header_position: u64) -> Result<Option<NodeRef>, Malformed> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (fixed, reduce) =
            bytes.split_first_chunk::<ROOT_FIXED>().ok_or(Malformed("a root of at least 12 bytes"))?;
        let position = eight::<0, ROOT_FIXED>(fixed) >> 16;
        let subtree_size = eight::<4, ROOT_FIXED>(fixed) & MAX_U48;
        if position >= header_position {
            return Err(Malformed("a root that lies before its header"));
        }
        Ok(Some(NodeRef { position, subtree_size, reduce: reduce.into() }))
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_u48(out, self.position);
        put_u48(out, self.subtree_size);
        out.extend_from_slice(&self.reduce);
    }
}

/// Disk size of a whole tree, 0 if it is empty.
pub(crate) fn tree_size(root: Option<&NodeRef>) -> u64 {
    root.map_or(0, |root| root.subtree_size)
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Version of the file.
    pub version: FormatVersion,
    /// Highest sequence number used.
    pub update_seq: u64,
    /// Set by the caller: tombstones up to here may have been purged.
    pub purge_seq: u64,
    /// Unused by the library, carried along.
    pub purge_ptr: u64,
    /// The caller's number, by default nanoseconds since the epoch; 0 below version 13.
    pub timestamp: u64,
    /// Offset of the header before this one as it is stored: all ones in the first; `None` below version 14.
    pub previous: Option<u64>,
    /// Whether block 0 is a metadata header (encrypted files).
    pub has_metadata: bool,
    /// Root of the tree by sequence number.
    pub by_seq: Option<NodeRef>,
    /// Root of the tree by document id.
    pub by_id: Option<NodeRef>,
    /// Root of the tree of local documents.
    pub local: Option<NodeRef>,
}

/// Why a header body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// The version is not 11 to 14.
    Version(u8),
    /// The bytes break a rule.
    Malformed(&'static str),
}

impl From<Malformed> for HeaderError {
    fn from(error: Malformed) -> HeaderError {
        HeaderError::Malformed(error.0)
    }
}

impl FileHeader {
    /// The header of an empty database.
    pub(crate) fn empty(version: FormatVersion) -> FileHeader {
        FileHeader {
            version,
            update_seq: 0,
            purge_seq: 0,
            purge_ptr: 0,
            timestamp: 0,
            previous: (version >= FormatVersion::V14).then_some(NO_PREVIOUS),
            has_metadata: false,
            by_seq: None,
            by_id: None,
            local: None,
        }
    }

    /// Offset of the header before this one, if the header tells.
    pub fn previous_header(&self) -> Option<u64> {
        self.previous.filter(|&previous| previous != NO_PREVIOUS)
    }

    /// Disk size of its chunk, without block-type bytes; [`extent`](crate::inspect::extent) takes it.
    pub fn stored_size(&self) -> u64 {
        let version = self.version;
        let timestamp = if version >= FormatVersion::V13 { 8 } else { 0 };
        let previous = if version >= FormatVersion::V14 { 6 } else { 0 };
        let size = |root: &Option<NodeRef>| root.as_ref().map_or(0, |root| ROOT_FIXED + root.reduce.size());
        let roots = size(&self.by_seq) + size(&self.by_id) + size(&self.local);
        (PREFIX + FIXED + timestamp + previous + roots) as u64
    }

    /// Offset behind the header if its block begins at `position`.
    pub(crate) fn end_at(&self, position: u64) -> u64 {
        content_end(position, self.stored_size())
    }

    /// The purge sequence of a copy: it tells by one more that tombstones were left out, up to the highest number
    /// that a header can hold.
    pub(crate) fn purge_seq_of_copy(&self, drops_deletes: bool) -> u64 {
        if drops_deletes { self.purge_seq.saturating_add(1).min(MAX_U48) } else { self.purge_seq }
    }

    /// The header of a body that was found at `position`.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn parse(body: &[u8], position: u64) -> Result<FileHeader, HeaderError> {
        let mut header = FileHeader::empty(FormatVersion::NEWEST);
        header.read(body, position).map(|()| header)
    }

    /// Reads a header body that was found at `position`. After an error it is neither what it was nor what was found.
    pub(crate) fn read(&mut self, body: &[u8], position: u64) -> Result<(), HeaderError> {
        let mut fields = Fields(body);
        // In one piece, which is checked once.
        let Ok(fixed) = fields.array_of::<FIXED>() else { return Err(FileHeader::too_short(body)) };
        let [number, ..] = *fixed;
        let version = FormatVersion::from_number(number).ok_or(HeaderError::Version(number))?;
        self.version = version;
        self.update_seq = eight::<1, FIXED>(fixed) >> 16;
        self.purge_seq = eight::<7, FIXED>(fixed) >> 16;
        self.purge_ptr = eight::<13, FIXED>(fixed) >> 16;
        let sizes = eight::<17, FIXED>(fixed);
        let sizes = [(sizes >> 32) as u16, (sizes >> 16) as u16, sizes as u16];
        self.timestamp = if version >= FormatVersion::V13 { fields.u64()? } else { 0 };
        (self.previous, self.has_metadata) = if version >= FormatVersion::V14 {
            let field = fields.u48()?;
            (Some(field >> 1), field & 1 != 0)
        } else {
            (None, false)
        };
        if self.purge_ptr > position {
            return Err(HeaderError::Malformed("a purge pointer at or before its header"));
        }
        for (root, size) in [&mut self.by_seq, &mut self.by_id, &mut self.local].into_iter().zip(sizes) {
            *root = NodeRef::parse_root(fields.take(usize::from(size))?, position)?;
        }
        if !fields.rest().is_empty() {
            return Err(HeaderError::Malformed("a header as long as its fixed part and its roots"));
        }
        Ok(())
    }

    /// What is wrong with a body that ends within its fixed part: of a version that is not known nothing else is.
    #[cold]
    fn too_short(body: &[u8]) -> HeaderError {
        match Fields(body).u8() {
            Ok(number) if FormatVersion::from_number(number).is_none() => HeaderError::Version(number),
            _ => Malformed("a field that ends within its bytes").into(),
        }
    }

    /// The body of the header chunk.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let roots = [&self.by_seq, &self.by_id, &self.local];
        let mut out = Vec::with_capacity(128);
        out.push(self.version as u8);
        put_u48(&mut out, self.update_seq);
        put_u48(&mut out, self.purge_seq);
        put_u48(&mut out, self.purge_ptr);
        for root in roots {
            let size = root.as_ref().map_or(0, |root| ROOT_FIXED + root.reduce.len());
            out.extend_from_slice(&(size as u16).to_be_bytes());
        }
        if self.version >= FormatVersion::V13 {
            out.extend_from_slice(&self.timestamp.to_be_bytes());
        }
        if self.version >= FormatVersion::V14 {
            let previous = self.previous.unwrap_or(NO_PREVIOUS);
            put_u48(&mut out, previous << 1 | u64::from(self.has_metadata));
        }
        for root in roots.into_iter().flatten() {
            root.encode(&mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn full(version: FormatVersion) -> FileHeader {
        FileHeader {
            update_seq: 9,
            purge_seq: 3,
            purge_ptr: 2,
            timestamp: if version >= FormatVersion::V13 { 42 } else { 0 },
            previous: (version >= FormatVersion::V14).then_some(4096),
            by_seq: Some(NodeRef { position: 104, subtree_size: 43, reduce: [0, 0, 0, 0, 1][..].into() }),
            by_id: Some(NodeRef { position: 61, subtree_size: 43, reduce: [0; 16][..].into() }),
            local: Some(NodeRef { position: 7, subtree_size: 30, reduce: Reduce::default() }),
            ..FileHeader::empty(version)
        }
    }

    #[test]
    fn smallest_headers_are_the_documented_bytes() {
        let mut v14 = vec![0x0e];
        v14.extend_from_slice(&[0; 32]);
        v14.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(FileHeader::empty(FormatVersion::V14).encode(), v14);
        let mut v11 = vec![0x0b];
        v11.extend_from_slice(&[0; 24]);
        assert_eq!(FileHeader::empty(FormatVersion::V11).encode(), v11);
    }

    #[test]
    fn all_versions_round_trip() {
        for version in [FormatVersion::V11, FormatVersion::V12, FormatVersion::V13, FormatVersion::V14] {
            let header = full(version);
            assert_eq!(header.stored_size(), (PREFIX + header.encode().len()) as u64);
            assert_eq!(FileHeader::parse(&header.encode(), 8192), Ok(header));
            let empty = FileHeader::empty(version);
            assert_eq!(FileHeader::parse(&empty.encode(), 8192), Ok(empty));
        }
    }

    #[test]
    fn broken_headers_are_refused() {
        let body = full(FormatVersion::V14).encode();
        let mut other = body.clone();
        *other.first_mut().unwrap() = 15;
        assert_eq!(FileHeader::parse(&other, 8192), Err(HeaderError::Version(15)));
        assert_eq!(FileHeader::parse(other.get(..1).unwrap(), 8192), Err(HeaderError::Version(15)));
        for length in 0..body.len() {
            let error = FileHeader::parse(body.get(..length).unwrap(), 8192).unwrap_err();
            assert!(matches!(error, HeaderError::Malformed(_)), "{length}: {error:?}");
        }
        let mut longer = body.clone();
        longer.push(0);
        assert!(FileHeader::parse(&longer, 8192).is_err());
        assert!(FileHeader::parse(&body, 104).is_err(), "root at its header");
        assert!(FileHeader::parse(&body, 1).is_err(), "purge pointer behind its header");
    }
}
