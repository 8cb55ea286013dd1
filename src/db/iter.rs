// SPDX-License-Identifier: Apache-2.0

//! Iterators over documents and local documents.

use super::Db;
use super::pages::{Pages, Reader, Span};
use crate::error::Result;
use crate::format::docinfo::DocInfo;
use crate::format::header::FileHeader;
use crate::format::ints::{MAX_U48, u48_bytes};
use crate::tree::TreeKind;
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};

/// Iterates over entries of documents: [`Db::iter`], [`Db::range`], [`Db::changes`], and those of a
/// [`Snapshot`](crate::Snapshot).
///
/// Entries come from either end, until both ends meet. They are read a page at a time (up to 512 entries, or about 256 KiB
/// of them), bodies not at all before [`Docs::bodies`] is asked for them. What is gone through is what the handle saw when
/// the iterator was made, uncommitted changes included: whatever is saved, committed or rewound by the same handle between
/// two calls does not show. After [`Db::close`] or an error there is one error, and then nothing more; so it is if the
/// iterator goes through uncommitted changes, and they are discarded: by a seek to the end, or [`Db::reopen`].
#[derive(Clone, Debug)]
pub struct Docs<R> {
    reader: R,
    pages: Pages<DocInfo>,
    skips_deleted: bool,
}

impl<R: Reader> Docs<R> {
    pub(crate) fn new(reader: R, header: &FileHeader, span: Span) -> Docs<R> {
        let skips_deleted = span.tree == TreeKind::ById;
        Docs { pages: Pages::new(&reader, header, span), reader, skips_deleted }
    }

    /// Whether deleted documents come, too. By default [`Db::changes`] tells of them, the others do not.
    #[must_use]
    pub fn with_deleted(mut self, on: bool) -> Docs<R> {
        self.skips_deleted = !on;
        self
    }

    /// The same with bodies.
    #[must_use]
    pub fn bodies(self) -> Bodies<R> {
        Bodies { docs: self }
    }

    fn is_skipped(&self, found: &Result<DocInfo>) -> bool {
        self.skips_deleted && found.as_ref().is_ok_and(|info| info.deleted)
    }
}

impl<R: Reader> Iterator for Docs<R> {
    type Item = Result<DocInfo>;

    fn next(&mut self) -> Option<Result<DocInfo>> {
        loop {
            let found = self.pages.next(&self.reader)?;
            if !self.is_skipped(&found) {
                return Some(found);
            }
        }
    }
}

impl<R: Reader> DoubleEndedIterator for Docs<R> {
    fn next_back(&mut self) -> Option<Result<DocInfo>> {
        loop {
            let found = self.pages.next_back(&self.reader)?;
            if !self.is_skipped(&found) {
                return Some(found);
            }
        }
    }
}

impl<R: Reader> FusedIterator for Docs<R> {}

/// Iterates over documents with their bodies: [`Docs::bodies`]. A document without a body has an empty one; compressed ones
/// are inflated.
#[derive(Clone, Debug)]
pub struct Bodies<R> {
    docs: Docs<R>,
}

impl<R: Reader> Bodies<R> {
    fn with_body(&self, found: Result<DocInfo>) -> Result<(DocInfo, Vec<u8>)> {
        let info = found?;
        let body = match info.body_position {
            0 => Vec::new(),
            _ => self.docs.reader.read(|db| db.body(&info.borrowed()))?,
        };
        Ok((info, body))
    }
}

impl<R: Reader> Iterator for Bodies<R> {
    type Item = Result<(DocInfo, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.docs.next().map(|found| self.with_body(found))
    }
}

impl<R: Reader> DoubleEndedIterator for Bodies<R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.docs.next_back().map(|found| self.with_body(found))
    }
}

impl<R: Reader> FusedIterator for Bodies<R> {}

/// Iterates over local documents, ids with bodies: [`Db::local_docs`]. See [`Docs`].
#[derive(Clone, Debug)]
pub struct LocalDocs<R> {
    reader: R,
    pages: Pages<(Vec<u8>, Vec<u8>)>,
}

