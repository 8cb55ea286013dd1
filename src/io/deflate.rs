//! Writing Snappy: nodes, and bodies of documents.
//!
//! ```text
//! varint length of the plain bytes, then elements to the end:
//!   xxxxxx00       literal of x + 1 bytes, which follow; x = 59 + n: the next n bytes are its length - 1
//!   yyyxxx01 u8    copy of x + 4 bytes from so many bytes back; y: the bits above those of the byte
//!   xxxxxx10 u16   copy of x + 1 bytes from so many bytes back
//! ```
//! These integers are little-endian. Plain bytes are taken in blocks of 64 KiB. In each a table leads from a hash of four
//! bytes to where such bytes stood last: if they are the same, as many as match become a copy, and what was passed since
//! the last one a literal. Where nothing matches for long, more and more bytes are passed at a time.
//!
//! That is the method of the crate `snap`, and what is written is the same to the last bit, so that files are, too; the
//! tests compare both. A half of a small commit is spent here, which is why it is done with pointers.

use crate::error::{Error, Result};
use crate::memory;

/// Bytes of a block: positions in it fit into the table.
const BLOCK: usize = 64 << 10;
/// Bytes at the end of a block where no match begins: what is read of a literal in whole pieces, or of a word, stays in
/// the block.
const MARGIN: usize = 15;
/// What is copied at once.
const PIECE: usize = 16;
/// Longer literals have their length in bytes of its own.
const SHORT_LITERAL: usize = 60;
/// Longest copy of one element.
const LONGEST_COPY: usize = 64;
/// A search looks at each of so many positions, then at fewer and fewer.
const DENSE: usize = 32;

/// Sizes of tables; each is a power of two.
const SMALLEST_TABLE: usize = 1 << 8;
const SMALL_TABLE: usize = 1 << 10;
const LARGEST_TABLE: usize = 1 << 14;

/// Tables that are kept from one buffer to the next.
pub(super) struct Encoder {
    small: [u16; SMALL_TABLE],
    /// For blocks that are larger; empty until there was one.
    large: Vec<u16>,
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder { small: [0; SMALL_TABLE], large: Vec::new() }
    }

    /// Puts the Snappy buffer of `plain` into `out`, in place of what is there.
    pub(super) fn deflate(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let length = u32::try_from(plain.len()).ok().filter(|_| longest(plain.len()) <= u32::MAX as usize);
        let Some(length) = length else {
            return Err(Error::InvalidArguments("expected a body below 4 GiB, to be compressed"));
        };
        out.clear();
        memory::reserve_exact(out, longest(plain.len()) + PIECE)?;
        put_varint(length, out);
        for block in plain.chunks(BLOCK) {
            let table = self.table_for(block.len())?;
            // SAFETY: `out` has room for whatever is made of all blocks together, by what `longest` says, and for a
            // piece more.
            unsafe {
                let start = out.as_mut_ptr();
                let end = put_block(block, table, start.add(out.len()));
                out.set_len(end.offset_from(start) as usize);
            }
        }
        Ok(())
    }

    /// An empty table.
    fn table_for(&mut self, block: usize) -> Result<&mut [u16]> {
        let size = block.next_power_of_two().clamp(SMALLEST_TABLE, LARGEST_TABLE);
        if size > SMALL_TABLE && self.large.is_empty() {
            self.large = memory::filled(0, LARGEST_TABLE)?;
        }
        let all = if size <= SMALL_TABLE { &mut self.small[..] } else { &mut self.large[..] };
        let table = &mut all[..size];
        table.fill(0);
        Ok(table)
    }
}

/// Most bytes that a buffer of so many plain bytes has. Only a literal makes more of them, and there is a copy of at
/// least four bytes between two of those.
fn longest(plain: usize) -> usize {
    32_usize.saturating_add(plain).saturating_add(plain / 6)
}

fn put_varint(value: u32, out: &mut Vec<u8>) {
    let mut rest = value;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A block that is compressed.
#[derive(Clone, Copy)]
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    /// Four bytes.
    ///
    /// # Safety
    /// They are in the block from `at` on.
    unsafe fn word(self, at: usize) -> u32 {
        debug_assert!(at + 4 <= self.0.len());
        // SAFETY: the contract above.
        u32::from_le(unsafe { self.0.as_ptr().add(at).cast::<u32>().read_unaligned() })
    }

    /// Eight bytes.
    ///
    /// # Safety
    /// They are in the block from `at` on.
    unsafe fn long(self, at: usize) -> u64 {
        debug_assert!(at + 8 <= self.0.len());
        // SAFETY: the contract above.
        u64::from_le(unsafe { self.0.as_ptr().add(at).cast::<u64>().read_unaligned() })
    }

    /// Where the bytes from `at` on begin to differ from those from `candidate` on.
    ///
    /// # Safety
    /// `candidate` is below `at`, which is not behind the end.
    unsafe fn end_of_match(self, at: usize, candidate: usize) -> usize {
        let (mut at, mut candidate) = (at, candidate);
        while at + 8 <= self.0.len() {
            // SAFETY: by the condition; the candidate is below.
            let difference = unsafe { self.long(at) ^ self.long(candidate) };
            if difference != 0 {
                return at + (difference.trailing_zeros() / 8) as usize;
            }
            (at, candidate) = (at + 8, candidate + 8);
        }
        let pairs = self.0.get(at..).into_iter().flatten().zip(self.0.get(candidate..).into_iter().flatten());
        at + pairs.take_while(|(a, b)| a == b).count()
    }
}

