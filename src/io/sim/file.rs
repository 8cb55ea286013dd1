// SPDX-License-Identifier: Apache-2.0

//! One simulated file, and an open handle on it.

use super::crash::Event;
use super::fault::{CallKind, Effect, LostPages};
use super::real::{Mirror, status};
use super::{INJECTED, SimDisk, State};
use crate::io::naming::{FileId, identity};
use crate::io::stale::FileStatus;
use crate::io::{FileHandle, IoError};
use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

/// Size of a page of the cache.
const PAGE: usize = 4096;
/// Size of a block of a database, whose first byte is its type.
const BLOCK: usize = 4096;

/// A file, whatever its names.
#[derive(Default)]
pub(super) struct Inode {
    /// What reads get.
    pub(super) live: Vec<u8>,
    /// What the disk holds.
    pub(super) durable: Vec<u8>,
    /// Pages that a sync would write, by number.
    dirty: BTreeSet<usize>,
    /// Pages that no sync writes: see [`LostPages::Unwritten`].
    unwritten: BTreeSet<usize>,
    /// For each offset the first byte that anybody tried to write there.
    tried: Vec<Option<u8>>,
    /// How many bytes somebody tried to change afterwards.
    rewritten: usize,
    /// The real file that this one is.
    mirror: Option<Mirror>,
}

/// Copies one page; both vectors are long enough or end within it.
fn copy_page(from: &[u8], to: &mut [u8], page: usize) {
    let start = page * PAGE;
    let end = (start + PAGE).min(to.len());
    if start >= end {
        return;
    }
    let target = &mut to[start..end];
    let source = from.get(start..end.min(from.len())).unwrap_or_default();
    target[..source.len()].copy_from_slice(source);
    target[source.len()..].fill(0);
}

impl Inode {
    /// A file that is as it is on the disk.
    pub(super) fn durable(bytes: Vec<u8>) -> Inode {
        let tried = bytes.iter().copied().map(Some).collect();
        Inode { live: bytes.clone(), durable: bytes, tried, ..Inode::default() }
    }

    /// As [`Inode::durable`], for a real file that has this content.
    pub(super) fn mirrored(bytes: Vec<u8>, mirror: Mirror) -> Inode {
        Inode { mirror: Some(mirror), ..Inode::durable(bytes) }
    }

    /// How many bytes somebody tried to change after they had been written, or might have been. The type bytes of
    /// blocks do not count.
    pub(super) fn rewritten(&self) -> usize {
        self.rewritten
    }

    /// Somebody tries to write this; whether it succeeds does not matter here.
    fn attempt(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.tried.len() < end {
            self.tried.resize(end, None);
        }
        for (at, (&new, old)) in (offset..).zip(bytes.iter().zip(&mut self.tried[offset..])) {
            let changes = *old.get_or_insert(new) != new;
            self.rewritten += usize::from(changes && at % BLOCK != 0);
        }
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Range { start, end } = offset..offset + bytes.len();
        if self.live.len() < end {
            self.live.resize(end, 0);
        }
        self.live[start..end].copy_from_slice(bytes);
        if let Some(mirror) = &self.mirror {
            mirror.write(bytes, start);
        }
        self.dirty.extend(start / PAGE..=(end - 1) / PAGE);
    }

    /// What the disk gets of a write once it is synced: zeros for pages that never get there.
    fn as_written(&self, offset: usize, bytes: &[u8]) -> Arc<[u8]> {
        let reaches = |at: usize| !self.unwritten.contains(&(at / PAGE));
        (offset..).zip(bytes).map(|(at, &byte)| if reaches(at) { byte } else { 0 }).collect()
    }

    pub(super) fn sync(&mut self) {
        self.durable.resize(self.live.len(), 0);
        for page in std::mem::take(&mut self.dirty) {
            if !self.unwritten.contains(&page) {
                copy_page(&self.live, &mut self.durable, page);
            }
        }
    }

    /// A sync, or the kernel's own try to write the dirty pages, has failed: nothing becomes durable, and the dirty pages are clean from now on.
    pub(super) fn lose(&mut self, lost: LostPages) {
        let dirty = std::mem::take(&mut self.dirty);
        match lost {
            LostPages::Kept => {}
            LostPages::Dropped => {
                for page in dirty {
                    copy_page(&self.durable, &mut self.live, page);
                }
            }
            LostPages::Reverted => self.live.clone_from(&self.durable),
            LostPages::Unwritten => {
                let on_disk = self.durable.len().div_ceil(PAGE);
                self.unwritten.extend(dirty.into_iter().filter(|&page| page >= on_disk));
            }
        }
        self.show();
    }

