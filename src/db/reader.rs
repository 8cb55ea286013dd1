// SPDX-License-Identifier: Apache-2.0

//! Handles that read what one handle, which writes, has committed: any number on one file, in any threads.
//!
//! They are made from the file that the writer has open, not from its name, which may lead to another file by then. A
//! handle that is not in use waits for the next reader, who may want another header of the same file: that costs nothing,
//! since what is committed never changes.

use super::open::OpenOptions;
use super::{Db, State};
use crate::error::{Error, ErrorCode, Operation, Result, Stale};
use crate::io::naming::FileId;
use crate::io::tail::Tail;
use crate::io::{FileHandle, IoError};
use crate::tree::cache::shared::Share;
use parking_lot::Mutex;
use std::ffi::CStr;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// So many handles wait for readers, at most. Each has a descriptor.
const MOST_IDLE: usize = 16;

/// Handles on one file for reading.
pub(crate) struct Readers {
    filename: Arc<CStr>,
    options: OpenOptions,
    /// The file itself; `None`: only the caller's operations know it, by its name.
    file: Option<File>,
    id: Option<FileId>,
    /// The writer's part of the node cache.
    share: Option<Share>,
    /// The name leads to another file.
    is_replaced: AtomicBool,
    idle: Mutex<Vec<Db>>,
}

impl Readers {
    /// Of the file that this handle has open and has committed everything to. `options` are those that it was opened
    /// with.
    pub(crate) fn of(db: &Db, options: &OpenOptions) -> Result<Readers> {
        let readers = Readers {
            filename: db.shared_filename(),
            options: options.as_source().file_ops(options.shared_ops()).keys(options.key_store()),
            file: db.os_file()?,
            id: db.identity()?,
            share: db.file.share_for_reader(),
            is_replaced: AtomicBool::new(false),
            idle: Mutex::new(Vec::new()),
        };
        // One that lasts, should the name lead elsewhere later.
        let first = readers.open(&db.snapshot())?;
        readers.idle.lock().push(first);
        Ok(readers)
    }

    /// Which file it is, if the file operations tell.
    pub(crate) fn id(&self) -> Option<FileId> {
        self.id
    }

    /// The name leads to another file from now on.
    pub(crate) fn note_replaced(&self) {
        self.is_replaced.store(true, Ordering::Release);
    }

    /// Runs `action` on a handle that stands on this header of the file.
    pub(crate) fn read<T, E: From<Error>>(
        &self,
        state: &State,
        action: impl FnOnce(&Db) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = self.idle.lock().pop();
        let db = match idle {
            Some(db) => db,
            None => self.open(state)?,
        };
        if db.header_position() != state.at() {
            db.stand_on(state)?;
        }
        let before = db.stamp();
        let result = action(&db);
        // One that was moved, changed or closed is not for others.
        if db.stamp().only_file_changed(&before) && !db.is_closed() {
            let mut idle = self.idle.lock();
            if idle.len() < MOST_IDLE {
                idle.push(db);
            }
        }
        result
    }

    fn open(&self, state: &State) -> Result<Db> {
        let handle = self.handle()?;
        let mut file = self.options.wrap(&self.filename, handle);
        file.set_tail(Tail::own(state.committed_end()));
        file.set_version(state.header.version);
        if state.header.has_metadata {
            self.options.find_key(&mut file)?;
        }
        let db = Db::from_parts(file, Box::new(state.clone()), self.options.clone(), &self.filename);
        let is_plain = db.file.with(|file| Ok(file.encryption().is_none()))?;
        if is_plain && self.options.keeps_nodes() {
            db.file.begin_keeping(self.share.as_ref().map(Share::lent_again));
        }
        Ok(db)
    }

    fn handle(&self) -> Result<Box<dyn FileHandle>> {
        if let Some(file) = &self.file {
            let again = file.try_clone().map_err(|error| Error::Io {
                operation: Operation::Open,
                file: self.filename.to_string_lossy().into(),
                position: 0,
                code: IoError::new(ErrorCode::OPEN_FILE, 0).code,
                os_error: error.raw_os_error().unwrap_or(0),
            })?;
            return Ok(self.options.ops().take_over(again));
        }
        let handle = self.options.open_handle(&self.filename, self.options.mode())?;
        if self.is_replaced.load(Ordering::Acquire) || handle.identity() != self.id {
            return Err(Error::Stale {
                file: self.filename.to_string_lossy().into(),
                reason: Stale::Replaced,
            });
        }
        Ok(handle)
    }
}

impl Db {
    /// Whether no more writes are taken.
    pub(crate) fn is_latched(&self) -> bool {
        self.latch.get().is_some()
    }

    /// Goes to another header of the same file, of which a writer of this process has told.
    fn stand_on(&self, state: &State) -> Result<()> {
        self.file.with(|file| {
            // What was read behind the old end, by the way, was not committed yet.
            file.io().forget_reads();
            file.set_tail(Tail::own(state.committed_end()));
            Ok(())
        })?;
        self.file.moved_to(state.committed_end());
        self.update_state(|own| *own = state.clone());
        Ok(())
    }
}
