// SPDX-License-Identifier: Apache-2.0

//! What the two document trees say of a document.
//!
//! ```text
//! by-id leaf:   key = id
//!   u48 db_seq | u32 physical size | u1 deleted, u47 body position | u48 rev_seq | u8 content_meta | rev_meta
//! by-seq leaf:  key = u48 db_seq
//!   u12 id length, u28 physical size | u1 deleted, u47 body position | u48 rev_seq | u8 content_meta | id | rev_meta
//! ```

use super::Malformed;
use super::ints::{
    Fields, MAX_KEY, MAX_U48, MAX_VALUE, eight, put_eight, six, split_u12_u28, u12_u28, u48_bytes,
};

/// Bytes of a by-id value before the rev_meta.
pub(crate) const BY_ID_FIXED: usize = 23;
/// Bytes of a by-sequence value before the id.
pub(crate) const BY_SEQ_FIXED: usize = 18;
/// Bit of `content_meta` that says: the body is Snappy-compressed.
pub const COMPRESSED: u8 = 0x80;
const DELETED_BIT: u64 = 1 << 47;
const SHORT_BY_ID: Malformed = Malformed("a by-id value of at least 23 bytes");

/// A document's entry, its strings borrowed from a node.
///
/// The same fields stand in both trees, in two layouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DocInfoRef<'a> {
    /// Document id, at most 4095 bytes.
    pub id: &'a [u8],
    /// Sequence number of the last change.
    pub db_seq: u64,
    /// Revision number, the caller's.
    pub rev_seq: u64,
    /// Revision metadata, the caller's.
    pub rev_meta: &'a [u8],
    /// Whether the document is deleted.
    pub deleted: bool,
    /// Bit 7: the body is compressed; low bits: the content's type.
    pub content_meta: u8,
    /// File offset of the body; 0: there is none.
    pub body_position: u64,
    /// Disk size of the body's chunk, without block-type bytes.
    pub physical_size: u64,
}

