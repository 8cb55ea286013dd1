//! Reading Snappy: nodes and most bodies are stored so. (The crate `snap` writes it.)
//!
//! ```text
//! varint length of the plain bytes, then elements to the end:
//!   xxxxxx00       literal of x + 1 bytes, which follow; x = 59 + n: the next n bytes are its length - 1
//!   yyyxxx01 u8    copy of x + 4 bytes from so many bytes back; y: the bits above those of the byte
//!   xxxxxx10 u16   copy of x + 1 bytes from so many bytes back
//!   xxxxxx11 u32   the same
//! ```
//! These integers are little-endian. A copy may reach into what it makes itself: then it repeats.
//!
//! A third of a scan is spent here, on elements of a few bytes each. So the plain bytes are made with pointers, and a
//! short element is copied as the [`PIECE`] bytes that begin with it: what is too much is overwritten by the next one.

use crate::error::Result;
use crate::format::Malformed;
use crate::memory;

/// What is copied at once.
const PIECE: usize = 16;
/// Room behind the plain bytes: the longest copy, in whole pieces, may begin where they end.
const SLACK: usize = 64;
/// The densest elements are copies of 64 bytes in 3: what claims to be denser is damaged.
const DENSEST: usize = 22;
/// Longer literals have their length in bytes of its own.
const SHORT_LITERAL: usize = 60;

const RULE: Malformed = Malformed("a Snappy-compressed chunk");

/// A Snappy buffer, its length read.
pub(super) struct Deflated<'a> {
    /// Bytes that it makes.
    length: usize,
    elements: &'a [u8],
}

impl<'a> Deflated<'a> {
    /// Reads the length. One that the elements cannot make is refused, so that nothing is allocated by it.
    pub(super) fn parse(stored: &'a [u8]) -> Result<Deflated<'a>, Malformed> {
        let (mut length, mut shift, mut elements) = (0_u64, 0, stored);
        while let Some((&byte, behind)) = elements.split_first()
            && shift <= 28
        {
            elements = behind;
            length |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                let longest = u64::from(u32::MAX).min(stored.len().saturating_mul(DENSEST) as u64);
                let length = (length <= longest).then_some(length as usize).ok_or(RULE)?;
                return Ok(Deflated { length, elements });
            }
        }
        Err(RULE)
    }

    /// Puts the plain bytes into `plain`, in place of what is there. On failure nothing is.
    pub(super) fn inflate_into(&self, plain: &mut Vec<u8>) -> Result<Result<(), Malformed>> {
        let room = self.length + SLACK;
        plain.clear();
        if room > plain.capacity() {
            // Nothing of the old memory is to be moved.
            *plain = Vec::new();
            memory::reserve_exact(plain, room)?;
        }
        // SAFETY: the capacity is that of the plain bytes and the slack.
        let made = unsafe { make(self.elements, self.length, plain.as_mut_ptr()) };
        if made.is_none() {
            return Ok(Err(RULE));
        }
        // SAFETY: so many bytes were made.
        unsafe { plain.set_len(self.length) };
        Ok(Ok(()))
    }
}

/// Makes the plain bytes. `None`: they are not as many as they should be, or an element is not as it should be.
///
/// # Safety
/// `room` can be written for `length` and [`SLACK`] bytes.
unsafe fn make(elements: &[u8], length: usize, room: *mut u8) -> Option<()> {
    // Before the last bytes a copy's own can be read, and before the last piece a literal's.
    let (last, last_piece) = (elements.len().saturating_sub(2), elements.len().saturating_sub(PIECE));
    let (mut next, mut made) = (0, 0);
    let from = elements.as_ptr();
    while made <= length && next < last {
        // SAFETY: here and in all blocks of the loop, elements are read where the condition beside it says that they go on
        // so far. The first `made` bytes of the room are made, and SLACK more can be written, since `made <= length`.
        let tag = unsafe { *from.add(next) };
        let high = usize::from(tag >> 2);
        let (back, count);
        if tag & 1 != 0 {
            if tag & 2 != 0 {
                // SAFETY: as above.
                (next, made) = unsafe { element(elements, next, room, made, length) }?;
                continue;
            }
            // SAFETY: as above.
            let low = unsafe { *from.add(next + 1) };
            (back, count) = (usize::from(tag & 0xe0) << 3 | usize::from(low), (high & 7) + 4);
            next += 2;
        } else if tag & 2 != 0 {
            // SAFETY: as above.
            let [low, high_byte] = unsafe { from.add(next + 1).cast::<[u8; 2]>().read() };
            (back, count) = (usize::from(low) | usize::from(high_byte) << 8, high + 1);
            next += 3;
        } else if high < PIECE && next < last_piece {
            // SAFETY: as above.
            unsafe { copy_piece(from.add(next + 1), room.add(made)) };
            (next, made) = (next + high + 2, made + high + 1);
            continue;
        } else if high < SHORT_LITERAL {
            let literal = elements.get(next + 1..next + high + 2)?;
            // SAFETY: as above; it is shorter than the slack.
            unsafe { copy_literal(literal, elements.len() - next, room.add(made)) };
            (next, made) = (next + high + 2, made + high + 1);
            continue;
        } else {
            // SAFETY: as above.
            (next, made) = unsafe { element(elements, next, room, made, length) }?;
            continue;
        }
        let source = made.checked_sub(back)?;
        if back >= PIECE {
            let mut at = 0;
            loop {
                // SAFETY: as above; what is read was made: pieces do not overlap.
                unsafe { copy_piece(room.add(source + at), room.add(made + at)) };
                at += PIECE;
                if at >= count {
                    break;
                }
            }
        } else if back == 1 {
            // SAFETY: as above.
            unsafe { room.add(made).write_bytes(*room.add(source), SLACK) };
        } else {
            // SAFETY: as above.
            unsafe { repeat(room, made, back, count) }?;
        }
        made += count;
    }
    while made <= length && next < elements.len() {
        // SAFETY: as above.
        (next, made) = unsafe { element(elements, next, room, made, length) }?;
    }
    (made == length).then_some(())
}

