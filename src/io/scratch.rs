// SPDX-License-Identifier: Apache-2.0

//! Memory for the work on a file: what was read last, what is inflated or compressed, what waits to be written.
//!
//! A handle that is at work takes it and gives it back when it has committed, scanned, or is closed. Hosts open a file
//! for each piece of work, so it is kept for the next handle of the thread; that of a thread that ends is freed. What
//! one file has left in it is never seen through the handle of another, and of what is kept plain text of an encrypted file
//! is wiped. Beside it a thread keeps nodes that are found by their content: see `alike`.

#![forbid(unsafe_code)]

use super::alike;
use super::exact::Pieces;
use crate::memory::Room;
use std::cell::Cell;
use zeroize::Zeroize;

/// A thread keeps no longer pieces of memory than these: 254 KiB in sum, with the 34 KiB of an encoder's tables. That holds
/// with the 48 KiB of nodes that it may know by their content, too: they go where it has much else to read with.
const LONGEST_WRITES: usize = 128 << 10;
const LONGEST_PIECE: usize = 32 << 10;
const LONGEST_BODY: usize = 16 << 10;
const LONGEST_DEFLATED: usize = 4 << 10;
const LONGEST_NODE: usize = 2 << 10;
const MOST_NODES: usize = 6;
const MOST_BESIDE_ALIKE: usize = 28 << 10;

/// The memory that one handle reads with.
#[derive(Default)]
pub(super) struct Scratch {
    /// What was read exactly.
    pub(super) pieces: Pieces,
    /// The last chunk that was not found in one piece, or had to be decrypted: its content.
    pub(super) joined: Vec<u8>,
    /// For the next inflated body.
    pub(super) plain: Room,
    /// For inflated nodes.
    nodes: Vec<Room>,
}

/// The memory that one handle writes with.
#[derive(Default)]
pub(super) struct Writing {
    /// For what is compressed next.
    pub(super) deflated: Vec<u8>,
    pub(super) encoder: Option<Box<snap::raw::Encoder>>,
    /// For nodes that are gathered.
    nodes: Vec<Vec<u8>>,
    /// For the write buffer, while that has none.
    pub(super) buffer: Vec<u8>,
}

thread_local! {
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
    static KEPT_FOR_WRITING: Cell<Option<Box<Writing>>> = const { Cell::new(None) };
}

