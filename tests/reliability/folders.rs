// SPDX-License-Identifier: Apache-2.0

//! Power cuts while files get their names, on the simulated disk in a real folder: what the library does with its own
//! file operations, with files that have no name until they are complete.
//!
//! Everything is recorded: writes, syncs, names, syncs of the folder. At each instant the power may go, and then the
//! folder may be in one of several states, and each file in it in one of many. A name leads to a whole file that has
//! everything acknowledged, or there is none if nothing was; and whatever else is there, the next compaction removes it.

use crate::common::model::Model;
use crate::common::naming::{is_temporary, names_in};
use crate::common::temp_dir;
use crate::history::{History, small_nodes};
use crate::oracle::check_file;
use crate::run::{Replay, all_wanted, on_two_threads, report, runs, seed};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::crash::{FolderImage, FolderInstant, Shape, Size};
use couchstore::io::sim::random::Random;
use couchstore::{
    CompactHooks, CompactOptions, Db, OnlineHooks, OnlineOptions, OpenOptions, ReplayHooks, Result, Swap,
    compact, compact_online,
};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use tempfile::TempDir;

pub(crate) const NAME: &str = "a.couch.1";
pub(crate) const TARGET: &str = "a.couch.2";
const WORKLOADS: u64 = 24;
/// Commits before the recording starts.
pub(crate) const COMMITS: u64 = 3;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Create,
    Compact,
    Online(Swap),
}

const WORKS: [Work; 4] = [Work::Create, Work::Compact, Work::Online(Swap::None), Work::Online(Swap::Replace)];

/// What the caller had been told by some instant.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The last commit.
    commit: u64,
    /// The new file is there.
    done: bool,
}

impl Told {
    fn mark(self) -> u64 {
        self.commit * 2 + u64::from(self.done)
    }

    fn from_mark(mark: u64) -> Told {
        Told { commit: mark / 2, done: mark % 2 == 1 }
    }
}

/// A folder and what is done in it.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) disk: SimDisk,
    pub(crate) work: Work,
    pub(crate) history: History,
    unbuffered: bool,
}

impl Scene {
    pub(crate) fn new(random: &mut Random, work: Work) -> Scene {
        let folder = temp_dir();
        let history = History::random(random, Model::default(), COMMITS + 2, false);
        if work != Work::Create {
            let source = small_nodes(OpenOptions::new()).create(true).open(folder.path().join(NAME)).unwrap();
            for transaction in &history.transactions[..COMMITS as usize] {
                transaction.save(&source).unwrap();
                transaction.commit(&source).unwrap();
            }
        }
        let disk = SimDisk::in_folder(folder.path()).unwrap();
        Scene { folder, disk, work, history, unbuffered: random.percent(30) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn options(&self) -> OpenOptions {
        let options = OpenOptions::new().file_ops(self.disk.default_ops()).naming(self.disk.naming());
        small_nodes(options).unbuffered(self.unbuffered)
    }

    fn compact_options(&self) -> CompactOptions {
        let (file_ops, naming) = (self.disk.default_ops(), self.disk.naming());
        CompactOptions::new().file_ops(file_ops).naming(naming).unbuffered(self.unbuffered)
    }

    pub(crate) fn commit(&self, db: &Db, number: u64, done: bool) -> Result<()> {
        let transaction = &self.history.transactions[number as usize - 1];
        transaction.save(db)?;
        transaction.commit(db)?;
        self.disk.mark(Told { commit: number, done }.mark());
        Ok(())
    }

    fn tell_done(&self, commit: u64) {
        self.disk.mark(Told { commit, done: true }.mark());
    }

    pub(crate) fn act(&self) -> Result<()> {
        match self.work {
            Work::Create => {
                let db = self.options().create(true).open(self.path(NAME))?;
                self.tell_done(0);
                self.commit(&db, 1, true)?;
            }
            Work::Compact => {
                let source = self.options().open(self.path(NAME))?;
                compact(&source, self.path(TARGET), &self.compact_options())?;
                self.tell_done(COMMITS);
            }
            Work::Online(swap) => {
                let writer = self.options().open(self.path(NAME))?;
                let compact = self.compact_options();
                let source = small_nodes(OpenOptions::new());
                let options = OnlineOptions::new().swap(swap).compact(compact).source(source);
                let mut host = Host { scene: self, writer };
                compact_online(self.path(NAME), self.path(TARGET), &options, &mut host)?;
                self.tell_done(COMMITS + 2);
            }
        }
        Ok(())
    }

    fn check(&self, image: &FolderImage, told: Told) {
        let least = if self.work == Work::Create { told.commit } else { told.commit.max(COMMITS) };
        match image.bytes(NAME) {
            Some(bytes) => {
                check_file(bytes, false, &self.history.states, least as usize);
            }
            None => assert!(self.work == Work::Create && !told.done, "no file"),
        }
        let wanted = matches!(self.work, Work::Compact | Work::Online(Swap::None));
        match image.bytes(TARGET) {
            // Once it is there it holds what the source held then.
            Some(bytes) => {
                assert!(wanted, "a target");
                let held = if self.work == Work::Compact { COMMITS } else { COMMITS + 1 } as usize;
                check_file(bytes, false, &self.history.states, held);
            }
            None => assert!(!(wanted && told.done), "no target"),
        }
        for (name, _) in image.files() {
            assert!([NAME, TARGET].contains(&name) || is_temporary(name), "foreign file {name}");
        }
    }
}

/// Whoever goes on with the folder finds, and leaves, nothing but what belongs there.
fn go_on(image: &FolderImage) {
    let folder = temp_dir();
    image.write_to(folder.path()).unwrap();
    let source = Db::create(folder.path().join(NAME)).unwrap();
    compact(&source, folder.path().join("again"), &CompactOptions::default()).unwrap();
    let names = names_in(folder.path());
    let foreign: Vec<_> =
        names.iter().filter(|name| ![NAME, TARGET, "again"].contains(&name.as_str())).collect();
    assert!(foreign.is_empty(), "left for good: {foreign:?}");
}

/// Commits once beside the copy, and once more with what the host goes on with.
struct Host<'a> {
    scene: &'a Scene,
    writer: Db,
}

impl CompactHooks for Host<'_> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        self.scene.commit(&self.writer, COMMITS + 1, false)
    }
}

