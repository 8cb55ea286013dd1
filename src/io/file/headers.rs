// SPDX-License-Identifier: Apache-2.0

//! Headers as chunks of a file: reading those that were found, appending new ones, the metadata header.

#![forbid(unsafe_code)]

use super::{Appended, DbFile};
use crate::crypto::keys::NEWEST_METADATA;
use crate::error::{Error, Found, Operation, Result};
use crate::format::Malformed;
use crate::format::block::{self, BLOCK_SIZE, BlockType, content_end};
use crate::format::chunk::{Checksum, ChunkPrefix, LONGEST_HEADER, PREFIX};
use crate::format::header::{FileHeader, HeaderError};
use crate::format::metadata::Metadata;
use crate::io::buffered::Found as Read;
use crate::io::tail::Tail;
use crate::io::{FileTag, IoError};
use std::ops::Range;

impl DbFile {
    /// Reads and checks the chunk of the header whose block starts at `position`, and shows it to `visit`. With
    /// `any_checksum` the file's kind is not known yet: either is accepted.
    pub(crate) fn with_header_chunk<T>(
        &mut self,
        position: u64,
        any_checksum: bool,
        visit: impl FnOnce(&DbFile, &[u8]) -> T,
    ) -> Result<T> {
        if let Some((prefix, body)) = self.header_at_hand(position) {
            return self.check_header_chunk(position, prefix, body, any_checksum).map(|()| visit(self, body));
        }
        if self.io.is_exact() {
            let (prefix, found, range) = self.find_header_chunk(position)?;
            let body = self.io.found(found, position).get(range).unwrap_or_default();
            return self.check_header_chunk(position, prefix, body, any_checksum).map(|()| visit(self, body));
        }
        let mut room = [0; LONGEST_HEADER];
        self.io.tag(FileTag::FileHeader);
        let read = self.read_header_chunk(position, &mut room);
        self.io.tag(FileTag::Unknown);
        let (prefix, body) = read?;
        self.check_header_chunk(position, prefix, body, any_checksum).map(|()| visit(self, body))
    }

    /// Body of the header whose block starts at `position`, which was read and checked before, if it still is in memory.
    pub(crate) fn checked_header_at_hand(&self, position: u64) -> Option<&[u8]> {
        self.header_at_hand(position).map(|(_, body)| body)
    }

    /// A header that was read with the block that it was found in, as nearly all are. Its checksum is still to be checked.
    #[inline]
    fn header_at_hand(&self, position: u64) -> Option<(ChunkPrefix, &[u8])> {
        let (prefix, behind) = self.io.at_hand(position, 1 + PREFIX)?.get(1..)?.split_first_chunk()?;
        let prefix = ChunkPrefix::parse_header(*prefix).ok()?;
        Some((prefix, behind.get(..prefix.length as usize)?))
    }

    /// Where a header was read, usually with the block that it was found in, and the range of its body there.
    #[inline]
    fn find_header_chunk(&mut self, position: u64) -> Result<(ChunkPrefix, Read, Range<usize>)> {
        const HEAD: usize = 1 + PREFIX;
        let block = BLOCK_SIZE as usize;
        let found = self.fetch(position, HEAD, block, FileTag::FileHeader)?;
        let there = self.io.found(found, position);
        let bytes = there.get(1..).and_then(<[u8]>::first_chunk);
        let bytes = *bytes.ok_or_else(|| self.truncated(position, PREFIX as u64))?;
        let prefix = self.parse_header_prefix(position, bytes)?;
        let range = HEAD..HEAD + prefix.length as usize;
        if there.len() >= range.end {
            return Ok((prefix, found, range));
        }
        let found = self.fetch(position, range.end, block, FileTag::FileHeader)?;
        if self.io.found(found, position).len() < range.end {
            return Err(self.truncated(position + HEAD as u64, u64::from(prefix.length)));
        }
        Ok((prefix, found, range))
    }

