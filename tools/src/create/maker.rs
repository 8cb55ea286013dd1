// SPDX-License-Identifier: Apache-2.0

//! Makes the files.

use super::content::{Content, DocType, Random};
use super::listed::Listed;
use crate::couchbase::collection;
use crate::couchbase::rev_meta::{RevMeta, datatype};
use crate::couchbase::vbstate::{self, State, VbState};
use crate::interrupt::Interrupt;
use crate::keys::Keys;
use crate::program::Failure;
use couchstore::{COMPRESSED, Db, Document, LocalUpdate, OpenOptions, SaveOptions};
use indicatif::ProgressBar;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The content type "not JSON" in `content_meta`.
const NOT_JSON: u8 = 3;

/// The CAS of documents counts from here unless the commits have a fixed timestamp: then from that.
const FIRST_CAS: u64 = 1_700_000_000_000_000_000;

/// A CAS is a time in nanoseconds, with a counter in place of its lowest bits.
const CAS_COUNTER_BITS: u32 = 16;

/// Sequence numbers have 48 bits.
const MAX_SEQ: u64 = (1 << 48) - 1;

/// No more than so many bytes of bodies are held in memory. A commit may have more.
const HELD_BYTES: usize = 16 << 20;

/// Keys are gone through so many at a time between two looks for Ctrl-C.
const KEYS_BETWEEN_CHECKS: u64 = 1 << 16;

/// How many keys to make, and where they go.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// Keys are spread over so many.
    pub(super) vbuckets: u16,
    /// Those that get a file; if there are none here all do.
    pub(super) listed: Vec<Listed>,
    pub(super) keys: u64,
    /// `keys` is for each vbucket, not for all of them.
    pub(super) keys_per_vbucket: bool,
    pub(super) start_key: u64,
    pub(super) keys_per_flush: usize,
}

impl Plan {
    /// Number of documents to make in all.
    pub(super) fn total(&self) -> Option<u64> {
        let files = if self.listed.is_empty() { u64::from(self.vbuckets) } else { self.listed.len() as u64 };
        if self.keys_per_vbucket { self.keys.checked_mul(files) } else { Some(self.keys) }
    }

    /// The state of a vbucket, if it gets a file.
    fn state_of(&self, vbucket: u16) -> Option<State> {
        if self.listed.is_empty() {
            return Some(State::Active);
        }
        self.listed.iter().find(|listed| listed.vbucket == vbucket).map(|listed| listed.state)
    }
}

/// Everything that documents and files have in common.
pub(super) struct Maker<'a> {
    pub(super) dir: &'a Path,
    pub(super) plan: Plan,
    pub(super) content: Content,
    /// The collection; `None`: ids do not begin with one.
    pub(super) collection: Option<u32>,
    /// Of all commits; `None`: the clock.
    pub(super) timestamp: Option<u64>,
    pub(super) reuse: bool,
    pub(super) keys: &'a Keys,
    pub(super) interrupt: Interrupt,
    pub(super) bar: ProgressBar,
    /// Files and folders that did not exist before, in the order in which they were made.
    pub(super) created: Vec<Created>,
}

/// Something that is removed again if not all can be made.
#[derive(Clone, Debug)]
pub(super) enum Created {
    File(PathBuf),
    Folder(PathBuf),
}

impl Created {
    fn remove(&self) -> Result<(), Failure> {
        let (path, removed) = match self {
            Created::File(path) => (path, std::fs::remove_file(path)),
            // What others have put there meanwhile stays.
            Created::Folder(path) => (
                path,
                std::fs::remove_dir(path).or_else(|error| match error.kind() {
                    ErrorKind::DirectoryNotEmpty => Ok(()),
                    _ => Err(error),
                }),
            ),
        };
        removed.map_err(|error| Failure::Message(format!("{}: cannot remove: {error}", path.display())))
    }
}

/// What is on its way into a file.
#[derive(Clone, Default)]
struct VBucket {
    /// Keys that have been given to it.
    keys: u64,
    /// Those that are not saved yet.
    pending: Vec<u64>,
}

