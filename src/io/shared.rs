// SPDX-License-Identifier: Apache-2.0

//! The file of a handle behind a cell.
//!
//! Callbacks of the caller may use the same handle again while a scan or a save runs on it. So nothing borrows the
//! file for longer than one chunk takes: between two calls here it is free.

#![forbid(unsafe_code)]

use super::buffered::Plan;
use super::file::{Appended, Body, DbFile, Hint};
use super::{FileStats, FileTag};
use crate::error::{Error, Found, Result};
use crate::format::Malformed;
use crate::memory::Room;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

/// A node as read.
pub(crate) struct StoredNode {
    /// The inflated node.
    pub(crate) bytes: Room,
    /// Bytes that it takes in the file, without the chunk's prefix.
    pub(crate) stored_size: u64,
}

/// A file that can be closed while others hold a reference to it.
pub(crate) struct SharedFile {
    file: RefCell<Option<Box<DbFile>>>,
    /// Position of the body that was read last. A scan asks while another thread may be reading one.
    last_body: AtomicU64,
    /// Counts whatever may have changed the file's end, or the last error.
    uses: Cell<u64>,
}

impl SharedFile {
    /// Shares an open file.
    pub(crate) fn new(file: Box<DbFile>) -> SharedFile {
        SharedFile { file: RefCell::new(Some(file)), last_body: AtomicU64::new(0), uses: Cell::new(0) }
    }

    /// Runs `action` on the open file. It must not call back into the caller's code.
    #[inline]
    pub(crate) fn with<T>(&self, action: impl FnOnce(&mut DbFile) -> Result<T>) -> Result<T> {
        self.count_use();
        match self.file.borrow_mut().as_mut() {
            Some(file) => action(file),
            None => Err(Error::FileClosed),
        }
    }

    /// As [`SharedFile::with`], for what leaves the file's end where it is, and `errno` too unless a call fails: nothing is
    /// counted then.
    #[inline]
    fn reading<T>(&self, action: impl FnOnce(&mut DbFile) -> Result<T>) -> Result<T> {
        let mut file = self.file.borrow_mut();
        let Some(file) = file.as_mut() else { return Err(Error::FileClosed) };
        let before = (file.end(), file.last_os_error());
        let done = action(file);
        if before != (file.end(), file.last_os_error()) {
            self.count_use();
        }
        done
    }

    fn count_use(&self) {
        self.uses.set(self.uses.get().wrapping_add(1));
    }

    /// A number that changes whenever the end of the file may have, whether it is open, or `errno` of the last failed call.
    #[inline]
    pub(crate) fn uses(&self) -> u64 {
        self.uses.get()
    }

    /// Takes the file out: from now on it is closed.
    pub(crate) fn take(&self) -> Option<Box<DbFile>> {
        self.count_use();
        self.file.borrow_mut().take()
    }

    /// Puts another file in, and returns the old one.
    pub(crate) fn replace(&self, file: Box<DbFile>) -> Option<Box<DbFile>> {
        self.count_use();
        self.file.borrow_mut().replace(file)
    }

