// SPDX-License-Identifier: Apache-2.0

//! A call of a C function, and the callbacks that it makes.
//!
//! Threads take turns on a handle: a call holds its lock while the library works, the caller's file operations
//! included. Around every callback the lock is given up ([`callback`]), because a callback may hand work on the
//! handle to another thread and wait for it, or wait for a lock of the host's whose holder waits for the handle. A scan
//! takes it again when it needs the database, not between documents that it has at hand ([`CallbacksOn`]).
//!
//! # Why other calls may use a database while one waits for its callback
//!
//! A callback could always use the handle that it is called on behalf of, so the code below `capi` is made for that:
//! when it calls back it borrows nothing of the database, and the state is one that any call can work with or refuse
//! to ([`Db::begin_write`]). A call of another thread finds what a nested call of the same thread would find. It has
//! seen all that was done before because it took the lock, and it is over, or waits for a callback in turn, when the
//! first thread goes on, because that takes the lock again.
//!
//! # Internal errors
//!
//! They are found in the middle of work, where no lock can be given up. So the host's handler is told of them before
//! the next callback of the call, or at its end, as a callback of its own.
//!
//! # Order of locks
//!
//! A call on two handles takes their locks in the order of their addresses, at the beginning and after each callback,
//! and nothing waits for a callback with a lock held.

use super::handle::{Handle, Inside};
use super::turn::ThreadId;
use crate::db::Db;
use crate::error::internal_error;
use crate::error::{Error, Result};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

thread_local! {
    /// The innermost call of this thread: a callback may make calls of its own.
    static INNERMOST: Cell<*const Call> = const { Cell::new(std::ptr::null()) };
}

/// Which of two: plain hooks of compaction are shown a target only.
const SOURCE: usize = 0;
const TARGET: usize = 1;

/// A call under way. It stays where it is: the thread knows its address.
struct Call {
    /// The thread that has made it.
    thread: ThreadId,
    outer: *const Call,
    /// The handles that it was made on.
    entered: [Option<NonNull<Handle>>; 2],
    /// Those by which its callbacks are shown a source and a target that the library has opened; its own.
    lent: [Cell<Option<NonNull<Handle>>>; 2],
    /// All of them in the order in which locks are taken, the absent ones last.
    all: [Cell<Option<NonNull<Handle>>>; 4],
    /// The library is at work, not a callback.
    running: Cell<bool>,
    /// `None`: nothing has gone wrong.
    trouble: RefCell<Option<Box<Trouble>>>,
    /// Whether there is anything that the handler has not been told of.
    has_untold: Cell<bool>,
}

/// What has gone wrong in a call.
#[derive(Default)]
struct Trouble {
    /// Where the library has panicked.
    panicked: Option<String>,
    /// Internal errors that the handler has not been told of yet.
    untold: Vec<String>,
}

/// A call remembers no more internal errors than this: a scan may pass any number of damaged chunks without a callback.
const MOST_UNTOLD: usize = 1000;

/// Runs the work of a C function with the locks of these handles, and gives it their databases; or, if no call may begin,
/// tells why.
///
/// # Safety
/// The handles are live, by the pointer contract of `capi`.
pub(super) unsafe fn with<T>(
    handles: [Option<NonNull<Handle>>; 2],
    work: impl FnOnce([Option<&Db>; 2]) -> T,
    refused: impl FnOnce(Error) -> T,
) -> T {
    let entered = if handles[0] == handles[1] { [handles[0], None] } else { handles };
    internal_error::postpone_with(postpone);
    INNERMOST.with(|innermost| {
        let (outer, lent, running) = (innermost.get(), <_>::default(), Cell::new(true));
        let (trouble, has_untold) = (RefCell::default(), Cell::new(false));
        let all = in_order(entered, [None; 2]).map(Cell::new);
        let thread = ThreadId::of(innermost);
        let call = Call { thread, outer, entered, lent, all, running, trouble, has_untold };
        if let Err(error) = call.enter() {
            return refused(error);
        }
        innermost.set(&raw const call);
        let _leave = Leave { call: &call, innermost };
        // SAFETY: entered above, and left only after the work.
        let done = work(handles.map(|handle| unsafe { handle?.as_ref().inside().db() }));
        if call.has_untold.get() {
            callback(|| {});
        }
        done
    })
}

