// SPDX-License-Identifier: Apache-2.0

//! Reading data chunks: bodies of documents, and nodes.
//!
//! With exact reads one call brings as much as the caller takes the chunk for (the hint), and a second one the rest, if
//! the chunk says that it is longer: hints are wrong in files of old servers, and after a change of encryption. So no
//! hint decides what a chunk is, and none makes for more memory than [`LONGEST_HINT`].

#![forbid(unsafe_code)]

use super::{Body, DbFile};
use crate::error::{Error, Found as Instead, Operation, Result};
use crate::format::Malformed;
use crate::format::block::{
    BLOCK_SIZE, boundary_at_or_above, content_end, content_left, content_start, is_boundary,
};
use crate::format::chunk::{ChunkPrefix, ENCRYPTED_PREFIX, PREFIX, parse_encrypted};
use crate::io::FileTag;
use crate::io::alike;
use crate::io::buffered::{Found, Plan};
use crate::memory::{self, Room};
use std::ops::Range;

/// Snappy's densest element makes 64 bytes out of 3: a buffer that claims more than this is damaged.
const MAX_SNAPPY_RATIO: u64 = 22;
/// Memory for inflated chunks that is used again is at least so large: most nodes fit in.
const LEAST_ROOM: usize = 2 << 10;
/// No more than this is read because of a hint.
const LONGEST_HINT: u64 = 64 << 10;
/// Longer chunks are read into memory of their own.
const LONGEST_KEPT: usize = 32 << 10;
/// Memory for longer inflated bodies is not kept.
const LARGEST_PLAIN: usize = 16 << 10;
/// Subtrees that are smaller than this are read at once for their root: nearly always they are one leaf.
const SMALL_SUBTREE: u64 = 4096;

/// What is known of a chunk before it is read: its size in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    /// Nothing.
    None,
    /// The size of a node and all below it.
    Subtree(u64),
    /// The size of a leaf, or of a body.
    Size(u64),
}

/// Where the body of a chunk is.
enum Loaded {
    /// Among what was read, or waits to be written.
    Found(Found, Range<u64>),
    Joined,
    Own(Vec<u8>),
}

/// A chunk's body, as it is stored.
pub(crate) struct Chunk {
    body: Loaded,
    /// `None` if the file is encrypted.
    crc: Option<u32>,
}

impl DbFile {
    /// Reads and checks the chunk at `position`.
    pub(crate) fn read_chunk(&mut self, position: u64, hint: Hint, tag: FileTag) -> Result<Body> {
        let Chunk { body, crc } = self.load_chunk(position, hint, tag)?;
        let bytes = match body {
            Loaded::Own(bytes) => bytes,
            kept => memory::copy(self.bytes_of(&kept))?,
        };
        Ok(Body { bytes, crc })
    }

