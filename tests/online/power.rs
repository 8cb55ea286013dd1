//! The whole procedure on a simulated disk: every call fails in every way, and the power is cut before every call.

use crate::common::model::{Doc, Model};
use crate::common::naming::is_displaced;
use couchstore::io::naming::{FileId, Naming};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{
    CompactHooks, CompactOptions, Db, Error, OnlineHooks, OnlineOptions, OnlineStats, OpenOptions,
    ReplayHooks, Result, SaveOptions, Swap, compact_online, compact_unseen,
};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const SOURCE: &str = "a.couch.1";
const TARGET: &str = "a.couch.2";

/// A disk with a source, a writer, and what the source holds before and after the writer's commit.
struct World {
    disk: SimDisk,
    models: [Model; 2],
    /// 1 once the writer's commit was acknowledged.
    acknowledged: Arc<AtomicUsize>,
    locks: i32,
    writer: Option<Db>,
    /// Whether the host saves to the new file as soon as it has its name.
    saves_at_publish: bool,
    /// What the old file holds if the writer goes on with it then.
    ignores_the_switch: Option<Model>,
}

fn change(db: &Db, model: &mut Model, from: u32) -> Result<()> {
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
    fn new() -> World {
        let disk = SimDisk::new();
        let writer = OpenOptions::new().create(true).file_ops(disk.ops()).open(SOURCE).unwrap();
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
            models: [model, after],
            acknowledged: Arc::default(),
            locks: 0,
            writer: Some(writer),
            saves_at_publish: false,
            ignores_the_switch: None,
        }
    }

    fn compact(
        &mut self,
        swap: Swap,
        unbuffered: bool,
        ops: Arc<dyn FileOps>,
        naming: Arc<dyn Naming>,
    ) -> Result<OnlineStats> {
        let options = OnlineOptions {
            swap,
            delta_bytes_for_lock: 0,
            compact: CompactOptions { file_ops: ops, naming, unbuffered, ..CompactOptions::default() },
            ..OnlineOptions::default()
        };
        compact_online(SOURCE, TARGET, &options, self)
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
        if let Some(model) = &mut self.ignores_the_switch {
            change(self.writer.as_ref().expect("the writer"), model, 60)?;
        }
        if self.saves_at_publish { change(target, &mut self.models[1], 40) } else { Ok(()) }
    }
}

/// Whether the name leads to a whole database with everything that was acknowledged; a compacted one or not.
fn check_file(disk: &SimDisk, name: &str, models: &[Model; 2], acknowledged: usize) {
    let db = OpenOptions::new().read_only(true).file_ops(disk.ops()).open(name).unwrap();
    let reached = usize::from(db.info().unwrap().last_sequence == models[1].update_seq);
    assert!(reached >= acknowledged, "an acknowledged commit is missing in {name}");
    models[reached].check(&db);
}

fn effects(kind: CallKind) -> Vec<Effect> {
    match kind {
        CallKind::Read => vec![Effect::Error(libc::EIO), Effect::Short],
        CallKind::Write => {
            vec![
                Effect::Error(libc::ENOSPC),
                Effect::PartialError(libc::EIO),
                Effect::ShortThenError(libc::ENOSPC),
            ]
        }
        CallKind::Sync => LostPages::ALL.map(|lost| Effect::SyncError(libc::EIO, lost)).to_vec(),
        CallKind::Naming => vec![Effect::Error(libc::EIO), Effect::DoneThenError(libc::EIO)],
        _ => vec![Effect::Error(libc::EIO)],
    }
}

/// Runs with one fault; `None`: there is no such call any more.
fn run_with(swap: Swap, unbuffered: bool, fault: Fault) -> Option<bool> {
    let mut world = World::new();
    let disk = world.disk.clone();
    disk.set_fault(Some(fault));
    let result = world.compact(swap, unbuffered, disk.ops(), disk.naming());
    let (hits, names) = (disk.hits(), disk.names());
    disk.set_fault(None);
    let case = format!("{swap:?}, {fault:?}: {result:?}, {names:?}");
    assert_eq!(world.locks, 0, "{case}");
    let acknowledged = world.acknowledged.load(Ordering::SeqCst);
    // The name of the source always leads to a whole file.
    check_file(&disk, SOURCE, &world.models, acknowledged);
    let unknown = matches!(result, Err(Error::Naming { .. }));
    if result.is_err() && !unknown && acknowledged == 1 {
        goes_on(&world, &case);
    }
    drop(world.writer.take());
    assert_eq!(disk.open_handles(), 0, "{case}");
    if fault.repeat == Repeat::Once && !unknown {
        check_names(swap, result.is_ok(), &names, &case);
    }
    if result.is_ok() && swap == Swap::None {
        check_file(&disk, TARGET, &world.models, acknowledged);
    }
    (hits > 0).then_some(result.is_err())
}

