// SPDX-License-Identifier: Apache-2.0

//! Compaction of a store: in the thread that asks for it, or in one of its own.

use super::Inner;
use super::writer::Turn;
use crate::compact::copy::CompactHooks;
use crate::compact::hooks::{OnlineHooks, ReplayHooks};
use crate::compact::online::{OnlineStats, compact_online};
use crate::compact::options::{OnlineOptions, Swap};
use crate::db::Db;
use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::DocInfoRef;
use crate::quiet_thread::spawn_quietly;
use parking_lot::{Condvar, Mutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, ThreadId};

/// What is known of compactions.
#[derive(Default)]
pub(super) struct Compactions {
    state: Mutex<State>,
    ended: Condvar,
    /// The store is being dropped.
    stop: AtomicBool,
    /// Size of the file, and what of it is in use.
    size: AtomicU64,
    used: AtomicU64,
    /// The file has to grow to this size before the next one begins by itself.
    not_below: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Which thread compacts.
    running: Option<Running>,
    /// The last thread that was made for it.
    thread: Option<JoinHandle<()>>,
    last: Option<Result<OnlineStats>>,
}

/// Which thread compacts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Running {
    /// It is about to begin.
    Soon,
    In(ThreadId),
}

impl Inner {
    /// How large the file is now.
    pub(super) fn note_size(&self, db: &Db) {
        if let Ok(info) = db.info() {
            self.compactions.size.store(info.file_size, Ordering::Relaxed);
            self.compactions.used.store(info.space_used, Ordering::Relaxed);
        }
    }

    /// Whether so little of the file is in use that it is to be compacted.
    pub(super) fn is_due(&self) -> bool {
        let Some(least) = self.options.compact_at else { return false };
        let size = self.compactions.size.load(Ordering::Relaxed);
        let unused = size.saturating_sub(self.compactions.used.load(Ordering::Relaxed));
        let least_size = self.options.compact_from.max(self.compactions.not_below.load(Ordering::Relaxed));
        size >= least_size && u128::from(unused) * 100 >= u128::from(size) * u128::from(least)
    }

    /// Compacts in this thread, unless somebody does already.
    pub(super) fn compact(&self) -> Result<OnlineStats> {
        {
            let mut state = self.compactions.state.lock();
            if state.running.is_some() {
                return Err(Error::InvalidArguments(
                    "expected no other compaction of this store at the same time",
                ));
            }
            state.running = Some(Running::In(thread::current().id()));
        }
        self.compact_and_tell()
    }

    /// Compacts in a thread of its own. `false`: somebody does already.
    pub(super) fn compact_beside(self: &Arc<Inner>) -> Result<bool> {
        let mut state = self.compactions.state.lock();
        if state.running.is_some() || self.compactions.stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        if let Some(thread) = state.thread.take_if(|thread| thread.is_finished()) {
            let _ = thread.join();
        }
        state.running = Some(Running::Soon);
        let inner = self.clone();
        let spawned = spawn_quietly(move || {
            inner.compactions.state.lock().running = Some(Running::In(thread::current().id()));
            let _ = inner.compact_and_tell();
        });
        match spawned {
            Ok(thread) => {
                state.thread = Some(thread);
                Ok(true)
            }
            Err(error) => {
                state.running = None;
                Err(Error::caller(error))
            }
        }
    }

    /// Waits until nobody compacts, and tells how the last compaction has ended.
    pub(super) fn last_compaction(&self) -> Option<Result<OnlineStats>> {
        let mut state = self.compactions.state.lock();
        let me = Running::In(thread::current().id());
        // Whoever has a turn would wait for somebody who waits for one.
        while state.running.is_some_and(|running| running != me) && !self.has_turn() {
            self.compactions.ended.wait(&mut state);
        }
        state.last.clone()
    }

