// SPDX-License-Identifier: Apache-2.0

//! Single documents, as programs in Rust put and delete them.

use super::Db;
use super::get::found;
use super::local::LocalUpdate;
use super::save::{Document, SaveOptions};
use crate::error::Result;

impl Db {
    /// Saves a document, in place of one with the same id, and returns its sequence number. It is durable, and visible to
    /// others, after [`Db::commit`].
    ///
    /// A batch costs less per document: [`Db::save`], which tells what can go wrong.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = couchstore::Db::create(dir.path().join("a.couch"))?;
    /// db.put("id", "body")?;
    /// assert_eq!(db.get(b"id")?.as_deref(), Some(&b"body"[..]));
    /// assert!(db.delete("id")?);
    /// assert_eq!(db.get(b"id")?, None);
    /// db.commit()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn put(&self, id: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Result<u64> {
        self.save_one(&Document::new(id.as_ref(), body.as_ref()))
    }

    /// Deletes a document: what is left of it is its id, which [`Db::changes`] tells of. `false`: there is none that is not
    /// deleted, and nothing has changed. Durable after [`Db::commit`], as [`Db::put`].
    pub fn delete(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        if !self.contains(id.as_ref())? {
            return Ok(false);
        }
        self.save_one(&Document::deletion(id.as_ref())).map(|_| true)
    }

    fn save_one(&self, document: &Document<'_>) -> Result<u64> {
        let sequences = self.save(std::slice::from_ref(document), SaveOptions::default())?;
        Ok(sequences.first().copied().unwrap_or_default())
    }

    /// Whether there is a document with this id that is not deleted.
    pub fn contains(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        Ok(found(self.bare_doc_info(id.as_ref()))?.is_some_and(|info| !info.deleted))
    }

    /// Saves a local document, in place of one with the same id. Durable after [`Db::commit`].
    pub fn put_local(&self, id: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Result<()> {
        self.save_local(&[LocalUpdate { id: id.as_ref(), body: Some(body.as_ref()) }])
    }

    /// Removes a local document, of which nothing is left. `false`: there is none. Durable after [`Db::commit`].
    pub fn delete_local(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        let id = id.as_ref();
        if found(self.with_local(id, |_| Ok(())))?.is_none() {
            return Ok(false);
        }
        self.save_local(&[LocalUpdate { id, body: None }]).map(|()| true)
    }
}