/// Where four bytes hash to in a table of 2^(32 - `shift`) places.
fn hash(word: u32, shift: u32) -> usize {
    (word.wrapping_mul(0x1e35_a7bd) >> shift) as usize
}

/// Writes the elements of a block to `out`, and returns what is behind them.
///
/// # Safety
/// There is room for all that a block of this length may become, by [`longest`], and for a piece more. The table is
/// empty, and no larger than its largest.
unsafe fn put_block(bytes: &[u8], table: &mut [u16], out: *mut u8) -> *mut u8 {
    let (block, mut out) = (Block(bytes), out);
    let shift = u32::BITS - table.len().trailing_zeros();
    let table = table.as_mut_ptr();
    // SAFETY: a hash is below the length of the table.
    let slot = |word| unsafe { &mut *table.add(hash(word, shift)) };
    let Some(limit) = bytes.len().checked_sub(MARGIN).filter(|&limit| limit >= 2) else {
        // SAFETY: room by the contract.
        return unsafe { put_literal(bytes, out) };
    };
    // What is not written yet begins at `behind`; the search is at `at`, which is at most `limit`, where this word is.
    let (mut behind, mut at) = (0, 1);
    // SAFETY: `at` plus the margin is within the block.
    let mut word = unsafe { block.word(at) };
    loop {
        // SAFETY: `at` is at most `limit`, and what is in the table is below `at`.
        let Some(found) = (unsafe { search(block, (at, limit), word, slot) }) else { break };
        let mut candidate = found.candidate;
        at = found.at;
        // SAFETY: `at` is below `limit`, which is a piece before the end; room by the contract.
        out = unsafe { put_pieces(bytes, behind..at, out) };
        let is_done = loop {
            let start = at;
            // SAFETY: four bytes match, and the candidate is below.
            at = unsafe { block.end_of_match(start + 4, candidate + 4) };
            // SAFETY: room by the contract.
            out = unsafe { put_copy(start - candidate, at - start, out) };
            behind = at;
            if at >= limit {
                break true;
            }
            // SAFETY: `at` is below `limit`, and not the first byte.
            let near = unsafe { block.long(at - 1) };
            *slot(near as u32) = (at - 1) as u16;
            word = (near >> 8) as u32;
            candidate = usize::from(std::mem::replace(slot(word), at as u16));
            // SAFETY: what is in the table is below `at`.
            if word != unsafe { block.word(candidate) } {
                at += 1;
                word = (near >> 16) as u32;
                break false;
            }
        };
        if is_done {
            break;
        }
    }
    let rest = bytes.get(behind..).unwrap_or_default();
    // SAFETY: room by the contract.
    if rest.is_empty() { out } else { unsafe { put_literal(rest, out) } }
}

/// A match: where it begins, and where such bytes stood before.
struct Match {
    at: usize,
    candidate: usize,
}

/// Searches from `at` on, where this word is; `None`: there is no match up to `limit`.
///
/// # Safety
/// `at` is at most `limit`, which is [`MARGIN`] before the end, and what is in the table below `at`.
#[inline]
unsafe fn search<'t>(
    block: Block<'_>,
    (at, limit): (usize, usize),
    word: u32,
    slot: impl Fn(u32) -> &'t mut u16,
) -> Option<Match> {
    let (mut at, mut word) = (at, word);
    let dense = limit.min(at + DENSE);
    while at < dense {
        let candidate = usize::from(std::mem::replace(slot(word), at as u16));
        // SAFETY: what is in the table is below `at`; so is `at + 1` no higher than `limit`.
        unsafe {
            if block.word(candidate) == word {
                return Some(Match { at, candidate });
            }
            at += 1;
            word = block.word(at);
        }
    }
    let mut skip = 2 * DENSE;
    loop {
        let step = skip / DENSE;
        let next = at + step;
        skip += step;
        if next > limit {
            return None;
        }
        let candidate = usize::from(std::mem::replace(slot(word), at as u16));
        // SAFETY: what is in the table is below `at`; `next` is no higher than `limit`.
        unsafe {
            if block.word(candidate) == word {
                return Some(Match { at, candidate });
            }
            at = next;
            word = block.word(at);
        }
    }
}

/// Writes bytes, and returns what is behind them.
///
/// # Safety
/// There is room for all of them.
unsafe fn put<const N: usize>(bytes: [u8; N], out: *mut u8) -> *mut u8 {
    // SAFETY: the contract above.
    unsafe {
        out.copy_from_nonoverlapping(bytes.as_ptr(), N);
        out.add(N)
    }
}

