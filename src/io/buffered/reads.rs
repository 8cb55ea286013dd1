// SPDX-License-Identifier: Apache-2.0

//! Reading through the buffers: what waits to be written is seen, and what was read is kept as the handle's way of
//! buffering says.

#![forbid(unsafe_code)]

use super::{Buffered, Found, Reads, WriteBuffer, no_memory};
use crate::format::block::{BLOCK_SIZE, boundary_at_or_below};
use crate::io::exact::{Ahead, Place, Plan, length_of};
use crate::io::scratch::{self, Scratch};
use crate::io::{FileHandle, FileStats, FileTag, IoError};
use crate::memory;
use std::ops::Range;

/// What is read: the file as its handle sees it, with what waits in the write buffer.
struct Source<'a> {
    raw: &'a mut dyn FileHandle,
    writes: &'a WriteBuffer,
    stats: &'a mut FileStats,
    last_os_error: &'a mut i32,
}

impl Source<'_> {
    /// Appends at least `enough` and at most `most` bytes from `offset` on to `buf`, or as many as there are up to the
    /// end of the file.
    fn read_onto(
        &mut self,
        buf: &mut Vec<u8>,
        offset: u64,
        enough: usize,
        most: usize,
    ) -> Result<(), IoError> {
        memory::reserve_exact(buf, most).map_err(no_memory)?;
        let start = buf.len();
        while buf.len() - start < enough {
            let at = offset + (buf.len() - start) as u64;
            let mut room = most - (buf.len() - start);
            if !self.writes.data.is_empty() {
                let pending = self.writes.get(at);
                if !pending.is_empty() {
                    buf.extend_from_slice(&pending[..pending.len().min(room)]);
                    continue;
                }
                // Behind the write buffer there may be what was written before it was taken back.
                let before = self.writes.start.checked_sub(at);
                let before = before.and_then(|before| usize::try_from(before).ok());
                room = before.map_or(room, |before| room.min(before));
            }
            self.stats.read_count += 1;
            let result = self.raw.pread_onto(buf, room, at);
            let n = Buffered::noted(self.last_os_error, result)?;
            self.stats.read_bytes += n as u64;
            if n == 0 {
                break;
            }
        }
        Ok(())
    }

    /// What waits in the write buffer is not read.
    fn read_ranges(&mut self, joined: Vec<Range<u64>>, ahead: &mut Ahead) -> Result<(), IoError> {
        memory::reserve_exact(&mut ahead.bytes, length_of(&joined) as usize).map_err(no_memory)?;
        let end = if self.writes.data.is_empty() { u64::MAX } else { self.writes.start };
        for range in joined.into_iter().filter(|range| range.start < end) {
            let at = ahead.bytes.len();
            let length = (range.end.min(end) - range.start) as usize;
            self.read_onto(&mut ahead.bytes, range.start, length.min(1), length)?;
            ahead.note(range.start, at).map_err(no_memory)?;
        }
        Ok(())
    }
}

impl Buffered {
    /// The memory for the work, and what is read into it.
    #[inline]
    fn scratch_and_source(&mut self) -> (&mut Scratch, Source<'_>) {
        let Buffered { raw, writes, stats, last_os_error, scratch, .. } = self;
        let source = Source { raw: raw.as_mut(), writes, stats, last_os_error };
        (scratch.get_or_insert_with(scratch::take), source)
    }