/// The host was told that nothing has changed, and goes on with the old file: nothing of that is lost, even if the
/// power is cut.
fn goes_on(world: &World, case: &str) {
    let [_, mut after] = world.models.clone();
    let writer = world.writer.as_ref().expect("the writer");
    change(writer, &mut after, 60).expect(case);
    for disk in [world.disk.clone(), world.disk.after_power_cut(false), world.disk.after_power_cut(true)] {
        check_file(&disk, SOURCE, &[after.clone(), after.clone()], 0);
        assert!(!disk.names().contains(&TARGET.to_owned()), "a newer file that nobody goes on with: {case}");
    }
}

/// After a single fault only what belongs there is in the folder. Removing the replaced file may fail unnoticed.
fn check_names(swap: Swap, done: bool, names: &[String], case: &str) {
    let expected = if done && swap == Swap::None { &[SOURCE, TARGET][..] } else { &[SOURCE] };
    let kept = names.iter().filter(|name| !is_displaced(name));
    assert!(kept.eq(expected), "{case}");
    let may_stay = done && swap == Swap::Replace;
    assert!(names.len() - expected.len() <= usize::from(may_stay), "{case}");
}

#[test]
fn every_call_fails_in_every_way() {
    let (mut runs, mut failures) = (0, 0);
    let settings = [Swap::None, Swap::Replace].map(|swap| [(swap, false), (swap, true)]);
    for (swap, unbuffered) in settings.into_iter().flatten() {
        for kind in CallKind::ALL {
            for effect in effects(kind) {
                for repeat in [Repeat::Once, Repeat::FromThenOn] {
                    let run = |index| run_with(swap, unbuffered, Fault { kind, index, repeat, effect });
                    let results = (0..).map_while(run);
                    for failed in results {
                        runs += 1;
                        failures += u32::from(failed);
                    }
                }
            }
        }
    }
    println!("{runs} runs with a fault, of which {failures} failed");
    assert!(runs > 600 && failures > 400);
}

/// Looks at what a power cut would leave, before every call that changes something.
#[derive(Clone)]
struct Observed {
    disk: SimDisk,
    naming: Arc<dyn Naming>,
    models: Arc<[Model; 2]>,
    acknowledged: Arc<AtomicUsize>,
    cuts: Arc<Mutex<u32>>,
}

impl Observed {
    fn look(&self) {
        for keep_names in [false, true] {
            let after = self.disk.after_power_cut(keep_names);
            let acknowledged = self.acknowledged.load(Ordering::SeqCst);
            check_file(&after, SOURCE, &self.models, acknowledged);
            // The target has its name only when it is complete.
            if after.names().iter().any(|name| name == TARGET) {
                check_file(&after, TARGET, &self.models, 1);
            }
            *self.cuts.lock().unwrap() += 1;
        }
    }
}

struct ObservedFile(Box<dyn FileHandle>, Observed);

impl FileOps for Observed {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        self.look();
        Ok(Box::new(ObservedFile(self.disk.open(name, mode)?, self.clone())))
    }
    fn exists(&self, name: &CStr) -> bool {
        self.disk.exists(name)
    }
    fn remove(&self, name: &CStr) {
        self.disk.remove(name);
    }
}

impl FileHandle for ObservedFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.0.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.1.look();
        self.0.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        self.0.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        self.1.look();
        self.0.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.1.look();
        self.0.close()
    }
}

