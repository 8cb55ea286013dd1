// SPDX-License-Identifier: Apache-2.0

//! redb: a table by id, and one by sequence number where the order of changes is kept.

use crate::store::{Result, Store, Syncs, Visit, body_of, seq_of, value_of};
use couchstore::Document;
use redb::backends::FileBackend;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, StorageBackend, TableDefinition};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

const BY_ID: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("by id");
const BY_SEQ: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("by sequence");

pub(crate) struct Redb {
    path: PathBuf,
    syncs: Syncs,
    changes: bool,
    /// `None` only while it is opened again.
    database: Option<Database>,
    last_seq: u64,
}

fn open(path: &Path, syncs: Syncs) -> Result<Database> {
    if syncs == Syncs::Real {
        return Ok(Database::create(path)?);
    }
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Database::builder().create_with_backend(Unsynced(FileBackend::new(file)?))?)
}

impl Redb {
    pub(crate) fn create(folder: &Path, syncs: Syncs, changes: bool) -> Result<Redb> {
        let path = folder.join("redb");
        let database = Some(open(&path, syncs)?);
        Ok(Redb { path, syncs, changes, database, last_seq: 0 })
    }

    fn database(&self) -> Result<&Database> {
        Ok(self.database.as_ref().ok_or("not open")?)
    }
}

impl Store for Redb {
    fn save(&mut self, documents: &[Document<'_>]) -> Result<()> {
        let transaction = self.database()?.begin_write()?;
        {
            let mut by_id = transaction.open_table(BY_ID)?;
            let mut by_seq = self.changes.then(|| transaction.open_table(BY_SEQ)).transpose()?;
            let mut value = Vec::new();
            for document in documents {
                self.last_seq += 1;
                value_of(document, self.last_seq, &mut value);
                let old = by_id.insert(document.id, value.as_slice())?.map(|old| seq_of(old.value()));
                if let Some(by_seq) = &mut by_seq {
                    by_seq.insert(self.last_seq, document.id)?;
                    if let Some(old) = old {
                        by_seq.remove(old)?;
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, ids: &[Vec<u8>], visit: Visit<'_>) -> Result<()> {
        let table = self.database()?.begin_read()?.open_table(BY_ID)?;
        let mut body = Vec::new();
        for id in ids {
            body.clear();
            body.extend_from_slice(body_of(
                table.get(id.as_slice())?.ok_or("a document is missing")?.value(),
            ));
            visit(id, &body);
        }
        Ok(())
    }

    fn scan(&self, visit: Visit<'_>) -> Result<()> {
        for entry in self.database()?.begin_read()?.open_table(BY_ID)?.iter()? {
            let (id, value) = entry?;
            visit(id.value(), body_of(value.value()));
        }
        Ok(())
    }

    fn changes(&self, visit: Visit<'_>) -> Option<Result<()>> {
        let scan = || {
            let transaction = self.database()?.begin_read()?;
            let by_id = transaction.open_table(BY_ID)?;
            for entry in transaction.open_table(BY_SEQ)?.iter()? {
                let (_, id) = entry?;
                let value = by_id.get(id.value())?.ok_or("a document is missing")?;
                visit(id.value(), body_of(value.value()));
            }
            Ok(())
        };
        self.changes.then(scan)
    }

    fn reopen(&mut self) -> Result<()> {
        drop(self.database.take());
        self.database = Some(open(&self.path, self.syncs)?);
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        // One call leaves what the one before has made free.
        while self.database.as_mut().ok_or("not open")?.compact()? {}
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

/// A file without syncs.
#[derive(Debug)]
struct Unsynced(FileBackend);

impl StorageBackend for Unsynced {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}
