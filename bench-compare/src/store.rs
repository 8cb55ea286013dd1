// SPDX-License-Identifier: Apache-2.0

//! What each database does.

use crate::{couch, lmdb, redb_store};
use couchstore::Document;
use std::path::Path;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Whether commits wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syncs {
    /// As the database does by default: after a commit has returned, a power cut loses nothing of it.
    Real,
    /// What the database asks the disk for is left out.
    None,
}

/// A database, and what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Couchstore,
    /// With the cache of nodes that handles can share.
    CouchstoreCached,
    Redb,
    Lmdb,
    /// With the order of changes as couchstore has it: a second table by sequence number.
    RedbChanges,
    LmdbChanges,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::Couchstore,
        Kind::CouchstoreCached,
        Kind::RedbChanges,
        Kind::LmdbChanges,
        Kind::Redb,
        Kind::Lmdb,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Couchstore => "couchstore",
            Kind::CouchstoreCached => "couchstore, node cache",
            Kind::Redb => "redb, ids only",
            Kind::Lmdb => "LMDB, ids only",
            Kind::RedbChanges => "redb",
            Kind::LmdbChanges => "LMDB",
        }
    }

    /// A new database in this empty folder.
    pub(crate) fn create(self, folder: &Path, syncs: Syncs) -> Result<Box<dyn Store>> {
        let changes = matches!(self, Kind::RedbChanges | Kind::LmdbChanges);
        Ok(match self {
            Kind::Couchstore => Box::new(couch::Couch::create(folder, syncs, None)?),
            Kind::CouchstoreCached => Box::new(couch::Couch::create(folder, syncs, Some(NODE_CACHE))?),
            Kind::Redb | Kind::RedbChanges => Box::new(redb_store::Redb::create(folder, syncs, changes)?),
            Kind::Lmdb | Kind::LmdbChanges => Box::new(lmdb::Lmdb::create(folder, syncs, changes)?),
        })
    }
}

/// As much as redb's cache takes by default, though the nodes of these files need far less.
const NODE_CACHE: u64 = 1 << 30;

/// Is shown the id and the body of a document.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]);

/// An open database. Values are revision metadata and a body.
pub(crate) trait Store {
    /// Saves documents, new or not, and commits.
    fn save(&mut self, documents: &[Document<'_>]) -> Result<()>;

    /// The body of each of these documents, one look-up at a time, copied into a buffer of the caller's.
    fn get(&self, ids: &[Vec<u8>], visit: Visit<'_>) -> Result<()>;

    /// All documents by id.
    fn scan(&self, visit: Visit<'_>) -> Result<()>;

    /// All documents in the order of their last changes; `None` without such an order.
    fn changes(&self, visit: Visit<'_>) -> Option<Result<()>>;

    /// Closes the file and opens it again.
    fn reopen(&mut self) -> Result<()>;

    /// Makes the file as small as the database can, and goes on with that.
    fn compact(&mut self) -> Result<()>;

    /// Bytes of the file.
    fn size(&self) -> Result<u64>;
}

/// Bytes of sequence number and of metadata in front of a body, where a value is all of it.
pub(crate) const SEQ: usize = 8;
pub(crate) const META: usize = 18;

/// The value of a document where it is one piece: sequence number, metadata, body.
pub(crate) fn value_of(document: &Document<'_>, seq: u64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(document.rev_meta);
    out.extend_from_slice(document.body.unwrap_or_default());
}

pub(crate) fn body_of(value: &[u8]) -> &[u8] {
    value.get(SEQ + META..).unwrap_or_default()
}

pub(crate) fn seq_of(value: &[u8]) -> u64 {
    value.first_chunk().map_or(0, |seq| u64::from_be_bytes(*seq))
}
