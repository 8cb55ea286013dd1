// SPDX-License-Identifier: Apache-2.0

//! A store for programs of many threads: one writer, any number of readers, compaction beside them.
//!
//! * [`options`]: how it is opened
//! * [`writer`]: who writes takes turns; commits that several share
//! * [`batch`]: what a write is going to change
//! * [`snapshot`]: what readers read
//! * [`background`]: compaction, and switching over to its result

#![forbid(unsafe_code)]

mod background;
pub(crate) mod batch;
pub(crate) mod options;
pub(crate) mod snapshot;
mod writer;

use crate::compact::online::OnlineStats;
use crate::db::Db;
use crate::db::open::OpenOptions;
use crate::db::reader::Readers;
use crate::error::{Error, ErrorCode, Result};
use crate::tree::cache::shared::NodeCache;
use background::Compactions;
use batch::Batch;
use options::StoreOptions;
use parking_lot::Mutex;
use snapshot::{Snapshot, View};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::ThreadId;
use writer::Writer;

/// A database for many threads: [`Send`], [`Sync`], and cheap to clone. All clones are the same store.
///
/// * **Writing**: [`Store::write`] gathers changes in a [`Batch`] and makes all of them durable, or none. One batch is made
///   at a time; those that come at the same time share one commit.
/// * **Reading**: [`Store::snapshot`] gives what the last commit has left, in no time and without any lock that a writer
///   holds. Any number of threads may read it, as long as they like.
/// * **Compaction**: [`Store::compact_in_background`], or by itself ([`StoreOptions::compact_at`]). Writers go on meanwhile;
///   at the end they are kept out for a moment, and the store goes over to the new file. Snapshots stay what they were.
///
/// A file has one store, or one [`Db`] that writes, in all processes: a second one is noticed by its traces
/// ([`Error::Stale`]; not if the file was moved away or has another name besides) and not kept out. Handles that only read may be opened by anybody.
///
/// # Failures
///
/// A write that fails changes nothing: not the file as others see it, not what comes after it. There is one exception: if
/// the *last* sync of a commit fails nobody knows whether the disk has it, and the write may show up later. After a
/// failed sync the file is opened again by the next write, and goes on with the newest commit that is there.
///
/// [`Error::Stale`] says that somebody else has replaced or written the file: all writes fail until
/// [`Store::reopen`], and what was read goes on being read.
///
/// A closure that panics has changed nothing either, and the store goes on.
///
/// # Threads
///
/// A closure of [`Store::write`] keeps all others who want to write waiting, so it should be short. It may read snapshots.
/// What would have to wait for its own end (another write, a compaction in the same thread, reopening) is refused, by
/// [`Error::InvalidArguments`]. It must not wait for another *thread* that does such a thing.
///
/// ```
/// # fn main() -> couchstore::Result<()> {
/// # let dir = tempfile::tempdir().unwrap();
/// use couchstore::Store;
///
/// let store = Store::open(dir.path().join("a.couch"))?;
/// store.write(|batch| {
///     batch.put("one", "1");
///     batch.put("two", "2");
///     Ok(())
/// })?;
/// let before = store.snapshot();
/// store.write(|batch| {
///     let one = batch.get("one")?.unwrap_or_default();
///     batch.put("two", one);
///     batch.delete("one")
/// })?;
/// assert_eq!(store.get("two")?.as_deref(), Some(&b"1"[..]));
/// assert_eq!(before.get("two")?.as_deref(), Some(&b"2"[..]));
/// # Ok(())
/// # }
/// ```
///
/// # A server
///
#[doc = concat!("```\n", include_str!("../../examples/store.rs"), "```")]
#[derive(Clone)]
pub struct Store {
    shell: Arc<Shell>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.inner().path)
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

/// What the clones of a store have in common. Once the last one is dropped nothing goes on in the background.
struct Shell {
    inner: Arc<Inner>,
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.inner.stop_compacting();
    }
}

/// What the threads of a store have in common.
struct Inner {
    path: PathBuf,
    options: StoreOptions,
    /// How the file, which exists, is opened.
    open: OpenOptions,
    writer: Mutex<Writer>,
    /// Which thread has a turn.
    owner: Mutex<Option<ThreadId>>,
    /// How many threads wait for one.
    waiting: AtomicUsize,
    /// What snapshots are made of.
    view: Mutex<Arc<View>>,
    compactions: Compactions,
}

/// Opens the handle that writes, and what is read by others.
fn open_file(path: &Path, open: &OpenOptions) -> Result<(Db, Readers)> {
    let db = open.open(path)?;
    let readers = Readers::of(&db, open)?;
    Ok((db, readers))
}

impl Inner {
    fn open_file(&self) -> Result<(Db, Readers)> {
        open_file(&self.path, &self.open)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot { view: self.view.lock().clone() }
    }
}

impl Store {
    /// Opens a store with the default options: the file is created if it does not exist.
    pub fn open(path: impl AsRef<Path>) -> Result<Store> {
        StoreOptions::new().open_store(path)
    }

