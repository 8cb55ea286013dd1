// SPDX-License-Identifier: Apache-2.0

//! What a `Db*` of C points to: a database, the lock under which one thread at a time uses it, and what can be told
//! of it without that lock.
//!
//! The functions of C take the lock by way of `call`, which gives it up around the caller's callbacks.

use super::turn::{ThreadId, Turn};
use crate::db::Db;
use crate::db::info::{Info, Stamp};
use crate::error::{Error, Result};
use crate::io::naming::FileId;
use crate::tsan;
use parking_lot::{Condvar, Mutex};
use std::cell::{Cell, UnsafeCell};
use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A handle of C.
pub struct Handle {
    turn: Turn,
    /// Used by the thread whose turn it is.
    inside: UnsafeCell<Inside>,
    published: Mutex<Published>,
    /// The size of the file, if nothing else has changed since all was published, else [`NOT_MOVED`]. Set by the thread whose
    /// turn it is.
    moved_end: AtomicU64,
    /// Notified, under the lock of `published`, when a call on a lent handle ends.
    call_ended: Condvar,
}

/// No file ends there.
const NOT_MOVED: u64 = u64::MAX;

/// What only the thread uses that holds the lock.
pub(super) struct Inside {
    database: Database,
    /// Calls under way, those that wait for a callback too.
    calls: Cell<u32>,
    /// The library is at work, in a call of the thread that holds the lock.
    running: Cell<bool>,
    /// When something was published last.
    published: Cell<Option<Stamp>>,
    /// [`Db::uses`] when it was last found out whether that is to be done again; `None`: not of this database.
    looked: Cell<Option<(u64, u64)>>,
}

enum Database {
    /// Opened by the caller.
    Own(Box<Db>),
    /// Opened by the library, and shown to callbacks; NULL while none runs that is shown it.
    Lent(Cell<*const Db>),
}

// SAFETY: a `Db` may move between threads (checked below), and a pointer to a lent one is followed only under the
// lock, while the call that lends it waits for its callback.
unsafe impl Send for Inside {}
// SAFETY: what is inside is used by the thread alone whose turn it is.
unsafe impl Sync for Handle {}

const fn may_move<T: Send>() {}
const fn may_be_shared<T: Sync>() {}
const _: () = {
    may_move::<Db>();
    may_be_shared::<Handle>();
};

/// What can be told of a handle without waiting for a call on it: how things stood when the last one ended or began a
/// callback.
pub(super) struct Published {
    pub(super) info: Result<Info>,
    pub(super) header_position: u64,
    pub(super) closed: bool,
    pub(super) last_os_error: i32,
    /// Which file it is, as far as the file operations tell.
    pub(super) identity: Option<FileId>,
    filename: Option<Arc<CStr>>,
    key_id: Option<Arc<[u8]>>,
    /// All earlier names and ids: who was told one may use it as long as there is the handle.
    filenames: Vec<Arc<CStr>>,
    key_ids: Vec<Arc<[u8]>>,
}

impl Published {
    fn nothing() -> Published {
        Published {
            info: Err(Error::FileClosed),
            header_position: 0,
            closed: true,
            last_os_error: 0,
            identity: None,
            filename: None,
            key_id: None,
            filenames: Vec::new(),
            key_ids: Vec::new(),
        }
    }

    fn update(&mut self, db: &Db) {
        self.info = db.info();
        self.header_position = db.header_position();
        self.update_file(db);
        set(&mut self.filename, &mut self.filenames, db.shared_filename());
        let key_id = db.key_id_ref();
        if self.key_id.is_some() || !key_id.is_empty() {
            set(&mut self.key_id, &mut self.key_ids, key_id.as_slice().into());
        }
    }

    /// What may have changed without any change of the database's state.
    #[inline]
    fn update_file(&mut self, db: &Db) {
        if let Ok(info) = &mut self.info {
            info.file_size = db.file().end();
        }
        self.closed = db.is_closed();
        self.last_os_error = db.last_os_error();
        self.identity = db.identity().ok().flatten();
    }

    /// The name that it was opened by.
    pub(super) fn filename(&self) -> &CStr {
        self.filename.as_deref().unwrap_or_default()
    }

    /// The key that it is encrypted with; empty: none.
    pub(super) fn key_id(&self) -> &[u8] {
        self.key_id.as_deref().unwrap_or_default()
    }

    /// Fails if the file is closed.
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed { Err(Error::FileClosed) } else { Ok(()) }
    }
}

/// Id of the key that the file is encrypted with, if it is.
fn key_id_of(db: &Db) -> Option<Arc<[u8]>> {
    let key_id = db.key_id_ref();
    (!key_id.is_empty()).then(|| key_id.as_slice().into())
}

