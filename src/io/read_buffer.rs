// SPDX-License-Identifier: Apache-2.0

//! What was read of a file: aligned pieces, kept until others take their place.

#![forbid(unsafe_code)]

use crate::error::Result;
use crate::memory;
use std::collections::HashMap;

/// Sizes of the read buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BufferSizes {
    /// Bytes of one unit.
    pub(crate) unit: usize,
    /// How many units are kept.
    pub(crate) count: usize,
}

/// Aligned pieces of the file. A slot may hold less than a unit where the file ended.
pub(super) struct ReadBuffer {
    pub(super) sizes: BufferSizes,
    slots: Vec<Slot>,
    by_offset: HashMap<u64, usize>,
    /// Next slot to look at for eviction; slots used since the last look get a second chance.
    hand: usize,
    /// Where the last load ended: a miss there means that reads run on in order.
    next_in_order: u64,
    /// Units to load at the next miss in order.
    window: usize,
    /// Memory for loading, kept for the next time.
    pub(super) scratch: Vec<u8>,
}

struct Slot {
    offset: u64,
    data: Vec<u8>,
    used: bool,
}

impl ReadBuffer {
    pub(super) fn new(sizes: BufferSizes) -> ReadBuffer {
        ReadBuffer {
            sizes,
            slots: Vec::new(),
            by_offset: HashMap::new(),
            hand: 0,
            next_in_order: u64::MAX,
            window: 1,
            scratch: Vec::new(),
        }
    }

    pub(super) fn unit_start(&self, offset: u64) -> u64 {
        offset - offset % self.sizes.unit as u64
    }

    /// What is buffered from `offset` to the end of its unit; empty if nothing is.
    pub(super) fn get(&mut self, offset: u64) -> &[u8] {
        let Some(&index) = self.by_offset.get(&self.unit_start(offset)) else { return &[] };
        let slot = &mut self.slots[index];
        slot.used = true;
        slot.data.get((offset - slot.offset) as usize..).unwrap_or_default()
    }

    /// How many units to load for a miss at `offset` when `upcoming` bytes from there are wanted.
    pub(super) fn units_to_load(&mut self, offset: u64, upcoming: usize) -> usize {
        let start = self.unit_start(offset);
        self.window = if start == self.next_in_order { self.window.saturating_mul(2) } else { 1 };
        let wanted = ((offset - start) as usize).saturating_add(upcoming).div_ceil(self.sizes.unit);
        let units = self.window.max(wanted).clamp(1, self.sizes.count);
        self.window = self.window.min(self.sizes.count);
        self.next_in_order = start.saturating_add((units * self.sizes.unit) as u64);
        units
    }

    pub(super) fn insert(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        let index = if let Some(&index) = self.by_offset.get(&offset) {
            index
        } else if self.slots.len() < self.sizes.count {
            memory::push(&mut self.slots, Slot { offset, data: Vec::new(), used: false })?;
            self.slots.len() - 1
        } else {
            self.evict()
        };
        // Should there be no memory below, the slot is known by no offset.
        self.by_offset.remove(&offset);
        let slot = &mut self.slots[index];
        slot.offset = offset;
        // Fresh: of one load that fills all slots, no unit evicts another.
        slot.used = true;
        slot.data.clear();
        memory::reserve_exact(&mut slot.data, data.len())?;
        slot.data.extend_from_slice(data);
        self.by_offset.insert(offset, index);
        Ok(())
    }

    fn evict(&mut self) -> usize {
        loop {
            let index = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if std::mem::take(&mut self.slots[index].used) {
                continue;
            }
            // An invalidated slot's offset may be held by another slot by now.
            let offset = self.slots[index].offset;
            if self.by_offset.get(&offset) == Some(&index) {
                self.by_offset.remove(&offset);
            }
            return index;
        }
    }

    /// Forgets every unit that overlaps the range.
    pub(super) fn invalidate(&mut self, start: u64, end: u64) {
        let unit = self.sizes.unit as u64;
        if (end - start) / unit > self.slots.len() as u64 {
            self.by_offset.retain(|&offset, _| offset + unit <= start || offset >= end);
            return;
        }
        let mut offset = self.unit_start(start);
        while offset < end {
            self.by_offset.remove(&offset);
            offset += unit;
        }
    }

    /// How many units take memory.
    #[cfg(test)]
    pub(super) fn units(&self) -> usize {
        self.slots.len().max(self.by_offset.len())
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = ReadBuffer::new(self.sizes);
    }
}
