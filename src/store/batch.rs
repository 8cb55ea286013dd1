// SPDX-License-Identifier: Apache-2.0

//! What a write is going to change.

use crate::db::Db;
use crate::db::local::LocalUpdate;
use crate::db::save::{Document, SaveOptions};
use crate::error::Result;
use crate::format::docinfo::{COMPRESSED, DocInfo};
use crate::memory;
use std::collections::{BTreeMap, HashMap};

/// A document with its own strings.
struct Pending {
    body: Option<Vec<u8>>,
    /// All but id and body.
    info: DocInfo,
}

/// Gathers changes in memory; nothing of them is in the file before the closure that has the batch returns. Reading by it
/// shows the newest state with these changes.
pub struct Batch<'a> {
    db: &'a Db,
    compress: bool,
    documents: Vec<Pending>,
    /// By id, the one that counts.
    latest: HashMap<Vec<u8>, usize>,
    locals: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch")
            .field("documents", &self.documents.len())
            .field("local_documents", &self.locals.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Batch<'a> {
    pub(super) fn new(db: &'a Db, compress: bool) -> Batch<'a> {
        Batch { db, compress, documents: Vec::new(), latest: HashMap::new(), locals: BTreeMap::new() }
    }

    /// Puts a document in place of one with the same id.
    pub fn put(&mut self, id: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) {
        let content_meta = if self.compress { COMPRESSED } else { 0 };
        let info = DocInfo { id: id.into(), content_meta, ..DocInfo::default() };
        self.add(Pending { body: Some(body.into()), info });
    }

    /// Deletes a document. `false`: there is none, and nothing is changed.
    pub fn delete(&mut self, id: impl Into<Vec<u8>>) -> Result<bool> {
        let id = id.into();
        if !self.contains(&id)? {
            return Ok(false);
        }
        self.add(Pending { body: None, info: DocInfo { id, deleted: true, ..DocInfo::default() } });
        Ok(true)
    }

    /// Puts a document with its metadata, or a deletion, as [`Db::save`] does with [`SaveOptions::compress`]: its body is
    /// compressed if bit 7 of its `content_meta` is set. Its sequence number is the next one.
    pub fn save(&mut self, document: &Document<'_>) {
        let Document { id, body, rev_meta, rev_seq, deleted, content_meta, .. } = *document;
        let deleted = deleted || body.is_none();
        let info = DocInfo {
            id: id.to_vec(),
            rev_meta: rev_meta.to_vec(),
            rev_seq,
            deleted,
            content_meta,
            ..DocInfo::default()
        };
        self.add(Pending { body: body.map(<[u8]>::to_vec), info });
    }

    fn add(&mut self, pending: Pending) {
        self.latest.insert(pending.info.id.clone(), self.documents.len());
        self.documents.push(pending);
    }

    fn pending(&self, id: &[u8]) -> Option<&Pending> {
        self.documents.get(*self.latest.get(id)?)
    }

    /// The body of a document, as [`Db::get`].
    pub fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        match self.pending(id.as_ref()) {
            Some(pending) if pending.info.deleted => Ok(None),
            Some(pending) => pending.body.as_deref().map(memory::copy).transpose(),
            None => self.db.get(id.as_ref()),
        }
    }

    /// Whether there is a document with this id that is not deleted.
    pub fn contains(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        self.pending(id.as_ref())
            .map_or_else(|| self.db.contains(id.as_ref()), |pending| Ok(!pending.info.deleted))
    }

    /// The body of a local document.
    pub fn local(&self, id: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        match self.locals.get(id.as_ref()) {
            Some(body) => body.as_deref().map(memory::copy).transpose(),
            None => self.db.local(id.as_ref()),
        }
    }

    /// Puts a local document in place of one with the same id.
    pub fn put_local(&mut self, id: impl Into<Vec<u8>>, body: impl Into<Vec<u8>>) {
        self.locals.insert(id.into(), Some(body.into()));
    }

    /// Removes a local document, if there is one.
    pub fn delete_local(&mut self, id: impl Into<Vec<u8>>) {
        self.locals.insert(id.into(), None);
    }

    /// Number of changes.
    pub fn len(&self) -> usize {
        self.latest.len() + self.locals.len()
    }

    /// Whether there are no changes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts everything into the handle's state.
    pub(super) fn save_all(&self) -> Result<()> {
        // An id that was put again has its last place.
        let counts = |(index, pending): &(usize, &Pending)| self.latest.get(&pending.info.id) == Some(index);
        let latest = self.documents.iter().enumerate().filter(counts);
        let documents =
            memory::collect(latest.map(|(_, pending)| Document::of(&pending.info, pending.body.as_deref())))?;
        self.db.save(&documents, SaveOptions::new().compress(true))?;
        let locals = self.locals.iter().map(|(id, body)| LocalUpdate { id, body: body.as_deref() });
        self.db.save_local(&memory::collect(locals)?)
    }
}
