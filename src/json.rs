// SPDX-License-Identifier: Apache-2.0

//! Bodies as JSON (feature `serde`).
//!
//! Errors of serde come as [`Error::caller`] makes them.

#![forbid(unsafe_code)]

use crate::db::Db;
use crate::error::{Error, Result};
use crate::store::batch::Batch;
use crate::store::snapshot::Snapshot;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn to_json(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::caller)
}

fn from_json<T: DeserializeOwned>(body: Option<Vec<u8>>) -> Result<Option<T>> {
    body.map(|body| serde_json::from_slice(&body).map_err(Error::caller)).transpose()
}

impl Db {
    /// [`Db::put`] with a body in JSON.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let db = couchstore::Db::create(dir.path().join("a.couch"))?;
    /// db.put_json("pair", &(1, "one"))?;
    /// assert_eq!(db.get(b"pair")?.as_deref(), Some(&b"[1,\"one\"]"[..]));
    /// assert_eq!(db.get_json("pair")?, Some((1, "one".to_owned())));
    /// assert!(db.get_json::<Vec<bool>>("pair").is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_json(&self, id: impl AsRef<[u8]>, value: &(impl Serialize + ?Sized)) -> Result<u64> {
        self.put(id, to_json(value)?)
    }

    /// [`Db::get`] of a body in JSON.
    pub fn get_json<T: DeserializeOwned>(&self, id: impl AsRef<[u8]>) -> Result<Option<T>> {
        from_json(self.get(id.as_ref())?)
    }
}

impl Batch<'_> {
    /// [`Batch::put`] with a body in JSON.
    pub fn put_json(&mut self, id: impl Into<Vec<u8>>, value: &(impl Serialize + ?Sized)) -> Result<()> {
        self.put(id, to_json(value)?);
        Ok(())
    }

    /// [`Batch::get`] of a body in JSON.
    pub fn get_json<T: DeserializeOwned>(&self, id: impl AsRef<[u8]>) -> Result<Option<T>> {
        from_json(self.get(id)?)
    }
}

impl Snapshot {
    /// [`Snapshot::get`] of a body in JSON.
    ///
    /// ```
    /// # fn main() -> couchstore::Result<()> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// let store = couchstore::Store::open(dir.path().join("a.couch"))?;
    /// store.write(|batch| {
    ///     let count: u64 = batch.get_json("count")?.unwrap_or(0);
    ///     batch.put_json("count", &(count + 1))
    /// })?;
    /// assert_eq!(store.snapshot().get_json("count")?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_json<T: DeserializeOwned>(&self, id: impl AsRef<[u8]>) -> Result<Option<T>> {
        from_json(self.get(id)?)
    }
}
