// SPDX-License-Identifier: Apache-2.0

//! Making changes durable.
//!
//! A header must never be seen before everything that it refers to is on the disk, and never half. So a commit has
//! two phases:
//!
//! 1. write the header with the block type of *data*, then sync: all chunks and the header are durable, but nobody
//!    takes it for a header yet
//! 2. overwrite that one byte with the block type of a *header*, then sync
//!
//! In a file that has not got its name yet the header is written as such at once, with one sync: nobody looks for it
//! before all of it is durable.

use super::{Db, State, sharing};
use crate::error::Result;
use crate::format::block::BlockType;
use crate::format::header::FormatVersion;
use crate::io::file::DbFile;
use std::time::{SystemTime, UNIX_EPOCH};

/// Asked when the second sync of a commit has failed, with `errno`: whether to write the byte and sync once more.
pub type RetrySync<'a> = &'a mut dyn FnMut(i32) -> bool;

/// The timestamp of a commit whose caller gives none: nanoseconds since the epoch.
pub(crate) fn system_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

impl Db {
    /// Makes all changes of this handle durable and visible to whoever opens the file. The header's timestamp is
    /// the system clock, in nanoseconds since the epoch.
    ///
    /// On failure the changes stay in the handle and nothing of them is visible. After a failed sync the handle
    /// takes no more writes ([`Error::Latched`](crate::Error::Latched)) until the file is opened again: the
    /// operating system may have dropped data that it could not write.
    pub fn commit(&self) -> Result<()> {
        self.commit_with(system_clock(), None)
    }

    /// Commits with a timestamp of the caller's. `retry` is asked if the sync of the second phase fails.
    ///
    /// If it fails for good the outcome of the commit is open. The file may show it when it is opened again, but that
    /// may be the page cache alone; what is shown then is durable after the next commit that succeeds.
    pub fn commit_with(&self, timestamp: u64, retry: Option<RetrySync<'_>>) -> Result<()> {
        let _writing = self.begin_write()?;
        let result = self.note(self.write_commit(timestamp, retry));
        let _ = self.file.with(|file| {
            file.free_buffers();
            Ok(())
        });
        result
    }

    fn write_commit(&self, timestamp: u64, retry: Option<RetrySync<'_>>) -> Result<()> {
        let State { mut header, position } = self.snapshot();
        header.timestamp = if header.version >= FormatVersion::V13 { timestamp } else { 0 };
        header.previous = (header.version >= FormatVersion::V14).then_some(position.unwrap_or(0));
        let marker = if self.unseen.get() { BlockType::Header } else { BlockType::Data };
        let position = self.file.with(|file| {
            let end = file.end();
            // A reader refuses a purge pointer behind its header; compaction carries the source's along.
            header.purge_ptr = header.purge_ptr.min(end);
            let appended = file.append_header(&header, marker)?;
            if let Err(error) = file.flush() {
                // Other buffered bytes stay for another try; this header must not reach the file any more.
                file.take_back(end);
                return Err(error);
            }
            file.sync_flushed()?;
            if marker == BlockType::Data {
                file.write_block_type(appended.position, BlockType::Header)?;
            }
            Ok(appended.position)
        })?;
        if marker == BlockType::Data {
            self.sync_header(position, retry).inspect_err(|_| self.latch_after_failed_sync())?;
        }
        let state = State { header, position: Some(position) };
        sharing::note_commit(&self.file, &self.shared_filename(), &state);
        self.update_state(|current| *current = state);
        Ok(())
    }

    /// The second sync. A sync that failed may have dropped the page with the byte: it is written again before
    /// another try. If that fails, nobody knows whether the disk has the header.
    fn sync_header(&self, position: u64, mut retry: Option<RetrySync<'_>>) -> Result<()> {
        let mut result = self.file.with(DbFile::sync_flushed);
        while let (Err(error), Some(retry)) = (&result, retry.as_mut()) {
            if !retry(error.os_error().unwrap_or(0)) {
                break;
            }
            self.file.with(|file| file.write_block_type(position, BlockType::Header))?;
            result = self.file.with(DbFile::sync_flushed);
        }
        result
    }
}
