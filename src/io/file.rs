// SPDX-License-Identifier: Apache-2.0

//! A couchstore file: content that steps over block-type bytes, chunks with checksums, headers, the append position.
//!
//! Every read here is bounded by the file's end as it was at open, or as the handle's own appends have moved it: what
//! others append later is not seen until the owner asks for it, and no length from the file is trusted before the file
//! can hold it.

#![forbid(unsafe_code)]

mod chunks;
mod headers;
mod search;

pub(crate) use chunks::Hint;
pub(crate) use search::MarkedBlock;

use super::buffered::{Buffered, Buffering};
use super::tail::Tail;
use super::{FileHandle, FileStats, FileTag, IoError};
use crate::crypto::cipher::{Cipher, TAG_LEN};
use crate::error::internal_error;
use crate::error::{Error, ErrorCode, Found, Operation, Result};
use crate::format::Malformed;
use crate::format::block::{
    BlockType, LONGEST_FILE, content_end, content_left, content_start, is_boundary, put_content,
};
use crate::format::chunk::{Checksum, ChunkPrefix, ENCRYPTED_PREFIX, PREFIX, longest_body};
use crate::format::header::FormatVersion;
use crate::memory;
use std::ffi::CStr;
use std::sync::Arc;

/// Memory for compressing is kept up to this size.
const LARGE: usize = 64 << 10;

/// Where something was appended, and its size on disk without block-type bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Appended {
    pub(crate) position: u64,
    pub(crate) size: u64,
}

/// A body as it was stored, decrypted, with the checksum that was checked.
pub(crate) struct Body {
    pub(crate) bytes: Vec<u8>,
    /// `None` if the file is encrypted: then there is none.
    pub(crate) crc: Option<u32>,
}

/// How an encrypted file is encrypted.
pub(crate) struct Encryption {
    pub(crate) cipher: Cipher,
    /// Id of the caller's key.
    pub(crate) key_id: Vec<u8>,
}

/// An open couchstore file.
pub(crate) struct DbFile {
    name: Arc<CStr>,
    io: Buffered,
    tail: Tail,
    checksum: Checksum,
    read_only: bool,
    /// Ciphers are large, and most files have none.
    encryption: Option<Box<Encryption>>,
    /// Nothing is appended; what it ends with is forgotten, and this is the tail again.
    rehearsal: Option<Tail>,
    /// Chunks of nodes of which nothing is known are expected to be no longer than this.
    node_size: usize,
    /// Nodes may be those that the thread has inflated before.
    recalls_nodes: bool,
}

/// Longest node of the default sizes, as a chunk.
const DEFAULT_NODE: usize = 1311;

impl DbFile {
    /// Wraps an open handle.
    #[inline]
    pub(crate) fn new(
        name: Arc<CStr>,
        raw: Box<dyn FileHandle>,
        buffering: Buffering,
        read_only: bool,
    ) -> Box<DbFile> {
        let place = Box::new_uninit();
        let file = DbFile {
            name,
            io: Buffered::new(raw, buffering),
            tail: Tail::default(),
            checksum: Checksum::Crc32c,
            read_only,
            encryption: None,
            rehearsal: None,
            node_size: DEFAULT_NODE,
            recalls_nodes: true,
        };
        Box::write(place, file)
    }

    /// Nodes are split when they are larger than this.
    pub(crate) fn set_node_size(&mut self, size: usize) {
        self.node_size = size.saturating_add(PREFIX + size / 64 + 8);
    }

    /// From now on each node is checked and inflated, whatever the thread has inflated before.
    pub(crate) fn recall_no_nodes(&mut self) {
        self.recalls_nodes = false;
    }

    /// Whether nodes of plain chunks may be those that the thread has inflated before, which had CRC-32C.
    #[inline]
    fn recalls_nodes(&self) -> bool {
        self.recalls_nodes && self.checksum == Checksum::Crc32c
    }

    /// From now on the file is looked at before it is written.
    pub(crate) fn watch(&mut self) {
        self.io.watch(self.name.clone());
    }

    /// This name of the file, where it has been noted already if it has.
    pub(crate) fn filename_if(&self, name: &CStr) -> Arc<CStr> {
        if *self.name == *name { self.name.clone() } else { name.into() }
    }

    /// Name of the file, for messages.
    pub(crate) fn name(&self) -> Arc<str> {
        self.name.to_string_lossy().into()
    }

    /// Where the file ends: nothing at or beyond it is read.
    pub(crate) fn end(&self) -> u64 {
        self.tail.end()
    }

    /// Where the file ends and is appended to.
    pub(crate) fn tail(&self) -> Tail {
        self.tail
    }

