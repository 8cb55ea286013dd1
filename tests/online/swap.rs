// SPDX-License-Identifier: Apache-2.0

//! Names, exclusion of a second compaction, files that are deleted or replaced meanwhile.

use crate::common::rng::Rng;
use crate::common::{files_in, temp_dir};
use crate::steps::Steps;
use crate::world::{Habits, SOURCE, World};
use couchstore::{
    CompactHooks, Db, Error, ErrorCode, OnlineHooks, OnlineOptions, ReplayHooks, Result, Swap, compact_online,
};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

const AT_REST: Habits = Habits { rewinds: false, old_sequences: false, legacy: false };

fn world() -> World {
    World::new(Rng::with_seed(3), AT_REST)
}

fn replacing() -> OnlineOptions {
    OnlineOptions::new().swap(Swap::Replace)
}

/// No hooks but one: something is done while the copy is made.
pub(crate) struct While<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> CompactHooks for While<F> {
    fn copied(&mut self, _: &Db) -> Result<()> {
        self.0();
        Ok(())
    }
}
impl<F: FnMut()> ReplayHooks for While<F> {}
impl<F: FnMut()> OnlineHooks for While<F> {}

pub(crate) fn nothing() -> While<impl FnMut()> {
    While(|| {})
}

fn check_failed<T: std::fmt::Debug>(result: Result<T>, code: ErrorCode, os_error: i32) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.os_error()), (code, Some(os_error)), "{error}");
}

#[test]
fn a_target_that_exists_is_left_alone() {
    let world = world();
    for (index, content) in [&b"something"[..], b""].into_iter().enumerate() {
        std::fs::write(world.target(), content).unwrap();
        let result =
            compact_online(world.source(), world.target(), &OnlineOptions::default(), &mut nothing());
        check_failed(result, ErrorCode::OPEN_FILE, libc::EEXIST);
        assert_eq!(std::fs::read(world.target()).unwrap(), content, "{index}");
    }
    // A link that leads nowhere is a name, too.
    std::fs::remove_file(world.target()).unwrap();
    std::os::unix::fs::symlink("nowhere", world.target()).unwrap();
    let result = compact_online(world.source(), world.target(), &OnlineOptions::default(), &mut nothing());
    check_failed(result, ErrorCode::OPEN_FILE, libc::EEXIST);
    assert_eq!(files_in(world.folder.path()), 2);
}

#[test]
fn a_target_that_appears_meanwhile_is_left_alone() {
    let world = world();
    let target = world.target();
    let mut appears = While(|| std::fs::write(&target, "mine").unwrap());
    let result = compact_online(world.source(), &target, &OnlineOptions::default(), &mut appears);
    check_failed(result, ErrorCode::OPEN_FILE, libc::EEXIST);
    assert_eq!(std::fs::read(&target).unwrap(), b"mine");
    std::fs::remove_file(&target).unwrap();
    world.check_alone();
}

#[test]
fn no_source_and_no_folder() {
    let world = world();
    let missing = world.folder.path().join("missing");
    for swap in [Swap::None, Swap::Replace] {
        let options = OnlineOptions::new().swap(swap);
        let result = compact_online(&missing, world.target(), &options, &mut nothing());
        check_failed(result, ErrorCode::NO_SUCH_FILE, libc::ENOENT);
    }
    let result = compact_online(world.source(), missing.join("x"), &OnlineOptions::default(), &mut nothing());
    check_failed(result, ErrorCode::NO_SUCH_FILE, libc::ENOENT);
    world.check_alone();
}

#[test]
fn a_source_that_is_deleted_meanwhile() {
    let world = world();
    let source = world.source();
    let mut deletes = While(|| std::fs::remove_file(&source).unwrap());
    let result = compact_online(&source, "", &replacing(), &mut deletes);
    check_failed(result, ErrorCode::OPEN_FILE, libc::ESTALE);
    assert_eq!(files_in(world.folder.path()), 0);
    world.committed().check(&Db::open(world.lasting_path()).unwrap());
}

