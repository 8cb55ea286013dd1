// SPDX-License-Identifier: Apache-2.0

//! A simulated disk with a source, a writer, and a host that compacts it.

use crate::common::model::{Doc, Model};
use crate::common::temp_dir;
use couchstore::io::FileOps;
use couchstore::io::naming::Naming;
use couchstore::io::sim::SimDisk;
use couchstore::{
    CompactHooks, CompactOptions, Db, Error, OnlineHooks, OnlineOptions, OnlineStats, OpenOptions,
    ReplayHooks, Result, SaveOptions, Swap, compact_online,
};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

pub(crate) const SOURCE: &str = "a.couch.1";
/// What a host says that cannot switch over.
pub(crate) const NO_SWITCH: &str = "a host that can switch over";
pub(crate) const TARGET: &str = "a.couch.2";

/// What the disk is like, and whose operations write to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// In memory, for a caller's operations: nobody sees the files but them, and there are no locks.
    Callers,
    /// A real folder, for a caller's operations.
    CallersInFolder,
    /// A real folder, for the library's own: files have no name until they are complete.
    Default,
}

fn path_on(folder: Option<&TempDir>, name: &str) -> PathBuf {
    folder.map_or(PathBuf::new(), |folder| folder.path().to_owned()).join(name)
}

/// A disk with a source, a writer, and what the source holds before and after the writer's commit.
pub(crate) struct World {
    pub(crate) disk: SimDisk,
    /// Where its files are, if they are real ones.
    pub(crate) folder: Option<TempDir>,
    pub(crate) ops: Arc<dyn FileOps>,
    pub(crate) models: [Model; 2],
    /// 1 once the writer's commit was acknowledged.
    pub(crate) acknowledged: Arc<AtomicUsize>,
    pub(crate) locks: i32,
    pub(crate) writer: Option<Db>,
    /// Whether the host saves to the new file as soon as it has its name.
    pub(crate) saves_at_publish: bool,
    /// The host cannot switch over.
    pub(crate) fails_to_switch: bool,
    /// What the old file holds if the writer goes on with it then.
    pub(crate) ignores_the_switch: Option<Model>,
}

pub(crate) fn change(db: &Db, model: &mut Model, from: u32) -> Result<()> {
    let docs: Vec<_> =
        (from..from + 30).map(|number| Doc::new(format!("doc-{number}").as_bytes(), &[b'x'; 200])).collect();
    let documents: Vec<_> = docs.iter().map(Doc::document).collect();
    model.save(&docs, SaveOptions::default());
    db.save(&documents, SaveOptions::default())?;
    model.local.insert(b"_local/x".to_vec(), from.to_string().into_bytes());
    let local = from.to_string();
    db.save_local(&[couchstore::LocalUpdate { id: b"_local/x", body: Some(local.as_bytes()) }])?;
    db.commit_with(u64::from(from), None)
}

impl World {
    pub(crate) fn new() -> World {
        World::on(Ground::Callers)
    }

    pub(crate) fn on(ground: Ground) -> World {
        let folder = (ground != Ground::Callers).then(temp_dir);
        let disk =
            folder.as_ref().map_or_else(SimDisk::new, |folder| SimDisk::in_folder(folder.path()).unwrap());
        let path = path_on(folder.as_ref(), SOURCE);
        let ops = if ground == Ground::Default { disk.default_ops() } else { disk.ops() };
        let writer =
            OpenOptions::new().create(true).naming(disk.naming()).file_ops(ops.clone()).open(path).unwrap();
        let mut model = Model::default();
        change(&writer, &mut model, 1).unwrap();
        disk.naming().sync_directory(&File::open("/dev/null").unwrap()).unwrap();
        let mut after = model.clone();
        // The same on a copy tells what the writer's commit will lead to.
        let other = SimDisk::new();
        let db = OpenOptions::new().create(true).file_ops(other.ops()).open(SOURCE).unwrap();
        change(&db, &mut Model::default(), 1).unwrap();
        change(&db, &mut after, 20).unwrap();
        World {
            disk,
            folder,
            ops,
            models: [model, after],
            acknowledged: Arc::default(),
            locks: 0,
            writer: Some(writer),
            saves_at_publish: false,
            fails_to_switch: false,
            ignores_the_switch: None,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        path_on(self.folder.as_ref(), name)
    }

    pub(crate) fn compact(
        &mut self,
        swap: Swap,
        unbuffered: bool,
        ops: Arc<dyn FileOps>,
        naming: Arc<dyn Naming>,
    ) -> Result<OnlineStats> {
        let options = OnlineOptions::new()
            .swap(swap)
            .delta_bytes_for_lock(0)
            .compact(CompactOptions::new().file_ops(ops).naming(naming).unbuffered(unbuffered));
        compact_online(self.path(SOURCE), self.path(TARGET), &options, self)
    }
}

impl CompactHooks for World {
    fn copied(&mut self, _: &Db) -> Result<()> {
        // The disk may fail the writer as well.
        let writer = self.writer.as_ref().expect("the writer");
        if change(writer, &mut self.models[0].clone(), 20).is_ok() {
            self.acknowledged.store(1, Ordering::SeqCst);
        }
        Ok(())
    }
}
impl ReplayHooks for World {}
impl OnlineHooks for World {
    fn lock(&mut self) {
        self.locks += 1;
    }
    fn unlock(&mut self) {
        self.locks -= 1;
    }
    fn publish(&mut self, _: &Db, target: &Db) -> Result<()> {
        if self.fails_to_switch {
            return Err(Error::InvalidArguments(NO_SWITCH));
        }
        if let Some(model) = &mut self.ignores_the_switch {
            change(self.writer.as_ref().expect("the writer"), model, 60)?;
        }
        if self.saves_at_publish { change(target, &mut self.models[1], 40) } else { Ok(()) }
    }
}

/// Whether the name leads to a whole database with everything that was acknowledged; a compacted one or not.
pub(crate) fn check_file(disk: &SimDisk, name: &str, models: &[Model; 2], acknowledged: usize) {
    let db = OpenOptions::new().read_only(true).file_ops(disk.ops()).open(name).unwrap();
    let reached = usize::from(db.info().unwrap().last_sequence == models[1].update_seq);
    assert!(reached >= acknowledged, "an acknowledged commit is missing in {name}");
    models[reached].check(&db);
}
