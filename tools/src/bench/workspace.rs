// SPDX-License-Identifier: Apache-2.0

//! The directory of a run and the files in it, which are gone afterwards.

use super::corpus::{Corpus, Numbers};
use super::floors::Floors;
use super::ops::CountingOps;
use super::verify::Expected;
use crate::interrupt::Interrupt;
use crate::program::Failure;
use crate::scratch::Scratch;
use couchstore::{
    Db, EncryptionKey, KeyDerivation, KeyStore, LocalUpdate, NodeCache, OpenOptions, SaveOptions,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The local document of each base: a host's state of the database, written anew with each flush.
pub(super) const VBSTATE_ID: &[u8] = b"_local/vbstate";
pub(super) const VBSTATE: [u8; 300] = [b's'; 300];

/// How much to do, and where.
#[derive(Clone)]
pub(super) struct Settings {
    pub(super) documents: u64,
    pub(super) body_size: usize,
    pub(super) batch: usize,
    pub(super) seed: u64,
    pub(super) sync: bool,
    /// That all handles share.
    pub(super) node_cache: Option<Arc<NodeCache>>,
    /// Of the encrypted rows.
    pub(super) keys: Option<Arc<dyn KeyStore>>,
}

/// A file with documents, half of which have been updated, and a local document.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) path: PathBuf,
    pub(super) expected: Expected,
}

/// What rows work with.
pub(super) struct Workspace {
    pub(super) settings: Settings,
    pub(super) ops: Arc<CountingOps>,
    pub(super) interrupt: Interrupt,
    directory: Scratch,
    /// The last one made, by the size of its bodies and whether it is encrypted.
    base: Option<((usize, bool), Base)>,
    /// What was measured of this machine, by size of bodies.
    pub(super) floors: HashMap<usize, Floors>,
    files: u64,
}

impl Workspace {
    pub(super) fn new(
        settings: Settings,
        directory: &Path,
        interrupt: Interrupt,
    ) -> Result<Workspace, Failure> {
        let named = |error| Failure::Message(format!("{}: {error}", directory.display()));
        let ops = Arc::new(CountingOps::new(settings.sync));
        let directory = Scratch::new("couch_bench-", directory).map_err(named)?;
        Ok(Workspace { settings, ops, interrupt, directory, base: None, floors: HashMap::new(), files: 0 })
    }

    /// Removes all files. Without it they are removed as well, but nobody is told if that fails.
    pub(super) fn close(self) -> Result<(), Failure> {
        let path = self.directory.path().to_owned();
        self.directory.close().map_err(|error| Failure::Message(format!("{}: {error}", path.display())))
    }

    /// The name of a file that does not exist.
    pub(super) fn new_path(&mut self) -> PathBuf {
        self.files += 1;
        self.directory.path().join(format!("{}.couch", self.files))
    }

    /// How rows open their files. What the environment says of caches does not count.
    pub(super) fn options(&self, encrypted: bool) -> OpenOptions {
        let options = OpenOptions::new().file_ops(self.ops.clone()).keys(self.keys(encrypted));
        options.node_cache(self.settings.node_cache.clone())
    }

    /// Whether handles share a cache of nodes.
    pub(super) fn has_node_cache(&self) -> bool {
        self.settings.node_cache.is_some()
    }

    /// Lets go of what handles have shared so far: a row begins with what it needs itself.
    pub(super) fn clear_node_cache(&self) {
        if let Some(cache) = &self.settings.node_cache {
            cache.clear();
        }
    }

    /// The keys for a file.
    pub(super) fn keys(&self, encrypted: bool) -> Option<Arc<dyn KeyStore>> {
        let own = || EncryptionKey::new("benchmark", &[0x42; 32], KeyDerivation::KeyBased);
        let own = || Arc::new(own().expect("a key of 32 bytes"));
        encrypted.then(|| self.settings.keys.clone().unwrap_or_else(|| own() as Arc<dyn KeyStore>))
    }

