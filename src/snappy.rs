//! Inflating Snappy buffers: the half of Snappy that every read needs.
//!
//! ```text
//! varint length of the plain bytes, then elements to the end, each beginning with a tag byte:
//!    ......00  literal: length - 1 in the high bits, or 60 to 63 there: it is in the next 1 to 4 bytes
//!    ...xxx01  copy of 4 to 11 bytes (xxx + 4) from an offset of 11 bits: 3 here, 8 in the next byte
//!    ......10  copy of 1 to 64 bytes, the offset is in the next 2 bytes
//!    ......11  copy of 1 to 64 bytes, the offset is in the next 4 bytes
//! ```
//! Nodes are inflated whenever they are read, in small pieces: a handful of bytes for each element. What takes the time is
//! not the bytes but the elements, so pieces are moved in whole blocks, of which what is too much is overwritten by
//! the next piece. (Deflating is left to the crate `snap`: files hold what it makes.)

use crate::error::Result;
use crate::memory;
use std::mem::MaybeUninit;

/// Short pieces are moved as one block of so many bytes.
const BLOCK: usize = 16;
/// A tag byte is followed by no more than this, but for the bytes of a literal.
const LONGEST_TRAILER: usize = 4;
/// So many bytes are looked at for an element, whatever it is.
const REACH: usize = 1 + LONGEST_TRAILER + BLOCK;
/// Longer literals have a trailer.
const LONGEST_SHORT: usize = 60;
const LONGEST_COPY: usize = 64;
/// Bytes that the longest varint of a length has.
const LONGEST_LENGTH: usize = 5;

/// The length of the plain bytes, and the elements.
pub(crate) fn split(deflated: &[u8]) -> Option<(usize, &[u8])> {
    let mut length = 0_u64;
    for (at, &byte) in deflated.iter().take(LONGEST_LENGTH).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let length = u32::try_from(length).ok()?;
            return Some((length as usize, deflated.get(at + 1..)?));
        }
    }
    None
}

/// Replaces what is in `plain` by what the elements say, which must be `length` bytes. `false`: they are damaged.
pub(crate) fn inflate(elements: &[u8], length: usize, plain: &mut Vec<u8>) -> Result<bool> {
    plain.clear();
    if plain.capacity() < length + BLOCK {
        // Nothing of it is to be moved.
        *plain = Vec::new();
        memory::reserve_exact(plain, length + BLOCK)?;
    }
    let target = plain.as_mut_ptr();
    // SAFETY: room for `length` bytes and a block, as above.
    let mut inflating = unsafe { Inflating::new(target, length) };
    let whole = inflating.all(elements).is_some() && inflating.done == length;
    if whole {
        // SAFETY: so many bytes have been written.
        unsafe { plain.set_len(length) };
    }
    Ok(whole)
}

/// What a tag byte says of a copy: its length in bits 0 to 7, the high part of its offset in place (bits 8 to 10), and
/// above that the size of the trailer. For literals: 0.
static COPIES: [u16; 256] = {
    let mut copies = [0; 256];
    let mut tag = 0;
    while tag < 256 {
        let high = tag as u16;
        copies[tag] = match tag & 3 {
            0 => 0,
            1 => 1 << 11 | (high >> 5) << 8 | ((high >> 2 & 7) + 4),
            2 => 2 << 11 | ((high >> 2) + 1),
            _ => 4 << 11 | ((high >> 2) + 1),
        };
        tag += 1;
    }
    copies
};

/// Which bits of the four bytes behind a tag belong to a trailer of this size.
/// (Of longer ones there are none: they save a check.)
static TRAILERS: [u32; 8] = [0, 0xff, 0xffff, 0x00ff_ffff, 0xffff_ffff, 0, 0, 0];

struct Copy {
    count: usize,
    offset: usize,
    trailer: usize,
}

impl Copy {
    /// By its tag and the four bytes behind it.
    #[inline]
    fn of(tag: u8, behind: u32) -> Copy {
        let entry = COPIES[usize::from(tag)];
        let trailer = usize::from(entry >> 11);
        let offset = u32::from(entry & 0x700) + (behind & TRAILERS[trailer & 7]);
        Copy { count: usize::from(entry & 0xff), offset: offset as usize, trailer }
    }
}

