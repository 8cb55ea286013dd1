// SPDX-License-Identifier: Apache-2.0

//! B+tree nodes, after decompression.
//!
//! ```text
//! u8 kind (1 leaf, 0 interior), then entries to the end:
//!    u12 key length, u28 value length | key | value
//! value in an interior node:
//!    u48 position, u48 subtree size, u16 reduce size | reduce value
//! ```
//! The key of an interior entry is the highest key below it.

use super::Malformed;
use super::ints::{eight, five, put_u48, six, split_u12_u28};

use std::cmp::Ordering;

/// Bytes before the key of an entry.
pub(crate) const ENTRY_PREFIX: usize = 5;

/// What the entries of a node are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum NodeKind {
    /// Entries point to children ("KP").
    Interior = 0,
    /// Entries are the data ("KV").
    Leaf = 1,
}

impl NodeKind {
    /// The kind of this node.
    pub(crate) fn of(node: &[u8]) -> Result<NodeKind, Malformed> {
        match node.first() {
            Some(0) => Ok(NodeKind::Interior),
            Some(1) => Ok(NodeKind::Leaf),
            Some(_) => Err(Malformed("a node of kind 0 or 1")),
            None => Err(Malformed("a node of at least one byte")),
        }
    }
}

/// One entry of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
}

/// Lengths of the key and of the value of an entry that begins with these bytes.
#[inline]
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    // Most often there are more bytes than these, and a number of eight is read at once.
    let packed = if let Some(eight) = bytes.first_chunk() {
        u64::from_be_bytes(*eight) >> 24
    } else {
        five(*bytes.first_chunk::<ENTRY_PREFIX>()?)
    };
    Some(split_u12_u28(packed))
}

/// The entry at byte `offset` of a node and the offset of the one behind it; `None` at the end of the node.
#[inline]
pub(crate) fn entry_at(node: &[u8], offset: usize) -> Result<Option<(Entry<'_>, usize)>, Malformed> {
    let rest = node.get(offset..).unwrap_or_default();
    if rest.is_empty() {
        return Ok(None);
    }
    let (entry, behind) = split_entry(rest)?;
    Ok(Some((entry, node.len() - behind.len())))
}

/// The entry that these bytes begin with, and what is behind it.
#[inline]
pub(crate) fn split_entry(bytes: &[u8]) -> Result<(Entry<'_>, &[u8]), Malformed> {
    const OVERRUN: Malformed = Malformed("an entry that ends within its node");
    let (key_length, value_length) = lengths(bytes).ok_or(OVERRUN)?;
    let value_at = ENTRY_PREFIX + key_length;
    let end = value_at + value_length;
    // One comparison: the others follow from it.
    let behind = bytes.get(end..).ok_or(OVERRUN)?;
    let key = bytes.get(ENTRY_PREFIX..value_at).ok_or(OVERRUN)?;
    let value = bytes.get(value_at..end).ok_or(OVERRUN)?;
    Ok((Entry { key, value }, behind))
}

/// The key of the entry at byte `offset` of a node; empty if there is none.
#[inline]
pub(crate) fn key_at(node: &[u8], offset: usize) -> &[u8] {
    let rest = node.get(offset..).unwrap_or_default();
    let Some((&[a, b, _, _, _], rest)) = rest.split_first_chunk::<ENTRY_PREFIX>() else { return &[] };
    let length = usize::from(a) << 4 | usize::from(b >> 4);
    rest.get(..length).unwrap_or_default()
}

/// Bytes by which most keys are told apart.
const HEAD: usize = 16;

/// A key that entries of nodes are compared with.
#[derive(Clone, Copy)]
pub(crate) struct Sought<'a> {
    key: &'a [u8],
    /// Its first bytes as a number, if there are so many.
    head: Option<u128>,
}