impl<'a> DocInfoRef<'a> {
    /// Reads an entry of the by-id tree.
    #[inline]
    pub(crate) fn parse_by_id(key: &'a [u8], value: &'a [u8]) -> Result<DocInfoRef<'a>, Malformed> {
        let (fixed, rev_meta) = value.split_first_chunk::<BY_ID_FIXED>().ok_or(SHORT_BY_ID)?;
        let (head, middle) = (eight::<0, BY_ID_FIXED>(fixed), eight::<8, BY_ID_FIXED>(fixed));
        let info = DocInfoRef {
            id: key,
            db_seq: head >> 16,
            rev_meta,
            physical_size: (head & 0xffff) << 16 | middle >> 48,
            ..DocInfoRef::default()
        };
        Ok(info.with_common(middle & MAX_U48, eight::<15, BY_ID_FIXED>(fixed)))
    }

    /// Reads an entry of the by-sequence tree.
    #[inline]
    pub(crate) fn parse_by_seq(key: &'a [u8], value: &'a [u8]) -> Result<DocInfoRef<'a>, Malformed> {
        let short = Malformed("a by-sequence value of at least 18 bytes and its id");
        let db_seq = parse_seq_key(key)?;
        let (fixed, strings) = value.split_first_chunk::<BY_SEQ_FIXED>().ok_or(short)?;
        let (head, middle) = (eight::<0, BY_SEQ_FIXED>(fixed), eight::<8, BY_SEQ_FIXED>(fixed));
        let (id_length, physical_size) = split_u12_u28(head >> 24);
        let (id, rev_meta) = strings.split_at_checked(id_length).ok_or(short)?;
        let info =
            DocInfoRef { id, db_seq, rev_meta, physical_size: physical_size as u64, ..DocInfoRef::default() };
        let position = (head & 0xff_ffff) << 24 | middle >> 40;
        Ok(info.with_common(position, eight::<10, BY_SEQ_FIXED>(fixed)))
    }

    /// This entry with the fields that stand in both layouts side by side: [`DocInfoRef::position_field`] and
    /// [`DocInfoRef::revision_fields`].
    #[inline]
    fn with_common(self, position: u64, revision: u64) -> DocInfoRef<'a> {
        DocInfoRef {
            deleted: position & DELETED_BIT != 0,
            body_position: position & !DELETED_BIT,
            rev_seq: revision >> 8 & MAX_U48,
            content_meta: revision as u8,
            ..self
        }
    }

    /// u1 deleted, u47 body position.
    #[inline]
    fn position_field(&self) -> u64 {
        (self.body_position | if self.deleted { DELETED_BIT } else { 0 }) & MAX_U48
    }

    /// u48 rev_seq | u8 content_meta.
    #[inline]
    fn revision_fields(&self) -> u64 {
        (self.rev_seq & MAX_U48) << 8 | u64::from(self.content_meta)
    }

    /// Length of the by-id value.
    pub(crate) fn by_id_length(&self) -> usize {
        BY_ID_FIXED + self.rev_meta.len()
    }

    /// Length of the by-sequence value.
    pub(crate) fn by_seq_length(&self) -> usize {
        BY_SEQ_FIXED + self.id.len() + self.rev_meta.len()
    }

    /// Appends the by-id value.
    #[inline]
    pub(crate) fn encode_by_id(&self, out: &mut Vec<u8>) {
        let (size, position) = (u64::from(self.physical_size as u32), self.position_field());
        let mut fixed = [0; BY_ID_FIXED];
        put_eight::<0, BY_ID_FIXED>(&mut fixed, self.db_seq << 16 | size >> 16);
        // The first byte of these is the last one of the position.
        put_eight::<15, BY_ID_FIXED>(&mut fixed, self.revision_fields());
        put_eight::<8, BY_ID_FIXED>(&mut fixed, size << 48 | position);
        out.extend_from_slice(&fixed);
        out.extend_from_slice(self.rev_meta);
    }

    /// Appends the by-sequence value.
    pub(crate) fn encode_by_seq(&self, out: &mut Vec<u8>) {
        let lengths = u12_u28(self.id.len(), self.physical_size as usize);
        let position = self.position_field();
        let mut fixed = [0; BY_SEQ_FIXED];
        put_eight::<0, BY_SEQ_FIXED>(&mut fixed, lengths << 24 | position >> 24);
        // The first byte of these is the last one of the position.
        put_eight::<10, BY_SEQ_FIXED>(&mut fixed, self.revision_fields());
        put_eight::<8, BY_SEQ_FIXED>(&mut fixed, position << 40 | self.revision_fields() >> 16);
        out.extend_from_slice(&fixed);
        out.extend_from_slice(self.id);
        out.extend_from_slice(self.rev_meta);
    }

    /// Appends the by-sequence value of an entry whose value was this one before its body got another position.
    #[inline]
    pub(crate) fn encode_moved(&self, before: &[u8], out: &mut Vec<u8>) {
        const POSITION: std::ops::Range<usize> = 5..11;
        let start = out.len();
        out.extend_from_slice(before);
        if let Some(field) = out.get_mut(start + POSITION.start..start + POSITION.end) {
            field.copy_from_slice(&u48_bytes(self.position_field()));
        }
    }

    /// No value of the entry is longer than this.
    pub(crate) fn longest_value(&self) -> usize {
        BY_ID_FIXED + self.id.len() + self.rev_meta.len()
    }

    /// Whether id and rev_meta fit into the fields of both trees.
    pub(crate) fn fits(&self) -> bool {
        let by_id = BY_ID_FIXED.saturating_add(self.rev_meta.len());
        let by_seq = BY_SEQ_FIXED.saturating_add(self.id.len()).saturating_add(self.rev_meta.len());
        self.id.len() <= MAX_KEY && by_id <= MAX_VALUE && by_seq <= MAX_VALUE
    }

    /// A copy that owns its strings.
    pub fn to_owned(&self) -> DocInfo {
        self.with_strings(self.id.to_vec(), self.rev_meta.to_vec())
    }

    /// The same entry with these copies of its strings.
    pub(crate) fn with_strings(&self, id: Vec<u8>, rev_meta: Vec<u8>) -> DocInfo {
        let DocInfoRef { db_seq, rev_seq, deleted, content_meta, body_position, physical_size, .. } = *self;
        DocInfo { id, db_seq, rev_seq, rev_meta, deleted, content_meta, body_position, physical_size }
    }
}

/// Reads a key of the by-sequence tree.
pub(crate) fn parse_seq_key(key: &[u8]) -> Result<u64, Malformed> {
    key.try_into().map(six).map_err(|_| Malformed("a sequence key of 6 bytes"))
}

/// What the reduce value of the by-id tree counts of a by-id value: whether the document is deleted, and the physical
/// size of its body.
#[inline]
pub(crate) fn by_id_counted(value: &[u8]) -> Result<(bool, u64), Malformed> {
    let fixed = value.first_chunk::<BY_ID_FIXED>().ok_or(SHORT_BY_ID)?;
    let [_, _, _, _, _, _, a, b, c, d, position, ..] = *fixed;
    Ok((position & 0x80 != 0, u64::from(u32::from_be_bytes([a, b, c, d]))))
}