    /// Whether the file is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.file.borrow().is_none()
    }

    /// Reads and inflates a node into `bytes`, memory that is not needed any more.
    #[inline]
    pub(crate) fn read_node(&self, position: u64, hint: Hint, bytes: Room) -> Result<StoredNode> {
        let mut bytes = bytes;
        self.reading(|file| {
            if bytes.size() == 0 {
                bytes = file.io().node_memory();
            }
            let stored_size = file.read_node(position, hint, &mut bytes)?;
            if bytes.is_empty() {
                let rule = Malformed("a node of at least one byte");
                return Err(file.found_instead(position, rule, Found::EmptyNode));
            }
            Ok(StoredNode { bytes, stored_size })
        })
    }

    /// Memory for gathering a node.
    pub(crate) fn memory_to_write(&self) -> Vec<u8> {
        self.file.borrow_mut().as_mut().map(|file| file.io().writing().node()).unwrap_or_default()
    }

    /// Takes memory of a node that was gathered, for the next one.
    pub(crate) fn keep_memory_to_write(&self, memory: Vec<u8>) {
        if let Some(file) = self.file.borrow_mut().as_mut() {
            file.io().writing().keep_node(memory);
        }
    }

    /// Takes memory of a node that is not needed any more, for the next one.
    pub(crate) fn keep_node_memory(&self, memory: Room) {
        if let Some(file) = self.file.borrow_mut().as_mut() {
            file.io().keep_node_memory(memory);
        }
    }

    /// Compresses and appends a node.
    pub(crate) fn append_node(&self, node: &[u8]) -> Result<Appended> {
        self.with(|file| file.append_compressed(node, FileTag::BTree))
    }

    /// Reads a document's body as it is stored. Its entry says that its chunk is of this size.
    pub(crate) fn read_body(&self, position: u64, size: u64) -> Result<Body> {
        self.last_body.store(position, Ordering::Relaxed);
        self.reading(|file| file.read_chunk(position, Hint::Size(size), FileTag::Document))
    }

    /// Shows a document's body, inflated or as it is stored, to `visit`, which must not call back into the caller's code.
    pub(crate) fn with_body<T>(
        &self,
        (position, size): (u64, u64),
        inflated: bool,
        visit: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        self.last_body.store(position, Ordering::Relaxed);
        let (hint, tag) = (Hint::Size(size), FileTag::Document);
        self.reading(|file| {
            if inflated {
                file.with_inflated(position, hint, tag, visit)
            } else {
                file.with_chunk(position, hint, tag, visit)
            }
        })
    }

    /// Whether so many bytes of content at `position` were read already; if so, up to where all bytes were.
    #[inline]
    pub(crate) fn has_read(&self, position: u64, size: u64) -> Option<u64> {
        self.file.borrow().as_ref()?.has_read(position, size)
    }

    /// As [`SharedFile::with_stored_body`] if the whole body was read already, and stands within one block; else `None`.
    #[inline]
    pub(crate) fn with_body_at_hand<T>(
        &self,
        position: u64,
        visit: impl FnOnce(&[u8], Option<u32>) -> T,
    ) -> Option<T> {
        let file = self.file.borrow();
        let (body, crc) = file.as_ref()?.chunk_at_hand(position)?;
        Some(visit(body, Some(crc)))
    }

    /// Shows a document's body as it is stored to `visit`, with its checksum if the file is not encrypted. As with
    /// [`SharedFile::with_body`], but the body may be put into another file.
    pub(crate) fn with_stored_body<T>(
        &self,
        (position, size): (u64, u64),
        visit: impl FnOnce(&[u8], Option<u32>) -> T,
    ) -> Result<T> {
        self.last_body.store(position, Ordering::Relaxed);
        self.reading(|file| file.with_summed_chunk(position, Hint::Size(size), FileTag::Document, visit))
    }

    /// Reads and inflates a document's body.
    pub(crate) fn read_inflated_body(&self, position: u64, size: u64) -> Result<Vec<u8>> {
        self.last_body.store(position, Ordering::Relaxed);
        self.reading(|file| file.read_inflated_body(position, Hint::Size(size), FileTag::Document))
    }

    /// Whether anything is read ahead at all.
    pub(crate) fn reads_by_plan(&self) -> bool {
        self.file.borrow().as_ref().is_some_and(|file| file.reads_by_plan())
    }

    /// Reads ahead what is about to be wanted.
    pub(crate) fn read_ahead(&self, plan: Plan, chunks: &[(u64, u64)]) -> Result<()> {
        self.reading(|file| file.read_ahead(plan, chunks))
    }

    /// Keeps the file from being used by anybody else: that panics.
    #[cfg(test)]
    pub(crate) fn hold(&self) -> std::cell::RefMut<'_, Option<Box<DbFile>>> {
        self.file.borrow_mut()
    }

    /// Lets go of what was read, ahead too, and of the memory for it: there is no more work for now.
    pub(crate) fn rest(&self) {
        if let Some(file) = self.file.borrow_mut().as_mut() {
            file.rest();
        }
    }

    /// Position of the body that was read last, which is forgotten by this.
    #[inline]
    pub(crate) fn take_last_body(&self) -> u64 {
        let position = self.last_body.load(Ordering::Relaxed);
        if position != 0 {
            self.last_body.store(0, Ordering::Relaxed);
        }
        position
    }

    /// Rehearses `action`, which appends chunks: they get the positions that they will have, but are not written. Its
    /// error is what writing would end with, unless the file operations fail.
    pub(crate) fn rehearse(&self, action: impl FnOnce() -> Result<()>) -> Result<()> {
        self.with(|file| {
            file.begin_rehearsal();
            Ok(())
        })?;
        let _rehearsal = Rehearsal(self);
        action()
    }

    /// Whether chunks get positions but are not written.
    pub(crate) fn is_rehearsing(&self) -> bool {
        self.file.borrow().as_ref().is_some_and(|file| file.is_rehearsing())
    }

    /// Compresses and appends a document's body.
    pub(crate) fn append_compressed_body(&self, body: &[u8]) -> Result<Appended> {
        self.with(|file| file.append_compressed(body, FileTag::Document))
    }

    /// Appends a document's body as it is.
    pub(crate) fn append_body(&self, body: &[u8], crc: Option<u32>) -> Result<Appended> {
        self.with(|file| file.append_chunk(body, crc, FileTag::Document))
    }

    /// The error for bytes at `position` that break a rule of the format.
    pub(crate) fn malformed(&self, position: u64, rule: Malformed) -> Error {
        match self.file.borrow().as_ref() {
            Some(file) => file.malformed(position, rule),
            None => Error::FileClosed,
        }
    }

    /// The append position: no more bytes than this can be in nodes. 0 when closed.
    pub(crate) fn end(&self) -> u64 {
        self.file.borrow().as_ref().map_or(0, |file| file.end())
    }

    /// The append position and `errno` of the last failed call; `None` when closed.
    #[inline]
    pub(crate) fn end_and_os_error(&self) -> Option<(u64, i32)> {
        self.file.borrow().as_ref().map(|file| (file.end(), file.last_os_error()))
    }

    /// `errno` of the last failed call, 0 if none failed or the file is closed.
    pub(crate) fn last_os_error(&self) -> i32 {
        self.file.borrow().as_ref().map_or(0, |file| file.last_os_error())
    }

    /// Counts of calls of the file operations.
    pub(crate) fn stats(&self) -> Result<FileStats> {
        self.with(|file| Ok(file.stats()))
    }
}

/// A rehearsal under way; also a panic ends it.
struct Rehearsal<'a>(&'a SharedFile);

impl Drop for Rehearsal<'_> {
    fn drop(&mut self) {
        self.0.count_use();
        if let Some(file) = self.0.file.borrow_mut().as_mut() {
            file.end_rehearsal();
        }
    }
}
