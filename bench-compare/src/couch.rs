// SPDX-License-Identifier: Apache-2.0

//! couchstore: one handle with default buffers, bodies compressed.

use crate::store::{Result, Store, Syncs, Visit};
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{CompactOptions, Db, Document, NodeCache, OpenOptions, SaveOptions, ScanOptions, compact};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) struct Couch {
    folder: PathBuf,
    generation: u32,
    syncs: Syncs,
    options: OpenOptions,
    db: Db,
}

fn path(folder: &Path, generation: u32) -> PathBuf {
    folder.join(format!("{generation}.couch"))
}

fn options(syncs: Syncs, cache: Option<u64>) -> OpenOptions {
    let options = OpenOptions::new().node_cache(cache.map(|bytes| Arc::new(NodeCache::new(bytes))));
    match syncs {
        Syncs::Real => options,
        Syncs::None => options.file_ops(Arc::new(Unsynced)),
    }
}

impl Couch {
    pub(crate) fn create(folder: &Path, syncs: Syncs, cache: Option<u64>) -> Result<Couch> {
        let options = options(syncs, cache);
        let db = options.clone().create(true).open(path(folder, 0))?;
        Ok(Couch { folder: folder.to_owned(), generation: 0, syncs, options, db })
    }
}

impl Store for Couch {
    fn save(&mut self, documents: &[Document<'_>]) -> Result<()> {
        self.db.save(documents, SaveOptions::new().compress(true))?;
        Ok(self.db.commit()?)
    }

    fn get(&self, ids: &[Vec<u8>], visit: Visit<'_>) -> Result<()> {
        for id in ids {
            visit(id, &self.db.get(id)?.ok_or("a document is missing")?);
        }
        Ok(())
    }

    fn scan(&self, visit: Visit<'_>) -> Result<()> {
        Ok(self.db.all_docs(b"", ScanOptions::default(), &mut |info| {
            visit(info.id, &self.db.body(info)?);
            Ok(())
        })?)
    }

    fn changes(&self, visit: Visit<'_>) -> Option<Result<()>> {
        let scanned = self.db.changes_since(0, ScanOptions::default(), &mut |info| {
            visit(info.id, &self.db.body(info)?);
            Ok(())
        });
        Some(scanned.map_err(Into::into))
    }

    fn reopen(&mut self) -> Result<()> {
        self.db.close()?;
        self.db = self.options.open(path(&self.folder, self.generation))?;
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let target = path(&self.folder, self.generation + 1);
        let mut compacting = CompactOptions::default();
        if self.syncs == Syncs::None {
            compacting.file_ops = Arc::new(Unsynced);
        }
        compact(&self.db, &target, &compacting)?;
        self.db.close()?;
        self.db = self.options.open(&target)?;
        std::fs::remove_file(path(&self.folder, self.generation))?;
        self.generation += 1;
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(path(&self.folder, self.generation))?.len())
    }
}

/// The library's file operations without syncs.
struct Unsynced;

impl FileOps for Unsynced {
    fn open(&self, name: &CStr, mode: OpenMode) -> std::result::Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(UnsyncedFile(PosixOps.open(name, mode)?)))
    }
}

struct UnsyncedFile(Box<dyn FileHandle>);

impl FileHandle for UnsyncedFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> std::result::Result<usize, IoError> {
        self.0.pread(buf, offset)
    }

    fn pread_onto(
        &mut self,
        buf: &mut Vec<u8>,
        most: usize,
        offset: u64,
    ) -> std::result::Result<usize, IoError> {
        self.0.pread_onto(buf, most, offset)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> std::result::Result<usize, IoError> {
        self.0.pwrite(buf, offset)
    }

    fn size(&mut self) -> std::result::Result<u64, IoError> {
        self.0.size()
    }

    fn sync(&mut self) -> std::result::Result<(), IoError> {
        Ok(())
    }

    fn close(&mut self) -> std::result::Result<(), IoError> {
        self.0.close()
    }
}
