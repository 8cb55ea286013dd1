// SPDX-License-Identifier: Apache-2.0

//! A database with a writer, and a model of every header that the writer has committed.

use crate::common::model::{Doc, Model};
use crate::common::rng::Rng;
use crate::common::{files_in, temp_dir};
use couchstore::{COMPRESSED, CompactOptions, Db, OpenOptions, SaveOptions, compact};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

pub(crate) const SOURCE: &str = "source.couch.1";
pub(crate) const TARGET: &str = "source.couch.2";

/// What random histories contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Go back to an older header and on from there.
    pub(crate) rewinds: bool,
    /// Choose sequence numbers, also old ones.
    pub(crate) old_sequences: bool,
    /// Version 11 files.
    pub(crate) legacy: bool,
}

/// A file, its writer, and what was committed.
pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) rng: Rng,
    pub(crate) habits: Habits,
    /// The writer's handle and what it holds, uncommitted changes included.
    pub(crate) writer: Db,
    pub(crate) model: Model,
    /// Every header: its position and what it holds.
    pub(crate) commits: Vec<(u64, Model)>,
    /// The file itself, whatever becomes of its name.
    file: File,
    /// Its bytes, as the writer left them.
    bytes: Vec<u8>,
    counter: u64,
}

impl World {
    /// A file with some documents and local documents.
    pub(crate) fn new(rng: Rng, habits: Habits) -> World {
        let folder = temp_dir();
        let path = folder.path().join(SOURCE);
        let writer = OpenOptions::new().create(true).legacy_crc(habits.legacy).open(&path).unwrap();
        let file = File::open(&path).unwrap();
        let first = (writer.header_position(), Model::default());
        let mut world = World {
            folder,
            rng,
            habits,
            writer,
            model: Model::default(),
            commits: vec![first],
            file,
            bytes: Vec::new(),
            counter: 0,
        };
        let commits = 1 + world.rng.below(4);
        for _ in 0..commits {
            world.change();
            world.change();
            world.commit();
        }
        world.look();
        world
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join(SOURCE)
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join(TARGET)
    }

    /// What the newest header holds.
    pub(crate) fn committed(&self) -> &Model {
        &self.commits.last().unwrap().1
    }

    /// A path that leads to the source whatever becomes of its name.
    pub(crate) fn lasting_path(&self) -> String {
        format!("/proc/self/fd/{}", self.file.as_raw_fd())
    }

    fn read(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        File::open(self.lasting_path()).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Notes the source's bytes as they are now.
    fn look(&mut self) {
        self.bytes = self.read();
    }

    /// Fails if somebody else has written to the source.
    pub(crate) fn check_untouched(&self) {
        assert!(self.read() == self.bytes, "the source was written to");
    }

    /// Names in the folder that are temporary.
    pub(crate) fn temporaries(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".couchstore-")).collect()
    }

    /// Fails unless the source is there under its name, and nothing else is in the folder.
    pub(crate) fn check_alone(&self) {
        assert!(self.writer.is_current().unwrap().unwrap(), "the name leads to another file");
        assert_eq!(files_in(self.folder.path()), 1, "files left over");
        self.check_untouched();
        self.committed().check(&Db::open(self.source()).unwrap());
    }

    /// The file that a compaction with all at rest would make, in a folder of its own.
    pub(crate) fn compacted_at_rest(&self, options: &CompactOptions) -> (tempfile::TempDir, Db) {
        let folder = temp_dir();
        let target = folder.path().join("at-rest");
        let source = OpenOptions::new().read_only(true).open(self.lasting_path()).unwrap();
        compact(&source, &target, options).unwrap();
        (folder, Db::open(target).unwrap())
    }

    /// Something that the writer may do between two points of a compaction.
    pub(crate) fn step(&mut self) {
        self.check_untouched();
        match self.rng.below(10) {
            0..4 => self.change(),
            4..9 => self.commit(),
            _ if self.habits.rewinds && self.commits.len() > 1 => self.rewind(),
            _ => self.change(),
        }
        self.look();
    }

    /// Changes something, without a commit.
    pub(crate) fn change(&mut self) {
        match self.rng.below(10) {
            0..7 => self.save(),
            7..9 => self.save_local(),
            _ => {
                self.model.purge_seq += 1 + self.rng.below(3);
                self.writer.set_purge_seq(self.model.purge_seq);
            }
        }
    }

    fn save(&mut self) {
        let keep_sequences = self.rng.percent(20);
        let count = 1 + self.rng.below(6);
        let mut next = self.model.update_seq;
        let mut docs = Vec::new();
        for _ in 0..count {
            next += 1 + self.rng.below(3);
            let mut doc = self.document();
            doc.db_seq = next;
            if self.habits.old_sequences && self.rng.percent(10) {
                doc.db_seq = 1 + self.rng.below(next);
            }
            // The model has no opinion on one batch with an id twice under the caller's own numbers.
            docs.retain(|old: &Doc| !keep_sequences || old.id != doc.id);
            docs.push(doc);
        }
        let options = SaveOptions::new().compress(true).keep_sequences(keep_sequences);
        self.model.save_both(&self.writer, &docs, options);
    }

    fn document(&mut self) -> Doc {
        self.counter += 1;
        let id = format!("doc-{:02}", self.rng.below(40));
        let size = if self.rng.percent(5) { 9000 } else { self.rng.index(60) };
        let body = self.rng.percent(80).then(|| self.rng.text(size));
        Doc {
            id: id.into_bytes(),
            deleted: body.is_none() || self.rng.percent(10),
            body,
            rev_meta: b"meta".to_vec(),
            rev_seq: self.counter,
            content_meta: if self.rng.percent(50) { COMPRESSED } else { 0 },
            ..Doc::default()
        }
    }

    fn save_local(&mut self) {
        let id = format!("_local/{}", self.rng.below(6)).into_bytes();
        let size = self.rng.index(50);
        let body = self.rng.percent(70).then(|| self.rng.text(size));
        self.model.local_both(&self.writer, &[(id, body)]);
    }

    pub(crate) fn commit(&mut self) {
        self.counter += 1;
        self.writer.commit_with(self.counter, None).unwrap();
        self.commits.push((self.writer.header_position(), self.model.clone()));
        self.look();
    }

    /// Goes back to an older header, and commits on top of it at once or later.
    pub(crate) fn rewind(&mut self) {
        let chosen = self.commits.len() - 1 - self.rng.index(self.commits.len().min(5));
        let (position, model) = self.commits[chosen].clone();
        self.writer.seek_offset(position as i64).unwrap();
        self.model = model;
        if self.rng.percent(70) {
            self.change();
        }
        self.commit();
    }
}
