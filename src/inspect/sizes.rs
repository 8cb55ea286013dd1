// SPDX-License-Identifier: Apache-2.0

//! The sizes that indexes and pointers give chunks.
//!
//! They are numbers of bytes of content: length, checksum or tag, and body. Servers before 7.0 counted the block-type
//! bytes in between as well: their sizes are the end of a chunk minus its start. Such sizes stay in a file that others
//! write to, beside theirs; and compaction copies those of bodies, which then lie elsewhere.

use crate::format::block::{CONTENT_SIZE, content_end};
use std::ops::{Range, RangeInclusive};

/// Where a chunk lies in the file: that of `size` bytes at `position`. Sizes leave the block-type bytes out, the
/// range has them in. It ends at `u64::MAX` if there is no room for it below.
pub fn extent(position: u64, size: u64) -> Range<u64> {
    position..content_end(position, size)
}

/// Whether `size` is that of a chunk with so many bytes of content: with the block-type bytes in it, or without them.
/// `position` is where the chunk was when the size was counted; `None`: anywhere.
///
/// ```
/// use couchstore::inspect::is_size_of;
/// // From offset 8000 on, 300 bytes meet a block boundary, at 8192.
/// assert!(is_size_of(300, 300, Some(8000)) && is_size_of(301, 300, Some(8000)));
/// assert!(!is_size_of(301, 300, Some(7000)) && is_size_of(301, 300, None));
/// ```
pub fn is_size_of(size: u64, content: u64, position: Option<u64>) -> bool {
    let Some(markers) = size.checked_sub(content) else { return false };
    markers == 0
        || match position {
            Some(position) => extent(position, content).end.checked_sub(position) == Some(size),
            None => markers_in(content).contains(&markers),
        }
}

/// How many block-type bytes there may be in so many bytes of content, at the beginning included.
pub fn markers_in(content: u64) -> RangeInclusive<u64> {
    let fewest = content.saturating_sub(1) / CONTENT_SIZE;
    fewest..=fewest + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All sizes and positions up to three blocks: the bytes are counted one by one.
    #[test]
    fn both_ways_of_counting_are_found_and_no_other() {
        for content in [1, 2, 8, 100, 4094, 4095, 4096, 4097, 8189, 8190, 8191, 8192, 9000] {
            let mut seen = std::collections::BTreeSet::new();
            for position in 4096..=8192 {
                let mut at = position;
                let mut left = content;
                while left > 0 {
                    left -= u64::from(at % 4096 != 0);
                    at += 1;
                }
                let with_markers = at - position;
                seen.insert(with_markers - content);
                for size in content.saturating_sub(3)..content + 6 {
                    let is_size = size == content || size == with_markers;
                    assert_eq!(
                        is_size_of(size, content, Some(position)),
                        is_size,
                        "{size} {content} {position}"
                    );
                }
            }
            assert!(markers_in(content).eq(seen.iter().copied()), "{content}: {seen:?}");
            let elsewhere: Vec<_> =
                (0..content + 9).filter(|&size| is_size_of(size, content, None)).collect();
            let expected: std::collections::BTreeSet<_> =
                seen.iter().map(|more| content + more).chain([content]).collect();
            assert!(elsewhere.into_iter().eq(expected), "{content}");
        }
    }

    #[test]
    fn impossible_sizes_are_harmless() {
        for size in [0, 1, u64::MAX - 1, u64::MAX] {
            for content in [0, 1, u64::MAX - 1, u64::MAX] {
                for position in [Some(0), Some(4095), Some(u64::MAX), None] {
                    assert!(is_size_of(size, content, position) || size != content);
                }
            }
        }
    }
}
