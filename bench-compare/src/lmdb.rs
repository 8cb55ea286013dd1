// SPDX-License-Identifier: Apache-2.0

//! LMDB through heed: a table by id, and one by sequence number where the order of changes is kept. Reads are those of a
//! memory map.

use crate::store::{Result, Store, Syncs, Visit, body_of, seq_of, value_of};
use couchstore::Document;
use heed::byteorder::BigEndian;
use heed::types::{Bytes, U64};
use heed::{CompactionOption, Database, Env, EnvFlags, EnvOpenOptions, PutFlags};
use std::path::{Path, PathBuf};

/// Addresses that are set aside for the map: more than any file here needs.
const MAP: usize = 64 << 30;

type ById = Database<Bytes, Bytes>;
type BySeq = Database<U64<BigEndian>, Bytes>;

pub(crate) struct Lmdb {
    folder: PathBuf,
    generation: u32,
    syncs: Syncs,
    changes: bool,
    open: Option<Opened>,
    last_seq: u64,
}

struct Opened {
    env: Env,
    by_id: ById,
    by_seq: Option<BySeq>,
}

fn path(folder: &Path, generation: u32) -> PathBuf {
    folder.join(format!("{generation}.mdb"))
}

fn open(path: &Path, syncs: Syncs, changes: bool) -> Result<Opened> {
    let mut flags = EnvFlags::NO_SUB_DIR;
    if syncs == Syncs::None {
        flags |= EnvFlags::NO_SYNC | EnvFlags::NO_META_SYNC;
    }
    let mut options = EnvOpenOptions::new();
    options.map_size(MAP).max_dbs(2);
    // SAFETY: the file lies in a new folder of this program, and nobody else opens or changes it.
    let env = unsafe { options.flags(flags).open(path)? };
    let mut transaction = env.write_txn()?;
    let by_id = env.create_database(&mut transaction, Some("by id"))?;
    let by_seq = changes.then(|| env.create_database(&mut transaction, Some("by sequence"))).transpose()?;
    transaction.commit()?;
    Ok(Opened { env, by_id, by_seq })
}

impl Lmdb {
    pub(crate) fn create(folder: &Path, syncs: Syncs, changes: bool) -> Result<Lmdb> {
        let open = Some(open(&path(folder, 0), syncs, changes)?);
        Ok(Lmdb { folder: folder.to_owned(), generation: 0, syncs, changes, open, last_seq: 0 })
    }

    fn opened(&self) -> Result<&Opened> {
        Ok(self.open.as_ref().ok_or("not open")?)
    }
}

impl Store for Lmdb {
    fn save(&mut self, documents: &[Document<'_>]) -> Result<()> {
        let Opened { env, by_id, by_seq } = self.open.as_ref().ok_or("not open")?;
        let mut transaction = env.write_txn()?;
        let mut value = Vec::new();
        for document in documents {
            self.last_seq += 1;
            value_of(document, self.last_seq, &mut value);
            if let Some(by_seq) = by_seq {
                if let Some(old) = by_id.get(&transaction, document.id)?.map(seq_of) {
                    by_seq.delete(&mut transaction, &old)?;
                }
                by_seq.put_with_flags(&mut transaction, PutFlags::APPEND, &self.last_seq, document.id)?;
            }
            by_id.put(&mut transaction, document.id, &value)?;
        }
        Ok(transaction.commit()?)
    }

    fn get(&self, ids: &[Vec<u8>], visit: Visit<'_>) -> Result<()> {
        let Opened { env, by_id, .. } = self.opened()?;
        let transaction = env.read_txn()?;
        let mut body = Vec::new();
        for id in ids {
            body.clear();
            body.extend_from_slice(body_of(by_id.get(&transaction, id)?.ok_or("a document is missing")?));
            visit(id, &body);
        }
        Ok(())
    }

    fn scan(&self, visit: Visit<'_>) -> Result<()> {
        let Opened { env, by_id, .. } = self.opened()?;
        let transaction = env.read_txn()?;
        for entry in by_id.iter(&transaction)? {
            let (id, value) = entry?;
            visit(id, body_of(value));
        }
        Ok(())
    }

    fn changes(&self, visit: Visit<'_>) -> Option<Result<()>> {
        let scan = || {
            let Opened { env, by_id, by_seq } = self.opened()?;
            let transaction = env.read_txn()?;
            for entry in by_seq.as_ref().ok_or("no order of changes")?.iter(&transaction)? {
                let (_, id) = entry?;
                visit(id, body_of(by_id.get(&transaction, id)?.ok_or("a document is missing")?));
            }
            Ok(())
        };
        self.changes.then(scan)
    }

    fn reopen(&mut self) -> Result<()> {
        let old = self.open.take().ok_or("not open")?;
        old.env.prepare_for_closing().wait();
        self.open = Some(open(&path(&self.folder, self.generation), self.syncs, self.changes)?);
        Ok(())
    }

    fn compact(&mut self) -> Result<()> {
        let target = path(&self.folder, self.generation + 1);
        let old = self.open.take().ok_or("not open")?;
        old.env.copy_to_path(&target, CompactionOption::Enabled)?;
        old.env.prepare_for_closing().wait();
        std::fs::remove_file(path(&self.folder, self.generation))?;
        self.generation += 1;
        self.open = Some(open(&target, self.syncs, self.changes)?);
        Ok(())
    }

    fn size(&self) -> Result<u64> {
        Ok(std::fs::metadata(path(&self.folder, self.generation))?.len())
    }
}