impl Naming for Observed {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        self.naming.open_directory(path)
    }
    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        self.naming.create_unnamed(directory)
    }
    fn create_named(&self, directory: &File, name: &CStr, mode: u32) -> io::Result<File> {
        self.naming.create_named(directory, name, mode)
    }
    fn open_existing(&self, directory: &File, name: &CStr) -> io::Result<File> {
        self.naming.open_existing(directory, name)
    }
    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        self.naming.link_unnamed(file, directory, name)
    }
    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.look();
        self.naming.rename_exclusive(directory, from, to)
    }
    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.look();
        self.naming.rename(directory, from, to)
    }
    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        self.look();
        self.naming.exchange(directory, one, other)
    }
    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.look();
        self.naming.link(directory, from, to)
    }
    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        self.look();
        self.naming.unlink(directory, name)
    }
    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        self.look();
        self.naming.sync_directory(directory)
    }
    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        self.naming.sync_file_system(file)
    }
    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        self.naming.identify(directory, name)
    }
    fn list(&self, directory: &File) -> io::Result<Vec<CString>> {
        self.naming.list(directory)
    }
    fn try_lock(&self, file: &File) -> io::Result<()> {
        self.naming.try_lock(file)
    }
}

#[test]
fn a_power_cut_at_any_instant_leaves_a_whole_file_with_all_commits() {
    for (swap, unbuffered) in [(Swap::None, false), (Swap::Replace, false), (Swap::Replace, true)] {
        let mut world = World::new();
        let observed = Observed {
            disk: world.disk.clone(),
            naming: world.disk.naming(),
            models: Arc::new(world.models.clone()),
            acknowledged: world.acknowledged.clone(),
            cuts: Arc::default(),
        };
        world.compact(swap, unbuffered, Arc::new(observed.clone()), Arc::new(observed.clone())).unwrap();
        observed.look();
        let name = if swap == Swap::None { TARGET } else { SOURCE };
        check_file(&world.disk.after_power_cut(false), name, &world.models, 1);
        println!("{swap:?}: {} power cuts", observed.cuts.lock().unwrap());
    }
}

/// Compaction without a writer, to a name that is given at the end.
#[test]
fn a_power_cut_during_a_compaction_leaves_no_half_made_target() {
    struct NoHooks;
    impl CompactHooks for NoHooks {}
    let world = World::new();
    let observed = Observed {
        disk: world.disk.clone(),
        naming: world.disk.naming(),
        // The target is to hold the first of these; the source goes on holding it.
        models: Arc::new([world.models[0].clone(), world.models[0].clone()]),
        acknowledged: world.acknowledged.clone(),
        cuts: Arc::default(),
    };
    let options = CompactOptions {
        file_ops: Arc::new(observed.clone()),
        naming: Arc::new(observed.clone()),
        ..CompactOptions::default()
    };
    compact_unseen(world.writer.as_ref().unwrap(), TARGET, &options, &mut NoHooks).unwrap();
    observed.look();
    check_file(&world.disk.after_power_cut(false), TARGET, &observed.models, 0);
    println!("{} power cuts", observed.cuts.lock().unwrap());
}

/// A writer that goes on with the replaced file does what it must not; but what was acknowledged to it is kept.
#[test]
fn what_a_host_commits_that_ignores_the_switch_is_kept() {
    for unbuffered in [false, true] {
        let mut world = World::new();
        world.ignores_the_switch = Some(world.models[1].clone());
        let disk = world.disk.clone();
        world.compact(Swap::Replace, unbuffered, disk.ops(), disk.naming()).unwrap();
        let after = world.ignores_the_switch.take().unwrap();
        for disk in [disk.clone(), disk.after_power_cut(false), disk.after_power_cut(true)] {
            let names = disk.names();
            let old = names.iter().find(|name| is_displaced(name)).expect("the replaced file");
            check_file(&disk, old, &[after.clone(), after.clone()], 0);
            check_file(&disk, SOURCE, &world.models, 1);
        }
    }
}

/// How many syncs a compaction and the writer beside it ask for.
fn syncs(saves_at_publish: bool) -> usize {
    let mut world = World { saves_at_publish, ..World::new() };
    let disk = world.disk.clone();
    disk.set_fault(None);
    world.compact(Swap::None, false, disk.ops(), disk.naming()).unwrap();
    let syncs = disk.calls(CallKind::Sync);
    check_file(&disk.after_power_cut(false), TARGET, &world.models, 1);
    syncs
}

#[test]
fn a_commit_takes_one_sync_as_long_as_nobody_can_see_the_file() {
    // The empty file, the copy, the writer's commit, which takes two, and one round of catching up.
    assert_eq!(syncs(false), 1 + 1 + 2 + 1);
    // Once the file has its name, a commit has two phases again.
    assert_eq!(syncs(true), 1 + 1 + 2 + 1 + 2);
}