/// Writes the tag of a literal of `length` bytes, at least one.
///
/// # Safety
/// There is room for three bytes.
unsafe fn put_literal_tag(length: usize, out: *mut u8) -> *mut u8 {
    let last = length - 1;
    let [low, high, ..] = last.to_le_bytes();
    // SAFETY: the contract above.
    unsafe {
        match last {
            0..SHORT_LITERAL => put([low << 2], out),
            SHORT_LITERAL..256 => put([60 << 2, low], out),
            _ => put([61 << 2, low, high], out),
        }
    }
}

/// Writes a literal.
///
/// # Safety
/// There is room for it.
unsafe fn put_literal(bytes: &[u8], out: *mut u8) -> *mut u8 {
    // SAFETY: the contract above.
    unsafe {
        let out = put_literal_tag(bytes.len(), out);
        out.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        out.add(bytes.len())
    }
}

/// Writes a range as a literal, in whole pieces if it is short: what is too much is overwritten by the next element.
///
/// # Safety
/// The range is not empty and ends at least [`MARGIN`] before the end of `bytes`; there is room for it and a piece more.
#[inline]
unsafe fn put_pieces(bytes: &[u8], range: std::ops::Range<usize>, out: *mut u8) -> *mut u8 {
    debug_assert!(range.end + MARGIN <= bytes.len());
    let length = range.len();
    // SAFETY: the contract above: a piece that begins in the range ends in `bytes`.
    unsafe {
        let from = bytes.as_ptr().add(range.start);
        let out = put_literal_tag(length, out);
        if length > SHORT_LITERAL {
            out.copy_from_nonoverlapping(from, length);
        } else {
            // Nearly always the first one is enough.
            out.copy_from_nonoverlapping(from, PIECE);
            if length > PIECE {
                out.add(PIECE).copy_from_nonoverlapping(from.add(PIECE), PIECE);
            }
            if length > 2 * PIECE {
                out.add(2 * PIECE).copy_from_nonoverlapping(from.add(2 * PIECE), length - 2 * PIECE);
            }
        }
        out.add(length)
    }
}

/// Writes copies of `length` bytes in sum, at least four, from so many bytes back.
///
/// # Safety
/// There is room for them.
#[inline]
unsafe fn put_copy(offset: usize, length: usize, out: *mut u8) -> *mut u8 {
    let (mut length, mut out) = (length, out);
    let [low, high, ..] = offset.to_le_bytes();
    // SAFETY: the contract above.
    unsafe {
        while length > LONGEST_COPY {
            // At least four are left for the last one, which may be of the short form then.
            let now = if length >= LONGEST_COPY + 4 { LONGEST_COPY } else { LONGEST_COPY - 4 };
            out = put([(now as u8 - 1) << 2 | 2, low, high], out);
            length -= now;
        }
        if length <= 11 && offset < 2048 {
            return put([high << 5 | (length as u8 - 4) << 2 | 1, low], out);
        }
        put([(length as u8 - 1) << 2 | 2, low, high], out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn check(encoder: &mut Encoder, plain: &[u8]) {
        let mut out = vec![7; 3];
        encoder.deflate(plain, &mut out).unwrap();
        assert!(out == snap::raw::Encoder::new().compress_vec(plain).unwrap(), "{} bytes", plain.len());
        assert!(snap::raw::Decoder::new().decompress_vec(&out).unwrap() == plain);
    }

    /// Bytes of which many stood before: `alphabet` different ones, and now and then a piece of what there is.
    fn sample(length: usize, alphabet: u64, seed: u64) -> Vec<u8> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        let mut bytes = Vec::new();
        while bytes.len() < length {
            if next() % 8 == 0 && !bytes.is_empty() {
                let start = next() % bytes.len();
                let piece = bytes[start..].iter().take(next() % 90).copied().collect::<Vec<_>>();
                bytes.extend(piece);
            } else {
                bytes.extend((0..next() % 20).map(|_| (next() as u64 % alphabet) as u8));
            }
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn as_the_crate_writes_it() {
        let mut encoder = Encoder::new();
        for length in
            (0..300).chain([1000, 1023, 1024, 1025, 4096, 16_384, 16_385, 65_535, 65_536, 65_537, 200_000])
        {
            for alphabet in [1, 2, 5, 200, 256] {
                check(&mut encoder, &sample(length, alphabet, length as u64));
            }
            check(&mut encoder, &vec![9; length]);
            check(&mut encoder, &(0..length).map(|i| (i >> 2) as u8).collect::<Vec<_>>());
        }
    }

    proptest! {
        #[test]
        fn as_the_crate_writes_anything(
            length in 0..3000_usize,
            alphabet in 1..256_u64,
            seed: u64,
            tail in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let plain = [sample(length, alphabet, seed), tail].concat();
            check(&mut Encoder::new(), &plain);
        }
    }
}
