// SPDX-License-Identifier: Apache-2.0

//! The one writer of a store, and those who take turns with it.
//!
//! A turn saves what its batch has gathered. Who ends a turn while others wait for theirs leaves the commit to them, and
//! waits for it: so writes that come at the same time share one commit. The last one, whom nobody waits behind, commits for
//! all. What fails is undone: a save alone, a commit with all that it was for.

use super::Inner;
use super::batch::Batch;
use super::snapshot::View;
use crate::db::hidden::make_names_durable;
use crate::db::reader::Readers;
use crate::db::{Db, State};
use crate::error::{Error, Result, Stale};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

/// So many writes share a commit, at most.
const MOST_MEMBERS: usize = 128;

/// The handle that writes.
pub(super) struct Writer {
    /// `None`: a sync has failed, or a call panicked. It has to be opened again before anything is written.
    pub(super) db: Option<Db>,
    pub(super) readers: Arc<Readers>,
    /// A compaction may have moved the name, and failed to move it back for good.
    unsettled: bool,
    group: Option<Group>,
}

impl Writer {
    pub(super) fn new(db: Db, readers: Arc<Readers>) -> Writer {
        Writer { db: Some(db), readers, unsettled: false, group: None }
    }
}

/// Saves that are not committed yet.
struct Group {
    /// The state before the first of them.
    base: State,
    members: usize,
    end: Arc<End>,
}

/// How the commit of a group has ended, for those who wait for it.
#[derive(Default)]
struct End {
    result: Mutex<Option<Result<()>>>,
    changed: Condvar,
}

impl End {
    fn set(&self, result: Result<()>) {
        *self.result.lock() = Some(result);
        self.changed.notify_all();
    }

    fn wait(&self) -> Result<()> {
        let mut result = self.result.lock();
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            self.changed.wait(&mut result);
        }
    }
}

/// The right to write, until it is dropped.
pub(super) struct Turn<'a> {
    inner: &'a Inner,
    writer: MutexGuard<'a, Writer>,
}

impl Inner {
    /// Waits for a turn.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        if self.has_turn() {
            return Err(Error::InvalidArguments(
                "expected no write, compaction or reopening inside a write on the same store",
            ));
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let writer = self.writer.lock();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        *self.owner.lock() = Some(thread::current().id());
        Ok(Turn { inner: self, writer })
    }

    /// Whether this thread has one.
    pub(super) fn has_turn(&self) -> bool {
        *self.owner.lock() == Some(thread::current().id())
    }

    /// Whether any thread has one.
    #[cfg(test)]
    fn has_owner(&self) -> bool {
        self.owner.lock().is_some()
    }

    /// Runs `change` on a batch, saves it, and returns once it is durable.
    pub(super) fn write<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut turn = self.turn()?;
        let db = turn.open()?;
        let before = db.snapshot();
        let mut batch = Batch::new(db, self.options.compress);
        // A panic must not pass through a commit that others wait for.
        let value = match catch_unwind(AssertUnwindSafe(|| change(&mut batch))) {
            Ok(Ok(value)) => value,
            Ok(Err(error)) => {
                // Why it has failed may be something that others have saved just now.
                turn.end()?;
                return Err(error);
            }
            Err(panic) => {
                drop(turn);
                resume_unwind(panic)
            }
        };
        let has_changes = !batch.is_empty();
        let saved = if has_changes { batch.save_all() } else { Ok(()) };
        if let Err(error) = saved {
            turn.undo(before, &error);
            return Err(error.into());
        }
        if has_changes {
            turn.join(before);
        }
        // What was only read may have been saved by others just now, and be lost with them.
        turn.end()?;
        Ok(value)
    }
}