/// The id in a by-sequence value.
pub(crate) fn seq_value_id(value: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields(value);
    let (id_length, _) = fields.u12_u28()?;
    fields.take(BY_SEQ_FIXED - 5)?;
    fields.take(id_length)
}

/// A document's entry that owns its strings. See [`DocInfoRef`] for the fields.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DocInfo {
    /// Document id, at most 4095 bytes.
    pub id: Vec<u8>,
    /// Sequence number of the last change.
    pub db_seq: u64,
    /// Revision number, the caller's.
    pub rev_seq: u64,
    /// Revision metadata, the caller's.
    pub rev_meta: Vec<u8>,
    /// Whether the document is deleted.
    pub deleted: bool,
    /// Bit 7: the body is compressed; low bits: the content's type.
    pub content_meta: u8,
    /// File offset of the body; 0: there is none.
    pub body_position: u64,
    /// Disk size of the body's chunk, without block-type bytes.
    pub physical_size: u64,
}

impl DocInfo {
    /// This entry with borrowed strings.
    pub fn borrowed(&self) -> DocInfoRef<'_> {
        DocInfoRef {
            id: &self.id,
            db_seq: self.db_seq,
            rev_seq: self.rev_seq,
            rev_meta: &self.rev_meta,
            deleted: self.deleted,
            content_meta: self.content_meta,
            body_position: self.body_position,
            physical_size: self.physical_size,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::ints::u48_bytes;
    use super::*;

    fn sample() -> DocInfo {
        DocInfo {
            id: b"hello".to_vec(),
            db_seq: 0x0102_0304_0506,
            rev_seq: 77,
            rev_meta: b"meta".to_vec(),
            deleted: true,
            content_meta: 0x83,
            body_position: 0x1234,
            physical_size: 1000,
        }
    }

    #[test]
    fn both_layouts_round_trip() {
        let info = sample();
        let mut value = Vec::new();
        info.borrowed().encode_by_id(&mut value);
        assert_eq!(value.len(), BY_ID_FIXED + 4);
        assert_eq!(DocInfoRef::parse_by_id(b"hello", &value).unwrap().to_owned(), info);
        value.clear();
        info.borrowed().encode_by_seq(&mut value);
        assert_eq!(value.len(), BY_SEQ_FIXED + 5 + 4);
        assert_eq!(seq_value_id(&value), Ok(&b"hello"[..]));
        assert_eq!(DocInfoRef::parse_by_seq(&u48_bytes(info.db_seq), &value).unwrap().to_owned(), info);
        let moved = DocInfo { body_position: 0x7fff_1234_5678, ..info };
        let (mut anew, mut changed) = (Vec::new(), Vec::new());
        moved.borrowed().encode_by_seq(&mut anew);
        moved.borrowed().encode_moved(&value, &mut changed);
        assert_eq!(changed, anew);
    }

    #[test]
    fn no_value_is_longer_than_the_longest() {
        let info = sample();
        let info = info.borrowed();
        let longer = info.by_id_length().max(info.by_seq_length());
        assert!((longer..longer + 10).contains(&info.longest_value()));
    }

    #[test]
    fn strings_fit_into_both_trees_or_not_at_all() {
        // Nobody writes to these: they take no memory.
        let (id, rev_meta) = (vec![0; MAX_KEY + 1], vec![0; MAX_VALUE]);
        let fits = |id_length, rev_meta_length| {
            let (id, rev_meta) = (id.get(..id_length).unwrap(), rev_meta.get(..rev_meta_length).unwrap());
            DocInfoRef { id, rev_meta, ..DocInfoRef::default() }.fits()
        };
        assert!(fits(MAX_KEY, 0) && !fits(MAX_KEY + 1, 0));
        // The by-id value has five fixed bytes more, the by-sequence value has the id.
        let longest = MAX_VALUE - BY_ID_FIXED;
        assert!(fits(0, longest) && !fits(0, longest + 1));
        assert!(fits(5, longest) && !fits(6, longest));
    }

    #[test]
    fn short_values_are_malformed() {
        let mut by_id = Vec::new();
        sample().borrowed().encode_by_id(&mut by_id);
        assert!(DocInfoRef::parse_by_id(b"k", by_id.get(..BY_ID_FIXED - 1).unwrap()).is_err());
        let mut by_seq = Vec::new();
        sample().borrowed().encode_by_seq(&mut by_seq);
        assert!(DocInfoRef::parse_by_seq(&[0; 6], by_seq.get(..BY_SEQ_FIXED + 4).unwrap()).is_err());
        assert!(DocInfoRef::parse_by_seq(&[0; 7], &by_seq).is_err());
        assert!(DocInfoRef::parse_by_seq(&[0; 5], &by_seq).is_err());
    }
}
