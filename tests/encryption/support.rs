// SPDX-License-Identifier: Apache-2.0

//! Keys, key stores that note what they are asked, and what a database holds.

use crate::common::memory::Memory;
use couchstore::{
    Db, Document, EncryptionKey, KeyDerivation, KeyStore, KeyStoreFailed, LocalUpdate, OpenOptions,
    SaveOptions, ScanOptions,
};
use std::sync::{Arc, Mutex};

pub(crate) const NAME: &str = "secret.couch";
pub(crate) const DERIVATIONS: [KeyDerivation; 2] = [KeyDerivation::None, KeyDerivation::KeyBased];

/// A key of 32 equal bytes.
pub(crate) fn key(id: &str, byte: u8, derivation: KeyDerivation) -> EncryptionKey {
    EncryptionKey::new(id, &[byte; 32], derivation).unwrap()
}

/// A store with one key.
#[allow(clippy::unnecessary_wraps, reason = "what options take, which may be no store")]
pub(crate) fn keys(id: &str, byte: u8, derivation: KeyDerivation) -> Option<Arc<dyn KeyStore>> {
    Some(Arc::new(key(id, byte, derivation)))
}

/// The store that most tests use.
pub(crate) fn some_keys() -> Option<Arc<dyn KeyStore>> {
    keys("some key", 7, KeyDerivation::KeyBased)
}

type Answer = Result<Option<EncryptionKey>, KeyStoreFailed>;

/// A store that always gives the same answer, and notes what it was asked for.
pub(crate) struct Noting {
    answer: Answer,
    asked: Mutex<Vec<String>>,
}

impl Noting {
    pub(crate) fn new(answer: Answer) -> Arc<Noting> {
        Arc::new(Noting { answer, asked: Mutex::default() })
    }

    /// The ids since this was asked last.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl KeyStore for Noting {
    fn key(&self, id: &[u8]) -> Answer {
        self.asked.lock().unwrap().push(String::from_utf8_lossy(id).into_owned());
        self.answer.clone()
    }
}

/// Strings that a file with [`fill`]'s documents must not show.
pub(crate) const SECRETS: [&str; 5] =
    ["secret-id", "secret-body", "secret-meta", "_local/secret", "secret-json"];

/// Two documents and a local one, committed.
pub(crate) fn fill(db: &Db) {
    let body = "secret-body ".repeat(20);
    let documents = [
        Document { rev_meta: b"secret-meta", ..Document::new(b"secret-id-1", body.as_bytes()) },
        Document { rev_meta: b"secret-meta", ..Document::new(b"secret-id-2", b"") },
    ];
    db.save(&documents, SaveOptions::default()).unwrap();
    db.save_local(&[LocalUpdate { id: b"_local/secret", body: Some(b"secret-json") }]).unwrap();
    db.commit().unwrap();
}

/// A file in memory with [`fill`]'s documents.
pub(crate) fn filled(keys: Option<Arc<dyn KeyStore>>) -> Memory {
    let memory = Memory::default();
    let db = memory.options().create(true).keys(keys).open(NAME).unwrap();
    fill(&db);
    db.close().unwrap();
    memory
}

/// Opens a file in memory.
pub(crate) fn open(memory: &Memory, keys: Option<Arc<dyn KeyStore>>) -> couchstore::Result<Db> {
    memory.options().keys(keys).open(NAME)
}

/// Entries of both indexes, bodies and local documents.
pub(crate) type Contents = Vec<(Vec<u8>, Vec<u8>, Option<Vec<u8>>)>;

/// All that a database holds, or the first error.
pub(crate) fn contents(db: &Db) -> couchstore::Result<Contents> {
    let mut found = Contents::new();
    db.changes_since(0, ScanOptions::default(), &mut |info| {
        let body = if info.body_position == 0 { None } else { Some(db.body(info)?) };
        found.push((info.id.to_vec(), info.rev_meta.to_vec(), body));
        Ok(())
    })?;
    db.all_docs(b"", ScanOptions::default(), &mut |info| {
        found.push((info.id.to_vec(), info.rev_meta.to_vec(), None));
        Ok(())
    })?;
    db.scan_local(b"", &mut |id, body| {
        found.push((id.to_vec(), vec![], Some(body.to_vec())));
        Ok(())
    })?;
    Ok(found)
}

/// Whether `bytes` contain `text`.
pub(crate) fn shows(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Options for new files with these keys.
pub(crate) fn creating(keys: Option<Arc<dyn KeyStore>>) -> OpenOptions {
    OpenOptions::new().create(true).keys(keys)
}