    /// Ends a compaction soon, and waits for the end of its thread.
    pub(super) fn stop_compacting(&self) {
        self.compactions.stop.store(true, Ordering::Release);
        let thread = self.compactions.state.lock().thread.take();
        // The store may be dropped by what is told of a compaction.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }

    fn compact_and_tell(&self) -> Result<OnlineStats> {
        let result = catch_unwind(AssertUnwindSafe(|| self.compact_now()));
        let result = result.unwrap_or_else(|_| Err(Error::Internal("a compaction panicked".into())));
        let size = self.compactions.size.load(Ordering::Relaxed);
        let not_below = size.saturating_add(size / if result.is_ok() { 16 } else { 4 });
        self.compactions.not_below.store(not_below, Ordering::Relaxed);
        self.compactions.state.lock().last = Some(result.clone());
        if let Some(tell) = &self.options.on_compaction {
            // What it panics about is no business of the compaction, which has ended.
            let _ = catch_unwind(AssertUnwindSafe(|| tell(&result)));
        }
        self.compactions.state.lock().running = None;
        self.compactions.ended.notify_all();
        result
    }

    fn compact_now(&self) -> Result<OnlineStats> {
        let mut compact = self.options.compact.clone();
        compact.file_ops = self.open.shared_ops();
        compact.keys = self.open.key_store();
        compact.naming = self.open.naming_calls();
        let options = OnlineOptions::new().compact(compact).source(self.open.clone()).swap(Swap::Replace);
        compact_online(
            &self.path,
            "",
            &options,
            &mut Switch { inner: self, turn: None, has_gone_over: false },
        )
    }
}

/// Takes turns with those who write, and switches the store over.
struct Switch<'a> {
    inner: &'a Inner,
    turn: Option<Turn<'a>>,
    has_gone_over: bool,
}

impl Switch<'_> {
    fn go_on(&self) -> Result<()> {
        if self.inner.compactions.stop.load(Ordering::Acquire) {
            return Err(Error::Callback(ErrorCode::CANCEL));
        }
        Ok(())
    }
}

impl CompactHooks for Switch<'_> {
    fn progress(&mut self, _: u64, _: u64, _: u64) -> Result<()> {
        self.go_on()
    }
}

impl ReplayHooks for Switch<'_> {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.go_on().map(|()| true)
    }
}

impl OnlineHooks for Switch<'_> {
    fn try_lock(&mut self) -> Result<()> {
        self.go_on()?;
        let mut turn = self.inner.turn()?;
        // What is not committed is in nobody's copy. Those who wait for it are told if this fails, and try again if they like.
        turn.open()?;
        turn.commit()?;
        self.turn = Some(turn);
        Ok(())
    }

    fn unlock(&mut self) {
        // Unless the store has gone over, the name may lead to another file by now, or nobody knows where it leads.
        if let Some(turn) = self.turn.as_mut().filter(|_| !self.has_gone_over) {
            turn.look_again();
        }
        self.turn = None;
    }

    fn publish(&mut self, source: &Db, _: &Db) -> Result<()> {
        let Some(turn) = &mut self.turn else {
            return Err(Error::Internal("a switch without a turn".into()));
        };
        turn.check_is_source(source)?;
        let (db, readers) = self.inner.open_file()?;
        turn.replace(db, readers);
        self.has_gone_over = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{Store, StoreOptions};

    #[test]
    fn there_is_one_compaction_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let itself: Arc<Mutex<Option<Store>>> = Arc::default();
        let (of_callback, refused) = (itself.clone(), Arc::new(AtomicU64::new(0)));
        let count = refused.clone();
        let told = move |result: &Result<OnlineStats>| {
            assert!(result.is_ok());
            let store = of_callback.lock().clone().unwrap();
            assert_eq!(store.compact().unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
            assert!(!store.compact_in_background().unwrap());
            count.fetch_add(1, Ordering::Relaxed);
        };
        let options = StoreOptions::new().on_compaction(Some(Arc::new(told)));
        let store = options.open_store(dir.path().join("a.couch")).unwrap();
        *itself.lock() = Some(store.clone());
        store.compact().unwrap();
        assert!(store.compact_in_background().unwrap());
        store.wait_for_compaction().unwrap().unwrap();
        assert_eq!(refused.load(Ordering::Relaxed), 2);
        *itself.lock() = None;
    }

    /// The lock comes first, whatever a compaction does.
    #[test]
    fn nothing_is_switched_without_a_turn() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path().join("a.couch")).unwrap();
        let db = Db::create(dir.path().join("b.couch")).unwrap();
        let mut switch = Switch { inner: store.inner(), turn: None, has_gone_over: false };
        assert!(matches!(switch.publish(&db, &db), Err(Error::Internal(_))));
        store.put("a", "1").unwrap();
        assert_eq!(Db::open(dir.path().join("a.couch")).unwrap().get(b"a").unwrap().unwrap(), b"1");
    }
}