    fn read_header_chunk<'b>(
        &mut self,
        position: u64,
        room: &'b mut [u8; LONGEST_HEADER],
    ) -> Result<(ChunkPrefix, &'b [u8])> {
        let mut bytes = [0; PREFIX];
        self.read_content(position, &mut bytes)?;
        let prefix = self.parse_header_prefix(position, bytes)?;
        // The length was checked by the parser.
        let body = room.get_mut(..prefix.length as usize).unwrap_or_default();
        self.read_content(content_end(position, PREFIX as u64), body)?;
        Ok((prefix, body))
    }

    #[inline]
    fn parse_header_prefix(&self, position: u64, bytes: [u8; PREFIX]) -> Result<ChunkPrefix> {
        ChunkPrefix::parse_header(bytes).map_err(|rule| {
            self.found_instead(position, rule, Found::HeaderLength(ChunkPrefix::stated_length(bytes)))
        })
    }

    #[inline]
    fn check_header_chunk(
        &self,
        position: u64,
        prefix: ChunkPrefix,
        body: &[u8],
        any_checksum: bool,
    ) -> Result<()> {
        let matches = |kind: Checksum| kind.compute(body) == prefix.crc;
        let good = if any_checksum {
            matches(Checksum::Crc32c) || matches(Checksum::Crc32)
        } else {
            matches(self.checksum)
        };
        if good { Ok(()) } else { Err(self.checksum_failed(position + 1, prefix)) }
    }

    /// Reads the body of the header at `position` into `header`.
    #[inline]
    pub(crate) fn parse_header(&self, body: &[u8], position: u64, header: &mut FileHeader) -> Result<()> {
        header.read(body, position).map_err(|error| self.header_error(position, error))
    }

    #[cold]
    fn header_error(&self, position: u64, error: HeaderError) -> Error {
        match error {
            HeaderError::Version(version) => Error::HeaderVersion { file: self.name(), position, version },
            HeaderError::Malformed(rule) => self.malformed(position, Malformed(rule)),
        }
    }

    /// Writes a header at the next block boundary. A `marker` of data keeps it from being seen as a header yet.
    ///
    /// After a failure nothing of it is left in the write buffer.
    pub(crate) fn append_header(&mut self, header: &FileHeader, marker: BlockType) -> Result<Appended> {
        self.check_writable()?;
        let body = header.encode();
        let old_end = self.end();
        let position = block::boundary_at_or_above(old_end);
        if body.len() > LONGEST_HEADER {
            return Err(self.malformed(position, Malformed("a header of 4 to 1024 bytes")));
        }
        self.check_room(position, content_end(position, (PREFIX + body.len()) as u64))?;
        let prefix = ChunkPrefix { length: body.len() as u32, crc: self.checksum.compute(&body) };
        let mut start = [marker as u8; 1 + PREFIX];
        start[1..].copy_from_slice(&prefix.encode_header());
        self.io.tag(FileTag::FileHeader);
        let written = self
            .fill_to(position)
            .and_then(|()| self.io.write(position, &start))
            .and_then(|()| self.io.write(position + start.len() as u64, &body));
        self.io.tag(FileTag::Unknown);
        match written {
            Ok(()) => {
                let size = (start.len() + body.len()) as u64;
                self.tail = self.tail.moved_to(position + size);
                Ok(Appended { position, size })
            }
            Err(error) => {
                self.take_back(old_end);
                Err(self.error(Operation::Write, position, error))
            }
        }
    }

    /// Keeps the write buffer in one piece: the gap up to the next block becomes zeros in it.
    fn fill_to(&mut self, position: u64) -> Result<(), IoError> {
        let gap = (position - self.end()) as usize;
        if gap == 0 || !self.io.is_buffered() || self.io.flushed_end() == u64::MAX {
            return Ok(());
        }
        self.io.write(self.end(), &[0; BLOCK_SIZE as usize][..gap])
    }

    /// Writes the metadata header into block 0 of an empty file.
    pub(crate) fn start_with_metadata(&mut self, metadata: &Metadata) -> Result<()> {
        let body = metadata.encode();
        let prefix = ChunkPrefix { length: body.len() as u32, crc: Checksum::Crc32c.compute(&body) };
        let mut start = [BlockType::Metadata as u8; 1 + PREFIX];
        start[1..].copy_from_slice(&prefix.encode_header());
        let end = start.len() as u64;
        let written = self.io.write(0, &start).and_then(|()| self.io.write(end, &body));
        written.map_err(|error| self.error(Operation::Write, 0, error))?;
        self.tail = Tail::own(end + body.len() as u64);
        Ok(())
    }

    /// Reads the metadata header; `None` if block 0 is no such header.
    pub(crate) fn read_metadata(&mut self) -> Result<Option<Metadata>> {
        let marker = self.block_type(0)?.ok_or_else(|| self.truncated(0, 1))?;
        if marker != BlockType::Metadata as u8 {
            return Ok(None);
        }
        let mut bytes = [0; PREFIX];
        self.read_content(0, &mut bytes)?;
        let prefix = ChunkPrefix::parse_metadata(bytes).map_err(|rule| self.malformed(0, rule))?;
        let body = self.read_bounded(content_end(0, PREFIX as u64), prefix.length)?;
        if Checksum::Crc32c.compute(&body) != prefix.crc {
            return Err(self.checksum_failed(1, prefix));
        }
        match Metadata::version_of(&body) {
            Some(version) if version <= NEWEST_METADATA => {
                Metadata::parse(&body).map(Some).map_err(|rule| self.malformed(0, rule))
            }
            Some(version) => Err(Error::MetadataVersion { file: self.name(), version }),
            None => {
                Err(Error::NotSupported("a metadata header at offset 0 without a version, expected 0 or 1"))
            }
        }
    }

    /// Overwrites the type byte of a block and hands it to the file operations.
    pub(crate) fn write_block_type(&mut self, position: u64, marker: BlockType) -> Result<()> {
        self.io.tag(FileTag::FileHeader);
        let written = self.io.write(position, &[marker as u8]).and_then(|()| self.io.flush());
        self.io.tag(FileTag::Unknown);
        written.map_err(|error| {
            self.io.take_back(position);
            self.error(Operation::Write, position, error)
        })
    }

    /// Starts a file that has no header yet: one data byte, so that nothing is ever at position 0.
    pub(crate) fn start_without_header(&mut self) -> Result<()> {
        let written = self.io.write(0, &[BlockType::Data as u8]);
        written.map_err(|error| self.error(Operation::Write, 0, error))?;
        self.tail = Tail::own(1);
        Ok(())
    }
}
