// SPDX-License-Identifier: Apache-2.0

//! Looking for headers: a block that may begin with one is known by its first byte.

#![forbid(unsafe_code)]

use super::DbFile;
use crate::error::{Operation, Result};
use crate::format::block::{BLOCK_SIZE, BlockType, boundary_at_or_below, content_left};
use crate::io::FileTag;
use crate::memory;

/// Once the first block tried had no header, the search looks at this many bytes at once, and twice as many each
/// time up to the maximum.
const FIRST_STRIDE: u64 = 64 * 1024;
const MAX_STRIDE: u64 = 512 * 1024;

/// A block boundary whose type byte is not that of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MarkedBlock {
    pub(crate) position: u64,
    pub(crate) marker: u8,
}

impl DbFile {
    /// The type byte of the block at `position`, `None` at or behind the end of the file.
    pub(crate) fn block_type(&mut self, position: u64) -> Result<Option<u8>> {
        // Positions may come from a caller: one beyond the end must not enter the arithmetic.
        if position >= self.end() {
            return Ok(None);
        }
        if self.io.is_exact() {
            let rest = content_left(position);
            let found = self.fetch(position, 1, rest, FileTag::Empty)?;
            return Ok(self.io.found(found, position).first().copied());
        }
        let mut byte = [0];
        self.io.tag(FileTag::Empty);
        let read = self.io.read(position, &mut byte, 1);
        self.io.tag(FileTag::Unknown);
        let read = read.map_err(|error| self.io_error(Operation::Read, position, error))?;
        Ok((read == 1).then_some(byte[0]))
    }

    /// The nearest block at or below `from` that is not of data or metadata; `None` if there is none.
    ///
    /// `from` itself is looked at alone, all below in strides; unbuffered handles get one call per block. With `exact`
    /// an error is about the nearest block that cannot be read, with nothing marked behind it; else a stride that
    /// cannot be read as a whole ends the search.
    pub(crate) fn marked_block_at_or_below(&mut self, from: u64, exact: bool) -> Result<Option<MarkedBlock>> {
        let mut position = boundary_at_or_below(from);
        let mut buf = Vec::new();
        // 0: one block at a time.
        let mut stride = 0;
        // In here strides cannot be read.
        let mut alone = u64::MAX;
        loop {
            if stride > 0 && position < self.io.flushed_end() {
                let low = boundary_at_or_below(position.saturating_sub(stride - BLOCK_SIZE));
                match self.marked_block_in(low, position, &mut buf) {
                    Ok(Some(found)) => return Ok(Some(found)),
                    Ok(None) if low == 0 => return Ok(None),
                    Ok(None) => position = low - BLOCK_SIZE,
                    Err(error) if exact && error.is_damage() => {
                        (alone, stride) = (low, 0);
                        continue;
                    }
                    Err(error) => return Err(error),
                }
                stride = (stride * 2).min(MAX_STRIDE);
                continue;
            }
            let marker = self.block_type(position)?.ok_or_else(|| self.truncated(position, 1))?;
            if is_mark(marker) {
                return Ok(Some(MarkedBlock { position, marker }));
            }
            if position == 0 {
                return Ok(None);
            }
            position -= BLOCK_SIZE;
            stride = if self.io.is_buffered() && position < alone { FIRST_STRIDE } else { 0 };
        }
    }

    /// The last marked block from `low` to `high`, both block boundaries, read at once.
    fn marked_block_in(&mut self, low: u64, high: u64, buf: &mut Vec<u8>) -> Result<Option<MarkedBlock>> {
        let length = (high - low + 1) as usize;
        buf.clear();
        memory::reserve_exact(buf, length)?;
        buf.resize(length, 0);
        self.io.tag(FileTag::Empty);
        let read = self.io.read_unbuffered(low, buf);
        self.io.tag(FileTag::Unknown);
        let read = read.map_err(|error| self.io_error(Operation::Read, low, error))?;
        if read < length {
            return Err(self.truncated(high, 1));
        }
        let markers = buf.iter().copied().enumerate().step_by(BLOCK_SIZE as usize);
        let last = markers.rev().find(|&(_, marker)| is_mark(marker));
        Ok(last.map(|(offset, marker)| MarkedBlock { position: low + offset as u64, marker }))
    }
}

fn is_mark(marker: u8) -> bool {
    !matches!(BlockType::from_byte(marker), Some(BlockType::Data | BlockType::Metadata))
}
