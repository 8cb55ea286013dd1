// SPDX-License-Identifier: Apache-2.0

//! Single documents.

use super::Db;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::docinfo::{COMPRESSED, DocInfo, DocInfoRef};
use crate::format::ints::u48_bytes;
use crate::memory;
use crate::tree::TreeKind;
use crate::tree::read::{Root, lookup};

/// A copy of an entry that owns its strings, in memory that was asked for.
pub(crate) fn owned(info: &DocInfoRef<'_>) -> Result<DocInfo> {
    Ok(info.with_strings(memory::copy(info.id)?, memory::copy(info.rev_meta)?))
}

/// What is not found is no error.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::DocNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Db {
    /// Shows the entry of the document with this id to `visit`, deleted ones too.
    pub fn with_doc_info_by_id<T>(
        &self,
        id: &[u8],
        visit: impl FnOnce(&DocInfoRef<'_>) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let root = self.begin_of(TreeKind::ById);
        let value = lookup(&self.file, root, id)?;
        let info = DocInfoRef::parse_by_id(id, &value);
        visit(&info.map_err(|rule| self.malformed_below(root, rule))?)
    }

    /// Shows the entry of the document with this sequence number to `visit`, deleted ones too. Sequence numbers are
    /// looked up as they are stored: modulo 2^48.
    pub fn with_doc_info_by_seq<T>(
        &self,
        seq: u64,
        visit: impl FnOnce(&DocInfoRef<'_>) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        let root = self.begin_of(TreeKind::BySeq);
        let key = u48_bytes(seq);
        let value = lookup(&self.file, root, &key)?;
        let info = DocInfoRef::parse_by_seq(&key, &value);
        visit(&info.map_err(|rule| self.malformed_below(root, rule))?)
    }

    /// The entry of the document with this id, deleted ones too, with its own strings; `None`: there is none.
    pub fn doc_info(&self, id: &[u8]) -> Result<Option<DocInfo>> {
        found(self.with_doc_info_by_id(id, owned))
    }

    /// The entry of the document with this sequence number, as [`Db::doc_info`].
    pub fn doc_info_by_seq(&self, seq: u64) -> Result<Option<DocInfo>> {
        found(self.with_doc_info_by_seq(seq, owned))
    }

    /// The entry of the document with this id without its strings: the node that they are in, which may be large, is
    /// let go before the body is read.
    pub(crate) fn bare_doc_info(&self, id: &[u8]) -> Result<DocInfoRef<'static>> {
        self.with_doc_info_by_id(id, |info| Ok(DocInfoRef { id: &[], rev_meta: &[], ..*info }))
    }

    /// The error for an entry somewhere below this root.
    pub(super) fn malformed_below(&self, root: Option<Root>, rule: Malformed) -> Error {
        self.file.malformed(root.map_or(0, |root| root.position), rule)
    }

    /// The body that an entry points to, as it is stored. Without one: [`Error::DocNotFound`].
    pub fn stored_body(&self, info: &DocInfoRef<'_>) -> Result<Vec<u8>> {
        self.check_open()?;
        if info.body_position == 0 {
            return Err(Error::DocNotFound);
        }
        Ok(self.file.read_body(info.body_position, info.physical_size)?.bytes)
    }

    /// The body that an entry points to, inflated if the entry says that it is compressed.
    pub fn body(&self, info: &DocInfoRef<'_>) -> Result<Vec<u8>> {
        if info.content_meta & COMPRESSED == 0 || info.body_position == 0 {
            return self.stored_body(info);
        }
        self.check_open()?;
        self.file.read_inflated_body(info.body_position, info.physical_size)
    }

    /// Shows the body that an entry points to, as it is stored or (`inflate`) as [`Db::body`] gives it, to `visit`, which
    /// must not call back into the caller's code.
    pub(crate) fn with_body<T>(
        &self,
        info: &DocInfoRef<'_>,
        inflate: bool,
        visit: impl FnOnce(&[u8]) -> Result<T>,
    ) -> Result<T> {
        self.check_open()?;
        if info.body_position == 0 {
            return Err(Error::DocNotFound);
        }
        let inflated = inflate && info.content_meta & COMPRESSED != 0;
        self.file.with_body((info.body_position, info.physical_size), inflated, visit)
    }

    /// The body of the document with this id, inflated. `None`: there is no such document, or it is deleted. What deleted
    /// documents still have is found by [`Db::doc_info`] and [`Db::body`].
    pub fn get(&self, id: &[u8]) -> Result<Option<Vec<u8>>> {
        match found(self.bare_doc_info(id))? {
            Some(info) if !info.deleted => found(self.body(&info)),
            _ => Ok(None),
        }
    }
}