/// # Safety
/// As of a copy of [`PIECE`] bytes that do not overlap.
#[inline]
unsafe fn copy_piece(from: *const u8, to: *mut u8) {
    // SAFETY: the contract above.
    unsafe { to.copy_from_nonoverlapping(from, PIECE) };
}

/// Copies a literal that begins a byte behind where the elements have `left` bytes.
///
/// # Safety
/// `to` can be written for [`SLACK`] bytes, and the literal is shorter.
#[inline]
unsafe fn copy_literal(literal: &[u8], left: usize, to: *mut u8) {
    let from = literal.as_ptr();
    // SAFETY: the contract above, and what is read is within the elements.
    unsafe {
        if left > SLACK {
            copy_piece(from, to);
            copy_piece(from.add(PIECE), to.add(PIECE));
            if literal.len() > 2 * PIECE {
                copy_piece(from.add(2 * PIECE), to.add(2 * PIECE));
                copy_piece(from.add(3 * PIECE), to.add(3 * PIECE));
            }
        } else if (PIECE..=2 * PIECE).contains(&literal.len()) {
            copy_piece(from, to);
            let rest = literal.len() - PIECE;
            copy_piece(from.add(rest), to.add(rest));
        } else if (PIECE / 2..PIECE).contains(&literal.len()) {
            to.copy_from_nonoverlapping(from, PIECE / 2);
            let rest = literal.len() - PIECE / 2;
            to.add(rest).copy_from_nonoverlapping(from.add(rest), PIECE / 2);
        } else {
            to.copy_from_nonoverlapping(from, literal.len());
        }
    }
}

/// Copies `count` bytes one by one, from `back` bytes before.
///
/// # Safety
/// `made` bytes of the room are made, and `count` more can be written; `back` is not more than was made.
unsafe fn repeat(room: *mut u8, made: usize, back: usize, count: usize) -> Option<()> {
    if back == 0 {
        return None;
    }
    for at in made..made + count {
        // SAFETY: the contract above.
        unsafe { *room.add(at) = *room.add(at - back) };
    }
    Some(())
}