    /// Reads until `buf` is full or the file ends, and returns how much was read. `upcoming` bytes (at least
    /// `buf.len()`) from `offset` on will be wanted soon.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8], upcoming: usize) -> Result<usize, IoError> {
        let mut done = 0;
        while done < buf.len() {
            let at = offset + done as u64;
            let pending = self.writes.get(at);
            let n = if pending.is_empty() {
                let mut room = buf.len() - done;
                if at < self.writes.start && !self.writes.data.is_empty() {
                    room = room.min((self.writes.start - at) as usize);
                }
                self.read_file(at, &mut buf[done..done + room], upcoming.saturating_sub(done))?
            } else {
                let n = pending.len().min(buf.len() - done);
                buf[done..done + n].copy_from_slice(&pending[..n]);
                n
            };
            if n == 0 {
                break;
            }
            done += n;
        }
        Ok(done)
    }

    fn read_file(&mut self, offset: u64, buf: &mut [u8], upcoming: usize) -> Result<usize, IoError> {
        if let Reads::Off = self.reads {
            return self.read_raw(offset, buf, buf.len());
        }
        if self.kept(offset).is_empty() {
            match self.reads {
                Reads::Exact => self.load_block(offset, buf.len())?,
                _ => self.load(offset, buf.len(), upcoming)?,
            }
        }
        let found = self.kept(offset);
        let n = found.len().min(buf.len());
        buf[..n].copy_from_slice(&found[..n]);
        Ok(n)
    }

    /// What is kept of what was read, from `offset` on; empty if nothing is.
    fn kept(&mut self, offset: u64) -> &[u8] {
        match &mut self.reads {
            Reads::Off => &[],
            Reads::Exact => {
                let pieces = self.scratch.as_deref().map(|scratch| &scratch.pieces);
                pieces.and_then(|pieces| Some(pieces.at(pieces.find(offset, 1)?, offset))).unwrap_or_default()
            }
            Reads::Units(units) => units.get(offset),
        }
    }

    /// Reads the block of `offset`, which is not kept; stops early only where `needed` bytes from there on are read.
    fn load_block(&mut self, offset: u64, needed: usize) -> Result<(), IoError> {
        let start = boundary_at_or_below(offset);
        // Up to the write buffer, or from behind it on.
        let start = if offset < self.flushed_end() { start } else { start.max(self.pending_end()) };
        let most = match self.flushed_end().checked_sub(start) {
            Some(most) => most.min(BLOCK_SIZE) as usize,
            None => (start / BLOCK_SIZE * BLOCK_SIZE + BLOCK_SIZE - start) as usize,
        };
        let enough = ((offset - start) as usize + needed).min(most);
        let (scratch, mut source) = self.scratch_and_source();
        let piece = scratch.pieces.begin(start);
        piece.bytes.clear();
        source.read_onto(&mut piece.bytes, start, enough, most)
    }

    /// Finds bytes of a file with exact reads from `offset` on: at least `least` of them, unless the file ends. If they
    /// have to be read, `wanted` are.
    pub(in crate::io) fn fetch(
        &mut self,
        offset: u64,
        least: usize,
        wanted: usize,
        tag: FileTag,
    ) -> Result<Found, IoError> {
        if !self.writes.data.is_empty() && self.writes.get(offset).len() >= least {
            return Ok(Found::Pending);
        }
        let (scratch, mut source) = self.scratch_and_source();
        if let Some(place) = scratch.pieces.find(offset, least) {
            return Ok(Found::Read(place));
        }
        let piece = scratch.pieces.begin(offset);
        let done = piece.bytes.len();
        source.raw.tag(tag);
        let (enough, most) = (least - done, wanted.max(least) - done);
        let read = source.read_onto(&mut piece.bytes, offset + done as u64, enough, most);
        source.raw.tag(FileTag::Unknown);
        if read.is_err() {
            // Of what has failed nothing is kept.
            piece.bytes.clear();
        }
        read.map(|()| Found::Read(Place::Last))
    }

    /// Whether anything is kept that a plan has read.
    #[inline]
    pub(in crate::io) fn has_read_ahead(&self) -> bool {
        self.scratch.as_ref().is_some_and(|scratch| scratch.pieces.has_read_ahead())
    }

    /// At least `least` bytes from `offset` on, if they are in memory, and reads are exact.
    #[inline]
    pub(in crate::io) fn at_hand(&self, offset: u64, least: usize) -> Option<&[u8]> {
        if !self.is_exact() {
            return None;
        }
        if !self.writes.data.is_empty() {
            let pending = self.writes.get(offset);
            if pending.len() >= least {
                return Some(pending);
            }
        }
        self.scratch.as_ref()?.pieces.get(offset, least)
    }

    /// The bytes from `offset` on that were found there.
    pub(in crate::io) fn found(&self, found: Found, offset: u64) -> &[u8] {
        match (found, &self.scratch) {
            (Found::Read(place), Some(scratch)) => scratch.pieces.at(place, offset),
            _ => self.writes.get(offset),
        }
    }

    /// Moves what was found from `offset` on into `buf`, and reads the rest up to `length` bytes: for what is too long
    /// to be kept.
    pub(in crate::io) fn fetch_long(
        &mut self,
        found: Found,
        offset: u64,
        length: usize,
        tag: FileTag,
    ) -> Result<Vec<u8>, IoError> {
        let mut buf = Vec::new();
        memory::reserve_exact(&mut buf, length).map_err(no_memory)?;
        let head = self.found(found, offset);
        buf.extend_from_slice(&head[..head.len().min(length)]);
        self.scratch().pieces.trim();
        let done = buf.len();
        let (_, mut source) = self.scratch_and_source();
        source.raw.tag(tag);
        let read = source.read_onto(&mut buf, offset + done as u64, length - done, length - done);
        source.raw.tag(FileTag::Unknown);
        read.map(|()| buf)
    }

    /// Reads what is about to be wanted and no plan of this kind has read yet, if reads are exact: near ranges at once. They
    /// take the place of what such plans have read before if there is no room for both. A failure is that of whatever is
    /// wanted first.
    pub(in crate::io) fn read_ahead(&mut self, plan: Plan, wanted: &mut [Range<u64>]) -> Result<(), IoError> {
        if !self.is_exact() {
            return Ok(());
        }
        let (scratch, mut source) = self.scratch_and_source();
        let ahead = scratch.pieces.ahead(plan);
        let mut joined = ahead.make_room(plan, wanted).map_err(no_memory)?;
        if joined.is_empty() {
            return Ok(());
        }
        ahead.go_on(plan, &mut joined);
        source.raw.tag(match plan {
            Plan::Pointers | Plan::Leaves { .. } => FileTag::BTree,
            Plan::Bodies => FileTag::Document,
        });
        let read = source.read_ranges(joined, ahead);
        source.raw.tag(FileTag::Unknown);
        if read.is_err() {
            *ahead = Ahead::default();
        }
        read
    }

    /// Loads the units from the one with `offset` on; stops early only where `needed` bytes are there.
    fn load(&mut self, offset: u64, needed: usize, upcoming: usize) -> Result<(), IoError> {
        let Reads::Units(reads) = &mut self.reads else { return Ok(()) };
        let unit = reads.sizes.unit;
        let units = reads.units_to_load(offset, upcoming);
        let start = reads.unit_start(offset);
        let mut scratch = std::mem::take(&mut reads.scratch);
        let length = units.saturating_mul(unit);
        let more = length.saturating_sub(scratch.len());
        memory::reserve_exact(&mut scratch, more).map_err(no_memory)?;
        scratch.resize(length, 0);
        let needed = ((offset - start) as usize + needed).min(unit);
        let result = self.read_raw(start, &mut scratch, needed);
        if let (Ok(n), Reads::Units(reads)) = (&result, &mut self.reads) {
            for (index, piece) in scratch[..*n].chunks(unit).enumerate() {
                reads.insert(start + (index * unit) as u64, piece).map_err(no_memory)?;
            }
            if units == 1 {
                reads.scratch = scratch;
            }
        }
        result.map(|_| ())
    }

    /// Reads from the handle until at least `enough` bytes are there or the file ends.
    fn read_raw(&mut self, offset: u64, buf: &mut [u8], enough: usize) -> Result<usize, IoError> {
        let mut done = 0;
        while done < enough {
            self.stats.read_count += 1;
            let result = self.raw.pread(&mut buf[done..], offset + done as u64);
            let n = Buffered::noted(&mut self.last_os_error, result)?.min(buf.len() - done);
            if n == 0 {
                break;
            }
            self.stats.read_bytes += n as u64;
            done += n;
        }
        Ok(done)
    }

    /// Reads a large piece without disturbing the buffers; for the search of headers. Bytes that wait in the write
    /// buffer are not seen: the caller stays below [`Buffered::flushed_end`].
    pub(crate) fn read_unbuffered(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, IoError> {
        self.read_raw(offset, buf, buf.len())
    }
}
