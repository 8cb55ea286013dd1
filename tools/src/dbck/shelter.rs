// SPDX-License-Identifier: Apache-2.0

//! Where documents are kept until the target is complete: a database in a hidden folder beside the target, which goes
//! away when this is dropped.

use super::log::Log;
use crate::keys::Keys;
use crate::program::Failure;
use crate::scratch::Scratch;
use couchstore::inspect::FileHeader;
use couchstore::io::rights::take_mode;
use couchstore::{
    CompactHooks, CompactOptions, Db, DocInfo, Document, FormatVersion, KeyStore, OpenOptions, ScanOptions,
    compact_with,
};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A document with its body as it is stored.
pub(super) struct Kept {
    pub(super) info: DocInfo,
    pub(super) body: Option<Vec<u8>>,
}

/// The database, and what the target is to be like.
pub(super) struct Shelter {
    db: Db,
    /// Removed when this is dropped.
    _folder: Scratch,
    target: PathBuf,
    keys: Option<Arc<dyn KeyStore>>,
}

impl Shelter {
    /// An empty one, of the version and with the key of `source`.
    pub(super) fn new(source: &Db, keys: &Keys, target: &Path) -> Result<Shelter, Failure> {
        let name = source.filename();
        let name = Path::new(OsStr::from_bytes(name.to_bytes()));
        let original = File::open(name).map_err(|error| failure(name, &error))?;
        let folder = Scratch::new(".couch_dbck-", directory_of(target));
        let folder = folder.map_err(|error| failure(target, &error))?;
        let keys = source.encryption_key_id().and_then(|id| keys.store_of(&id));
        let path = folder.path().join("shelter");
        let db = OpenOptions::new()
            .create(true)
            .exclusive(true)
            .legacy_crc(source.header().version == FormatVersion::V11)
            .keys(keys.clone())
            .open(&path)?;
        // The target gets the permissions of what it is compacted from, which are to be those of the damaged file.
        let taken = File::open(&path).and_then(|shelter| take_mode(&original, &shelter));
        taken.map_err(|error| failure(&path, &error))?;
        Ok(Shelter { db, _folder: folder, target: target.to_owned(), keys })
    }

    pub(super) fn db(&self) -> &Db {
        &self.db
    }

    /// For each of these documents, which are sorted by id, the sequence number under which its id is here already.
    pub(super) fn known(&self, sorted: &[DocInfo]) -> couchstore::Result<Vec<Option<u64>>> {
        let ids: Vec<_> = sorted.iter().map(|info| info.id.as_slice()).collect();
        let mut known = vec![None; ids.len()];
        self.db.docs_by_id(&ids, ScanOptions::default(), &mut |found| {
            let first = ids.partition_point(|&id| id < found.id);
            let same = ids.iter().zip(&mut known).skip(first).take_while(|(id, _)| **id == found.id);
            same.for_each(|(_, known)| *known = Some(found.db_seq));
            Ok(())
        })?;
        Ok(known)
    }

    /// Which of these sequence numbers documents here have, apart from those with these ids.
    pub(super) fn used_by_others(
        &self,
        seqs: &[u64],
        ids: &HashSet<Vec<u8>>,
    ) -> couchstore::Result<HashSet<u64>> {
        let mut used = HashSet::new();
        self.db.docs_by_seq(seqs, ScanOptions::default(), &mut |info| {
            if !ids.contains(info.id) {
                used.insert(info.db_seq);
            }
            Ok(())
        })?;
        Ok(used)
    }

    /// Saves documents with their own sequence numbers, which others may have, too, and their bodies as they are.
    pub(super) fn save(&self, kept: &[Kept]) -> couchstore::Result<()> {
        let documents: Vec<_> = kept.iter().map(Kept::document).collect();
        self.db.save_beside(&documents)
    }

    /// Makes the target: complete and durable, or not at all.
    pub(super) fn finish(self, header: &FileHeader, log: &mut Log<'_>) -> Result<(), Failure> {
        // The numbers of lost documents are not given to others.
        self.db.raise_update_seq(header.update_seq);
        self.db.set_purge_seq(header.purge_seq);
        self.db.commit_with(header.timestamp, None)?;
        let options = CompactOptions::new().keys(self.keys.clone());
        let info = self.db.info()?;
        log.begin_bar(info.doc_count + info.deleted_count, "writing");
        Ok(compact_with(&self.db, &self.target, &options, &mut Hooks { log })?)
    }
}

impl Kept {
    fn document(&self) -> Document<'_> {
        Document::of(&self.info, self.body.as_deref())
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failure(path: &Path, error: &io::Error) -> Failure {
    Failure::Message(format!("{}: {error}", path.display()))
}

/// Shows progress, and lets the user end it.
struct Hooks<'a, 'l> {
    log: &'a mut Log<'l>,
}

impl CompactHooks for Hooks<'_, '_> {
    fn progress(&mut self, done: u64, _total: u64, _bytes: u64) -> couchstore::Result<()> {
        self.log.advance_bar(done);
        self.log.proceed()
    }
}