impl Turn<'_> {
    /// The handle, which is opened again if it has to be.
    pub(super) fn open(&mut self) -> Result<&Db> {
        if let Some(db) = self.writer.db.take_if(|db| db.is_latched()) {
            self.lose(&Error::Latched { file: db.name() });
        }
        if self.writer.db.is_none() {
            self.open_same_again()?;
        }
        self.writer.db.as_ref().ok_or(Error::FileClosed)
    }

    /// Opens the file again after a failure. What was shown of it has to be there.
    fn open_same_again(&mut self) -> Result<()> {
        let (db, readers) = self.open_by_name()?;
        let (shown, found) = (self.inner.snapshot().view, db.snapshot());
        let is_same = readers.id() == self.writer.readers.id();
        let is_behind =
            found.at() < shown.state.at() || found.header.update_seq < shown.state.header.update_seq;
        if !is_same || is_behind {
            return Err(Error::Stale { file: db.name(), reason: Stale::Replaced });
        }
        self.put(db, readers);
        Ok(())
    }

    /// From now on this is the file that is written and read.
    fn put(&mut self, db: Db, readers: Readers) {
        self.writer.readers = Arc::new(readers);
        self.show(db.snapshot());
        self.inner.note_size(&db);
        self.writer.db = Some(db);
    }

    /// Fails unless this handle, which stands on the newest header of a file, is on that of the store: the name may have led
    /// to another one.
    pub(super) fn check_is_source(&mut self, source: &Db) -> Result<()> {
        let (own, source_state) = (self.open()?.snapshot(), source.snapshot());
        let of = |state: &State| (state.position, state.header.update_seq);
        if source.identity()? == self.writer.readers.id() && of(&own) == of(&source_state) {
            return Ok(());
        }
        Err(Error::Stale { file: source.name(), reason: Stale::Replaced })
    }

    /// As [`Turn::put`], of a file that has taken the place of the one before.
    pub(super) fn replace(&mut self, db: Db, readers: Readers) {
        self.writer.readers.note_replaced();
        self.put(db, readers);
    }

    /// From now on this is what snapshots are made of.
    fn show(&self, state: State) {
        let view = Arc::new(View { readers: self.writer.readers.clone(), state });
        // The last one may have files to close, which takes long, or calls the caller.
        let last = std::mem::replace(&mut *self.inner.view.lock(), view);
        drop(last);
    }

    /// A compaction has failed while it had this turn: before the next write the name is looked at again.
    pub(super) fn look_again(&mut self) {
        self.writer.db = None;
        self.writer.unsettled = true;
    }

    /// Opens the file that has the name, which stays its own from now on, also after a power cut.
    pub(super) fn open_by_name(&mut self) -> Result<(Db, Readers)> {
        let (db, readers) = self.inner.open_file()?;
        if self.writer.unsettled {
            make_names_durable(self.inner.open.naming_calls(), &db)?;
            self.writer.unsettled = false;
        }
        Ok((db, readers))
    }

    /// What was saved and not committed is lost.
    fn lose(&mut self, error: &Error) {
        if let Some(group) = self.writer.group.take() {
            group.end.set(Err(error.clone()));
        }
    }

    /// What was saved since `before` has to be committed.
    fn join(&mut self, before: State) {
        let group = Group { base: before, members: 0, end: Arc::default() };
        self.writer.group.get_or_insert(group).members += 1;
    }

    /// A save has failed: the handle goes back to `before`. If it takes no more writes, what others have saved is lost,
    /// too.
    fn undo(&mut self, before: State, error: &Error) {
        let Some(db) = &self.writer.db else { return };
        if !db.is_latched() {
            db.update_state(|state| *state = before);
            return;
        }
        self.writer.db = None;
        self.lose(error);
    }

    /// Ends the turn, and waits until everything that was saved so far is committed.
    fn end(self) -> Result<()> {
        let end = self.writer.group.as_ref().map(|group| group.end.clone());
        drop(self);
        end.map_or(Ok(()), |end| end.wait())
    }

    /// Commits what was saved, if anything was, and tells those who wait for it.
    pub(super) fn commit(&mut self) -> Result<()> {
        let Some(Group { base, end, .. }) = self.writer.group.take() else { return Ok(()) };
        let commit = || self.writer.db.as_ref().map_or(Err(Error::FileClosed), Db::commit);
        // Others wait for the end, whatever it is.
        let result = catch_unwind(AssertUnwindSafe(commit)).unwrap_or_else(|_| {
            self.writer.db = None;
            Err(Error::Internal("a commit panicked".into()))
        });
        match (&result, &self.writer.db) {
            (Ok(()), Some(db)) => {
                self.show(db.snapshot());
                self.inner.note_size(db);
            }
            (Err(error), _) => self.undo(base, error),
            (Ok(()), None) => {}
        }
        end.set(result.clone());
        result
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let members = self.writer.group.as_ref().map_or(0, |group| group.members);
        let is_last = self.inner.waiting.load(Ordering::SeqCst) == 0;
        if members > 0 && (is_last || members >= MOST_MEMBERS || !self.inner.options.group_commit) {
            // Those who wait for it are told.
            let _ = self.commit();
        }
        *self.inner.owner.lock() = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::db::headers::Direction;
    use crate::{Db, Error, StoreOptions};
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::Ordering;
    use std::thread;

    const WRITERS: usize = 8;

    /// Number of commits that writers need who have come while one was writing.
    fn commits(group_commit: bool) -> usize {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.couch");
        let store = &StoreOptions::new().group_commit(group_commit).open_store(&path).unwrap();
        let inner = store.inner();
        thread::scope(|scope| {
            scope.spawn(|| {
                let write = store.write(|batch| {
                    batch.put("first", "");
                    while inner.waiting.load(Ordering::SeqCst) < WRITERS {
                        thread::yield_now();
                    }
                    Ok(())
                });
                write.unwrap();
                assert!(store.snapshot().contains("first").unwrap());
            });
            while !inner.has_owner() {
                thread::yield_now();
            }
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    // One of them panics, one fails: that is nobody else's business.
                    let write = || match writer {
                        0 => store.write(|_| panic!("on purpose")),
                        1 => store.write(|_| Err(Error::DocNotFound)),
                        _ => store.put(format!("{writer}"), ""),
                    };
                    let result = catch_unwind(AssertUnwindSafe(write));
                    let is_there = store.snapshot().contains(format!("{writer}")).unwrap();
                    assert_eq!((matches!(result, Ok(Ok(()))), is_there), (writer > 1, writer > 1));
                });
            }
        });
        assert_eq!(store.snapshot().iter().count(), WRITERS - 1);
        let db = Db::open(&path).unwrap();
        let mut commits = 0;
        while db.seek(Direction::Backward).is_ok() {
            commits += 1;
        }
        commits
    }

    #[test]
    fn writes_at_the_same_time_share_a_commit() {
        assert_eq!(commits(true), 1);
        assert_eq!(commits(false), WRITERS - 1);
    }
}
