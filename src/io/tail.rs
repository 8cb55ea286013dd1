// SPDX-License-Identifier: Apache-2.0

//! Where a file ends, and where it is appended to.

#![forbid(unsafe_code)]

use crate::format::block::boundary_at_or_above;

/// The end of a file as its handle knows it.
///
/// What stands behind the newest header belongs to nobody any more: a commit that failed, or a process that died. Its
/// bytes may never have reached the disk, and then the block that they end in is not fit for others: ext4, for one,
/// keeps such a range "unwritten", and what is written into the rest of the block later reads as zeros after the next
/// mount, although its sync succeeded. So behind such an end the next append begins in a block of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    end: u64,
    /// As long as the file ends here, its last block is not shared.
    doubtful: Option<u64>,
}

impl Tail {
    /// A file whose last bytes are those of the handle itself.
    pub(crate) fn own(end: u64) -> Tail {
        Tail { end, doubtful: None }
    }

    /// A file that was found to have this size, with its newest header ending at `header_end`.
    pub(crate) fn found(size: u64, header_end: u64) -> Tail {
        Tail { end: size, doubtful: (size != header_end).then_some(size) }
    }

    /// Nothing at or beyond this offset is read.
    pub(crate) fn end(self) -> u64 {
        self.end
    }

    /// Where the next chunk goes.
    pub(crate) fn append_at(self) -> u64 {
        if self.doubtful == Some(self.end) { boundary_at_or_above(self.end) } else { self.end }
    }

    /// The same file with its end moved: forth by an append, or back to where it was before.
    pub(crate) fn moved_to(self, end: u64) -> Tail {
        Tail { end, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behind_a_header_appending_goes_on() {
        let tail = Tail::found(4189, 4189);
        assert_eq!((tail.end(), tail.append_at()), (4189, 4189));
        assert_eq!(Tail::own(5000).append_at(), 5000);
    }

    #[test]
    fn behind_anything_else_the_first_append_has_a_block_of_its_own() {
        let tail = Tail::found(5000, 4189);
        assert_eq!((tail.end(), tail.append_at()), (5000, 8192));
        assert_eq!(Tail::found(8192, 4189).append_at(), 8192);
        let appended = tail.moved_to(8200);
        assert_eq!((appended.end(), appended.append_at()), (8200, 8200));
        assert_eq!(appended.moved_to(5000), tail, "an append that failed");
    }
}