    fn open_with(path: &Path, options: StoreOptions) -> Result<Store> {
        let mut open = options.open.clone().read_only(false).exclusive(false).no_commit_at_create(false);
        if options.node_cache_bytes > 0 {
            open = open.node_cache(Arc::new(NodeCache::new(options.node_cache_bytes)));
        }
        let open = open.create(false);
        // What a compaction puts in its place has the same name, wherever the process goes.
        let whole = || path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let opened = match open_file(&whole(), &open) {
            Err(error) if options.create && error.code() == ErrorCode::NO_SUCH_FILE => {
                // Nodes are shared only of a file that was there before it was opened.
                open.clone().create(true).open(path)?.close()?;
                open_file(&whole(), &open)
            }
            opened => opened,
        };
        let (db, readers) = opened?;
        let path = whole();
        let readers = Arc::new(readers);
        let view = Arc::new(View { readers: readers.clone(), state: db.snapshot() });
        let inner = Inner {
            path,
            options,
            open,
            writer: Mutex::new(Writer::new(db, readers)),
            owner: Mutex::new(None),
            waiting: AtomicUsize::new(0),
            view: Mutex::new(view),
            compactions: Compactions::default(),
        };
        Ok(Store { shell: Arc::new(Shell { inner: Arc::new(inner) }) })
    }

    fn inner(&self) -> &Arc<Inner> {
        &self.shell.inner
    }

    /// What the last commit has left.
    pub fn snapshot(&self) -> Snapshot {
        self.inner().snapshot()
    }

    /// Runs `change` on a batch, and makes all that it has gathered durable, or nothing. Returns what `change` returns once
    /// all of it is durable, and in every snapshot that is taken from then on.
    ///
    /// An error of `change` comes back, and nothing was changed. For errors of another type see [`Store::write_with`].
    /// Errors are those of [`Db::save`], [`Db::save_local`] and [`Db::commit`]; those of a commit come back from all
    /// writes that have shared it. See [`Store`] for panics and threads.
    pub fn write<T>(&self, change: impl FnOnce(&mut Batch<'_>) -> Result<T>) -> Result<T> {
        self.write_with(change)
    }

    /// As [`Store::write`], with errors of the caller's own.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let store = couchstore::Store::open(dir.path().join("a.couch"))?;
    /// let result: Result<(), Box<dyn std::error::Error>> = store.write_with(|batch| {
    ///     batch.put("count", "1");
    ///     Err("not now".into())
    /// });
    /// assert_eq!(result.unwrap_err().to_string(), "not now");
    /// assert_eq!(store.get("count")?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_with<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&mut Batch<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let value = self.inner().write(change)?;
        if self.inner().is_due() {
            // If no thread can be made now, one may be after the next write.
            let _ = self.inner().compact_beside();
        }
        Ok(value)
    }

    /// Puts a document: a write of its own.
    pub fn put(&self, id: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) -> Result<()> {
        self.write(|batch| {
            batch.put(id, body);
            Ok(())
        })
    }

    /// Deletes a document: a write of its own. `false`: there is none.
    pub fn delete(&self, id: impl Into<Vec<u8>>) -> Result<bool> {
        self.write(|batch| batch.delete(id))
    }

    /// The body of a document as the last commit has left it, as [`Db::get`].
    pub fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.snapshot().get(id)
    }

    /// Compacts the file in this thread; others may read and write meanwhile. Fails while another compaction runs. After a
    /// failure the store goes on with the file that it has. See [`compact_online`](crate::compact_online).
    pub fn compact(&self) -> Result<OnlineStats> {
        self.inner().compact()
    }

    /// Compacts the file in a thread of its own, with all signals blocked, and returns at once. `false`: a compaction runs
    /// already. An error: no thread could be made.
    ///
    /// How it ends is told by [`StoreOptions::on_compaction`] and [`Store::wait_for_compaction`]. Dropping the last clone of
    /// the store ends it soon, and waits for that.
    pub fn compact_in_background(&self) -> Result<bool> {
        self.inner().compact_beside()
    }

    /// Waits until no compaction runs, and tells how the last one has ended. `None`: there was none. In the thread that
    /// compacts, and inside a write, it does not wait.
    pub fn wait_for_compaction(&self) -> Option<Result<OnlineStats>> {
        self.inner().last_compaction()
    }

    /// Opens the file that has the store's name now, and goes on with that: after somebody else has replaced or written it.
    /// What it holds may be older than what snapshots have shown. Snapshots that were taken before stay what they are.
    ///
    /// After a compaction that says that the outcome of its naming is unknown ([`Error::Naming`]) all writes fail if the name
    /// leads to another file. Look first: the file with the name has everything that was committed before the compaction
    /// failed. If the folder's syncs failed, too, a power cut may still change what the name leads to, until the next
    /// compaction that succeeds.
    pub fn reopen(&self) -> Result<()> {
        let mut turn = self.inner().turn()?;
        // Whoever waits for a commit is told of it first.
        let _ = turn.commit();
        let (db, readers) = turn.open_by_name()?;
        turn.replace(db, readers);
        Ok(())
    }
}