/// Remembers an internal error that was found in the work of a call.
fn postpone(text: &str) -> bool {
    let Some(call) = innermost().filter(|call| call.running.get()) else { return false };
    let mut trouble = call.trouble.borrow_mut();
    let untold = &mut trouble.get_or_insert_default().untold;
    if untold.len() < MOST_UNTOLD {
        untold.push(text.to_owned());
        call.has_untold.set(true);
    }
    true
}

/// The handles of a call in the order in which locks are taken.
#[inline]
fn in_order(
    [a, b]: [Option<NonNull<Handle>>; 2],
    [c, d]: [Option<NonNull<Handle>>; 2],
) -> [Option<NonNull<Handle>>; 4] {
    let mut all = [a, b, c, d];
    // Nearly always it is one.
    if b.is_some() || c.is_some() || d.is_some() {
        all.sort_unstable_by_key(|handle| (handle.is_none(), *handle));
    }
    all
}

/// Ends a call, also when a panic unwinds.
struct Leave<'a> {
    call: &'a Call,
    /// The thread's [`INNERMOST`].
    innermost: &'a Cell<*const Call>,
}

impl Drop for Leave<'_> {
    #[inline]
    fn drop(&mut self) {
        self.innermost.set(self.call.outer);
        if let Some(handle) = self.call.only() {
            // SAFETY: locked by this call, which uses it no more.
            unsafe { handle.leave(handle.inside()) };
            return;
        }
        self.call.leave_all();
    }
}

impl Call {
    /// Runs `action` on all handles of the call, in the order in which locks are taken.
    #[inline]
    fn for_each(&self, mut action: impl FnMut(&Handle)) {
        for handle in self.all.iter().map_while(Cell::get) {
            // SAFETY: live as long as the call, by the contract of `with` or because the call owns it.
            action(unsafe { handle.as_ref() });
        }
    }

    /// What is inside the handles that it lends, which it has locked.
    #[inline]
    fn lent(&self) -> impl Iterator<Item = &Inside> {
        // SAFETY: the call owns those that it lends.
        self.lent.iter().filter_map(Cell::get).map(|handle| unsafe { handle.as_ref().inside() })
    }

    fn lock(&self) {
        self.for_each(|handle| {
            handle.lock_by(self.thread);
        });
    }

    fn unlock(&self) {
        // SAFETY: this is called with the locks of the call held, and what is behind them is used again only with them.
        self.for_each(|handle| unsafe { handle.unlock() });
    }

    /// Takes the locks and begins a call on each handle, or does neither.
    #[inline]
    fn enter(&self) -> Result<()> {
        let Some(handle) = self.only() else { return self.enter_all() };
        let inside = handle.lock_by(self.thread);
        if !inside.may_enter() {
            let refused = inside.check_enter();
            // SAFETY: locked above.
            unsafe { handle.unlock() };
            return refused;
        }
        inside.count_call();
        inside.set_running(true);
        Ok(())
    }

    #[cold]
    fn enter_all(&self) -> Result<()> {
        self.lock();
        let mut refused = None;
        self.for_each(|handle| {
            // SAFETY: locked above.
            refused = refused.take().or(unsafe { handle.inside() }.check_enter().err());
        });
        if let Some(error) = refused {
            self.unlock();
            return Err(error);
        }
        self.for_each(|handle| {
            // SAFETY: locked above.
            let inside = unsafe { handle.inside() };
            inside.count_call();
            inside.set_running(true);
        });
        Ok(())
    }

    /// Ends the call on each of several handles, or on none.
    #[cold]
    fn leave_all(&self) {
        self.for_each(|handle| {
            // SAFETY: locked by this call, which uses it no more.
            unsafe { handle.leave(handle.inside()) };
        });
        for handle in self.lent.iter().filter_map(Cell::take) {
            // SAFETY: made by this call; the pointers that callbacks got were good until it returns.
            drop(unsafe { Box::from_raw(handle.as_ptr()) });
        }
    }