struct Inflating {
    /// There is room for `length` bytes and a block.
    target: *mut u8,
    length: usize,
    /// Bytes that were written.
    done: usize,
}

impl Inflating {
    /// # Safety
    /// There is room for `length` bytes and a block, as long as this lives.
    unsafe fn new(target: *mut u8, length: usize) -> Inflating {
        Inflating { target, length, done: 0 }
    }

    fn all(&mut self, elements: &[u8]) -> Option<()> {
        let at = self.some::<true>(elements, 0, elements.len())?;
        let at = self.some::<false>(elements, at, elements.len())?;
        // The last elements are not followed by as much as is looked at.
        let rest = elements.get(at..)?;
        let mut padded = [0; 2 * REACH];
        padded.get_mut(..rest.len())?.copy_from_slice(rest);
        let at = self.some::<false>(&padded, 0, rest.len())?;
        (at == rest.len()).then_some(())
    }

    /// Goes through the elements from `at` on up to `end`, or to the first one behind which less is left than is looked
    /// at; with `FAR` from the end also only as long as there is room for any short element. Returns where that is.
    fn some<const FAR: bool>(&mut self, elements: &[u8], at: usize, end: usize) -> Option<usize> {
        let (source, target, length) = (elements.as_ptr(), self.target, self.length);
        let (mut at, mut done) = (at, self.done);
        let stop = end.min((elements.len() + 1).saturating_sub(REACH));
        let has_room = |done: usize, count: usize| count <= length - done;
        while at < stop && (!FAR || has_room(done, LONGEST_COPY)) {
            // SAFETY: `at < stop`: there are a tag and four bytes behind it.
            let (tag, behind) =
                unsafe { (*source.add(at), source.add(at + 1).cast::<u32>().read_unaligned().to_le()) };
            if tag & 3 == 0 {
                let (mut count, mut start) = (usize::from(tag >> 2) + 1, at + 1);
                if FAR && count <= BLOCK {
                    // SAFETY: a block is there because `at < stop`, and there is room for it, as for any short element.
                    unsafe { move_block(source.add(start), target.add(done)) };
                    at = start + count;
                    done += count;
                    continue;
                }
                if count > LONGEST_SHORT {
                    let trailer = count - LONGEST_SHORT;
                    count = (behind & TRAILERS[trailer & 7]) as usize + 1;
                    start += trailer;
                }
                if start > end || count > end - start || !has_room(done, count) {
                    return None;
                }
                // SAFETY: `count` bytes are there, and there is room for them.
                unsafe { source.add(start).copy_to_nonoverlapping(target.add(done), count) };
                at = start + count;
                done += count;
                continue;
            }
            let Copy { count, offset, trailer } = Copy::of(tag, behind);
            at += 1 + trailer;
            if offset.wrapping_sub(1) >= done || (!FAR && (at > end || !has_room(done, count))) {
                return None;
            }
            // SAFETY: the copy begins within the `done` bytes that are written, and ends within `length`, behind which there
            // is room for a block.
            unsafe { repeat(target.add(done), offset, count) };
            done += count;
        }
        self.done = done;
        Some(at)
    }
}

/// # Safety
/// A block may be read there and be written here, and they do not overlap.
#[inline]
unsafe fn move_block(from: *const u8, to: *mut u8) {
    // SAFETY: the contract above.
    unsafe { from.copy_to_nonoverlapping(to, BLOCK) };
}

/// # Safety
/// Eight bytes may be read there and be written here.
#[inline]
unsafe fn move_eight(from: *const u8, to: *mut u8) {
    // Those that nothing was written to yet are written again.
    type Eight = MaybeUninit<u64>;
    // SAFETY: the contract above; they are all read before one is written.
    unsafe { to.cast::<Eight>().write_unaligned(from.cast::<Eight>().read_unaligned()) };
}

