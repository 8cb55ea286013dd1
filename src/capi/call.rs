//! A call of a C function, and the callbacks that it makes.
//!
//! Threads take turns on a handle: a call holds its lock while the library works, the caller's file operations
//! included. Around every callback the lock is given up ([`callback`]), because a callback may hand work on the
//! handle to another thread and wait for it, or wait for a lock of the host's whose holder waits for the handle.
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

use super::handle::Handle;
use crate::db::Db;
use crate::error::Result;
use crate::internal_error;
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
    outer: *const Call,
    /// The handles that it was made on.
    entered: [Option<NonNull<Handle>>; 2],
    /// Those by which its callbacks are shown a source and a target that the library has opened; its own.
    lent: Cell<[Option<NonNull<Handle>>; 2]>,
    /// All of them in the order in which locks are taken, the absent ones last.
    all: Cell<[Option<NonNull<Handle>>; 4]>,
    /// The library is at work, not a callback.
    running: Cell<bool>,
    /// Where the library has panicked.
    panicked: RefCell<Option<String>>,
    /// Internal errors that the handler has not been told of yet.
    untold: RefCell<Vec<String>>,
}

/// A call remembers no more internal errors than this: a scan may pass any number of damaged chunks without a callback.
const MOST_UNTOLD: usize = 1000;

/// Runs the work of a C function with the locks of these handles, and gives it their databases.
///
/// # Safety
/// The handles are live, by the pointer contract of `capi`.
pub(super) unsafe fn with<T>(
    handles: [Option<NonNull<Handle>>; 2],
    work: impl FnOnce([Option<&Db>; 2]) -> T,
) -> Result<T> {
    let entered = if handles[0] == handles[1] { [handles[0], None] } else { handles };
    internal_error::postpone_with(postpone);
    INNERMOST.with(|innermost| {
        let (lent, running) = (Cell::default(), Cell::new(true));
        let (panicked, untold) = (RefCell::default(), RefCell::default());
        let (outer, all) = (innermost.get(), Cell::new(in_order(entered, [None; 2])));
        let call = Call { outer, entered, lent, all, running, panicked, untold };
        call.enter()?;
        innermost.set(&raw const call);
        let _leave = Leave { call: &call, innermost };
        // SAFETY: entered above, and left only after the work.
        let done = work(handles.map(|handle| unsafe { handle?.as_ref().inside().db() }));
        if !call.untold.borrow().is_empty() {
            callback(|| {});
        }
        Ok(done)
    })
}

/// Remembers an internal error that was found in the work of a call.
fn postpone(text: &str) -> bool {
    let Some(call) = innermost().filter(|call| call.running.get()) else { return false };
    let mut untold = call.untold.borrow_mut();
    if untold.len() < MOST_UNTOLD {
        untold.push(text.to_owned());
    }
    true
}

/// The handles of a call in the order in which locks are taken.
fn in_order(
    [a, b]: [Option<NonNull<Handle>>; 2],
    [c, d]: [Option<NonNull<Handle>>; 2],
) -> [Option<NonNull<Handle>>; 4] {
    let mut all = [a, b, c, d];
    // Nearly always it is one.
    if [b, c, d] != [None; 3] {
        all.sort_unstable_by_key(|handle| (handle.is_none(), *handle));
    }
    all
}

/// Ends a call, also when a panic unwinds.
struct Leave<'a> {
    call: &'a Call,
    innermost: &'a Cell<*const Call>,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.innermost.set(self.call.outer);
        self.call.for_each(|handle| {
            // SAFETY: locked by this call, which uses it no more.
            unsafe { handle.leave(handle.inside()) };
        });
        for handle in self.call.lent.take().into_iter().flatten() {
            // SAFETY: made by this call; the pointers that callbacks got were good until it returns.
            drop(unsafe { Box::from_raw(handle.as_ptr()) });
        }
    }
}

impl Call {
    /// Runs `action` on all handles of the call, in the order in which locks are taken.
    fn for_each(&self, mut action: impl FnMut(&Handle)) {
        for handle in self.all.get().into_iter().map_while(|handle| handle) {
            // SAFETY: live as long as the call, by the contract of `with` or because the call owns it.
            action(unsafe { handle.as_ref() });
        }
    }

    fn lock(&self) {
        self.for_each(|handle| {
            handle.lock();
        });
    }

    fn unlock(&self) {
        // SAFETY: this is called with the locks of the call held, and what is behind them is used again only with them.
        self.for_each(|handle| unsafe { handle.unlock() });
    }

