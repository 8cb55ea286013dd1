// SPDX-License-Identifier: Apache-2.0

//! A small database in memory behind file operations that can fail.

use super::memory::Memory;
use super::model::{Doc, Model};
use super::raw;
use super::watched::Watched;
use couchstore::{Db, OpenOptions, SaveOptions};
use std::cell::RefCell;

/// Its name.
pub(crate) const NAME: &str = "faults.couch";

/// A database with two commits, and what the operations work with.
pub(crate) struct World {
    pub(crate) memory: Memory,
    pub(crate) watched: Watched,
    pub(crate) unbuffered: bool,
    /// The file as it was at the start, and its newest state.
    pub(crate) original: Vec<u8>,
    pub(crate) before: Model,
    /// What the operation makes of it.
    pub(crate) after: RefCell<Model>,
}

/// Documents with ids of one letter and bodies of different lengths.
pub(crate) fn docs(first: u8, count: u8) -> Vec<Doc> {
    let body = |id: u8| vec![id; 30 + usize::from(id) * 20];
    (first..first + count).map(|id| Doc::new(&[b'a' + id], &body(id))).collect()
}

impl World {
    pub(crate) fn new(unbuffered: bool) -> World {
        let memory = Memory::default();
        let watched = Watched::new(memory.ops());
        let db = memory.options().create(true).node_sizes(200, 200).open(NAME).unwrap();
        let mut before = Model::default();
        for first in [0, 5] {
            before.save_both(&db, &docs(first, 12), SaveOptions::default());
            before.local_both(&db, &[(vec![b'x', first], Some(vec![first; 20]))]);
            db.commit().unwrap();
        }
        db.close().unwrap();
        let (original, after) = (memory.bytes(NAME), RefCell::new(before.clone()));
        World { memory, watched, unbuffered, original, before, after }
    }

    pub(crate) fn options(&self) -> OpenOptions {
        OpenOptions::new().file_ops(self.watched.ops()).unbuffered(self.unbuffered).node_sizes(200, 200)
    }

    pub(crate) fn open(&self) -> Db {
        self.options().open(NAME).unwrap()
    }

    /// Fails unless the file is a database in one of these states, and all its headers are whole.
    pub(crate) fn check_file(&self, name: &str, states: &[&Model]) {
        let file = raw::File::new(self.memory.bytes(name));
        for position in file.header_positions() {
            raw::check_header(&file, &file.header(position));
        }
        let db = self.memory.options().open(name).unwrap();
        let seq = db.info().unwrap().last_sequence;
        let state = states.iter().find(|state| state.update_seq == seq).expect("a state that was committed");
        state.check(&db);
    }
}