/// Sets `current` to what is like `wanted`: one that was told before, if there is one.
fn set<T: ?Sized + PartialEq>(current: &mut Option<Arc<T>>, earlier: &mut Vec<Arc<T>>, wanted: Arc<T>) {
    if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &wanted) || *current == wanted) {
        return;
    }
    let found = earlier.iter().find(|one| **one == wanted).cloned();
    let old = current.replace(found.unwrap_or(wanted));
    if let Some(old) = old.filter(|old| !earlier.iter().any(|one| Arc::ptr_eq(one, old))) {
        earlier.push(old);
    }
}

impl Handle {
    /// A handle for the caller.
    #[inline]
    pub(super) fn own(db: Box<Db>) -> Box<Handle> {
        // Before the rest, which is then put together in its place.
        let place = Box::new_uninit();
        let (published, looked) = (Cell::new(Some(db.stamp())), Cell::new(Some(db.uses())));
        let told = Published {
            info: db.info(),
            header_position: db.header_position(),
            closed: false,
            last_os_error: db.last_os_error(),
            identity: db.identity().ok().flatten(),
            filename: Some(db.shared_filename()),
            key_id: key_id_of(&db),
            filenames: Vec::new(),
            key_ids: Vec::new(),
        };
        let (calls, running) = (Cell::new(0), Cell::new(false));
        let inside = Inside { database: Database::Own(db), calls, running, published, looked };
        Box::write(place, Handle::of(inside, told))
    }

    #[inline]
    fn of(inside: Inside, published: Published) -> Handle {
        Handle {
            turn: Turn::default(),
            inside: UnsafeCell::new(inside),
            published: Mutex::new(published),
            moved_end: AtomicU64::new(NOT_MOVED),
            call_ended: Condvar::new(),
        }
    }

    /// A handle by which callbacks can be shown databases that the library has opened. It is in a call from the
    /// beginning, and locked by this thread.
    pub(super) fn for_lending() -> Box<Handle> {
        let database = Database::Lent(Cell::new(std::ptr::null()));
        let (calls, running) = (Cell::new(0), Cell::new(false));
        let (published, looked) = (Cell::new(None), Cell::new(None));
        let inside = Inside { database, calls, running, published, looked };
        let handle = Box::new(Handle::of(inside, Published::nothing()));
        let inside = handle.lock();
        inside.calls.set(1);
        inside.running.set(true);
        handle
    }

    /// Answers a question from what was published.
    pub(super) fn ask<T>(&self, answer: impl FnOnce(&Published) -> T) -> T {
        let mut published = self.published.lock();
        tsan::taken(&self.published);
        let end = self.moved_end.load(Ordering::Relaxed);
        if let Ok(info) = &mut published.info
            && end != NOT_MOVED
        {
            info.file_size = end;
        }
        let answer = answer(&published);
        tsan::about_to_give_up(&self.published);
        answer
    }

    /// Waits for the lock and takes it; it must be given up with [`Handle::unlock`].
    pub(super) fn lock(&self) -> &Inside {
        self.lock_by(ThreadId::current())
    }

    /// The same for a thread that knows who it is.
    #[inline]
    pub(super) fn lock_by(&self, thread: ThreadId) -> &Inside {
        self.turn.take(thread);
        tsan::taken(&self.turn);
        // SAFETY: this thread holds the lock. Others get a reference only when it has been given up, and what is
        // behind it is changed through cells alone.
        unsafe { &*self.inside.get() }
    }

    /// Gives the lock up.
    ///
    /// # Safety
    /// This thread has taken it with [`Handle::lock`], and does not use what is inside before it takes it again.
    #[inline]
    pub(super) unsafe fn unlock(&self) {
        tsan::about_to_give_up(&self.turn);
        // SAFETY: the contract above.
        unsafe { self.turn.give_up() };
    }

    /// What is inside, for the thread that holds the lock.
    ///
    /// # Safety
    /// This thread holds the lock, and uses the result only while it does.
    #[inline]
    pub(super) unsafe fn inside(&self) -> &Inside {
        // SAFETY: the contract above.
        unsafe { &*self.inside.get() }
    }

    /// Publishes how things stand, if anything has changed. Under the lock.
    #[inline]
    pub(super) fn publish(&self, inside: &Inside) {
        // SAFETY: used only here, under the lock.
        let Some(db) = (unsafe { inside.db() }) else { return };
        let uses = Some(db.uses());
        if inside.looked.get() == uses {
            return;
        }
        inside.looked.set(uses);
        self.publish_changes(inside, db);
    }

    #[inline(never)]
    fn publish_changes(&self, inside: &Inside, db: &Db) {
        let stamp = db.stamp();
        let before = inside.published.get();
        if before == Some(stamp) {
            return;
        }
        inside.published.set(Some(stamp));
        match before.and_then(|before| stamp.only_end_moved(&before)) {
            // So it is with each document that a compaction shows to a hook.
            Some(end) => self.moved_end.store(end, Ordering::Relaxed),
            None => self.publish_anew(db, before.is_some_and(|before| stamp.only_file_changed(&before))),
        }
    }

