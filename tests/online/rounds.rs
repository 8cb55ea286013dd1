// SPDX-License-Identifier: Apache-2.0

//! How many rounds there are, when writers are kept out meanwhile, and what is told of it in the end.

use crate::common::rng::Rng;
use crate::common::temp_dir;
use couchstore::{
    CompactHooks, Db, DocInfoRef, Document, OnlineHooks, OnlineOptions, OnlineStats, ReplayHooks, Result,
    SaveOptions, compact_online,
};

type Action = fn(&mut Host);

/// A host with one writer, who does something when the compaction calls back.
struct Host {
    folder: tempfile::TempDir,
    writer: Db,
    rng: Rng,
    /// Once the first copy is made, before the first document that is caught up with, and with each lock.
    on_copied: Option<Action>,
    on_document: Option<Action>,
    on_lock: Option<Action>,
    locked: bool,
    locks: u32,
    /// Whether the lock was held at each document that was caught up with, and at each commit.
    at_documents: Vec<bool>,
    at_commits: Vec<bool>,
}

impl Host {
    fn new() -> Host {
        let folder = temp_dir();
        let writer = Db::create(folder.path().join("source")).unwrap();
        let (locked, locks, at_documents, at_commits) = (false, 0, Vec::new(), Vec::new());
        let rng = Rng::with_seed(5);
        let (on_copied, on_document, on_lock) = (None, None, None);
        let mut host = Host {
            folder,
            writer,
            rng,
            on_copied,
            on_document,
            on_lock,
            locked,
            locks,
            at_documents,
            at_commits,
        };
        host.save(1, 100);
        host
    }

    fn save(&mut self, count: usize, length: usize) {
        for number in 0..count {
            let (id, body) = (format!("doc-{number}"), self.rng.noise(length));
            self.writer.save(&[Document::new(id.as_bytes(), &body)], SaveOptions::default()).unwrap();
        }
        self.writer.commit().unwrap();
    }

    fn compact(&mut self, little: u64, rounds: u32) -> OnlineStats {
        let options = OnlineOptions::new().delta_bytes_for_lock(little).max_unlocked_rounds(rounds);
        let (source, target) = (self.folder.path().join("source"), self.folder.path().join("target"));
        compact_online(source, target, &options, self).unwrap()
    }
}

impl CompactHooks for Host {
    fn copied(&mut self, _: &Db) -> Result<()> {
        if let Some(action) = self.on_copied.take() {
            action(self);
        }
        Ok(())
    }
}

impl ReplayHooks for Host {
    fn before_document(&mut self, _: &Db, _: &Db, _: &DocInfoRef<'_>) -> Result<bool> {
        self.at_documents.push(self.locked);
        if let Some(action) = self.on_document.take() {
            action(self);
        }
        Ok(true)
    }

    fn precommit(&mut self, _: &Db, _: &Db) -> Result<()> {
        self.at_commits.push(self.locked);
        Ok(())
    }
}

impl OnlineHooks for Host {
    fn lock(&mut self) {
        self.locks += 1;
        if let Some(action) = self.on_lock {
            action(self);
        }
        self.locked = true;
    }

    fn unlock(&mut self) {
        self.locked = false;
    }
}

/// One more round would do, but there is none: half of what was left is left again.
#[test]
fn in_the_last_round_writers_are_kept_out_if_too_much_would_be_left() {
    let mut host = Host::new();
    host.on_copied = Some(|host| host.save(8, 100_000));
    host.on_document = Some(|host| host.save(4, 100_000));
    let stats = host.compact(150_000, 2);
    assert_eq!((stats.rounds, stats.restarts, stats.locked_bytes), (2, 0, 0));
    assert_eq!(host.at_documents.len(), 12);
    assert_eq!(host.at_documents[..8], [false; 8]);
    assert!(host.at_documents[8]);
}

#[test]
fn any_number_of_rounds_may_be_allowed() {
    let mut host = Host::new();
    host.on_copied = Some(|host| host.save(8, 100_000));
    assert_eq!(host.compact(150_000, u32::MAX).rounds, 1);
}

#[test]
fn much_that_comes_with_the_lock_is_not_waited_for_under_it() {
    let mut host = Host::new();
    host.on_lock = Some(|host| {
        if host.locks == 1 {
            host.save(20, 10_000);
        }
    });
    let stats = host.compact(50_000, 10);
    assert_eq!((stats.rounds, host.at_commits), (1, vec![false]));
}

#[test]
fn the_lock_is_kept_for_a_last_copy() {
    let mut host = Host::new();
    host.on_lock = Some(|host| {
        host.writer.seek_offset(0).unwrap();
        host.save(1, 200);
    });
    let stats = host.compact(50_000, 10);
    assert_eq!((stats.restarts, host.locks), (3, 3));
}

#[test]
fn deleted_documents_are_documents_of_the_result() {
    let mut host = Host::new();
    host.save(3, 100);
    let gone = Document { deleted: true, ..Document::new(b"doc-1", b"") };
    host.writer.save(&[gone], SaveOptions::default()).unwrap();
    host.writer.commit().unwrap();
    assert_eq!(host.compact(0, 0).documents, 3);
}