impl ReplayHooks for Host<'_> {}

impl OnlineHooks for Host<'_> {
    fn publish(&mut self, _: &Db, target: &Db) -> Result<()> {
        match self.scene.work {
            Work::Online(Swap::Replace) => self.scene.commit(target, COMMITS + 2, false),
            _ => self.scene.commit(&self.writer, COMMITS + 2, false),
        }
    }
}

/// What has been checked already, by hash.
#[derive(Default)]
struct Seen(HashSet<u64>);

impl Seen {
    fn is_new(&mut self, image: &FolderImage, mark: u64) -> bool {
        let mut hasher = DefaultHasher::new();
        mark.hash(&mut hasher);
        image.files().for_each(|file| file.hash(&mut hasher));
        self.0.insert(hasher.finish())
    }
}

fn check_instant(scene: &Scene, instant: &FolderInstant, seen: &mut Seen, random: &mut Random) -> u64 {
    let mut images = 0;
    for shape in Shape::all() {
        // Garbage may look like a damaged header: that is for the images of single files.
        if shape.size == Size::FirstGarbage {
            continue;
        }
        for state in 0..instant.states() {
            let image = instant.image(state, shape, random);
            if !seen.is_new(&image, instant.marked) {
                continue;
            }
            scene.check(&image, Told::from_mark(instant.marked));
            let is_plain = image.files().all(|(name, _)| !is_temporary(name));
            if !is_plain || random.percent(5) {
                go_on(&image);
            }
            images += 1;
        }
    }
    images
}

fn check_workload(seed: u64, run: u64) -> u64 {
    let work = WORKS[run as usize % WORKS.len()];
    let _replay = Replay { name: format!("power cut in a folder: {work:?}"), seed, run };
    let mut random = Random::for_run(seed, run);
    let scene = Scene::new(&mut random, work);
    scene.disk.record_folder();
    scene.act().unwrap();
    assert_eq!(scene.disk.open_handles(), 0, "handles that were not released");
    let (mut images, mut checked) = (0, Seen::default());
    scene.disk.take_folder_log().each_instant(|instant| {
        images += check_instant(&scene, instant, &mut checked, &mut random);
    });
    images
}

/// So many workloads from the seed.
pub(crate) fn power_cuts(seed: u64, workloads: u64) -> u64 {
    on_two_threads(runs(workloads), |run| check_workload(seed, run))
}

#[test]
fn folder_images() {
    let start = std::time::Instant::now();
    let images = power_cuts(seed(), WORKLOADS);
    report(&format!(
        "crash images of folders: {images} in {:.1} s, 0 violations",
        start.elapsed().as_secs_f64()
    ));
    assert!(!all_wanted() || images >= 1_000, "{images} images");
}