    #[inline(never)]
    fn publish_anew(&self, db: &Db, only_file_changed: bool) {
        let mut published = self.published.lock();
        tsan::taken(&self.published);
        self.moved_end.store(NOT_MOVED, Ordering::Relaxed);
        // So it is when a handle is closed.
        if only_file_changed && published.info.is_ok() {
            published.update_file(db);
        } else {
            published.update(db);
        }
        tsan::about_to_give_up(&self.published);
    }

    /// Ends a call. Under the lock, which is given up.
    ///
    /// # Safety
    /// As of [`Handle::unlock`].
    #[inline]
    pub(super) unsafe fn leave(&self, inside: &Inside) {
        self.publish(inside);
        inside.running.set(false);
        // SAFETY: the contract above.
        unsafe { self.end_call(inside) };
    }

    /// As [`Handle::leave`], for a call that was not running.
    ///
    /// # Safety
    /// As of [`Handle::unlock`].
    #[inline]
    pub(super) unsafe fn end_call(&self, inside: &Inside) {
        inside.calls.set(inside.calls.get() - 1);
        if let Database::Lent(_) = inside.database {
            // Under this lock: whoever waits has it until it waits.
            let _published = self.published.lock();
            self.call_ended.notify_all();
        }
        // SAFETY: the contract above.
        unsafe { self.unlock() };
    }

    /// Begins a call that waits for callbacks from the beginning; it ends with [`Handle::end_waiting_call`].
    #[cfg(feature = "cxx-shim")]
    pub(super) fn begin_waiting_call(&self) {
        self.lock().count_call();
        // SAFETY: locked above.
        unsafe { self.unlock() };
    }

    /// See [`Handle::begin_waiting_call`].
    #[cfg(feature = "cxx-shim")]
    pub(super) fn end_waiting_call(&self) {
        let inside = self.lock();
        // SAFETY: locked above.
        unsafe { self.end_call(inside) };
    }

    /// Waits until the call of this thread, which does not hold the lock, is the only one.
    pub(super) fn wait_for_other_calls(&self) {
        loop {
            let alone = self.lock().is_only_call();
            let mut published = self.published.lock();
            // SAFETY: locked above.
            unsafe { self.unlock() };
            if alone {
                return;
            }
            self.call_ended.wait(&mut published);
        }
    }
}

impl Inside {
    /// The database; none of a handle that is not lent at the moment.
    ///
    /// # Safety
    /// The result is used by a thread that holds the lock, as often as it gives it up between, in a call that is
    /// counted: until that ends the database stays where it is.
    #[inline]
    pub(super) unsafe fn db<'a>(&self) -> Option<&'a Db> {
        let db = match &self.database {
            Database::Own(db) => std::ptr::from_ref(db.as_ref()),
            Database::Lent(db) => db.get(),
        };
        // SAFETY: freed only when no call is under way; NULL, or lent by a call that waits until all others have ended.
        unsafe { db.as_ref() }
    }

    /// Whether a call may begin.
    #[inline]
    pub(super) fn may_enter(&self) -> bool {
        // SAFETY: only compared.
        !self.running.get() && unsafe { self.db() }.is_some()
    }

    /// Why no call may begin, if none may.
    #[cold]
    pub(super) fn check_enter(&self) -> Result<()> {
        if self.running.get() {
            // Only the thread that is in that call can come here: its file operations call the library.
            return Err(Error::InvalidArguments("a call on a handle from its own file operations"));
        }
        // SAFETY: only compared.
        if unsafe { self.db() }.is_none() {
            return Err(Error::FileClosed);
        }
        Ok(())
    }

    /// Counts a call that begins.
    #[inline]
    pub(super) fn count_call(&self) {
        self.calls.set(self.calls.get() + 1);
    }

    /// Whether no other call than that of the thread that asks is under way.
    pub(super) fn is_only_call(&self) -> bool {
        self.calls.get() == 1
    }

    /// The call begins, or waits for a callback, or goes on after it.
    #[inline]
    pub(super) fn set_running(&self, running: bool) {
        self.running.set(running);
    }

    /// The call, on this handle, begins to wait for a callback. Under the lock.
    #[inline]
    pub(super) fn wait(&self, handle: &Handle) {
        handle.publish(self);
        self.set_running(false);
    }

    /// Whether this is the handle's database.
    #[inline]
    pub(super) fn is(&self, db: &Db) -> bool {
        // SAFETY: only compared.
        unsafe { self.db() }.is_some_and(|own| std::ptr::eq(own, db))
    }

    /// Lends another database, or (`None`) none for now.
    pub(super) fn lend(&self, db: Option<&Db>) {
        if let Database::Lent(lent) = &self.database {
            self.looked.set(None);
            lent.set(db.map_or(std::ptr::null(), std::ptr::from_ref));
        }
    }
}
