// SPDX-License-Identifier: Apache-2.0

//! A database: one couchstore file, opened at one of its headers.
//!
//! * [`open`]: opening and creating
//! * [`bootstrap`]: atomic creation
//! * [`hidden`]: files that get their name only when they are complete
//! * [`leftovers`]: what dead processes have left in a folder
//! * [`commit`]: making changes durable
//! * [`save`], [`local`]: changing documents and local documents
//! * [`get`], [`scan`]: reading; `ahead`: bodies that a scan's callback is going to read
//! * [`reader`]: handles that read what one that writes has committed
//! * `sharing`: whether nodes are shared with other handles
//! * [`headers`]: finding headers and moving between them
//! * [`single`], [`iter`], [`visit`]: what programs in Rust use most, on top of that: single documents, iterators, callbacks
//!   with errors of their own; [`pages`]: what iterators are made of
//! * `options`: builders of options

#![forbid(unsafe_code)]

pub(crate) mod ahead;
pub(crate) mod bootstrap;
pub(crate) mod commit;
pub(crate) mod get;
pub(crate) mod headers;
pub(crate) mod hidden;
pub(crate) mod info;
pub(crate) mod iter;
pub(crate) mod leftovers;
pub(crate) mod local;
pub(crate) mod open;
mod options;
pub(crate) mod pages;
pub(crate) mod reader;
mod reopen;
pub(crate) mod save;
pub(crate) mod scan;
mod sharing;
mod single;
pub(crate) mod visit;

use crate::error::{Error, ErrorCode, Operation, Result};
use crate::format::header::{FileHeader, NodeRef};
use crate::io::file::DbFile;
use crate::io::naming::{self, FileId};
use crate::io::{FileStats, IoError};
use crate::tree::TreeKind;
use crate::tree::cache::file::TreeFile;
use crate::tree::read::Root;
use hidden::naming_failed;
use open::OpenOptions;
use std::cell::{Cell, Ref, RefCell};
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The header that a handle stands on, and what has been changed since.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Roots and sequence include changes that are not committed.
    pub(crate) header: FileHeader,
    /// Where the header stands; `None` in a file that has none yet.
    pub(crate) position: Option<u64>,
}

impl State {
    /// Where the header stands, 0 if there is none.
    pub(crate) fn at(&self) -> u64 {
        self.position.unwrap_or(0)
    }

    /// Offset behind the header, 0 if there is none: what stands there is not committed.
    pub(crate) fn committed_end(&self) -> u64 {
        self.position.map_or(0, |position| self.header.end_at(position))
    }
}

/// Why a handle takes no more writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Latch {
    /// A sync failed: what was written may be lost though later syncs succeed.
    FailedSync,
    /// The library failed in the middle of something.
    Panicked,
}

/// A handle on a couchstore file.
///
/// A handle is used by one thread at a time and may move between threads. Any number of handles may be open on one
/// file: one that writes and many that read; each sees the header that it opened, and its own changes.
///
/// Methods take `&self` so that callbacks can use the handle that they are called on behalf of.
///
/// ```
/// # fn main() -> couchstore::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("example.couch");
/// use couchstore::{Db, Document, SaveOptions};
///
/// let db = Db::create(&path)?;
/// db.save(&[Document::new(b"greeting", b"hello")], SaveOptions::default())?;
/// db.commit()?;
///
/// let reader = Db::open(&path)?;
/// assert_eq!(reader.get(b"greeting")?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
pub struct Db {
    file: TreeFile,
    /// How the file was opened.
    options: RefCell<OpenOptions>,
    filename: RefCell<Arc<CStr>>,
    /// Id of the key that the file is encrypted with; empty: it is not encrypted.
    key_id: RefCell<Vec<u8>>,
    state: RefCell<Box<State>>,
    /// Counts the changes of the state.
    changes: Cell<u64>,
    latch: Cell<Option<Latch>>,
    /// A save or commit is under way.
    writing: Cell<bool>,
    /// The file has not got its name yet.
    unseen: Cell<bool>,
    /// `errno` of the last failed call on a file that has been closed since.
    closed_os_error: Cell<i32>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Db")
            .field("filename", &self.filename.borrow())
            .field("closed", &self.file.is_closed())
            .field("header_position", &state.position)
            .field("update_seq", &state.header.update_seq)
            .finish_non_exhaustive()
    }
}