/// The key of a document.
fn key(number: u64) -> String {
    format!("K{number}")
}

/// The vbucket of a key, as clients of kv-engine find it.
fn vbucket_of(key: &str, vbuckets: u16) -> u16 {
    let hash = crc32fast::hash(key.as_bytes()) >> 16 & 0x7fff;
    hash as u16 % vbuckets
}

impl Maker<'_> {
    /// Makes all files. On failure what did not exist before is removed.
    pub(super) fn run(&mut self) -> Result<(), Failure> {
        let made = self.create_folder(self.dir);
        let result = made.and_then(|()| self.create_files()).and_then(|()| self.fill_files());
        if result.is_ok() {
            return Ok(());
        }
        for created in self.created.drain(..).rev() {
            if let Err(failure) = created.remove() {
                crate::program::complain(failure)?;
            }
        }
        result
    }

    /// Makes the folder, and those that it is in.
    fn create_folder(&mut self, path: &Path) -> Result<(), Failure> {
        // The empty name is what a name without a folder is in.
        if path.as_os_str().is_empty() || path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.create_folder(parent)?;
        }
        match std::fs::create_dir(path) {
            // Another program may have been faster.
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            Err(error) => Err(Failure::Message(format!("{}: cannot create: {error}", path.display()))),
            Ok(()) => {
                self.created.push(Created::Folder(path.to_owned()));
                Ok(())
            }
        }
    }

    fn path(&self, vbucket: u16) -> PathBuf {
        self.dir.join(format!("{vbucket}.couch.1"))
    }

    /// What exists already is found before anything is saved.
    fn create_files(&mut self) -> Result<(), Failure> {
        for vbucket in 0..self.plan.vbuckets {
            self.interrupt.check()?;
            if self.plan.state_of(vbucket).is_none() {
                continue;
            }
            let path = self.path(vbucket);
            if self.reuse && path.exists() {
                self.check_ids(&path)?;
                continue;
            }
            let options = OpenOptions::new().create(true).exclusive(true).keys(self.keys.store());
            let db = options.open(&path)?;
            self.created.push(Created::File(path));
            db.close()?;
        }
        Ok(())
    }

    /// Ids with and without a collection cannot be told apart once they are in one file.
    fn check_ids(&self, path: &Path) -> Result<(), Failure> {
        let db = crate::open::open(path, self.keys)?;
        let info = db.info()?;
        let is_empty = info.doc_count + info.deleted_count == 0 && !vbstate::is_there(&db)?;
        let has_collections = vbstate::has_collections(&db)?;
        if is_empty || has_collections == self.collection.is_some() {
            return Ok(());
        }
        let path = path.display();
        Err(Failure::Message(if has_collections {
            format!("{path}: its ids begin with a collection, which -n leaves out")
        } else {
            format!("{path}: its ids do not begin with a collection; add to it with -n")
        }))
    }

    fn fill_files(&mut self) -> Result<(), Failure> {
        let Plan { vbuckets, keys, keys_per_vbucket, start_key, keys_per_flush, .. } = self.plan;
        let mut left = self.plan.total().unwrap_or(u64::MAX);
        let mut files = vec![VBucket::default(); usize::from(vbuckets)];
        for number in start_key..=u64::MAX {
            if left == 0 {
                break;
            }
            if number % KEYS_BETWEEN_CHECKS == 0 {
                self.interrupt.check()?;
            }
            let vbucket = vbucket_of(&key(number), vbuckets);
            if self.plan.state_of(vbucket).is_none() {
                continue;
            }
            let file = &mut files[usize::from(vbucket)];
            if keys_per_vbucket && file.keys == keys {
                continue;
            }
            left -= 1;
            file.keys += 1;
            file.pending.push(number);
            if file.pending.len() >= keys_per_flush {
                self.flush(vbucket, &std::mem::take(&mut file.pending))?;
            }
        }
        if left > 0 {
            return Err(Failure::Message("there are not enough numbers for all documents".into()));
        }
        let made = (0..).zip(&files).filter(|(vbucket, _)| self.plan.state_of(*vbucket).is_some());
        made.into_iter().try_for_each(|(vbucket, file)| self.flush(vbucket, &file.pending))
    }

    /// Saves and commits the documents with these numbers, and with them the state of the vbucket.
    fn flush(&self, vbucket: u16, numbers: &[u64]) -> Result<(), Failure> {
        self.interrupt.check()?;
        let db = OpenOptions::new().keys(self.keys.store()).open(self.path(vbucket))?;
        let last_seq = db.info()?.last_sequence + numbers.len() as u64;
        if last_seq > MAX_SEQ {
            let path = self.path(vbucket);
            return Err(Failure::Message(format!("{}: no sequence numbers left", path.display())));
        }
        for part in numbers.chunks((HELD_BYTES / (self.content.length + 1)).max(1)) {
            self.interrupt.check()?;
            self.save(&db, part)?;
        }
        let id = Random::new(self.content.seed, !u64::from(vbucket)).next() >> CAS_COUNTER_BITS;
        let state = self.plan.state_of(vbucket).unwrap_or(State::Active);
        let state = VbState::new(state, id, last_seq, self.cas(last_seq), self.collection.is_some());
        let state = state.for_file(&db)?;
        db.save_local(&[LocalUpdate { id: vbstate::ID, body: Some(&state) }])?;
        match self.timestamp {
            Some(timestamp) => db.commit_with(timestamp, None)?,
            None => db.commit()?,
        }
        db.close()?;
        self.bar.inc(numbers.len() as u64);
        Ok(())
    }

    fn save(&self, db: &Db, numbers: &[u64]) -> Result<(), Failure> {
        let first_seq = db.info()?.last_sequence + 1;
        let parts: Vec<_> = (first_seq..)
            .zip(numbers)
            .map(|(seq, &number)| (self.id(number), self.content.body(number), self.rev_meta(seq)))
            .collect();
        let content_meta = self.content_meta();
        let documents: Vec<_> = parts
            .iter()
            .map(|(id, body, rev_meta)| Document {
                rev_meta,
                rev_seq: 1,
                content_meta,
                ..Document::new(id, body)
            })
            .collect();
        db.save(&documents, SaveOptions::new().compress(true))?;
        Ok(())
    }

    fn id(&self, number: u64) -> Vec<u8> {
        let mut id = self.collection.map_or_else(Vec::new, collection::encode);
        id.extend_from_slice(key(number).as_bytes());
        id
    }

    fn cas(&self, seq: u64) -> u64 {
        let start = self.timestamp.unwrap_or(FIRST_CAS) >> CAS_COUNTER_BITS;
        start.wrapping_add(seq) << CAS_COUNTER_BITS
    }

    fn rev_meta(&self, seq: u64) -> [u8; 18] {
        let datatype = if self.doc_type().is_json() { datatype::JSON } else { 0 };
        RevMeta { cas: self.cas(seq), datatype: Some(datatype), ..RevMeta::default() }.encode()
    }

    fn content_meta(&self) -> u8 {
        let kind = if self.doc_type().is_json() { 0 } else { NOT_JSON };
        if self.doc_type().is_compressed() { kind | COMPRESSED } else { kind }
    }

    fn doc_type(&self) -> DocType {
        self.content.doc_type
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_where_clients_look_for_them() {
        // The CRC-32 of "123456789" is cbf43926.
        assert_eq!(vbucket_of("123456789", 1024), 0x4bf4 % 1024);
        assert_eq!(vbucket_of("123456789", 1), 0);
    }

    #[test]
    fn every_vbucket_gets_keys() {
        let mut seen = vec![false; 1024];
        for number in 0..20_000 {
            seen[usize::from(vbucket_of(&key(number), 1024))] = true;
        }
        assert!(seen.into_iter().all(|seen| seen));
    }
}