    /// Reads the chunk at `position`, and shows its body to `visit` as it is stored: with the prefix if that says a checksum
    /// which is still to be checked.
    #[inline]
    fn with_unchecked<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&DbFile, Option<ChunkPrefix>, &[u8]) -> Result<T>,
    ) -> Result<T> {
        if self.io.has_read_ahead()
            && let Some((prefix, stored)) = self.at_hand(position)
        {
            return visit(self, Some(prefix), stored);
        }
        self.read_unchecked(position, hint, tag, visit)
    }

    /// As [`DbFile::with_unchecked`], for a chunk that no plan has read.
    #[inline(never)]
    fn read_unchecked<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&DbFile, Option<ChunkPrefix>, &[u8]) -> Result<T>,
    ) -> Result<T> {
        if self.io.is_exact() {
            self.bring(position, hint, tag)?;
            if let Some((prefix, stored)) = self.at_hand(position) {
                return visit(self, Some(prefix), stored);
            }
        }
        let chunk = self.load_chunk(position, hint, tag)?;
        visit(self, None, self.bytes_of(&chunk.body))
    }

    /// Reads and checks the chunk at `position`, and shows its body to `visit` as it is stored.
    #[inline]
    fn with_stored<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&DbFile, &[u8]) -> Result<T>,
    ) -> Result<T> {
        self.with_unchecked(position, hint, tag, |file, unchecked, stored| {
            if let Some(prefix) = unchecked {
                file.check_sum(position, prefix, stored)?;
            }
            visit(file, stored)
        })
    }

    /// Reads, checks and inflates the node at `position` into `plain`, whose content does not matter. Returns the length of
    /// what is stored.
    pub(crate) fn read_node(&mut self, position: u64, hint: Hint, plain: &mut Room) -> Result<u64> {
        self.with_unchecked(position, hint, FileTag::BTree, |file, unchecked, stored| {
            let inflate = |plain: &mut Room| {
                if let Some(prefix) = unchecked {
                    file.check_sum(position, prefix, stored)?;
                }
                file.inflate_into(position, stored, plain, LEAST_ROOM)
            };
            match (unchecked, hint) {
                // Only where trees are gone down: leaves that are known as such are each as likely to come again as any other,
                // and what writers read, of which nothing is known, they replace.
                (Some(prefix), Hint::Subtree(_)) if file.recalls_nodes() => {
                    alike::inflated((prefix, stored), plain, LEAST_ROOM, inflate)?;
                }
                _ => inflate(plain)?,
            }
            Ok(stored.len() as u64)
        })
    }

    /// Reads, checks and inflates the chunk at `position` into `plain`, whose content does not matter.
    #[inline]
    fn read_inflated(&mut self, position: u64, hint: Hint, tag: FileTag, plain: &mut Room) -> Result<()> {
        self.with_stored(position, hint, tag, |file, stored| {
            file.inflate_into(position, stored, plain, LEAST_ROOM)
        })
    }

    /// As [`DbFile::read_inflated`], into memory of just that size.
    pub(crate) fn read_inflated_body(&mut self, position: u64, hint: Hint, tag: FileTag) -> Result<Vec<u8>> {
        self.with_stored(position, hint, tag, |file, stored| file.inflate(position, stored))
    }

    /// Reads and checks the chunk at `position`, and shows its body to `visit` as it is stored.
    pub(crate) fn with_chunk<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        self.with_stored(position, hint, tag, |_, stored| visit(stored))
    }

    /// Whether so many bytes of content at `position` were read already; if so, up to where all bytes were.
    #[inline]
    pub(crate) fn has_read(&self, position: u64, size: u64) -> Option<u64> {
        let start = content_start(position);
        let length = usize::try_from(content_end(position, size) - start).ok()?;
        self.io.at_hand(start, length).map(|bytes| start + bytes.len() as u64)
    }

    /// Body and checksum of the chunk at `position`, if all of it was read already, stands within one block and is as it
    /// should be. Anything else is left to those who read, and find out what is wrong.
    pub(crate) fn chunk_at_hand(&self, position: u64) -> Option<(&[u8], u32)> {
        let (ChunkPrefix { crc, .. }, body) = self.at_hand(position)?;
        (self.checksum.compute(body) == crc).then_some((body, crc))
    }

    /// As [`DbFile::with_chunk`], with the checksum of the body, `None` if the file is encrypted.
    pub(crate) fn with_summed_chunk<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&[u8], Option<u32>) -> T,
    ) -> Result<T> {
        let chunk = self.load_chunk(position, hint, tag)?;
        Ok(visit(self.bytes_of(&chunk.body), chunk.crc))
    }

    /// Reads, checks and inflates the chunk at `position`, and shows its body to `visit`.
    pub(crate) fn with_inflated<T>(
        &mut self,
        position: u64,
        hint: Hint,
        tag: FileTag,
        visit: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        let mut plain = std::mem::take(&mut self.io.scratch().plain);
        let result = self.read_inflated(position, hint, tag, &mut plain).and_then(|()| visit(&plain));
        if plain.size() <= LARGEST_PLAIN {
            self.io.scratch().plain = plain;
        }
        result
    }

    /// Finds a chunk that is in memory in one piece, in one block of a plain file, as nearly all are that were read by
    /// plan. Its checksum is still to be checked.
    #[inline]
    fn at_hand(&self, position: u64) -> Option<(ChunkPrefix, &[u8])> {
        if self.encryption.is_some() || is_boundary(position) {
            return None;
        }
        let (prefix, behind) = self.io.at_hand(position, PREFIX)?.split_first_chunk()?;
        let prefix = ChunkPrefix::parse_data(*prefix).ok()?;
        let size = PREFIX as u64 + u64::from(prefix.length);
        if size > content_left(position) as u64 || position.checked_add(size)? > self.end() {
            return None;
        }
        Some((prefix, behind.get(..prefix.length as usize)?))
    }

    #[inline(never)]
    fn load_chunk(&mut self, position: u64, hint: Hint, tag: FileTag) -> Result<Chunk> {
        if self.io.is_exact() {
            return self.load_exactly(position, hint, tag);
        }
        self.io.tag(tag);
        let chunk = self.load_in_pieces(position);
        self.io.tag(FileTag::Unknown);
        chunk
    }

    fn bytes_of<'a>(&'a self, body: &'a Loaded) -> &'a [u8] {
        match body {
            Loaded::Found(found, at) => {
                let bytes = self.io.found(*found, at.start);
                bytes.get(..(at.end - at.start) as usize).unwrap_or_default()
            }
            Loaded::Joined => self.io.scratch_in_use().map_or(&[], |scratch| &scratch.joined),
            Loaded::Own(bytes) => bytes,
        }
    }

    /// Bytes before a chunk's body, and what the length in them counts besides.
    fn prefix(&self) -> usize {
        if self.encryption.is_some() { ENCRYPTED_PREFIX } else { PREFIX }
    }

    fn parse_prefix(&self, position: u64, bytes: &[u8]) -> Result<ChunkPrefix> {
        let short = || self.truncated(position, self.prefix() as u64);
        let parsed = if self.encryption.is_some() {
            let bytes = bytes.first_chunk().ok_or_else(short)?;
            parse_encrypted(*bytes).map(|length| ChunkPrefix { length, crc: 0 })
        } else {
            ChunkPrefix::parse_data(*bytes.first_chunk().ok_or_else(short)?)
        };
        parsed.map_err(|rule| self.malformed(position, rule))
    }

    /// Fails if the file cannot hold so much content at `position`.
    fn check_held(&self, position: u64, length: u64) -> Result<()> {
        // Positions may come from a caller: one beyond the end must not enter the arithmetic.
        if length == 0 || position < self.end() && content_end(position, length) <= self.end() {
            return Ok(());
        }
        Err(self.truncated(position, length))
    }

    // ---- in units, or without buffers --------------------------------------------------------------------------

    fn load_in_pieces(&mut self, position: u64) -> Result<Chunk> {
        let size = self.prefix();
        self.check_held(position, size as u64)?;
        let mut bytes = [0; PREFIX];
        let bytes = bytes.get_mut(..size).unwrap_or_default();
        self.read_content(position, bytes)?;
        let prefix = self.parse_prefix(position, bytes)?;
        let mut body = self.read_bounded(content_end(position, size as u64), prefix.length)?;
        let crc = self.open_body(position, prefix, &mut body)?;
        Ok(Chunk { body: Loaded::Own(body), crc })
    }

    /// Decrypts a body, or checks its checksum, and returns that.
    fn open_body(&self, position: u64, prefix: ChunkPrefix, body: &mut Vec<u8>) -> Result<Option<u32>> {
        let Some(encryption) = &self.encryption else {
            return self.check_sum(position, prefix, body).map(Some);
        };
        match encryption.cipher.open_chunk(position, body) {
            Ok(()) => Ok(None),
            Err(_) => Err(self.checksum_failed(position, ChunkPrefix { crc: 0, ..prefix })),
        }
    }

    #[inline]
    fn check_sum(&self, position: u64, prefix: ChunkPrefix, body: &[u8]) -> Result<u32> {
        if self.checksum.compute(body) == prefix.crc {
            return Ok(prefix.crc);
        }
        Err(self.checksum_failed(position, prefix))
    }

    // ---- exactly -----------------------------------------------------------------------------------------------

    /// How many bytes from the first one of the chunk on are to be read at once.
    fn expected(&self, position: u64, hint: Hint) -> u64 {
        let node = self.node_size as u64;
        let size = match hint {
            Hint::None | Hint::Size(0) => node,
            Hint::Subtree(size) if size > SMALL_SUBTREE => node,
            Hint::Subtree(size) | Hint::Size(size) => size,
        };
        let size = size.clamp(PREFIX as u64, LONGEST_HINT);
        content_end(position, size).min(self.end()).saturating_sub(content_start(position)).min(LONGEST_HINT)
    }

    /// Reads as much of the chunk at `position` as it is expected to take, unless its first bytes are in memory.
    fn bring(&mut self, position: u64, hint: Hint, tag: FileTag) -> Result<Found> {
        let size = self.prefix() as u64;
        self.check_held(position, size)?;
        let start = content_start(position);
        let head = (content_end(position, size) - start) as usize;
        let expected = self.expected(position, hint) as usize;
        self.fetch(start, head, expected, tag)
    }

    fn load_exactly(&mut self, position: u64, hint: Hint, tag: FileTag) -> Result<Chunk> {
        let found = self.bring(position, hint, tag)?;
        let size = self.prefix();
        let start = content_start(position);
        let body_at = content_end(position, size as u64);
        let head = (body_at - start) as usize;
        let raw = self.io.found(found, start);
        let prefix = if head == size {
            self.parse_prefix(position, raw)?
        } else {
            let mut bytes = [0; PREFIX];
            let bytes = bytes.get_mut(..size).unwrap_or_default();
            if !copy_content(raw, start, bytes) {
                return Err(self.truncated(position, size as u64));
            }
            self.parse_prefix(position, bytes)?
        };
        let length = prefix.length as usize;
        self.check_held(body_at, length as u64)?;
        // Behind an empty body there may be nothing, not even the type byte of a block.
        let (first, end) = match length {
            0 => (body_at, body_at),
            _ => (content_start(body_at), content_end(body_at, length as u64)),
        };
        let whole = (end - start) as usize;
        if whole > LONGEST_KEPT {
            return self.load_long(position, prefix, (found, start, whole), tag);
        }
        let found = if raw.len() >= whole { found } else { self.fetch(start, whole, whole, tag)? };
        let raw = self.io.found(found, start).get((first - start) as usize..whole);
        let raw = raw.ok_or_else(|| self.truncated(body_at, length as u64))?;
        if self.encryption.is_none() && raw.len() == length {
            let crc = self.check_sum(position, prefix, raw)?;
            return Ok(Chunk { body: Loaded::Found(found, first..end), crc: Some(crc) });
        }
        let mut joined = std::mem::take(&mut self.io.scratch().joined);
        joined.clear();
        memory::reserve(&mut joined, length)?;
        append_content(self.io.found(found, first), first, length, &mut joined);
        let opened = self.open_body(position, prefix, &mut joined);
        self.io.scratch().joined = joined;
        Ok(Chunk { body: Loaded::Joined, crc: opened? })
    }

    /// Goes on with a chunk that is too long to be kept.
    fn load_long(
        &mut self,
        position: u64,
        prefix: ChunkPrefix,
        (found, start, whole): (Found, u64, usize),
        tag: FileTag,
    ) -> Result<Chunk> {
        let body_at = content_end(position, self.prefix() as u64);
        let first = content_start(body_at);
        let rest = whole - (first - start) as usize;
        let read = self.io.fetch_long(found, first, rest, tag);
        let mut body = read.map_err(|error| self.io_error(Operation::Read, first, error))?;
        if body.len() < rest {
            return Err(self.truncated(body_at, u64::from(prefix.length)));
        }
        remove_block_types(&mut body, first);
        let crc = self.open_body(position, prefix, &mut body)?;
        Ok(Chunk { body: Loaded::Own(body), crc })
    }

    pub(super) fn fetch(&mut self, start: u64, least: usize, wanted: usize, tag: FileTag) -> Result<Found> {
        let found = self.io.fetch(start, least, wanted, tag);
        found.map_err(|error| self.io_error(Operation::Read, start, error))
    }

    /// Whether anything is read ahead at all.
    pub(crate) fn reads_by_plan(&self) -> bool {
        self.io.is_exact()
    }

    /// Reads chunks ahead, if reads are exact: their positions, and their sizes as far as is known. What cannot be read
    /// may be what lies between them: whoever steps over damage goes on with what was wanted.
    pub(crate) fn read_ahead(&mut self, plan: Plan, chunks: &[(u64, u64)]) -> Result<()> {
        let [(first, _), _, ..] = *chunks else { return Ok(()) };
        if !self.io.is_exact() {
            return Ok(());
        }
        let end = self.end();
        let mut ranges = Vec::new();
        memory::reserve_exact(&mut ranges, chunks.len())?;
        let inside = chunks.iter().filter(|&&(position, _)| position < end);
        ranges.extend(inside.map(|&(position, size)| {
            content_start(position)..content_end(position, size.max(PREFIX as u64)).min(end)
        }));
        let read = self.io.read_ahead(plan, &mut ranges);
        read.map_err(|error| self.io_error(Operation::Read, first, error))
    }

    // ---- Snappy ------------------------------------------------------------------------------------------------

    /// Inflates a Snappy buffer that was read at `position`.
    pub(crate) fn inflate(&self, position: u64, compressed: &[u8]) -> Result<Vec<u8>> {
        let mut plain = Room::default();
        self.inflate_into(position, compressed, &mut plain, 0)?;
        Ok(plain.into_vec())
    }

    /// As [`DbFile::inflate`], into memory whose content does not matter. Where that is too small it takes other memory, of
    /// at least this size.
    #[inline(never)]
    fn inflate_into(&self, position: u64, compressed: &[u8], plain: &mut Room, least: usize) -> Result<()> {
        match snap::raw::Decoder::new().decompress(compressed, plain.whole()) {
            Ok(length) => {
                plain.set_length(length);
                Ok(())
            }
            Err(snap::Error::BufferTooSmall { min, .. })
                if min <= (compressed.len() as u64).saturating_mul(MAX_SNAPPY_RATIO) =>
            {
                self.inflate_into_new(position, compressed, plain, least.max(min as usize))
            }
            Err(_) => Err(self.not_snappy(position, compressed)),
        }
    }

    /// As [`DbFile::inflate_into`], into other memory of this size. By itself, so that there is one place where the decoder is
    /// called: then it is compiled as a part of that.
    #[cold]
    fn inflate_into_new(
        &self,
        position: u64,
        compressed: &[u8],
        plain: &mut Room,
        size: usize,
    ) -> Result<()> {
        plain.renew(size)?;
        self.inflate_into(position, compressed, plain, size)
    }

    #[cold]
    fn not_snappy(&self, position: u64, compressed: &[u8]) -> Error {
        let found = Instead::Uncompressed(compressed.len());
        self.found_instead(position, Malformed("a Snappy-compressed chunk"), found)
    }
}