/// Without a swap a host deletes the source when it likes: what it held is in the result.
#[test]
fn a_deleted_source_still_gives_a_target() {
    let world = world();
    let (source, target) = (world.source(), world.target());
    let mut deletes = While(|| std::fs::remove_file(&source).unwrap());
    compact_online(&source, &target, &OnlineOptions::default(), &mut deletes).unwrap();
    world.committed().compacted(false).check(&Db::open(&target).unwrap());
    assert_eq!(files_in(world.folder.path()), 1);
}

#[test]
fn a_source_that_is_replaced_meanwhile_stays_replaced() {
    let world = world();
    let source = world.source();
    let mut replaces = While(|| {
        std::fs::write(source.with_extension("new"), "another file").unwrap();
        std::fs::rename(source.with_extension("new"), &source).unwrap();
    });
    let result = compact_online(&source, "", &replacing(), &mut replaces);
    check_failed(result, ErrorCode::OPEN_FILE, libc::ESTALE);
    assert_eq!(std::fs::read(&source).unwrap(), b"another file");
    assert_eq!(files_in(world.folder.path()), 1);
}

/// The source is rewound, which begins the copy anew, and replaced, so that the name leads to a file that nobody
/// has locked.
#[test]
fn a_copy_that_begins_anew_notices_another_file() {
    let mut world = world();
    let (source, target) = (world.source(), world.target());
    let mut rewind = While(|| {
        let copy = source.with_extension("copy");
        std::fs::copy(&source, &copy).unwrap();
        world.writer.seek_offset(world.commits[1].0 as i64).unwrap();
        world.commit();
        std::fs::rename(&copy, &source).unwrap();
    });
    let options = OnlineOptions::new().delta_bytes_for_lock(0);
    check_failed(compact_online(&source, &target, &options, &mut rewind), ErrorCode::OPEN_FILE, libc::ESTALE);
    assert_eq!(files_in(world.folder.path()), 1);
}

/// While one runs, others of the same source fail, whatever their target and whoever they are.
#[test]
fn a_second_compaction_is_refused_and_the_first_is_not_disturbed() {
    let world = world();
    let (source, target) = (world.source(), world.target());
    let mut tried = 0;
    let mut second = While(|| {
        for (swap, name) in [(Swap::None, "x"), (Swap::Replace, "")] {
            let options = OnlineOptions::new().swap(swap);
            let result = compact_online(&source, source.with_extension(name), &options, &mut nothing());
            check_failed(result, ErrorCode::OPEN_FILE, libc::EBUSY);
            tried += 1;
        }
        assert_eq!(in_another_process(&source), "refused");
    });
    compact_online(&source, &target, &OnlineOptions::default(), &mut second).unwrap();
    assert_eq!(tried, 2);
    world.committed().compacted(false).check(&Db::open(&target).unwrap());
    assert_eq!(files_in(world.folder.path()), 2);
    // Afterwards it is allowed again.
    assert_eq!(in_another_process(&source), "done");
    world.check_untouched();
}

/// As a child process that is being started has them for a moment.
#[test]
fn other_descriptors_of_the_source_keep_nobody_out() {
    let world = world();
    let source = world.source();
    let mut inherited = Vec::new();
    let mut inherit = While(|| {
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let entry = entry.unwrap().path();
            if std::fs::read_link(&entry).is_ok_and(|path| path == source) {
                let number = entry.file_name().unwrap().to_str().unwrap().parse().unwrap();
                // SAFETY: a descriptor of this file, which stays open while the compaction runs.
                let file = unsafe { BorrowedFd::borrow_raw(number) };
                inherited.push(file.try_clone_to_owned().unwrap());
            }
        }
    });
    compact_online(&source, world.target(), &OnlineOptions::default(), &mut inherit).unwrap();
    assert!(inherited.len() >= 2, "the one that is locked, and the one that is read");
    compact_online(&source, "", &replacing(), &mut nothing()).unwrap();
}