impl<'a> Sought<'a> {
    #[inline]
    pub(crate) fn new(key: &'a [u8]) -> Sought<'a> {
        Sought { key, head: key.first_chunk::<HEAD>().map(|head| u128::from_be_bytes(*head)) }
    }

    /// Whether the key of the entry at byte `offset` is smaller, and the offset behind that entry, which may lie behind the
    /// node; `None`: one of the two keys is short, or there is no such entry.
    #[inline]
    fn told_by_head(&self, node: &[u8], offset: usize) -> Option<(bool, usize)> {
        let entry = node.get(offset..)?;
        let start = entry.first_chunk::<{ ENTRY_PREFIX + HEAD }>()?;
        let (key_length, value_length) = lengths(start)?;
        let head = u128::from_be_bytes(*start.last_chunk::<HEAD>()?);
        if key_length < HEAD {
            return None;
        }
        let behind = offset + ENTRY_PREFIX + key_length + value_length;
        let sought = self.head?;
        if head != sought {
            return Some((head < sought, behind));
        }
        Some((entry.get(ENTRY_PREFIX..ENTRY_PREFIX + key_length)? < self.key, behind))
    }

    /// Whether the key of the entry at byte `offset` of a node is smaller.
    #[inline]
    pub(crate) fn is_above(&self, node: &[u8], offset: usize) -> bool {
        let start = node.get(offset..).and_then(<[u8]>::first_chunk::<{ ENTRY_PREFIX + HEAD }>);
        // The first byte is that of a length of 12 bits: 16 times as much.
        if let (Some(sought), Some(start @ [1..=255, ..])) = (self.head, start)
            && let Some(head) = start.last_chunk()
        {
            let head = u128::from_be_bytes(*head);
            if head != sought {
                return head < sought;
            }
        }
        self.is_above_whole(node, offset)
    }

    #[inline(never)]
    fn is_above_whole(&self, node: &[u8], offset: usize) -> bool {
        compare_keys(key_at(node, offset), self.key).is_lt()
    }

    /// Seeks it among the entries from byte `from` of a node on, one by one.
    #[inline]
    pub(crate) fn find(&self, node: &[u8], from: usize) -> Result<Spot, Malformed> {
        if self.head.is_some() {
            return self.find_by_head(node, from);
        }
        let rest = node.get(from..).unwrap_or_default();
        let left = match seq_of(self.key) {
            Some(seq) => {
                seek_by(rest, |other| seq_of(other).map_or_else(|| other < self.key, |other| other < seq))
            }
            None => seek_by(rest, |other| compare_keys(other, self.key).is_lt()),
        };
        left.map(|(at, before)| Spot { at: node.len() - at, before: node.len() - before })
    }

    fn find_by_head(&self, node: &[u8], from: usize) -> Result<Spot, Malformed> {
        let (mut at, mut before) = (from, from);
        loop {
            let behind = match self.told_by_head(node, at) {
                Some((true, behind)) if behind <= node.len() => behind,
                Some((false, _)) => return Ok(Spot { at, before }),
                _ => match entry_at(node, at)? {
                    Some((entry, behind)) if compare_keys(entry.key, self.key).is_lt() => behind,
                    _ => return Ok(Spot { at, before }),
                },
            };
            (before, at) = (at, behind);
        }
    }
}

/// Where a search has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Offset of the first entry with a key that is not below the one sought; the node's end if there is none.
    pub(crate) at: usize,
    /// Offset of the entry before it; `at` if the search began there.
    pub(crate) before: usize,
}

