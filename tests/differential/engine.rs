// SPDX-License-Identifier: Apache-2.0

//! The library as a language has it. Everything that the sequences do goes through here.

use crate::case::{Nodes, Way};
use crate::common::model::Doc;
use crate::common::store::{Answer, Store};
use couchstore::{Direction, EncryptionKey, KeyDerivation, SaveOptions};
use std::path::Path;

/// How a file is opened.
#[derive(Clone, Debug)]
pub(crate) struct How {
    pub(crate) way: Way,
    pub(crate) nodes: Nodes,
    pub(crate) key: Option<(EncryptionKey, KeyDerivation)>,
    pub(crate) create: bool,
    pub(crate) legacy_crc: bool,
}

/// How a copy is made.
#[derive(Clone, Debug)]
pub(crate) struct CopyHow {
    pub(crate) drop_deletes: bool,
    pub(crate) upgrade: bool,
    pub(crate) way: Way,
    pub(crate) nodes: Nodes,
    pub(crate) key: Option<(EncryptionKey, KeyDerivation)>,
}

/// A key, with what it does not tell itself.
pub(crate) fn key(derivation: KeyDerivation) -> (EncryptionKey, KeyDerivation) {
    (EncryptionKey::new("key", &KEY, derivation).unwrap(), derivation)
}

/// Its bytes.
pub(crate) const KEY: [u8; 32] = [42; 32];

/// A language.
pub(crate) trait Engine {
    type Handle: Handle;

    fn open(&self, path: &Path, how: &How) -> Answer<Self::Handle>;
    fn reopen(&self, handle: &Self::Handle, path: &Path, how: &How) -> Answer<()>;
    fn compact(&self, source: &Self::Handle, target: &Path, how: &CopyHow) -> Answer<()>;
    /// Compacts a file beside its use: `meanwhile` is called once, when the copying has begun. `None`: the result takes
    /// the source's name.
    fn compact_online(
        &self,
        source: &Path,
        target: Option<&Path>,
        how: &CopyHow,
        meanwhile: &mut dyn FnMut(),
    ) -> Answer<()>;
    fn replay(&self, source: &Self::Handle, target: &Self::Handle, end: u64, threshold: usize) -> Answer<()>;
}

/// An open database. It is closed when it is dropped.
pub(crate) trait Handle: Store {
    /// Saves; the sequence numbers that the documents got.
    fn save_docs(&self, docs: &[Doc], options: SaveOptions) -> Answer<Vec<u64>>;
    fn save_locals(&self, updates: &[(Vec<u8>, Option<Vec<u8>>)]) -> Answer<()>;
    fn set_purge(&self, purge_seq: u64) -> Answer<()>;
    fn commit_at(&self, timestamp: u64) -> Answer<()>;
    fn seek_to(&self, direction: Direction) -> Answer<()>;
    fn seek_to_offset(&self, offset: u64) -> Answer<()>;
    fn seek_containing(&self, seq: u64, granularity: u64) -> Answer<()>;
    /// Moves the handle by the calls that lose it when they fail.
    fn step(&mut self, direction: Direction) -> Answer<()>;
    fn close_file(&self) -> Answer<()>;
}
