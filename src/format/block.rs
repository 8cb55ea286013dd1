// SPDX-License-Identifier: Apache-2.0

//! The file as a sequence of 4096-byte blocks.
//!
//! ```text
//! offset 0          4096         8192
//!        |T|content..|T|content..|T|...      T: one type byte, then 4095 bytes of content
//! ```
//! A piece of data that runs over a boundary has a type byte in its middle, which is not part of it. Every position
//! is a plain file offset that counts the type bytes; every size leaves them out.

/// Size of a block in bytes.
pub const BLOCK_SIZE: u64 = 4096;
/// Bytes of content in a block.
pub(crate) const CONTENT_SIZE: u64 = BLOCK_SIZE - 1;

/// Positions of bodies and of headers are stored in 47 bits: nothing is written beyond.
pub(crate) const LONGEST_FILE: u64 = 1 << 47;

/// The first byte of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum BlockType {
    /// Chunks of documents and nodes.
    Data = 0,
    /// A file header starts here.
    Header = 1,
    /// The metadata header of an encrypted file starts here (block 0 only).
    Metadata = 2,
}

impl BlockType {
    /// The type for this byte; `None` if there is no such type.
    pub(crate) fn from_byte(byte: u8) -> Option<BlockType> {
        match byte {
            0 => Some(BlockType::Data),
            1 => Some(BlockType::Header),
            2 => Some(BlockType::Metadata),
            _ => None,
        }
    }
}

/// Whether a block begins at this offset.
pub(crate) fn is_boundary(offset: u64) -> bool {
    offset.is_multiple_of(BLOCK_SIZE)
}

/// The block boundary at or below `offset`.
pub(crate) fn boundary_at_or_below(offset: u64) -> u64 {
    offset - offset % BLOCK_SIZE
}

/// The block boundary at or above `offset`; the last one that there is, if `offset` lies behind it.
pub(crate) fn boundary_at_or_above(offset: u64) -> u64 {
    boundary_at_or_below(offset.saturating_add(CONTENT_SIZE))
}

/// Offset of the first content byte of something recorded at `position`.
pub(crate) fn content_start(position: u64) -> u64 {
    position + u64::from(is_boundary(position))
}

/// Offset just behind `length` bytes of content that begin at `position`; `u64::MAX` if no offset is that large.
#[inline]
pub(crate) fn content_end(position: u64, length: u64) -> u64 {
    let start = content_start(position);
    if length <= content_left(start) as u64 {
        return start.saturating_add(length);
    }
    end_in_other_block(start, length)
}

fn end_in_other_block(start: u64, length: u64) -> u64 {
    let before = start / BLOCK_SIZE * CONTENT_SIZE + (start % BLOCK_SIZE - 1);
    let end = before.checked_add(length - 1).and_then(|last| {
        let block = (last / CONTENT_SIZE).checked_mul(BLOCK_SIZE)?;
        block.checked_add(1 + last % CONTENT_SIZE + 1)
    });
    end.unwrap_or(u64::MAX)
}

/// How many bytes of content fit between `offset` (not a boundary) and the end of its block.
pub(crate) fn content_left(offset: u64) -> usize {
    (BLOCK_SIZE - offset % BLOCK_SIZE) as usize
}

/// Appends content that is to stand at `position` to a buffer, with a block-type byte at every boundary it meets. Returns
/// the offset behind.
pub(crate) fn put_content(buffer: &mut Vec<u8>, position: u64, bytes: &[u8]) -> u64 {
    let (mut at, mut rest) = (position, bytes);
    while !rest.is_empty() {
        if is_boundary(at) {
            buffer.push(BlockType::Data as u8);
            at += 1;
        }
        let (now, later) = rest.split_at(content_left(at).min(rest.len()));
        buffer.extend_from_slice(now);
        at += now.len() as u64;
        rest = later;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_count_the_type_bytes() {
        assert_eq!(content_end(0, 1), 2);
        assert_eq!(content_end(1, 1), 2);
        assert_eq!(content_end(0, 4095), 4096);
        assert_eq!(content_end(0, 4096), 4098);
        assert_eq!(content_end(4095, 1), 4096);
        assert_eq!(content_end(4095, 2), 4098);
        assert_eq!(content_end(4096, 3 * 4095), 4 * 4096);
    }

    #[test]
    fn three_bytes_are_types() {
        for byte in 0..=u8::MAX {
            let expected =
                [BlockType::Data, BlockType::Header, BlockType::Metadata].get(usize::from(byte)).copied();
            assert_eq!(BlockType::from_byte(byte), expected);
        }
    }

    #[test]
    fn boundaries() {
        assert_eq!(boundary_at_or_above(0), 0);
        assert_eq!(boundary_at_or_above(1), 4096);
        assert_eq!(boundary_at_or_above(4096), 4096);
        assert_eq!(boundary_at_or_below(8191), 4096);
    }

    #[test]
    fn the_end_of_all_offsets_is_an_end() {
        let last = u64::MAX - CONTENT_SIZE;
        assert!(is_boundary(last));
        for offset in [last, last + 1, u64::MAX] {
            assert_eq!((boundary_at_or_below(offset), boundary_at_or_above(offset)), (last, last));
        }
        // 4095 bytes of content fit into the last block, but what is behind them has no offset.
        assert_eq!(content_end(last, 4094), u64::MAX);
        assert_eq!(content_end(last, 4093), u64::MAX - 1);
        for length in [4095, 1 << 32, u64::MAX - 1, u64::MAX] {
            assert_eq!(content_end(last, length), u64::MAX, "{length}");
            assert_eq!(content_end(u64::MAX, length), u64::MAX, "{length}");
        }
        assert_eq!((content_end(u64::MAX, 0), content_end(0, u64::MAX)), (u64::MAX, u64::MAX));
    }
}