    /// Sets where the file ends; the caller knows what is there.
    pub(crate) fn set_tail(&mut self, tail: Tail) {
        self.tail = tail;
    }

    /// Fixes the checksum once the file's version is known.
    pub(crate) fn set_version(&mut self, version: FormatVersion) {
        self.checksum = Checksum::of(version);
    }

    /// From now on chunks are encrypted.
    pub(crate) fn set_encryption(&mut self, encryption: Encryption) {
        self.encryption = Some(Box::new(encryption));
    }

    /// How the file is encrypted, if it is.
    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_deref()
    }

    /// Longest body of a document.
    pub(crate) fn longest_body(&self) -> usize {
        longest_body(self.encryption.is_some())
    }

    /// The file's checksum kind.
    pub(crate) fn checksum(&self) -> Checksum {
        self.checksum
    }

    /// `errno` of the last failed call.
    pub(crate) fn last_os_error(&self) -> i32 {
        self.io.last_os_error()
    }

    /// Counts of calls of the file operations.
    pub(crate) fn stats(&self) -> FileStats {
        self.io.stats()
    }

    /// Buffers and handle, for options and for closing.
    pub(crate) fn io(&mut self) -> &mut Buffered {
        &mut self.io
    }

    fn io_error(&self, operation: Operation, position: u64, error: IoError) -> Error {
        let IoError { code, os_error, sync_failed, not_regular } = error;
        if not_regular {
            return Error::NotRegular { file: self.name() };
        }
        // A sync that failed inside a write (periodic sync) is a failed sync to everyone above.
        let operation = if sync_failed { Operation::Sync } else { operation };
        Error::Io { operation, file: self.name(), position, code, os_error }
    }

    /// An error that names this file.
    #[cold]
    pub(crate) fn error(&self, operation: Operation, position: u64, error: IoError) -> Error {
        if let (ErrorCode::DB_NO_LONGER_VALID, Some(reason)) = (error.code, self.io.refused()) {
            return Error::Stale { file: self.name(), reason };
        }
        self.io_error(operation, position, error)
    }

    /// The error for bytes at `position` that break a rule of the format.
    pub(crate) fn malformed(&self, position: u64, rule: Malformed) -> Error {
        Error::Corrupt { file: self.name(), position, expected: rule.0, found: Found::Unsaid }
    }

    /// The error for bytes at `position` that break a rule of the format, with what stands there; reported.
    pub(crate) fn found_instead(&self, position: u64, rule: Malformed, found: Found) -> Error {
        let error = Error::Corrupt { file: self.name(), position, expected: rule.0, found };
        internal_error::report(&error);
        error
    }

    fn truncated(&self, position: u64, wanted: u64) -> Error {
        Error::Truncated { file: self.name(), position, wanted }
    }

    /// The file has this size, and from now on nobody else is expected to change it.
    pub(crate) fn renew_watch(&mut self, size: u64) {
        if let Some(watch) = self.io.watched() {
            watch.renew(size);
        }
    }

    /// Says whether the file has got its name already.
    pub(crate) fn set_named(&mut self, named: bool) {
        if let Some(watch) = self.io.watched() {
            watch.set_named(named);
        }
    }

    /// Size of the file on disk. Offsets are signed 64-bit numbers to the operating system, and callers' operations
    /// that tell of larger files are wrong.
    pub(crate) fn size(&mut self) -> Result<u64> {
        let too_large = IoError::new(ErrorCode::READ, libc::EOVERFLOW);
        let size = self.io.size().and_then(|size| i64::try_from(size).map(|_| size).map_err(|_| too_large));
        size.map_err(|error| self.io_error(Operation::Size, 0, error))
    }

    // ---- content -----------------------------------------------------------------------------------------------

    /// Fills `buf` with the content at `position`, stepping over block-type bytes.
    fn read_content(&mut self, position: u64, buf: &mut [u8]) -> Result<()> {
        let wanted = buf.len();
        let mut at = content_start(position);
        let mut done = 0;
        while done < wanted {
            let n = content_left(at).min(wanted - done);
            let Some(piece) = buf.get_mut(done..done + n) else { break };
            let read = self.io.read(at, piece, wanted - done);
            let read = read.map_err(|error| self.io_error(Operation::Read, at, error))?;
            if read < n {
                return Err(self.truncated(position, wanted as u64));
            }
            done += n;
            at = content_start(at + n as u64);
        }
        Ok(())
    }

    /// Writes content at `position`, with a block-type byte at every boundary it meets. Returns the offset behind.
    fn write_content(&mut self, position: u64, bytes: &[u8]) -> Result<u64, IoError> {
        let mut at = position;
        let mut rest = bytes;
        while !rest.is_empty() {
            if is_boundary(at) {
                self.io.write(at, &[BlockType::Data as u8])?;
                at += 1;
            }
            let (now, later) = rest.split_at(content_left(at).min(rest.len()));
            self.io.write(at, now)?;
            at += now.len() as u64;
            rest = later;
        }
        Ok(at)
    }

    /// Writes the pieces of a chunk that stands from `position` to `end`.
    #[inline]
    fn write_chunk(
        &mut self,
        (position, end): (u64, u64),
        (prefix, body): (&[u8], &[u8]),
        tag: FileTag,
    ) -> Result<(), IoError> {
        let Some(buffer) = self.io.room_in_buffer(position, (end - position) as usize) else {
            return self.write_through(position, (prefix, body), tag);
        };
        // Nothing is asked of the file operations.
        if end - position == (prefix.len() + body.len()) as u64 {
            buffer.extend_from_slice(prefix);
            buffer.extend_from_slice(body);
        } else {
            let at = put_content(buffer, position, prefix);
            put_content(buffer, at, body);
        }
        Ok(())
    }

    /// As [`DbFile::write_chunk`], for an encrypted one.
    #[inline(never)]
    fn write_sealed(
        &mut self,
        (position, end): (u64, u64),
        chunk: &[u8],
        tag: FileTag,
    ) -> Result<(), IoError> {
        let Some(buffer) = self.io.room_in_buffer(position, (end - position) as usize) else {
            return self.write_through(position, (chunk, &[]), tag);
        };
        put_content(buffer, position, chunk);
        Ok(())
    }

    /// As [`DbFile::write_chunk`], where the write buffer has no room or is no part of it.
    #[inline(never)]
    fn write_through(
        &mut self,
        position: u64,
        (prefix, body): (&[u8], &[u8]),
        tag: FileTag,
    ) -> Result<(), IoError> {
        self.io.tag(tag);
        let written = self.write_content(position, prefix).and_then(|at| self.write_content(at, body));
        self.io.tag(FileTag::Unknown);
        written.map(|_| ())
    }

    /// Fails on a handle that was opened read-only.
    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.read_only { Err(Error::ReadOnly { file: self.name() }) } else { Ok(()) }
    }

    /// Fails if what stands from `position` to `end` could not be found there by the positions of the format.
    fn check_room(&self, position: u64, end: u64) -> Result<()> {
        if position < LONGEST_FILE && end <= LONGEST_FILE {
            return Ok(());
        }
        Err(self.too_big(position))
    }

    /// Whether it cannot be ruled out that the next call comes to where positions do not reach.
    pub(crate) fn may_be_too_long(&self) -> bool {
        self.tail.append_at() > LONGEST_FILE / 2
    }

    /// From now on chunks get their positions, but are not written.
    pub(crate) fn begin_rehearsal(&mut self) {
        self.rehearsal = Some(self.tail);
    }

    /// Whether chunks are not written.
    pub(crate) fn is_rehearsing(&self) -> bool {
        self.rehearsal.is_some()
    }

    /// Everything is as it was before the rehearsal.
    pub(crate) fn end_rehearsal(&mut self) {
        if let Some(tail) = self.rehearsal.take() {
            self.tail = tail;
        }
    }

    /// The error for numbers that the format has no room for.
    pub(crate) fn too_big(&self, position: u64) -> Error {
        self.error(Operation::Write, position, IoError::new(ErrorCode::WRITE, libc::EFBIG))
    }

    // ---- data chunks -------------------------------------------------------------------------------------------

    /// Reads `length` bytes of content at `position` once the file is known to hold them.
    fn read_bounded(&mut self, position: u64, length: u32) -> Result<Vec<u8>> {
        if length == 0 {
            return Ok(Vec::new());
        }
        if content_end(position, u64::from(length)) > self.end() {
            return Err(self.truncated(position, u64::from(length)));
        }
        let mut bytes = memory::filled(0, length as usize)?;
        self.read_content(position, &mut bytes)?;
        Ok(bytes)
    }

    /// Bytes that a chunk takes whose body, as it is stored, has this length.
    pub(crate) fn chunk_size(&self, body: u64) -> u64 {
        body + match self.encryption {
            None => PREFIX as u64,
            Some(_) => (ENCRYPTED_PREFIX + TAG_LEN) as u64,
        }
    }

    fn checksum_failed(&self, position: u64, prefix: ChunkPrefix) -> Error {
        let ChunkPrefix { length, crc } = prefix;
        let error = Error::Checksum { file: self.name(), position, length, crc };
        internal_error::report(&error);
        error
    }

    /// Length of `plain` when it is compressed.
    pub(crate) fn deflated_length(&mut self, plain: &[u8]) -> Result<usize> {
        self.with_deflated(plain, |_, deflated| Ok(deflated.len()))
    }

    /// Compresses `plain` with this file's encoder, whose tables are kept between calls as the memory for the result
    /// is, and shows the result to `action`.
    fn with_deflated<T>(
        &mut self,
        plain: &[u8],
        action: impl FnOnce(&mut DbFile, &[u8]) -> Result<T>,
    ) -> Result<T> {
        let longest = snap::raw::max_compress_len(plain.len());
        let writing = self.io.writing();
        let mut deflated = std::mem::take(&mut writing.deflated);
        if deflated.len() < longest {
            let more = longest - deflated.len();
            memory::reserve_exact(&mut deflated, more)?;
            deflated.resize(longest, 0);
        }
        let encoder = writing.encoder.get_or_insert_with(|| Box::new(snap::raw::Encoder::new()));
        // It fails only for inputs of 4 GiB and more.
        let length = encoder
            .compress(plain, &mut deflated)
            .map_err(|_| Error::InvalidArguments("expected a body below 4 GiB, to be compressed"))?;
        let result = action(self, deflated.get(..length).unwrap_or_default());
        if deflated.len() <= LARGE {
            self.io.writing().deflated = deflated;
        }
        result
    }

    /// Appends a chunk. `crc`: the checksum of `body` if the caller has it.
    ///
    /// After a failure the next chunk goes behind everything that may have reached the disk.
    pub(crate) fn append_chunk(&mut self, body: &[u8], crc: Option<u32>, tag: FileTag) -> Result<Appended> {
        self.check_writable()?;
        let position = self.tail.append_at();
        let size = self.chunk_size(body.len() as u64);
        let end = content_end(position, size);
        self.check_room(position, end)?;
        if self.rehearsal.is_some() {
            self.tail = self.tail.moved_to(end);
            return Ok(Appended { position, size });
        }
        let written = if self.encryption.is_some() {
            let sealed = self.seal(position, body)?;
            self.write_sealed((position, end), &sealed, tag)
        } else {
            let crc = crc.unwrap_or_else(|| self.checksum.compute(body));
            let prefix = ChunkPrefix { length: body.len() as u32, crc }.encode_data();
            self.write_chunk((position, end), (&prefix, body), tag)
        };
        if let Err(error) = written {
            self.take_back(self.end());
            return Err(self.error(Operation::Write, position, error));
        }
        self.tail = self.tail.moved_to(end);
        Ok(Appended { position, size })
    }

    /// The whole chunk for an encrypted file.
    ///
    /// What is sealed for a position is written there or nowhere: after a failure the append position goes behind
    /// everything that was handed to the file operations, so that no position is ever encrypted twice on the disk.
    fn seal(&self, position: u64, body: &[u8]) -> Result<Vec<u8>> {
        let length = body.len() + TAG_LEN;
        let mut chunk = Vec::new();
        memory::reserve_exact(&mut chunk, ENCRYPTED_PREFIX + length)?;
        chunk.extend_from_slice(&(length as u32).to_be_bytes());
        chunk.extend_from_slice(body);
        let (_, sealed) = chunk.split_at_mut(ENCRYPTED_PREFIX);
        let tag = self
            .encryption
            .as_ref()
            .and_then(|encryption| encryption.cipher.seal_chunk(position, sealed).ok());
        let tag = tag.ok_or_else(|| Error::Encrypt { file: self.name(), reason: "the cipher failed" })?;
        chunk.extend_from_slice(&tag);
        Ok(chunk)
    }

    /// Compresses and appends.
    pub(crate) fn append_compressed(&mut self, plain: &[u8], tag: FileTag) -> Result<Appended> {
        self.with_deflated(plain, |file, deflated| file.append_chunk(deflated, None, tag))
    }

    /// Takes everything from `position` on out of the write buffer and appends there or, if some of it may have
    /// reached the disk, behind that.
    pub(crate) fn take_back(&mut self, position: u64) {
        self.tail = self.tail.moved_to(self.io.take_back(position));
    }

    /// Hands everything buffered to the file operations.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let end = self.end();
        self.io.flush().map_err(|error| self.error(Operation::Write, end, error))
    }

    /// Makes everything flushed so far durable.
    pub(crate) fn sync_flushed(&mut self) -> Result<()> {
        let end = self.end();
        self.io.sync_flushed().map_err(|error| self.error(Operation::Sync, end, error))
    }

    /// Gives back buffers and encoder tables.
    pub(crate) fn free_buffers(&mut self) {
        self.io.free_buffers(self.encryption.is_some());
    }

    /// Gives the memory for the work back, until there is work again.
    pub(crate) fn rest(&mut self) {
        self.io.release(self.encryption.is_some());
    }
}

impl Drop for DbFile {
    fn drop(&mut self) {
        self.rest();
    }
}