/// Fills `buf` with the content of bytes that stand at `start`; `false` if they are too few.
fn copy_content(raw: &[u8], start: u64, buf: &mut [u8]) -> bool {
    let (mut raw, mut at, mut done) = (raw, start, 0);
    while done < buf.len() {
        let n = content_left(at).min(buf.len() - done).min(raw.len());
        let (Some(to), Some(from)) = (buf.get_mut(done..done + n), raw.get(..n)) else { return false };
        if n == 0 {
            return false;
        }
        to.copy_from_slice(from);
        done += n;
        at += n as u64;
        let next = content_start(at);
        raw = raw.get(n + (next - at) as usize..).unwrap_or_default();
        at = next;
    }
    true
}

/// Appends `length` bytes of content of bytes that stand at `start`.
fn append_content(raw: &[u8], start: u64, length: usize, out: &mut Vec<u8>) {
    let (mut raw, mut at, mut left) = (raw, start, length);
    while left > 0 && !raw.is_empty() {
        let n = content_left(at).min(left).min(raw.len());
        out.extend_from_slice(raw.get(..n).unwrap_or_default());
        left -= n;
        at = content_start(at + n as u64);
        raw = raw.get(n + 1..).unwrap_or_default();
    }
}

/// Takes the type bytes of blocks out of bytes that stand at `start`.
fn remove_block_types(bytes: &mut Vec<u8>, start: u64) {
    let mut boundary = boundary_at_or_above(start);
    let Some(first) = usize::try_from(boundary - start).ok().filter(|&first| first < bytes.len()) else {
        return;
    };
    let (mut from, mut to) = (first, first);
    while from < bytes.len() {
        // Behind the type byte.
        from += 1;
        boundary += BLOCK_SIZE;
        let end = ((boundary - start) as usize).min(bytes.len());
        bytes.copy_within(from..end, to);
        to += end - from;
        from = end;
    }
    bytes.truncate(to);
}

#[cfg(test)]
mod tests;