impl Db {
    /// A handle on an open file.
    pub(crate) fn from_parts(
        file: Box<DbFile>,
        state: Box<State>,
        options: OpenOptions,
        filename: &CStr,
    ) -> Db {
        *Db::boxed(file, state, options, filename)
    }

    /// The same in a place of its own, to which nothing large is moved twice.
    #[inline]
    pub(crate) fn boxed(
        file: Box<DbFile>,
        state: Box<State>,
        options: OpenOptions,
        filename: &CStr,
    ) -> Box<Db> {
        let key_id = file.encryption().map(|encryption| encryption.key_id.clone());
        let shared = file.filename_if(filename);
        let place = Box::new_uninit();
        let db = Db {
            key_id: RefCell::new(key_id.unwrap_or_default()),
            file: TreeFile::new(file, state.committed_end()),
            options: RefCell::new(options),
            filename: RefCell::new(shared),
            state: RefCell::new(state),
            changes: Cell::new(0),
            latch: Cell::new(None),
            writing: Cell::new(false),
            unseen: Cell::new(false),
            closed_os_error: Cell::new(0),
        };
        let db = Box::write(place, db);
        // Keys are asked for while opening only; whoever holds the store may let it go then.
        db.options.borrow_mut().forget_keys();
        db
    }

    /// The file of this handle.
    pub(crate) fn file(&self) -> &TreeFile {
        &self.file
    }