impl<R: Reader> LocalDocs<R> {
    pub(crate) fn new(reader: R, header: &FileHeader) -> LocalDocs<R> {
        let span = Span { tree: TreeKind::Local, first: Bound::Unbounded, last: Bound::Unbounded };
        LocalDocs { pages: Pages::new(&reader, header, span), reader }
    }
}

impl<R: Reader> Iterator for LocalDocs<R> {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pages.next(&self.reader)
    }
}

impl<R: Reader> DoubleEndedIterator for LocalDocs<R> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.pages.next_back(&self.reader)
    }
}

impl<R: Reader> FusedIterator for LocalDocs<R> {}

/// The documents with ids in this range.
pub(crate) fn ids<K: AsRef<[u8]>>(range: &impl RangeBounds<K>) -> Span {
    let owned = |bound: Bound<&K>| bound.map(|key| key.as_ref().to_vec());
    Span { tree: TreeKind::ById, first: owned(range.start_bound()), last: owned(range.end_bound()) }
}

/// The documents with sequence numbers in this range. What lies beyond 48 bits is above all of them.
pub(crate) fn sequences(range: &impl RangeBounds<u64>) -> Span {
    let key = |bound: Bound<&u64>, beyond: Bound<Vec<u8>>| match bound {
        Bound::Included(&seq) | Bound::Excluded(&seq) if seq > MAX_U48 => beyond,
        bound => bound.map(|&seq| u48_bytes(seq).to_vec()),
    };
    let first = key(range.start_bound(), Bound::Excluded(u48_bytes(MAX_U48).to_vec()));
    Span { tree: TreeKind::BySeq, first, last: key(range.end_bound(), Bound::Unbounded) }
}

impl Db {
    /// The documents that are not deleted, in order of their ids.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = couchstore::Db::create(dir.path().join("a.couch"))?;
    /// for fruit in ["apple", "cherry", "banana"] {
    ///     db.put(fruit, fruit.len().to_string())?;
    /// }
    /// for found in db.iter().bodies().rev() {
    ///     let (info, body) = found?;
    ///     println!("{}: {}", info.id.escape_ascii(), body.escape_ascii());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> Docs<&Db> {
        self.range::<&[u8], _>(..)
    }

    /// The documents with ids in this range that are not deleted, in order. Ids are compared as bytes.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = couchstore::Db::create(dir.path().join("a.couch"))?;
    /// for fruit in ["apple", "banana", "cherry"] {
    ///     db.put(fruit, "")?;
    /// }
    /// let ids: Result<Vec<_>, _> = db.range("b"..).map(|found| found.map(|info| info.id)).collect();
    /// assert_eq!(ids?, [b"banana", b"cherry"]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn range<K: AsRef<[u8]>, B: RangeBounds<K>>(&self, range: B) -> Docs<&Db> {
        Docs::new(self, &self.state.borrow().header, ids(&range))
    }

    /// The documents, deleted ones too, with sequence numbers in this range, in order: what has changed. Of each document
    /// there is its last change.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = couchstore::Db::create(dir.path().join("a.couch"))?;
    /// db.put("a", "1")?;
    /// let seen = db.put("b", "1")?;
    /// db.delete("a")?;
    /// let changes: Vec<_> = db.changes(seen + 1..).collect::<Result<_, _>>()?;
    /// assert!(changes.len() == 1 && changes[0].id == b"a" && changes[0].deleted);
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(&self, range: impl RangeBounds<u64>) -> Docs<&Db> {
        Docs::new(self, &self.state.borrow().header, sequences(&range))
    }

    /// The local documents, in order of their ids.
    pub fn local_docs(&self) -> LocalDocs<&Db> {
        LocalDocs::new(self, &self.state.borrow().header)
    }
}

impl<'a> IntoIterator for &'a Db {
    type Item = Result<DocInfo>;
    type IntoIter = Docs<&'a Db>;

    fn into_iter(self) -> Docs<&'a Db> {
        self.iter()
    }
}