    /// How many documents of this size there are.
    pub(super) fn documents_of(&self, body_size: usize) -> u64 {
        documents_of(self.settings.documents, body_size as u64)
    }

    /// The documents of this size.
    pub(super) fn expected(&self, body_size: usize) -> Expected {
        let corpus = Corpus { seed: self.settings.seed, body_size };
        Expected::first_versions(corpus, self.documents_of(body_size))
    }

    /// A file that was loaded and then updated. It is left as it is: rows that write copy it.
    pub(super) fn base(&mut self, body_size: usize, encrypted: bool) -> Result<Base, Failure> {
        let wanted = (body_size, encrypted);
        if let Some((made, base)) = &self.base
            && *made == wanted
        {
            return Ok(base.clone());
        }
        if let Some((_, old)) = self.base.take() {
            remove(&old.path)?;
        }
        let path = self.new_path();
        let mut expected = self.expected(body_size);
        let db = self.options(encrypted).create(true).open(&path)?;
        let (half, batch) = (expected.documents() / 2, self.settings.batch);
        self.save(&db, expected.corpus, all(expected.documents(), batch))?;
        let numbers = Numbers::new(self.settings.seed);
        self.save(&db, expected.corpus, updates(&mut expected, numbers, half, batch))?;
        db.save_local(&[LocalUpdate { id: VBSTATE_ID, body: Some(&VBSTATE) }])?;
        db.commit()?;
        db.close()?;
        let base = Base { path, expected };
        self.base = Some((wanted, base.clone()));
        Ok(base)
    }

    /// A copy of a base, for a row that writes.
    pub(super) fn copy_of(&mut self, base: &Base) -> Result<Base, Failure> {
        let path = self.new_path();
        std::fs::copy(&base.path, &path)
            .map_err(|error| Failure::Message(format!("{}: {error}", path.display())))?;
        Ok(Base { path, expected: base.expected.clone() })
    }

    fn save(&self, db: &Db, corpus: Corpus, batches: impl Iterator<Item = Chosen>) -> Result<(), Failure> {
        for batch in batches {
            self.interrupt.check()?;
            let batch = corpus.batch(batch);
            db.save(&batch.documents(), COMPRESS)?;
            db.commit()?;
        }
        Ok(())
    }
}

/// Of so many documents as the user wants, how many of this size there are: fewer if bodies are larger than 1 KiB, so
/// that a run needs no more space for large ones.
pub(super) fn documents_of(wanted: u64, body_size: u64) -> u64 {
    (wanted.saturating_mul(1024) / body_size.max(1024)).max(1)
}

/// Numbers and versions of the documents of a batch.
pub(super) type Chosen = Vec<(u64, u32)>;

/// Bodies are compressed, as couchbase does.
pub(super) const COMPRESS: SaveOptions = SaveOptions::new().compress(true);

/// All documents in their first version, in batches.
pub(super) fn all(documents: u64, batch: usize) -> impl Iterator<Item = Chosen> {
    let batch = batch.max(1) as u64;
    let starts = (0..documents).step_by(batch as usize);
    starts.map(move |start| (start..(start + batch).min(documents)).map(|number| (number, 0)).collect())
}

/// Chooses `count` documents to update, in batches. One that is chosen twice for a batch is in it once.
pub(super) fn updates(
    expected: &mut Expected,
    mut numbers: Numbers,
    count: u64,
    batch: usize,
) -> impl Iterator<Item = Chosen> {
    let batch = batch.max(1) as u64;
    (0..count).step_by(batch as usize).map(move |done| {
        let chosen = numbers.distinct(batch.min(count - done), expected.documents());
        chosen.into_iter().map(|number| expected.next_version(number)).collect()
    })
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    std::fs::remove_file(path).map_err(|error| Failure::Message(format!("{}: {error}", path.display())))
}

/// Size of a file.
pub(super) fn file_size(path: &Path) -> Result<u64, Failure> {
    let metadata = std::fs::metadata(path);
    Ok(metadata.map_err(|error| Failure::Message(format!("{}: {error}", path.display())))?.len())
}
