// SPDX-License-Identifier: Apache-2.0

//! The whole procedure on a simulated disk: every call fails in every way, and the power is cut before every call.

use crate::common::model::Model;
use crate::common::naming::is_displaced;
use crate::disk::{Ground, NO_SWITCH, SOURCE, TARGET, World, change, check_file};
use couchstore::io::naming::{FileId, Naming};
use couchstore::io::sim::SimDisk;
use couchstore::io::sim::fault::{CallKind, Effect, Fault, LostPages, Repeat};
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{
    CompactHooks, CompactOptions, Db, Error, OnlineStats, OpenOptions, Result, Swap, compact, compact_unseen,
};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

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
        CallKind::Sync => {
            let lost = LostPages::ALL.map(|lost| Effect::SyncError(libc::EIO, lost));
            lost.into_iter().chain([Effect::Error(libc::EINTR)]).collect()
        }
        CallKind::Naming => vec![
            Effect::Error(libc::EIO),
            Effect::Error(libc::EINTR),
            Effect::DoneThenError(libc::EIO),
            Effect::AskedTwice,
            Effect::NotRemoved,
        ],
        _ => vec![Effect::Error(libc::EIO)],
    }
}

/// One run with a fault.
struct Run {
    world: World,
    setting: Setting,
    fault: Fault,
    result: Result<OnlineStats>,
    /// The naming calls that were made.
    calls: Vec<&'static str>,
    failed_name_syncs: usize,
    /// For messages.
    case: String,
}

/// Which run it was, should it fail. Nothing is random: the same test does it again.
struct ToldOnPanic(String);

impl Drop for ToldOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("FAILED: {}", self.0);
        }
    }
}

/// Calls on names whose outcome can be seen.
const VISIBLE: [&str; 6] = ["link unnamed", "rename exclusive", "rename", "exchange", "link", "unlink"];

/// How a compaction goes.
#[derive(Clone, Copy, Debug)]
struct Setting {
    ground: Ground,
    swap: Swap,
    unbuffered: bool,
    /// Whether the host switches over in the end.
    switches: bool,
}

/// Runs with one fault; `None`: there is no such call any more.
fn run_with(setting: Setting, fault: Fault) -> Option<bool> {
    let Setting { ground, swap, unbuffered, switches } = setting;
    let mut world = World { fails_to_switch: !switches, ..World::on(ground) };
    let disk = world.disk.clone();
    disk.set_fault(Some(fault));
    let result = world.compact(swap, unbuffered, world.ops.clone(), disk.naming());
    let (hits, calls) = (disk.hits(), disk.naming_calls());
    let failed_name_syncs = disk.failed_name_syncs();
    disk.set_fault(None);
    if hits == 0 {
        return None;
    }
    let case = format!("{setting:?}, {fault:?}: {result:?}, {:?} after {calls:?}", disk.names());
    let _told = ToldOnPanic(case.clone());
    let run = Run { world, setting, fault, result, calls, failed_name_syncs, case };
    let failed = run.result.is_err();
    run.check();
    Some(failed)
}

impl Run {
    fn disk(&self) -> &SimDisk {
        &self.world.disk
    }

    fn acknowledged(&self) -> usize {
        self.world.acknowledged.load(Ordering::SeqCst)
    }

    /// Whether it was said that nobody knows which names lead to which files.
    fn is_unknown(&self) -> bool {
        matches!(self.result, Err(Error::Naming { .. }))
    }

    fn check(mut self) {
        let case = self.case.clone();
        assert_eq!(self.world.locks, 0, "{case}");
        // The name of the source always leads to a whole file.
        check_file(&self.disk().as_seen(), SOURCE, &self.world.models, self.acknowledged());
        assert!(self.result.is_err() || self.failed_name_syncs == 0, "names that are not durable: {case}");
        assert!(self.is_as_without_a_fault() || !self.only_an_answer_is_lost(), "nothing has failed: {case}");
        assert!(self.setting.switches || self.result.is_err(), "the host has not switched over: {case}");
        if self.fault.repeat == Repeat::Once && !self.is_unknown() {
            self.check_names();
        }
        match (&self.result, self.setting.swap) {
            (Ok(_), Swap::None) => self.check_result(TARGET),
            (Ok(_), Swap::Replace) => self.check_result(SOURCE),
            _ => self.goes_on(),
        }
        drop(self.world.writer.take());
        assert_eq!(self.disk().open_handles(), 0, "{case}");
        self.check_that_the_next_one_tidies_up();
    }

    /// Whether the result is that of a run in which no call has failed.
    fn is_as_without_a_fault(&self) -> bool {
        match &self.result {
            Ok(_) => self.setting.switches,
            Err(error) => matches!(error, Error::InvalidArguments(said) if *said == NO_SWITCH),
        }
    }

    /// Whether nothing but the answer to a call got lost whose outcome can be seen.
    fn only_an_answer_is_lost(&self) -> bool {
        let Fault { kind, index, repeat, effect } = self.fault;
        let lost = matches!(effect, Effect::DoneThenError(_) | Effect::AskedTwice);
        kind == CallKind::Naming && repeat == Repeat::Once && lost && VISIBLE.contains(&self.calls[index])
    }

    /// The result is there, and durable.
    fn check_result(&self, name: &str) {
        for disk in self.disk().after_power_cuts().into_iter().chain([self.disk().as_seen()]) {
            check_file(&disk, name, &self.world.models, self.acknowledged());
        }
    }