/// Compacts in a process of its own: this program with a test that only then does something.
fn in_another_process(source: &Path) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "swap::the_other_process", "--nocapture"])
        .env("COUCHSTORE_ONLINE_SOURCE", source)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let result = text.lines().find_map(|line| line.split("result: ").nth(1));
    result.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn the_other_process() {
    let Some(source) = std::env::var_os("COUCHSTORE_ONLINE_SOURCE") else { return };
    let result = match compact_online(Path::new(&source), "", &replacing(), &mut nothing()) {
        Ok(_) => "done",
        Err(error) if error.os_error() == Some(libc::EBUSY) => "refused",
        Err(_) => "failed",
    };
    println!("result: {result}");
}

#[test]
fn handles_keep_the_old_file_and_can_tell() {
    let mut world = world();
    let source = world.source();
    let reader = Db::open(&source).unwrap();
    let before = world.committed().clone();
    compact_online(&source, "", &replacing(), &mut nothing()).unwrap();
    for handle in [&reader, &world.writer] {
        assert_eq!(handle.is_current().unwrap(), Some(false));
    }
    before.check(&reader);
    let new = Db::open(&source).unwrap();
    assert_eq!(new.is_current().unwrap(), Some(true));
    before.compacted(false).check(&new);
    // The old file takes no commits, which nobody else would see.
    world.change();
    assert_eq!(world.writer.commit().unwrap_err().code(), ErrorCode::DB_NO_LONGER_VALID);
    before.compacted(false).check(&Db::open(&source).unwrap());
}

#[test]
fn the_result_has_the_permissions_of_the_file_that_it_replaces() {
    let world = world();
    let source = world.source();
    for mode in [0o600, 0o664, 0o640] {
        std::fs::set_permissions(&source, std::fs::Permissions::from_mode(mode)).unwrap();
        compact_online(&source, "", &replacing(), &mut nothing()).unwrap();
        assert_eq!(std::fs::metadata(&source).unwrap().mode() & 0o777, mode);
    }
}

#[test]
fn a_symbolic_link_stays_one() {
    let world = world();
    let elsewhere = temp_dir();
    let link = elsewhere.path().join("link");
    std::os::unix::fs::symlink(world.source(), &link).unwrap();
    compact_online(&link, "", &replacing(), &mut nothing()).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(world.writer.is_current().unwrap(), Some(false));
    assert_eq!((files_in(world.folder.path()), files_in(elsewhere.path())), (1, 1));
    world.committed().compacted(false).check(&Db::open(&link).unwrap());
}

#[test]
fn names_without_a_folder_and_with_a_zero_byte() {
    let world = world();
    let result = compact_online("a\0b", world.target(), &OnlineOptions::default(), &mut nothing());
    assert!(matches!(result, Err(Error::InvalidArguments(_))));
    let result = compact_online(world.source(), "/", &OnlineOptions::default(), &mut nothing());
    assert_eq!(result.unwrap_err().code(), ErrorCode::OPEN_FILE);
    world.check_alone();
}

#[test]
fn rewriting_without_a_filter_is_refused_before_anything_happens() {
    struct Rewrites;
    impl CompactHooks for Rewrites {
        fn rewrites(&self) -> bool {
            true
        }
    }
    impl ReplayHooks for Rewrites {}
    impl OnlineHooks for Rewrites {}
    let world = world();
    let result = compact_online(world.source(), world.target(), &OnlineOptions::default(), &mut Rewrites);
    assert!(matches!(result, Err(Error::InvalidArguments(_))));
    world.check_alone();
    assert!(world.source().ends_with(SOURCE));
}

/// A compaction of a file that nobody writes to does nothing under the lock but naming.
#[test]
fn stats_of_a_file_at_rest() {
    let mut world = world();
    let (source, target) = (world.source(), world.target());
    let mut steps = Steps::new(&mut world, 0);
    let stats = compact_online(&source, &target, &OnlineOptions::default(), &mut steps).unwrap();
    assert_eq!((steps.locks, steps.unlocks, steps.published), (1, 1, 1));
    assert_eq!((stats.rounds, stats.restarts, stats.locked_bytes), (0, 0, 0));
    assert_eq!(stats.bytes, std::fs::metadata(&target).unwrap().len());
    assert!(stats.lock_time <= stats.total_time);
}