    /// The handles by which a callback is shown these databases: those that the call was made on, or lent ones.
    #[inline]
    fn show(&self, dbs: [Option<&Db>; 2]) -> [*mut Handle; 2] {
        // SAFETY: live and locked.
        let is_of = |handle: &NonNull<Handle>, db| unsafe { handle.as_ref().inside() }.is(db);
        if let (Some(handle), [None, Some(db)]) = (self.entered[0], dbs)
            && is_of(&handle, db)
        {
            return [std::ptr::null_mut(), handle.as_ptr()];
        }
        [self.show_as(SOURCE, dbs[SOURCE]), self.show_as(TARGET, dbs[TARGET])]
    }

    fn show_as(&self, role: usize, db: Option<&Db>) -> *mut Handle {
        let Some(db) = db else { return std::ptr::null_mut() };
        for entered in self.entered.iter().flatten() {
            // SAFETY: live and locked.
            if unsafe { entered.as_ref().inside() }.is(db) {
                return entered.as_ptr();
            }
        }
        let handle = self.lent[role].get().unwrap_or_else(|| self.begin_lending(role));
        // SAFETY: live and locked.
        unsafe { handle.as_ref().inside() }.lend(Some(db));
        handle.as_ptr()
    }

    #[cold]
    fn begin_lending(&self, role: usize) -> NonNull<Handle> {
        let handle = NonNull::from(Box::leak(Handle::for_lending()));
        self.lent[role].set(Some(handle));
        for (place, handle) in
            self.all.iter().zip(in_order(self.entered, self.lent.each_ref().map(Cell::get)))
        {
            place.set(handle);
        }
        handle
    }

    /// The handle of a call that has but one.
    #[inline]
    fn only(&self) -> Option<&Handle> {
        let alone = self.entered[1].is_none() && self.lent.iter().all(|lent| lent.get().is_none());
        // SAFETY: live as long as the call, by the contract of `with`.
        self.entered[0].filter(|_| alone).map(|handle| unsafe { handle.as_ref() })
    }

    fn give_up(&self) {
        match self.only() {
            Some(handle) => self.wait_on(handle),
            None => self.give_up_all(),
        }
    }

    /// Gives up the only handle.
    #[inline]
    fn wait_on(&self, handle: &Handle) {
        self.running.set(false);
        // SAFETY: locked.
        unsafe { handle.inside() }.wait(handle);
        // SAFETY: locked; what is behind it is used again only with the lock.
        unsafe { handle.unlock() };
    }

    /// Takes back the only handle.
    #[inline]
    fn go_on(&self, handle: &Handle) {
        handle.lock_by(self.thread).set_running(true);
        self.running.set(true);
    }

    fn give_up_all(&self) {
        self.running.set(false);
        self.for_each(|handle| {
            // SAFETY: locked.
            unsafe { handle.inside() }.wait(handle);
            // SAFETY: locked; what is behind it is used again only with the lock.
            unsafe { handle.unlock() };
        });
    }

    /// Tells the handler of the internal errors so far. With the locks given up.
    #[inline]
    fn tell(&self) {
        if self.has_untold.take() {
            self.tell_all();
        }
    }

    #[cold]
    fn tell_all(&self) {
        let untold = self.trouble.borrow_mut().as_mut().map(|trouble| std::mem::take(&mut trouble.untold));
        for text in untold.unwrap_or_default() {
            internal_error::tell_handler(&text);
        }
    }

    #[inline]
    fn take_back(&self) {
        if let Some(handle) = self.only() {
            return self.go_on(handle);
        }
        self.take_back_all();
    }

    fn take_back_all(&self) {
        self.lock();
        // Another thread may have made a call on a lent handle that waits for a callback. The database may be gone before it
        // goes on.
        while !self.lent().all(Inside::is_only_call) {
            self.wait_for_lent();
        }
        self.for_each(|handle| {
            // SAFETY: locked above.
            unsafe { handle.inside() }.set_running(true);
        });
        self.lent().for_each(|inside| inside.lend(None));
        self.running.set(true);
    }

    /// Gives the locks up until nobody else has a call on a handle that was lent.
    #[cold]
    fn wait_for_lent(&self) {
        self.unlock();
        for handle in self.lent.iter().filter_map(Cell::get) {
            // SAFETY: the call owns those that it lends.
            unsafe { handle.as_ref() }.wait_for_other_calls();
        }
        self.lock();
    }
}