/// Writes `count` bytes, each the one that is `offset` bytes before it, and perhaps others behind them.
///
/// # Safety
/// `offset` is not 0, so many bytes stand before `to`, and from there on `count` bytes and a block may be written.
#[inline]
unsafe fn repeat(to: *mut u8, offset: usize, count: usize) {
    // SAFETY: by the contract above all of this is in place. A block, or eight bytes, does not overlap the one that it
    // is copied from if that is so far away; nearer ones are read before they are written.
    unsafe {
        let (mut from, mut to) = (to.sub(offset), to);
        let end = to.add(count);
        if offset >= BLOCK {
            move_block(from, to);
            while to.add(BLOCK) < end {
                (from, to) = (from.add(BLOCK), to.add(BLOCK));
                move_block(from, to);
            }
            return;
        }
        // What repeats itself after so many bytes does so after twice as many.
        let mut distance = offset;
        while distance < 8 {
            move_eight(from, to);
            to = to.add(distance);
            distance *= 2;
        }
        while to < end {
            move_eight(from, to);
            (from, to) = (from.add(8), to.add(8));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn ours(deflated: &[u8]) -> Option<Vec<u8>> {
        let (length, elements) = split(deflated)?;
        if length > 1 << 20 {
            return None;
        }
        let mut plain = vec![0xaa; 7];
        inflate(elements, length, &mut plain).unwrap().then_some(plain)
    }

    fn theirs(deflated: &[u8]) -> Option<Vec<u8>> {
        if snap::raw::decompress_len(deflated).ok()? > 1 << 20 {
            return None;
        }
        snap::raw::Decoder::new().decompress_vec(deflated).ok()
    }

    fn deflated(plain: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(plain).unwrap()
    }

    /// Bytes that repeat what came before, from near and from far.
    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        let piece = (prop::collection::vec(any::<u8>(), 0..40), 1..5000_usize, 0..100_usize);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| {
            let mut bytes: Vec<u8> = Vec::new();
            for (literal, offset, count) in pieces {
                bytes.extend(literal);
                for _ in 0..count {
                    let Some(from) = bytes.len().checked_sub(offset.min(bytes.len())) else { continue };
                    bytes.extend(bytes.get(from).copied());
                }
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn what_was_deflated_is_inflated(plain in repetitive()) {
            prop_assert_eq!(ours(&deflated(&plain)), Some(plain));
        }

        /// Another decoder takes what this one takes, and makes the same of it.
        #[test]
        fn damaged_buffers_are_taken_for_what_they_are(
            plain in repetitive(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = deflated(&plain);
            for (index, byte) in changes {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            prop_assert_eq!(ours(&bytes), theirs(&bytes));
            bytes.truncate(cut.index(bytes.len()));
            prop_assert_eq!(ours(&bytes), theirs(&bytes));
        }

        #[test]
        fn any_bytes_are_taken_for_what_they_are(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(ours(&bytes), theirs(&bytes));
        }
    }

    #[test]
    fn elements_of_all_kinds_at_the_very_end() {
        // A literal of 4 bytes, and copies of it with trailers of one, two and four bytes.
        let start = [4 - 1 << 2, b'a', b'b', b'c', b'd'];
        let copies: [&[u8]; 3] = [&[1, 4], &[3 << 2 | 2, 4, 0], &[3 << 2 | 3, 4, 0, 0, 0]];
        for copy in copies {
            let bytes = [&[8], &start[..], copy].concat();
            assert_eq!(ours(&bytes), Some(b"abcdabcd".to_vec()));
            for length in 0..bytes.len() {
                assert_eq!(ours(&bytes[..length]), None);
            }
            // Too far back, from nowhere, and too long for what was announced.
            for (at, byte) in [(7, 5), (7, 0), (0, 7), (0, 9)] {
                let mut other = bytes.clone();
                other[at] = byte;
                assert_eq!(ours(&other), None, "{at} {byte}");
                assert_eq!(theirs(&other), None, "{at} {byte}");
            }
        }
        assert_eq!(ours(&[0]), Some(Vec::new()));
        assert_eq!(ours(&[]), None);
        assert_eq!(ours(&[0xff; 9]), None);
    }
}