/// Compares keys as slices are compared. Nearly all are told apart by what is looked at here, without a call.
#[inline]
pub(crate) fn compare_keys(a: &[u8], b: &[u8]) -> Ordering {
    if let (Some(first), Some(second)) = (a.first_chunk::<16>(), b.first_chunk::<16>()) {
        // Two halves take fewer steps than a whole, of which both the order and whether it is equal is asked.
        let order = eight::<0, 16>(first).cmp(&eight::<0, 16>(second));
        let order = order.then_with(|| eight::<8, 16>(first).cmp(&eight::<8, 16>(second)));
        return order.then_with(|| a.cmp(b));
    }
    match (seq_of(a), seq_of(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// The first bytes of a key as a number, as if zeros followed it. Where those of two keys differ, the keys are in the same
/// order; where not, it takes the keys.
#[inline]
pub(crate) fn key_head(key: &[u8]) -> u128 {
    if let Some(head) = key.first_chunk() {
        return u128::from_be_bytes(*head);
    }
    if let Some(seq) = seq_of(key) {
        return u128::from(seq) << 80;
    }
    let mut head = [0; HEAD];
    for (to, from) in head.iter_mut().zip(key) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}

/// Finds the first entry whose key is not below. Returns how many bytes are left there, and at the entry before it.
#[inline]
fn seek_by(bytes: &[u8], is_below: impl Fn(&[u8]) -> bool) -> Result<(usize, usize), Malformed> {
    let (mut rest, mut before) = (bytes, bytes.len());
    while !rest.is_empty() {
        let (entry, behind) = split_entry(rest)?;
        if !is_below(entry.key) {
            break;
        }
        (rest, before) = (behind, rest.len());
    }
    Ok((rest.len(), before))
}

/// The number that a key of six bytes is.
#[inline]
fn seq_of(key: &[u8]) -> Option<u64> {
    key.try_into().ok().map(six)
}

/// Iterates over the entries of a node; ends after the first malformed one.
#[derive(Clone)]
pub(crate) struct Entries<'a> {
    rest: &'a [u8],
    /// Length of the node.
    length: usize,
}

impl<'a> Entries<'a> {
    /// All entries, whatever the node's kind.
    pub(crate) fn of(node: &'a [u8]) -> Entries<'a> {
        Entries::behind(node, 1)
    }

    /// Those from this offset on.
    #[inline]
    pub(crate) fn behind(node: &'a [u8], offset: usize) -> Entries<'a> {
        Entries { rest: node.get(offset..).unwrap_or_default(), length: node.len() }
    }

    /// Offset of the one that comes next.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        self.length - self.rest.len()
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<Entry<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = split_entry(self.rest);
        self.rest = entry.map_or(&[], |(_, behind)| behind);
        Some(entry.map(|(entry, _)| entry))
    }
}

/// Appends an entry to a node; the caller has checked the lengths.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn push_entry(node: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    super::ints::put_u12_u28(node, key.len(), value.len());
    node.extend_from_slice(key);
    node.extend_from_slice(value);
}

/// The value of an interior entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChildPointer<'a> {
    /// File offset of the child's chunk.
    pub(crate) position: u64,
    /// Disk size of the subtree.
    pub(crate) subtree_size: u64,
    /// Reduce value over the subtree.
    pub(crate) reduce: &'a [u8],
}

impl<'a> ChildPointer<'a> {
    /// Reads the value of an interior entry.
    #[inline]
    pub(crate) fn parse(value: &'a [u8]) -> Result<ChildPointer<'a>, Malformed> {
        const SHORT: Malformed = Malformed("a child pointer as long as its parts");
        let (fixed, rest) = value.split_first_chunk::<POINTER_FIXED>().ok_or(SHORT)?;
        let position = eight::<0, POINTER_FIXED>(fixed) >> 16;
        let sizes = eight::<6, POINTER_FIXED>(fixed);
        let (subtree_size, reduce_length) = (sizes >> 16, sizes as u16);
        let reduce = rest.get(..usize::from(reduce_length)).ok_or(SHORT)?;
        Ok(ChildPointer { position, subtree_size, reduce })
    }
}

/// Bytes of a pointer before the reduce value.
pub(crate) const POINTER_FIXED: usize = 14;

/// Appends a pointer to a node without its reduce value, which has to follow: the value of an interior entry.
pub(crate) fn put_pointer(out: &mut Vec<u8>, position: u64, subtree_size: u64, reduce_length: usize) {
    put_u48(out, position);
    put_u48(out, subtree_size);
    out.extend_from_slice(&(reduce_length as u16).to_be_bytes());
}

/// Encodes the pointer to `node` as the value of an interior entry.
#[cfg(test)]
pub(crate) fn encode_pointer(node: &super::header::NodeRef, out: &mut Vec<u8>) {
    put_pointer(out, node.position, node.subtree_size, node.reduce.len());
    out.extend_from_slice(&node.reduce);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::super::header::NodeRef;
    use super::*;

    #[test]
    fn heads_that_differ_are_in_the_order_of_their_keys() {
        let long: &[u8] = b"0123456789abcdefgh";
        let mut keys: Vec<Vec<u8>> = (0..=long.len()).map(|length| long[..length].to_vec()).collect();
        for length in [0, 1, 5, 6, 7, 15, 16, 17] {
            for end in [&[0][..], &[0, 0], &[0, 1], &[255]] {
                keys.push([&long[..length], end].concat());
            }
        }
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            let order = key_head(a).cmp(&key_head(b));
            assert_eq!(order.then(a.cmp(b)), a.cmp(b), "{a:?} {b:?}");
            assert_eq!(compare_keys(a, b), a.cmp(b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn entries_round_trip() {
        let mut node = vec![NodeKind::Leaf as u8];
        push_entry(&mut node, b"a", b"one");
        push_entry(&mut node, b"", b"");
        let entries: Vec<_> = Entries::of(&node).map(Result::unwrap).collect();
        assert_eq!(entries, [Entry { key: b"a", value: b"one" }, Entry { key: b"", value: b"" }]);
        assert_eq!(NodeKind::of(&node), Ok(NodeKind::Leaf));
    }

    #[test]
    fn keys_are_compared_as_slices() {
        let mut keys: Vec<Vec<u8>> = vec![vec![], vec![0], vec![255; 40]];
        for length in [1_usize, 5, 6, 7, 15, 16, 17, 33] {
            for (at, byte) in [(0, 1), (0, 200), (length / 2, 7), (length - 1, 0), (length - 1, 128)] {
                let mut key = vec![7; length];
                *key.get_mut(at).unwrap() = byte;
                keys.push(key);
            }
        }
        for a in &keys {
            for b in &keys {
                assert_eq!(compare_keys(a, b), a.cmp(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn seeking_finds_the_first_entry_that_is_not_below() {
        let seq = |number: u64| super::super::ints::u48_bytes(number).to_vec();
        let texts = ["", "b", "dddddd", "long enough to be compared at once", "z"];
        let sequences: Vec<_> = [1, 5, 5, 0x0100_0000_0000].map(seq).into();
        for keys in [texts.map(|text| text.as_bytes().to_vec()).into(), sequences] {
            let mut node = vec![1];
            let mut offsets = Vec::new();
            for key in &keys {
                offsets.push(node.len());
                push_entry(&mut node, key, b"value");
            }
            offsets.push(node.len());
            let sought = [keys.clone(), vec![vec![], seq(0), seq(2), seq(6), vec![255; 20]]].concat();
            for key in &sought {
                for (first, &from) in offsets.iter().enumerate() {
                    let index =
                        keys.iter().skip(first).position(|other| other >= key).unwrap_or(keys.len() - first);
                    let [before, at] =
                        [index.saturating_sub(1), index].map(|index| *offsets.get(first + index).unwrap());
                    assert_eq!(
                        Sought::new(key).find(&node, from),
                        Ok(Spot { at, before }),
                        "{key:?} from {from}"
                    );
                }
            }
            node.pop();
            assert!(Sought::new(&[255; 20]).find(&node, 1).is_err());
        }
    }

    #[test]
    fn the_first_key_that_is_not_smaller_is_found() {
        let long = |last: u8| [&[7; 20], &[last][..]].concat();
        let keys: Vec<Vec<u8>> = vec![
            vec![],
            vec![1],
            vec![7; 6],
            vec![7; 15],
            vec![7; 16],
            long(1),
            long(1),
            long(3),
            vec![8],
            vec![9; 30],
        ];
        let mut node = vec![NodeKind::Leaf as u8];
        let mut offsets = Vec::new();
        for key in &keys {
            offsets.push(node.len());
            // Bytes of a value are no bytes of the key.
            push_entry(&mut node, key, &[255; 100]);
        }
        let others = [long(0), long(2), long(4), vec![7; 7], vec![8; 17], vec![9; 31], vec![255]];
        for key in keys.iter().chain(&others) {
            let sought = Sought::new(key);
            for (index, &from) in offsets.iter().enumerate() {
                let expected = (index..keys.len()).find(|&index| keys[index] >= *key);
                let expected = expected.map_or(node.len(), |index| offsets[index]);
                assert_eq!(
                    sought.find(&node, from).map(|spot| spot.at),
                    Ok(expected),
                    "{key:?} from {index}"
                );
                assert_eq!(sought.is_above(&node, from), keys[index] < *key);
            }
        }
        // What is cut off is malformed where it is come to.
        node.pop();
        assert!(Sought::new(&[255]).find(&node, 1).is_err());
        assert_eq!(Sought::new(&[8]).find(&node, 1).map(|spot| spot.at), Ok(offsets[8]));
    }

    #[test]
    fn truncated_entries_are_malformed_once() {
        let mut node = vec![1];
        push_entry(&mut node, b"key", b"value");
        for length in 2..node.len() {
            let entries: Vec<_> = Entries::of(node.get(..length).unwrap()).collect();
            assert_eq!(entries.len(), 1);
            assert!(entries.first().unwrap().is_err());
        }
        assert!(NodeKind::of(&[]).is_err());
        assert!(NodeKind::of(&[2]).is_err());
    }

    #[test]
    fn pointers_round_trip() {
        let node = NodeRef { position: 5, subtree_size: 6, reduce: vec![1, 2, 3].into() };
        let mut value = Vec::new();
        encode_pointer(&node, &mut value);
        let pointer = ChildPointer::parse(&value).unwrap();
        assert_eq!((pointer.position, pointer.subtree_size, pointer.reduce), (5, 6, &[1u8, 2, 3][..]));
        value.pop();
        assert!(ChildPointer::parse(&value).is_err());
    }
}
