// SPDX-License-Identifier: Apache-2.0

//! Nodes that a thread has inflated lately, found again by their content.
//!
//! Hosts open a file anew for each piece of work, and go down from its root each time. What stands in the file is read
//! every time; but where it is, byte for byte, what this thread has checked and inflated before, it need be neither checked nor
//! inflated again. So nothing here is ever stale, whatever becomes of any file, and it does not matter which file
//! or handle the bytes are of. It helps a thread that comes back to the same few files; one that goes around among many, or
//! comes to ever other leaves, finds little, and loses next to nothing.
//!
//! Not for encrypted files, whose plain text is wiped, nor where checksums are of another kind: the same bytes would pass
//! with one kind and not with the other.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::chunk::ChunkPrefix;
use crate::memory::{self, Room};
use std::cell::Cell;

/// Nodes of one thread.
const SLOTS: usize = 24;
/// Longer ones, stored and inflated together, are not kept: few of the default sizes are.
const LONGEST: usize = 2 << 10;
/// A node keeps its place until so many others have come for it since it was found. So those that come once take few
/// places, and of those that come around in turns some are always there.
const PATIENCE: u8 = 32;
/// One that was not found again yet keeps it for less.
const FIRST_PATIENCE: u8 = 8;

/// Stands where there is no node: no chunk is so long.
const NONE: ChunkPrefix = ChunkPrefix { length: u32::MAX, crc: 0 };

thread_local! {
    /// Those of this thread. While somebody uses them they are none.
    static NODES: Cell<Option<Box<Nodes>>> = const { Cell::new(None) };
}

type Nodes = [Slot; SLOTS];

struct Slot {
    /// What its node begins with in a file.
    prefix: ChunkPrefix,
    patience: u8,
    /// The node as it is stored, and behind that inflated.
    bytes: Vec<u8>,
}

impl Default for Slot {
    fn default() -> Slot {
        Slot { prefix: NONE, patience: 0, bytes: Vec::new() }
    }
}

/// Forgets all nodes of this thread.
pub(super) fn forget() {
    let _ = NODES.try_with(Cell::take);
}

#[cold]
#[inline(never)]
fn no_nodes() -> Box<Nodes> {
    Box::default()
}

/// Gets a node whose chunk was read into `plain`, whose content does not matter: `inflate` does so if need be, checks
/// included. It gets at least so much memory, if it has too little.
#[inline]
pub(super) fn inflated(
    (prefix, stored): (ChunkPrefix, &[u8]),
    plain: &mut Room,
    least: usize,
    inflate: impl FnOnce(&mut Room) -> Result<()>,
) -> Result<()> {
    // A thread that is ending keeps none.
    let mut nodes = NODES.try_with(Cell::take).ok().flatten().unwrap_or_else(no_nodes);
    let result = nodes[prefix.crc as usize % SLOTS].give(prefix, stored, plain, least, inflate);
    let _ = NODES.try_with(|kept| kept.set(Some(nodes)));
    result
}

/// How many nodes this thread has, and the bytes of memory that they take.
#[cfg(test)]
pub(super) fn held() -> (usize, usize) {
    let nodes = NODES.take();
    let slots = nodes.iter().flat_map(|nodes| nodes.iter());
    let held = slots.fold((0, 0), |(count, bytes), slot| {
        (count + usize::from(slot.prefix != NONE), bytes + slot.bytes.capacity())
    });
    NODES.set(nodes);
    held
}

impl Slot {
    #[inline]
    fn give(
        &mut self,
        prefix: ChunkPrefix,
        stored: &[u8],
        plain: &mut Room,
        least: usize,
        inflate: impl FnOnce(&mut Room) -> Result<()>,
    ) -> Result<()> {
        if let Some(node) = self.node(prefix, stored) {
            return plain.fill(node, least);
        }
        inflate(plain)?;
        self.note(prefix, stored, plain);
        Ok(())
    }

    /// The inflated node, if it is this one.
    #[inline]
    fn node(&mut self, prefix: ChunkPrefix, stored: &[u8]) -> Option<&[u8]> {
        if self.prefix != prefix {
            return None;
        }
        let node = self.bytes.strip_prefix(stored)?;
        self.patience = PATIENCE;
        Some(node)
    }