    /// How the handle was opened.
    pub(crate) fn options(&self) -> Ref<'_, OpenOptions> {
        self.options.borrow()
    }

    /// A copy of the current state.
    pub(crate) fn snapshot(&self) -> State {
        State::clone(&self.state.borrow())
    }

    /// Changes the state. `action` must not call back into the caller's code.
    pub(crate) fn update_state<T>(&self, action: impl FnOnce(&mut State) -> T) -> T {
        self.changes.set(self.changes.get().wrapping_add(1));
        action(&mut self.state.borrow_mut())
    }

    pub(crate) fn by_id_root(&self) -> Option<NodeRef> {
        self.state.borrow().header.by_id.clone()
    }

    pub(crate) fn by_seq_root(&self) -> Option<NodeRef> {
        self.state.borrow().header.by_seq.clone()
    }

    pub(crate) fn local_root(&self) -> Option<NodeRef> {
        self.state.borrow().header.local.clone()
    }

    /// Where a tree begins, for look-ups of single keys; `None`: it is empty.
    pub(crate) fn begin_of(&self, tree: TreeKind) -> Option<Root> {
        let State { header, .. } = &**self.state.borrow();
        let root = match tree {
            TreeKind::ById => &header.by_id,
            TreeKind::BySeq => &header.by_seq,
            TreeKind::Local => &header.local,
        };
        root.as_ref().map(Root::from)
    }

    /// Fails if the file is closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.file.is_closed() { Err(Error::FileClosed) } else { Ok(()) }
    }

    /// The name given at open, exactly.
    pub fn filename(&self) -> CString {
        self.filename.borrow().as_ref().to_owned()
    }

    /// The name given at open; it changes only by [`Db::reopen`].
    pub(crate) fn shared_filename(&self) -> Arc<CStr> {
        self.filename.borrow().clone()
    }

    /// Flushes what is buffered and closes the file. Further calls are fine and do nothing.
    ///
    /// The file is closed even if flushing fails; that error is returned.
    pub fn close(&self) -> Result<()> {
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let closed = file.io().close();
        self.closed_os_error.set(file.last_os_error());
        closed.map_err(|error| file.error(Operation::Close, 0, error))
    }

    /// Whether the file has been closed.
    pub fn is_closed(&self) -> bool {
        self.file.is_closed()
    }

    /// Whether the name under which the file was opened still leads to this handle's file: it does not after a
    /// compaction has replaced it. `None`: the file operations do not tell which file a handle has.
    ///
    /// An error if the system does not say what the name leads to: that is no reason to give up the handle.
    pub fn is_current(&self) -> Result<Option<bool>> {
        let Some(own) = self.identity()? else { return Ok(None) };
        leads_to(&self.shared_filename(), own).map(Some)
    }

    /// Which file of the operating system this handle has open; `None`: the file operations do not tell.
    pub(crate) fn identity(&self) -> Result<Option<FileId>> {
        self.file.with(|file| Ok(file.io().identity()))
    }

    /// The operating system's file behind the handle, under a descriptor of its own; `None` for files of a caller's
    /// operations.
    pub(crate) fn os_file(&self) -> Result<Option<File>> {
        self.file.with(|file| {
            let cloned = file.io().os_file().map(File::try_clone).transpose();
            cloned.map_err(|error| {
                let error = IoError::new(ErrorCode::OPEN_FILE, error.raw_os_error().unwrap_or(0));
                file.error(Operation::Open, 0, error)
            })
        })
    }

    /// The operating system's error number of the last failed call of this handle's file operations, 0 if none
    /// failed.
    pub fn last_os_error(&self) -> i32 {
        if self.file.is_closed() { self.closed_os_error.get() } else { self.file.last_os_error() }
    }

    /// A call on this handle has failed for this reason, perhaps before it came to the file operations.
    pub(crate) fn set_last_os_error(&self, os_error: i32) {
        self.closed_os_error.set(os_error);
        let _ = self.file.with(|file| {
            file.io().set_last_os_error(os_error);
            Ok(())
        });
    }

    /// Counts of what was asked of the file operations since open.
    pub fn file_stats(&self) -> Result<FileStats> {
        self.file.stats()
    }

    /// Begins something that changes the handle's state or its file. Ends when the result is dropped.
    ///
    /// Fails on a latched or read-only handle, and inside a callback of another write on the same handle.
    pub(crate) fn begin_write(&self) -> Result<Writing<'_>> {
        self.file.with(|file| {
            match self.latch.get() {
                Some(Latch::FailedSync) => Err(Error::Latched { file: file.name() }),
                Some(Latch::Panicked) => Err(Error::Internal("an earlier call on this handle failed".into())),
                None => Ok(()),
            }?;
            file.io().begin_call();
            file.check_writable()
        })?;
        let writing = self.begin_exclusive()?;
        self.file.begin_writing();
        Ok(writing)
    }

    /// Begins something that no callback of a write may do: the write would undo it.
    pub(crate) fn begin_exclusive(&self) -> Result<Writing<'_>> {
        if self.writing.replace(true) {
            return Err(Error::InvalidArguments(
                "expected a call that changes nothing, inside a callback of a write on the same handle",
            ));
        }
        Ok(Writing { db: self })
    }

    /// Says whether the file has not got its name yet: nobody opens it, now or after a crash, and commits need one
    /// sync only.
    pub(crate) fn set_unseen(&self, unseen: bool) {
        self.unseen.set(unseen);
    }

    /// Rehearses a write in a file so long that positions may not reach to its end: what they do not reach is refused
    /// before anything is written.
    pub(crate) fn rehearse_if_long(&self, write: impl FnOnce() -> Result<()>) -> Result<()> {
        if self.file.with(|file| Ok(file.may_be_too_long()))? { self.file.rehearse(write) } else { Ok(()) }
    }

    /// Looks at the result of a write: after a failed sync the handle takes no more.
    pub(crate) fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.file.forget_uncommitted();
            if matches!(error, Error::Io { operation: Operation::Sync, .. }) {
                self.latch_after_failed_sync();
            }
        }
        result
    }

    /// Nothing more is written through this handle.
    pub(crate) fn latch_after_failed_sync(&self) {
        self.latch.set(Some(Latch::FailedSync));
    }

    /// For the C boundary: a call on this handle panicked. A tree that was being edited must never be committed.
    pub(crate) fn latch_after_panic(&self) {
        self.latch.set(Some(Latch::Panicked));
    }

    /// Latches the handle if a panic unwinds while the result lives.
    pub(crate) fn latch_if_panicking(&self) -> LatchIfPanicking<'_> {
        LatchIfPanicking { db: self }
    }

    /// The name for messages.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::from(self.filename.borrow().to_string_lossy().as_ref())
    }
}

/// Whether a name leads to this file. Not being able to tell is an error.
pub(crate) fn leads_to(name: &CStr, file: FileId) -> Result<bool> {
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    naming::leads_to(path, file).map_err(|error| naming_failed(name, error.into()))
}

/// See [`Db::latch_if_panicking`].
pub(crate) struct LatchIfPanicking<'a> {
    db: &'a Db,
}

impl Drop for LatchIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.db.latch_after_panic();
        }
    }
}

/// A write under way on a handle.
pub(crate) struct Writing<'a> {
    db: &'a Db,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.db.latch_after_panic();
        }
        self.db.writing.set(false);
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        // Whoever wants the error calls close.
        if !self.is_closed() {
            let _ = self.close();
        }
    }
}