    /// The host was told of a failure, and goes on with the old file: nothing of that is lost, even if the power is cut.
    /// If nobody knows what has become of the names, some file still holds it, or the commit is refused.
    fn goes_on(&mut self) {
        if self.acknowledged() == 0 {
            return self.begins_anew();
        }
        let [_, mut after] = self.world.models.clone();
        let writer = self.world.writer.as_ref().expect("the writer");
        if let Err(error) = change(writer, &mut after, 60) {
            assert!(self.is_unknown() && matches!(error, Error::Stale { .. }), "{error}: {}", self.case);
            return;
        }
        for disk in self.disk().after_power_cuts().into_iter().chain([self.disk().as_seen()]) {
            let names = disk.names();
            if self.is_unknown() {
                let kept = names.iter().any(|name| shows(&disk, name, &after));
                assert!(kept, "a commit is nowhere in {names:?}: {}", self.case);
            } else {
                check_file(&disk, SOURCE, &[after.clone(), after.clone()], 0);
                assert!(!names.contains(&TARGET.to_owned()), "nobody goes on with the target: {}", self.case);
            }
        }
    }

    /// The host's own commit has failed: it opens the file again and goes on with what that shows.
    fn begins_anew(&mut self) {
        drop(self.world.writer.take());
        let options = OpenOptions::new().file_ops(self.world.ops.clone()).naming(self.disk().naming());
        let db = options.open(self.world.path(SOURCE)).expect("open again");
        let reached = usize::from(db.info().unwrap().last_sequence == self.world.models[1].update_seq);
        let mut after = self.world.models[reached].clone();
        change(&db, &mut after, 60).expect("a commit after opening again");
        for disk in self.disk().after_power_cuts().into_iter().chain([self.disk().as_seen()]) {
            if !self.is_unknown() {
                check_file(&disk, SOURCE, &[after.clone(), after.clone()], 0);
            }
        }
    }

    /// After a single fault only what belongs there is in the folder. Removing the replaced file may fail unnoticed.
    fn check_names(&self) {
        let Run { setting: Setting { swap, .. }, fault, case, .. } = self;
        let done = self.result.is_ok();
        let names = self.disk().names();
        let expected = if done && *swap == Swap::None { &[SOURCE, TARGET][..] } else { &[SOURCE] };
        let other = names.iter().filter(|name| !expected.contains(&name.as_str())).collect::<Vec<_>>();
        assert!(expected.iter().all(|name| names.iter().any(|found| found == name)), "{case}");
        let lied = fault.effect == Effect::NotRemoved;
        let may_stay = lied || done && *swap == Swap::Replace && !self.only_an_answer_is_lost();
        assert!(other.len() <= usize::from(may_stay), "foreign files: {case}");
        assert!(other.iter().all(|name| lied || is_displaced(name)), "{case}");
    }

    /// Whatever was left, the next compaction in the folder removes it, unless it holds what is nowhere else.
    fn check_that_the_next_one_tidies_up(&self) {
        if self.setting.ground == Ground::Callers {
            // Nobody can list the files, or lock them.
            return;
        }
        let source = Db::open(self.world.path(SOURCE)).unwrap();
        compact(&source, self.world.path("again"), &CompactOptions::default()).expect(&self.case);
        let found = source.info().unwrap().last_sequence;
        for name in crate::common::naming::names_in(self.world.folder.as_ref().unwrap().path()) {
            if [SOURCE, TARGET, "again"].contains(&name.as_str()) {
                continue;
            }
            let kept = Db::open(self.world.path(&name)).map(|db| db.info().unwrap().last_sequence);
            assert!(
                is_displaced(&name) && kept.is_ok_and(|kept| kept > found),
                "{name} stays: {}",
                self.case
            );
        }
    }
}

/// Whether this file shows this state.
fn shows(disk: &SimDisk, name: &str, model: &Model) -> bool {
    let opened = OpenOptions::new().read_only(true).file_ops(disk.ops()).open(name);
    let Ok(db) = opened else { return false };
    let found = db.info().unwrap().last_sequence == model.update_seq;
    if found {
        model.check(&db);
    }
    found
}

fn settings(swap: Swap) -> Vec<Setting> {
    let usual = Setting { ground: Ground::Callers, swap, unbuffered: false, switches: true };
    let mut settings = vec![Setting { unbuffered: true, ..usual }];
    for ground in [Ground::Callers, Ground::CallersInFolder, Ground::Default] {
        settings.extend([true, false].map(|switches| Setting { ground, switches, ..usual }));
    }
    settings
}

fn fail_every_call_in_every_way(swap: Swap) {
    let (mut runs, mut failures) = (0, 0);
    for setting in settings(swap) {
        for kind in CallKind::ALL {
            // Undoing is a matter of names.
            if !setting.switches && ![CallKind::Naming, CallKind::Sync].contains(&kind) {
                continue;
            }
            // The way back fails, too.
            let more = (kind == CallKind::Naming).then_some(Repeat::Twice);
            // Undoing relies on it that what is reported as removed is gone; what is left over need not be.
            let effects =
                effects(kind).into_iter().filter(|&it| setting.switches || it != Effect::NotRemoved);
            for effect in effects {
                for repeat in [Repeat::Once, Repeat::FromThenOn].into_iter().chain(more) {
                    let run = |index| run_with(setting, Fault { kind, index, repeat, effect });
                    let results = (0..).map_while(run);
                    for failed in results {
                        runs += 1;
                        failures += u32::from(failed);
                    }
                }
            }
        }
    }
    println!("{swap:?}: {runs} runs with a fault, of which {failures} failed");
    assert!(runs > 1_000 && failures > 500);
}

#[test]
fn every_call_fails_in_every_way_in_a_compaction_to_a_new_name() {
    fail_every_call_in_every_way(Swap::None);
}

#[test]
fn every_call_fails_in_every_way_in_a_compaction_in_place() {
    fail_every_call_in_every_way(Swap::Replace);
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
    let options =
        CompactOptions::new().file_ops(Arc::new(observed.clone())).naming(Arc::new(observed.clone()));
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