/// Goes on after a callback, also when a panic unwinds.
struct TakeBack<'a>(&'a Call);

impl Drop for TakeBack<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.take_back();
    }
}

/// Runs a callback of the caller's. Every one goes this way, or one of the two below.
pub(super) fn callback<T>(code: impl FnOnce() -> T) -> T {
    callback_with([None, None], |_| code())
}

/// Runs a callback that is shown one database.
pub(super) fn callback_on<T>(db: &Db, code: impl FnOnce(*mut Handle) -> T) -> T {
    callback_with([None, Some(db)], |[_, handle]| code(handle))
}

/// Callbacks of one call that are all shown the same database: a scan makes very many. From the first one on the lock stays
/// given up until whoever makes them has to use the database again.
pub(super) struct CallbacksOn<'a> {
    call: &'a Call,
    db: &'a Db,
    /// The handle of a call on this database alone.
    only: Option<&'a Handle>,
    /// That one is given up.
    waiting: Cell<bool>,
}

impl<'a> CallbacksOn<'a> {
    pub(super) fn new(db: &'a Db) -> CallbacksOn<'a> {
        let call = innermost().expect("callbacks are made within calls");
        // SAFETY: locked.
        let only = call.only().filter(|handle| unsafe { handle.inside() }.is(db));
        CallbacksOn { call, db, only, waiting: Cell::new(false) }
    }

    /// Runs one. The database must not be used until [`CallbacksOn::go_on`].
    #[inline]
    pub(super) fn run<T>(&self, code: impl FnOnce(*mut Handle) -> T) -> T {
        let Some(handle) = self.only else { return callback_on(self.db, code) };
        if self.waiting.get() {
            self.call.running.set(false);
        } else {
            self.begin(handle);
        }
        let result = code(std::ptr::from_ref(handle).cast_mut());
        // Else the panic of a callback unwinds.
        self.call.running.set(true);
        result
    }

    #[inline(never)]
    fn begin(&self, handle: &Handle) {
        self.call.wait_on(handle);
        self.waiting.set(true);
        self.call.tell();
    }

    /// Takes the lock back, if a callback was run.
    #[inline]
    pub(super) fn go_on(&self) {
        if self.waiting.get() {
            self.take_back();
        }
    }

    #[inline(never)]
    fn take_back(&self) {
        self.waiting.set(false);
        if let Some(handle) = self.only {
            self.call.go_on(handle);
        }
    }
}

impl Drop for CallbacksOn<'_> {
    fn drop(&mut self) {
        self.go_on();
    }
}

/// Runs a callback that is shown a source and a target.
pub(super) fn callback_on_two<T>(
    source: &Db,
    target: &Db,
    code: impl FnOnce(*mut Handle, *mut Handle) -> T,
) -> T {
    callback_with([Some(source), Some(target)], |[source, target]| code(source, target))
}

#[inline]
fn callback_with<T>(dbs: [Option<&Db>; 2], code: impl FnOnce([*mut Handle; 2]) -> T) -> T {
    let call = innermost().expect("callbacks are made within calls");
    let handles = call.show(dbs);
    call.give_up();
    let _take_back = TakeBack(call);
    call.tell();
    code(handles)
}

/// Who this thread is.
pub(super) fn this_thread() -> ThreadId {
    INNERMOST.with(ThreadId::of)
}

/// The innermost call of this thread, while whoever asks is in it.
#[inline]
fn innermost<'a>() -> Option<&'a Call> {
    // SAFETY: a call that is announced there lives until it takes that back.
    unsafe { INNERMOST.get().as_ref() }
}

/// Notes where this thread has panicked, if the library did so in a call. Not if a callback did; and not if it is the
/// second time, during the unwinding, because that ends the process.
pub(super) fn note_panic(place: String) -> bool {
    let Some(call) = innermost().filter(|call| call.running.get()) else { return false };
    let mut trouble = call.trouble.borrow_mut();
    let panicked = &mut trouble.get_or_insert_default().panicked;
    let is_first = panicked.is_none();
    panicked.get_or_insert(place);
    is_first
}

/// Where the call has panicked; forgotten by this.
pub(super) fn take_panic() -> Option<String> {
    innermost().and_then(|call| call.trouble.borrow_mut().as_mut()?.panicked.take())
}
