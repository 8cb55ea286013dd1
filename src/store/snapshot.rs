// SPDX-License-Identifier: Apache-2.0

//! What a store held at one commit.

use crate::db::info::Info;
use crate::db::iter::{self, Docs, LocalDocs};
use crate::db::pages::{Reader, sealed};
use crate::db::reader::Readers;
use crate::db::{Db, State};
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfo;
use std::ops::RangeBounds;
use std::sync::Arc;

/// One committed state of one file.
pub(super) struct View {
    pub(super) readers: Arc<Readers>,
    pub(super) state: State,
}

/// What a [`Store`](crate::Store) held at one commit: it never changes, whatever is written, compacted or closed.
///
/// A snapshot may be used by many threads at once. A clone costs next to nothing. As long as there is one from before a
/// compaction, the old file, which has no name any more, takes its space on the disk.
///
/// Each call takes one of the handles that wait for readers of the file, or opens one more. With file operations of the
/// caller's ([`OpenOptions::file_ops`](crate::OpenOptions::file_ops)) a file that a compaction has replaced cannot be
/// opened again: then a read that finds no handle waiting fails with [`Error::Stale`].
#[derive(Clone)]
pub struct Snapshot {
    pub(super) view: Arc<View>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let State { header, position } = &self.view.state;
        f.debug_struct("Snapshot")
            .field("last_sequence", &header.update_seq)
            .field("header_position", position)
            .finish_non_exhaustive()
    }
}

impl sealed::Sealed for Snapshot {}

impl Reader for Snapshot {
    fn read<T>(&self, action: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        self.view.readers.read(&self.view.state, action)
    }
}

impl IntoIterator for &Snapshot {
    type Item = Result<DocInfo>;
    type IntoIter = Docs<Snapshot>;

    fn into_iter(self) -> Docs<Snapshot> {
        self.iter()
    }
}

impl Snapshot {
    /// Runs `action` on a handle of its own that stands at this snapshot, for all that a [`Db`] can be asked. Writing with
    /// it is refused ([`Error::ReadOnly`]). An error of `action` comes back as it is.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// use couchstore::{Error, Store};
    ///
    /// let store = Store::open(dir.path().join("a.couch"))?;
    /// store.put("a", "1")?;
    /// let count = store.snapshot().read(|db| Ok::<_, Error>(db.info()?.doc_count))?;
    /// assert_eq!(count, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read<T, E: From<Error>>(&self, action: impl FnOnce(&Db) -> Result<T, E>) -> Result<T, E> {
        self.view.readers.read(&self.view.state, action)
    }

    fn ask<T>(&self, action: impl FnOnce(&Db) -> Result<T>) -> Result<T> {
        self.read(action)
    }

    /// The body of a document, as [`Db::get`].
    pub fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.ask(|db| db.get(id.as_ref()))
    }

    /// Whether there is a document with this id that is not deleted.
    pub fn contains(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        self.ask(|db| db.contains(id.as_ref()))
    }

    /// The entry of a document, deleted ones too, as [`Db::doc_info`].
    pub fn doc_info(&self, id: impl AsRef<[u8]>) -> Result<Option<DocInfo>> {
        self.ask(|db| db.doc_info(id.as_ref()))
    }

    /// The body that an entry of this snapshot points to, inflated, as [`Db::body`].
    pub fn body(&self, info: &DocInfo) -> Result<Vec<u8>> {
        self.ask(|db| db.body(&info.borrowed()))
    }

    /// The body of a local document, as [`Db::local`].
    pub fn local(&self, id: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        self.ask(|db| db.local(id.as_ref()))
    }

    /// The documents that are not deleted, in order of their ids.
    pub fn iter(&self) -> Docs<Snapshot> {
        self.range::<&[u8], _>(..)
    }

    /// The documents with ids in this range that are not deleted, in order, as [`Db::range`]. The iterator has a clone of
    /// this snapshot; it takes a handle for each page of entries.
    pub fn range<K: AsRef<[u8]>, B: RangeBounds<K>>(&self, range: B) -> Docs<Snapshot> {
        Docs::new(self.clone(), &self.view.state.header, iter::ids(&range))
    }

    /// What has changed, deleted documents too, in order of sequence numbers, as [`Db::changes`].
    pub fn changes(&self, range: impl RangeBounds<u64>) -> Docs<Snapshot> {
        Docs::new(self.clone(), &self.view.state.header, iter::sequences(&range))
    }

    /// The local documents, in order of their ids.
    pub fn local_docs(&self) -> LocalDocs<Snapshot> {
        LocalDocs::new(self.clone(), &self.view.state.header)
    }

    /// Figures, as [`Db::info`].
    pub fn info(&self) -> Result<Info> {
        self.ask(Db::info)
    }

    /// The highest sequence number used. Of two snapshots of a store the later one has the same or a higher one.
    pub fn last_sequence(&self) -> u64 {
        self.view.state.header.update_seq
    }
}