    /// This node was not here.
    #[inline]
    fn note(&mut self, prefix: ChunkPrefix, stored: &[u8], plain: &[u8]) {
        match self.patience.checked_sub(1) {
            Some(patience) => self.patience = patience,
            None => self.replace(prefix, stored, plain),
        }
    }

    #[inline(never)]
    fn replace(&mut self, prefix: ChunkPrefix, stored: &[u8], plain: &[u8]) {
        let length = stored.len() + plain.len();
        if length > LONGEST {
            return;
        }
        self.prefix = NONE;
        self.bytes.clear();
        if memory::reserve_exact(&mut self.bytes, length).is_ok() {
            self.bytes.extend_from_slice(stored);
            self.bytes.extend_from_slice(plain);
            (self.prefix, self.patience) = (prefix, FIRST_PATIENCE);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::error::Error;

    fn prefix(crc: usize) -> ChunkPrefix {
        ChunkPrefix { length: 6, crc: crc as u32 }
    }

    /// Asks for a node; says whether it had to be inflated.
    fn is_inflated(crc: usize, stored: &[u8], node: &[u8]) -> bool {
        let (mut plain, mut asked) = (Room::default(), false);
        let inflate = |plain: &mut Room| {
            asked = true;
            plain.fill(node, 0)
        };
        inflated((prefix(crc), stored), &mut plain, 0, inflate).unwrap();
        assert_eq!(*plain, *node);
        asked
    }

    #[test]
    fn a_node_that_comes_back_is_inflated_once() {
        assert!(is_inflated(1, b"stored", b"node"));
        assert!(!is_inflated(1, b"stored", b"node"));
        // What it begins with does not decide alone.
        assert!(is_inflated(1, b"other", b"another"));
        assert!(is_inflated(1, b"stored and more", b"more"));
        let longer = ChunkPrefix { length: 7, ..prefix(1) };
        let mut plain = Room::default();
        inflated((longer, b"stored"), &mut plain, 0, |plain| plain.fill(b"longer", 0)).unwrap();
        assert_eq!(*plain, *b"longer");
        assert!(!is_inflated(1, b"stored", b"node"));
        forget();
        assert!(held().0 == 0 && is_inflated(1, b"stored", b"node"));
    }

    /// How often another node of the same place is inflated before it is found there.
    fn times_until_found() -> usize {
        (0..100).filter(|_| is_inflated(SLOTS, b"new", b"new")).count()
    }

    #[test]
    fn what_comes_again_keeps_its_place_and_what_comes_no_more_loses_it() {
        let is_found = || !is_inflated(0, b"often", b"node");
        assert!(!is_found());
        for round in 1..100 {
            for once in 1..usize::from(FIRST_PATIENCE) {
                assert!(is_inflated((100 * round + once) * SLOTS, b"once", b"once"));
            }
            assert!(is_found());
        }
        assert_eq!(times_until_found(), usize::from(PATIENCE) + 1);
        assert!(!is_found() && PATIENCE > FIRST_PATIENCE);
        forget();
        assert!(!is_found());
        assert_eq!(times_until_found(), usize::from(FIRST_PATIENCE) + 1);
    }

    #[test]
    fn memory_is_bounded() {
        for length in [0, 1, 900, LONGEST / 2, LONGEST / 2 + 1, LONGEST] {
            for crc in 0..10 * SLOTS {
                let bytes = vec![crc as u8; length];
                for _ in 0..=PATIENCE {
                    is_inflated(crc, &bytes, &bytes);
                }
                assert!(held().1 <= SLOTS * LONGEST);
            }
            assert_eq!(held().0, if length <= LONGEST / 2 { SLOTS } else { 0 });
            forget();
        }
    }

    #[test]
    fn what_fails_is_not_kept_and_may_itself_ask() {
        for _ in 0..3 {
            let mut plain = Room::default();
            let failed = inflated((prefix(1), b"stored"), &mut plain, 0, |_| {
                assert!(is_inflated(1, b"stored", b"node"));
                Err(Error::FileClosed)
            });
            assert!(matches!(failed, Err(Error::FileClosed)));
            assert_eq!(held().0, 0);
        }
    }
}
