//! Memory for the work on a file: what was read last, what is inflated or compressed, what waits to be written.
//!
//! A handle that is at work takes it and gives it back when it has committed, scanned, or is closed. Hosts open a file
//! for each piece of work, so it is kept for the next handle of the thread; that of a thread that ends is freed. What
//! one file has left in it is never seen through the handle of another, and plain text of an encrypted file is wiped.

#![forbid(unsafe_code)]

use super::exact::Pieces;
use std::cell::Cell;
use zeroize::Zeroize;

/// A thread keeps no longer pieces of memory than these: 254 KiB in sum, with the 34 KiB of an encoder's tables.
const LONGEST_WRITES: usize = 128 << 10;
const LONGEST_PIECE: usize = 32 << 10;
const LONGEST_BODY: usize = 16 << 10;
const LONGEST_NODE: usize = 2 << 10;
const MOST_NODES: usize = 6;

/// The memory that one handle works with.
#[derive(Default)]
pub(super) struct Scratch {
    /// What was read exactly.
    pub(super) pieces: Pieces,
    /// The last chunk that was not found in one piece, or had to be decrypted: its content.
    pub(super) joined: Vec<u8>,
    /// For the next inflated body.
    pub(super) plain: Vec<u8>,
    /// For what is compressed next.
    pub(super) deflated: Vec<u8>,
    pub(super) encoder: Option<Box<snap::raw::Encoder>>,
    /// For the write buffer, while that has none.
    pub(super) writes: Vec<u8>,
    /// For inflated nodes.
    nodes: Vec<Vec<u8>>,
}

thread_local! {
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// What the thread has kept, or something new.
pub(super) fn take() -> Box<Scratch> {
    KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Keeps the memory for the next who takes it. `secret`: it was used for an encrypted file.
pub(super) fn give_back(mut scratch: Box<Scratch>, secret: bool) {
    scratch.forget(secret);
    // A thread that is ending keeps nothing.
    let _ = KEPT.try_with(|kept| kept.set(Some(scratch)));
}

impl Scratch {
    /// Memory for a node, which has none yet if there is none.
    pub(super) fn node(&mut self) -> Vec<u8> {
        self.nodes.pop().unwrap_or_default()
    }

    /// Keeps the memory of a node that is not needed any more.
    pub(super) fn keep_node(&mut self, memory: Vec<u8>) {
        if (1..=LONGEST_NODE).contains(&memory.capacity()) && self.nodes.len() < MOST_NODES {
            self.nodes.push(memory);
        }
    }

    fn forget(&mut self, secret: bool) {
        self.pieces.forget_ahead();
        // A piece that begins nowhere is empty.
        let mut piece = self.pieces.take(u64::MAX);
        let Scratch { joined, plain, deflated, writes, .. } = self;
        if secret {
            // All that they have room for. What was read, and what was to be written, is encrypted.
            (joined.zeroize(), plain.zeroize(), deflated.zeroize());
            self.nodes.iter_mut().for_each(Zeroize::zeroize);
        }
        for (memory, longest) in [
            (&mut piece.bytes, LONGEST_PIECE),
            (joined, LONGEST_BODY),
            (plain, LONGEST_BODY),
            (deflated, LONGEST_BODY),
            (writes, LONGEST_WRITES),
        ] {
            if memory.capacity() > longest {
                *memory = Vec::new();
            }
        }
        self.pieces.keep(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(memory: &[&Vec<u8>]) -> usize {
        memory.iter().map(|memory| memory.capacity()).sum()
    }

    fn used(byte: u8, length: usize) -> Box<Scratch> {
        let mut scratch = take();
        let mut piece = scratch.pieces.take(4096);
        piece.bytes = vec![byte; length];
        scratch.pieces.keep(piece);
        let Scratch { joined, plain, deflated, writes, .. } = &mut *scratch;
        for memory in [joined, plain, deflated, writes] {
            *memory = vec![byte; length];
        }
        for _ in 0..2 * MOST_NODES {
            scratch.keep_node(vec![byte; length]);
        }
        scratch
    }

    #[test]
    fn memory_is_kept_without_what_was_read() {
        give_back(used(7, 1000), false);
        let scratch = take();
        assert!(scratch.pieces.find(4096, 1).is_none());
        let Scratch { joined, plain, deflated, writes, pieces, .. } = &*scratch;
        assert_eq!(held(&[joined, plain, deflated, writes]), 4000);
        assert_eq!(pieces.held(), 1000);
        assert_eq!(held(&scratch.nodes.iter().collect::<Vec<_>>()), MOST_NODES * 1000);
        assert!(take().plain.is_empty(), "it is given to one at a time");
    }

    #[test]
    fn long_memory_is_not_kept() {
        give_back(used(7, 1 << 20), false);
        let scratch = take();
        let Scratch { joined, plain, deflated, writes, pieces, .. } = &*scratch;
        assert_eq!(held(&[joined, plain, deflated, writes]) + pieces.held() + scratch.nodes.len(), 0);
    }

    #[test]
    fn secrets_are_wiped() {
        give_back(used(7, 1000), true);
        let mut scratch = take();
        let Scratch { joined, plain, deflated, .. } = &mut *scratch;
        for memory in [joined, plain, deflated] {
            assert!(memory.is_empty() && memory.capacity() == 1000);
        }
        assert!(scratch.node().is_empty());
    }
}