/// Makes the element at `next`, of whatever kind, if it fits. Returns where the next one begins, and how much is made.
///
/// # Safety
/// `made` bytes of the room are made, and it can be written for `length` bytes.
#[inline(never)]
unsafe fn element(
    elements: &[u8],
    next: usize,
    room: *mut u8,
    made: usize,
    length: usize,
) -> Option<(usize, usize)> {
    let (&tag, rest) = elements.get(next..)?.split_first()?;
    let high = usize::from(tag >> 2);
    // Bytes of the number behind the tag, and that number.
    let wide = match tag & 3 {
        0 => high.saturating_sub(SHORT_LITERAL - 1),
        3 => 4,
        copy => usize::from(copy),
    };
    let (number, rest) = rest.split_at_checked(wide)?;
    let number = number.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte));
    let left = length.checked_sub(made)?;
    let (back, count) = match tag & 3 {
        0 => {
            let count = 1 + if wide == 0 { high } else { number };
            let literal = rest.get(..count).filter(|_| count <= left)?;
            // SAFETY: it fits; the room is no part of the elements.
            unsafe { room.add(made).copy_from_nonoverlapping(literal.as_ptr(), count) };
            return Some((next + 1 + wide + count, made + count));
        }
        1 => (usize::from(tag & 0xe0) << 3 | number, (high & 7) + 4),
        _ => (number, high + 1),
    };
    if back > made || count > left {
        return None;
    }
    // SAFETY: checked above.
    unsafe { repeat(room, made, back, count) }?;
    Some((next + 1 + wide, made + count))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// The plain bytes, into memory that was used before.
    fn inflated(stored: &[u8]) -> Option<Vec<u8>> {
        let mut plain = vec![0xee; 300];
        let made = Deflated::parse(stored).and_then(|deflated| deflated.inflate_into(&mut plain).unwrap());
        assert!(made.is_ok() || plain.len() == 300 || plain.is_empty());
        made.ok().map(|()| plain)
    }

    /// What `snap` makes of it, if it is not too dense.
    fn expected(stored: &[u8]) -> Option<Vec<u8>> {
        let length = snap::raw::decompress_len(stored).ok()?;
        (length <= stored.len() * DENSEST).then_some(())?;
        snap::raw::Decoder::new().decompress_vec(stored).ok()
    }

    fn check(stored: &[u8]) {
        assert_eq!(inflated(stored), expected(stored), "{stored:?}");
    }

    /// Text that repeats itself in some distances.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        vec((vec(any::<u8>(), 0..40), 0..70_usize, 0..90_usize), 0..40).prop_map(|parts| {
            let mut text = Vec::new();
            for (fresh, back, count) in parts {
                text.extend(fresh);
                for _ in 0..count {
                    let at = text.len().checked_sub(back + 1);
                    text.extend(at.and_then(|at| text.get(at)).copied());
                }
            }
            text
        })
    }

    /// Elements of all kinds, most of which make sense.
    fn elements() -> impl Strategy<Value = Vec<u8>> {
        let literal = vec(any::<u8>(), 1..=60).prop_map(|text| {
            let mut element = vec![(text.len() as u8 - 1) << 2];
            element.extend(text);
            element
        });
        let long = (60..64_u8, 1..300_usize).prop_map(|(high, length)| {
            let number = length as u32 - 1;
            let mut element = vec![high << 2];
            element.extend((0..u32::from(high) - 59).map(|at| (number >> (8 * at)) as u8));
            element.extend((0..length).map(|at| at as u8));
            element
        });
        let near = (0..8_u8, any::<u8>()).prop_map(|(length, back)| vec![length << 2 | 1, back]);
        let far = (0..64_u8, 0..80_u8).prop_map(|(length, back)| vec![length << 2 | 2, back, 0]);
        let farthest = (0..64_u8, 0..80_u8).prop_map(|(length, back)| vec![length << 2 | 3, back, 0, 0, 0]);
        let anything = vec(any::<u8>(), 1..6);
        vec(prop_oneof![8 => literal, 1 => long, 8 => near, 8 => far, 2 => farthest, 1 => anything], 0..20)
            .prop_map(|elements| elements.concat())
    }

    fn with_length(length: usize, elements: &[u8]) -> Vec<u8> {
        let mut stored = vec![length as u8 | 0x80, (length >> 7) as u8 & 0x7f];
        stored.extend(elements);
        stored
    }

    proptest! {
        #[test]
        fn what_was_deflated_comes_back(text in text()) {
            let stored = snap::raw::Encoder::new().compress_vec(&text).unwrap();
            prop_assert_eq!(inflated(&stored).unwrap(), text);
        }

        #[test]
        fn damage_is_judged_as_by_the_crate(text in text(), at in any::<prop::sample::Index>(), byte: u8) {
            let mut stored = snap::raw::Encoder::new().compress_vec(&text).unwrap();
            check(stored.get(..at.index(stored.len())).unwrap());
            let at = at.index(stored.len());
            *stored.get_mut(at).unwrap() = byte;
            check(&stored);
        }

        #[test]
        fn elements_are_judged_as_by_the_crate(elements in elements(), wrong in 0..4_usize) {
            // The right length, if there is one: that up to which the crate makes something.
            let right = (0..4000).find(|&length| expected(&with_length(length, &elements)).is_some());
            let length = right.unwrap_or(500);
            check(&with_length(length, &elements));
            check(&with_length(length + wrong, &elements));
            check(&with_length(length.saturating_sub(wrong), &elements));
        }
    }

    #[test]
    fn lengths_of_all_widths() {
        for stored in
            [&[][..], &[0], &[0x80], &[0x80, 0], &[0xff; 5], &[0x80, 0x80, 0x80, 0x80, 0x10], &[1, 0, 7]]
        {
            check(stored);
        }
        // 64 bytes of 3, again and again, are the densest there is.
        let mut densest = vec![0x81, 0x40, 0, 7];
        densest.extend([63 << 2 | 2, 1, 0].repeat(128));
        assert_eq!(inflated(&densest), Some(vec![7; 0x2001]));
    }
}