    /// Takes the locks and begins a call on each handle, or does neither.
    fn enter(&self) -> Result<()> {
        if let Some(handle) = self.only() {
            let inside = handle.lock();
            return match inside.check_enter() {
                Ok(()) => {
                    inside.count_call();
                    inside.set_running(true);
                    Ok(())
                }
                Err(refused) => {
                    // SAFETY: locked above.
                    unsafe { handle.unlock() };
                    Err(refused)
                }
            };
        }
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

    /// The handles by which a callback is shown these databases: those that the call was made on, or lent ones.
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
        for entered in self.entered.into_iter().flatten() {
            // SAFETY: live and locked.
            if unsafe { entered.as_ref().inside() }.is(db) {
                return entered.as_ptr();
            }
        }
        let handle = self.lent.get()[role].unwrap_or_else(|| self.begin_lending(role));
        // SAFETY: live and locked.
        unsafe { handle.as_ref().inside() }.lend(Some(db));
        handle.as_ptr()
    }

    #[cold]
    fn begin_lending(&self, role: usize) -> NonNull<Handle> {
        let handle = NonNull::from(Box::leak(Handle::for_lending()));
        let mut lent = self.lent.get();
        lent[role] = Some(handle);
        self.lent.set(lent);
        self.all.set(in_order(self.entered, lent));
        handle
    }

    /// The handle of a call that has but one.
    fn only(&self) -> Option<&Handle> {
        let alone = self.entered[1].is_none() && matches!(self.lent.get(), [None, None]);
        // SAFETY: live as long as the call, by the contract of `with`.
        self.entered[0].filter(|_| alone).map(|handle| unsafe { handle.as_ref() })
    }

    fn give_up(&self) {
        self.for_each(|handle| {
            // SAFETY: locked.
            let inside = unsafe { handle.inside() };
            handle.publish(inside);
            inside.set_running(false);
        });
        self.running.set(false);
        self.unlock();
    }

    /// Tells the handler of the internal errors so far. With the locks given up.
    #[inline]
    fn tell(&self) {
        if !self.untold.borrow().is_empty() {
            self.tell_all();
        }
    }

    #[cold]
    fn tell_all(&self) {
        for text in self.untold.take() {
            internal_error::tell_handler(&text);
        }
    }

    fn take_back(&self) {
        if let Some(handle) = self.only() {
            handle.lock().set_running(true);
            self.running.set(true);
            return;
        }
        self.take_back_all();
    }

    fn take_back_all(&self) {
        loop {
            self.lock();
            // Another thread may have made a call on a lent handle that waits for a callback. The database may be gone
            // before it goes on.
            // SAFETY: the call owns those that it lends, and has locked them.
            let is_alone = |handle: &NonNull<Handle>| unsafe { handle.as_ref().inside() }.is_only_call();
            let Some(busy) = self.lent.get().into_iter().flatten().find(|handle| !is_alone(handle)) else {
                break;
            };
            self.unlock();
            // SAFETY: as above.
            unsafe { busy.as_ref() }.wait_for_other_calls();
        }
        self.for_each(|handle| {
            // SAFETY: locked above.
            unsafe { handle.inside() }.set_running(true);
        });
        for handle in self.lent.get().into_iter().flatten() {
            // SAFETY: as above.
            unsafe { handle.as_ref().inside() }.lend(None);
        }
        self.running.set(true);
    }
}

/// Goes on after a callback, also when a panic unwinds.
struct TakeBack<'a>(&'a Call);

impl Drop for TakeBack<'_> {
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

/// Runs a callback that is shown a source and a target.
pub(super) fn callback_on_two<T>(
    source: &Db,
    target: &Db,
    code: impl FnOnce(*mut Handle, *mut Handle) -> T,
) -> T {
    callback_with([Some(source), Some(target)], |[source, target]| code(source, target))
}

fn callback_with<T>(dbs: [Option<&Db>; 2], code: impl FnOnce([*mut Handle; 2]) -> T) -> T {
    let call = innermost().expect("callbacks are made within calls");
    let handles = call.show(dbs);
    call.give_up();
    let _take_back = TakeBack(call);
    call.tell();
    code(handles)
}

/// The innermost call of this thread, while whoever asks is in it.
fn innermost<'a>() -> Option<&'a Call> {
    // SAFETY: a call that is announced there lives until it takes that back.
    unsafe { INNERMOST.get().as_ref() }
}

/// Notes where this thread has panicked, if the library did so in a call. Not if a callback did; and not if it is the
/// second time, during the unwinding, because that ends the process.
pub(super) fn note_panic(place: String) -> bool {
    let Some(call) = innermost().filter(|call| call.running.get()) else { return false };
    let mut panicked = call.panicked.borrow_mut();
    let is_first = panicked.is_none();
    panicked.get_or_insert(place);
    is_first
}

/// Where the call has panicked; forgotten by this.
pub(super) fn take_panic() -> Option<String> {
    innermost().and_then(|call| call.panicked.borrow_mut().take())
}