/// What the thread has kept, or something new.
pub(super) fn take() -> Box<Scratch> {
    KEPT.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// As [`take`], for writing: handles that read, and may do so for long, need none of it.
#[allow(clippy::unnecessary_box_returns, reason = "it goes from one handle to the next as it is")]
pub(super) fn take_for_writing() -> Box<Writing> {
    KEPT_FOR_WRITING.try_with(Cell::take).ok().flatten().unwrap_or_default()
}

/// Keeps the memory for the next who takes it. `secret`: it was used for an encrypted file.
pub(super) fn give_back(mut scratch: Box<Scratch>, secret: bool) {
    scratch.forget(secret);
    // A thread that is ending keeps nothing.
    let _ = KEPT.try_with(|kept| kept.set(Some(scratch)));
}

/// As [`give_back`].
pub(super) fn give_back_for_writing(mut writing: Box<Writing>, secret: bool) {
    writing.forget(secret);
    let _ = KEPT_FOR_WRITING.try_with(|kept| kept.set(Some(writing)));
}

fn let_go_if_longer(memory: &mut Vec<u8>, longest: usize) {
    if memory.capacity() > longest {
        *memory = Vec::new();
    }
}

impl Scratch {
    /// Memory for a node, which has none yet if there is none.
    pub(super) fn node(&mut self) -> Room {
        self.nodes.pop().unwrap_or_default()
    }

    /// Keeps the memory of a node that is not needed any more.
    pub(super) fn keep_node(&mut self, memory: Room) {
        if (1..=LONGEST_NODE).contains(&memory.size()) && self.nodes.len() < MOST_NODES {
            self.nodes.push(memory);
        }
    }

    fn forget(&mut self, secret: bool) {
        if secret {
            // All that they have room for. What was read is encrypted.
            self.joined.zeroize();
            self.plain.zeroize();
            self.nodes.iter_mut().for_each(Zeroize::zeroize);
        }
        self.pieces.forget_ahead();
        // A piece that begins nowhere is empty.
        let_go_if_longer(&mut self.pieces.begin(u64::MAX).bytes, LONGEST_PIECE);
        let_go_if_longer(&mut self.joined, LONGEST_BODY);
        if self.plain.size() > LONGEST_BODY {
            self.plain = Room::default();
        }
        if self.size() > MOST_BESIDE_ALIKE {
            alike::forget();
        }
    }

    /// Bytes of memory that it holds, at most, when no plan has read anything.
    fn size(&mut self) -> usize {
        let read = self.pieces.begin(u64::MAX).bytes.capacity();
        read + self.joined.capacity() + self.plain.size() + self.nodes.len() * LONGEST_NODE
    }
}

impl Writing {
    /// Memory for a node, which has none yet if there is none.
    pub(super) fn node(&mut self) -> Vec<u8> {
        self.nodes.pop().unwrap_or_default()
    }

    /// Keeps the memory of a node that was written.
    pub(super) fn keep_node(&mut self, memory: Vec<u8>) {
        if (1..=LONGEST_NODE).contains(&memory.capacity()) && self.nodes.len() < MOST_NODES {
            self.nodes.push(memory);
        }
    }

    fn forget(&mut self, secret: bool) {
        if secret {
            // What was to be written is encrypted.
            self.deflated.zeroize();
            self.nodes.iter_mut().for_each(Zeroize::zeroize);
        }
        let_go_if_longer(&mut self.deflated, LONGEST_DEFLATED);
        let_go_if_longer(&mut self.buffer, LONGEST_WRITES);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::format::chunk::ChunkPrefix;

    fn room(byte: u8, length: usize) -> Room {
        let mut room = Room::default();
        room.renew(length).unwrap();
        room.whole().fill(byte);
        room.set_length(length);
        room
    }

    fn used(byte: u8, length: usize) -> (Box<Scratch>, Box<Writing>) {
        let (mut scratch, mut writing) = (take(), take_for_writing());
        scratch.pieces.begin(4096).bytes = vec![byte; length];
        for memory in [&mut scratch.joined, &mut writing.deflated, &mut writing.buffer] {
            *memory = vec![byte; length];
        }
        scratch.plain = room(byte, length);
        for _ in 0..2 * MOST_NODES {
            scratch.keep_node(room(byte, length));
            writing.keep_node(vec![byte; length]);
        }
        (scratch, writing)
    }

    /// Gives memory back that was used so, and takes what is kept of it.
    fn kept(length: usize, secret: bool) -> (Box<Scratch>, Box<Writing>) {
        let (scratch, writing) = used(7, length);
        give_back(scratch, secret);
        give_back_for_writing(writing, secret);
        (take(), take_for_writing())
    }

    fn held(scratch: &Scratch, writing: &Writing) -> usize {
        let memory = [&scratch.joined, &writing.deflated, &writing.buffer].map(Vec::capacity);
        let nodes = writing.nodes.iter().map(Vec::capacity);
        let rooms = scratch.nodes.iter().chain([&scratch.plain]).map(Room::size);
        rooms.chain(memory).chain(nodes).sum::<usize>() + scratch.pieces.held()
    }

    #[test]
    fn memory_is_kept_without_what_was_read() {
        let (scratch, writing) = kept(1000, false);
        assert!(scratch.pieces.find(4096, 1).is_none());
        assert_eq!(held(&scratch, &writing), (5 + 2 * MOST_NODES) * 1000);
        // It is given to one at a time.
        assert_eq!(held(&take(), &take_for_writing()), 0);
    }

    #[test]
    fn long_memory_is_not_kept() {
        let (scratch, writing) = kept(1 << 20, false);
        assert_eq!(held(&scratch, &writing), 0);
    }

    #[test]
    fn nodes_known_by_their_content_go_where_there_is_much_else() {
        let note = || {
            for _ in 0..2 {
                let (prefix, mut plain) = (ChunkPrefix { length: 6, crc: 1 }, Room::default());
                alike::inflated((prefix, b"stored"), &mut plain, 0, |plain| plain.fill(b"node", 0)).unwrap();
            }
            alike::held().0
        };
        assert_eq!((note(), kept(1000, false).0.joined.capacity(), alike::held().0), (1, 1000, 1));
        assert_eq!((note(), kept(12 << 10, false).0.joined.capacity(), alike::held().0), (1, 12 << 10, 0));
    }

    #[test]
    fn plain_text_is_wiped() {
        let (mut scratch, mut writing) = kept(1000, true);
        for memory in [&scratch.joined, &writing.deflated] {
            assert!(memory.is_empty() && memory.capacity() == 1000);
        }
        for mut room in [std::mem::take(&mut scratch.plain), scratch.node()] {
            assert!(room.is_empty() && *room.whole() == [0; 1000]);
        }
        assert!(writing.node().is_empty());
    }
}