    /// The cache has changed by itself: so has what everybody sees.
    fn show(&self) {
        if let Some(mirror) = &self.mirror {
            mirror.replace(&self.live);
        }
    }

    /// Which real file it is, if it is one.
    pub(super) fn id(&self) -> Option<FileId> {
        self.mirror.as_ref().and_then(Mirror::id)
    }

    /// Reads the clean pages from the disk again.
    pub(super) fn evict(&mut self) {
        for page in 0..self.live.len().div_ceil(PAGE) {
            if !self.dirty.contains(&page) {
                copy_page(&self.durable, &mut self.live, page);
            }
        }
        self.show();
    }
}

/// An open file.
pub(super) struct SimHandle {
    disk: SimDisk,
    index: usize,
    periodic_sync: Option<u64>,
    since_sync: u64,
    /// The real file, for handles that pass for the library's own.
    file: Option<File>,
}

impl SimHandle {
    /// The disk has counted the handle already.
    pub(super) fn new(disk: SimDisk, index: usize, file: Option<File>) -> SimHandle {
        SimHandle { disk, index, periodic_sync: None, since_sync: 0, file }
    }

    fn write_live(&self, state: &mut State, bytes: &[u8], offset: u64) -> usize {
        state.inodes[self.index].write(offset as usize, bytes);
        let written = state.inodes[self.index].as_written(offset as usize, bytes);
        state.note(self.index, Event::Write { offset, bytes: written });
        bytes.len()
    }

    fn count_for_periodic_sync(&mut self, written: usize) -> Result<(), IoError> {
        let Some(every) = self.periodic_sync else { return Ok(()) };
        self.since_sync += written as u64;
        if self.since_sync < every {
            return Ok(());
        }
        self.since_sync = 0;
        self.sync()
    }
}

impl FileHandle for SimHandle {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let mut state = self.disk.lock();
        let length = match state.enter(CallKind::Read) {
            None => buf.len(),
            Some(Effect::Short) => buf.len().div_ceil(2),
            Some(Effect::Zero) => 0,
            Some(effect) => return state.fail(CallKind::Read, effect.errno().unwrap_or(libc::EIO)),
        };
        let rest = state.inodes[self.index].live.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(length);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let half = buf.len().div_ceil(2);
        let written = {
            let mut state = self.disk.lock();
            state.inodes[self.index].attempt(offset as usize, buf);
            match state.enter(CallKind::Write) {
                None => self.write_live(&mut state, buf, offset),
                Some(Effect::Short) => self.write_live(&mut state, &buf[..half], offset),
                Some(Effect::Zero) => 0,
                Some(Effect::PartialError(errno)) => {
                    self.write_live(&mut state, &buf[..half], offset);
                    return state.fail(CallKind::Write, errno);
                }
                Some(effect) => return state.fail(CallKind::Write, effect.errno().unwrap_or(libc::EIO)),
            }
        };
        self.count_for_periodic_sync(written)?;
        Ok(written)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        let mut state = self.disk.lock();
        state.enter_plain(CallKind::Size)?;
        Ok(state.inodes[self.index].live.len() as u64)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let index = self.index;
        self.disk.lock().sync(index)
    }

    fn close(&mut self) -> Result<(), IoError> {
        self.file = None;
        self.disk.lock().enter_plain(CallKind::Close)
    }

    fn identity(&self) -> Option<FileId> {
        self.file.as_ref().and_then(|file| identity(file).ok())
    }

    fn os_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        let file = self.file.as_ref()?;
        let mut state = self.disk.lock();
        let asked = state.enter_plain(CallKind::Size);
        Some(asked.and_then(|()| status(file).or_else(|_| state.fail(CallKind::Size, libc::EIO))))
    }

    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        self.disk.lock().enter_plain(CallKind::Configure)?;
        self.periodic_sync = Some(bytes);
        Ok(())
    }
}

impl Drop for SimHandle {
    fn drop(&mut self) {
        self.disk.lock().handles -= 1;
    }
}

/// Injected failures are no codes of the library's own.
const _: () = assert!(INJECTED.0 < -100);
