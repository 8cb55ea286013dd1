// SPDX-License-Identifier: Apache-2.0

//! What the answers of locking mean, and those of asking what a name leads to.

use crate::common::forwarding::{Call, Forwarding};
use crate::common::memory::Memory;
use crate::common::naming::{Failure, Fault, Faulty, Lacks, Then, names_in};
use crate::common::rng::Rng;
use crate::common::temp_dir;
use crate::swap::{While, nothing};
use crate::world::{Habits, World};
use couchstore::io::IoError;
use couchstore::{
    CompactHooks, CompactOptions, Db, Document, Error, ErrorCode, OnlineHooks, OnlineOptions, ReplayHooks,
    Result, SaveOptions, Swap, compact_online,
};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

fn world() -> World {
    World::new(Rng::with_seed(9), Habits { rewinds: false, old_sequences: false, legacy: false })
}

/// Compacts; locking the source answers this.
fn compact_with_answer(world: &World, swap: Swap, errno: i32) -> Result<()> {
    let options = |naming| OnlineOptions::new().swap(swap).compact(CompactOptions::new().naming(naming));
    // The source is locked before anything is made that could be locked.
    let calls = Faulty::counting();
    let elsewhere = self::world();
    compact_online(elsewhere.source(), elsewhere.target(), &options(calls.clone()), &mut nothing()).unwrap();
    let at = calls.log().iter().position(|&call| call == "try lock").unwrap();
    let at = if swap == Swap::Replace { 0 } else { at };
    let fault = Fault { at, failure: Failure::NotDone(errno), then: Then::Nothing };
    let naming = Faulty::new(Lacks::default(), Some(fault));
    let result = compact_online(world.source(), world.target(), &options(naming.clone()), &mut nothing());
    assert_eq!(naming.log()[at], "try lock");
    result.map(drop)
}

#[test]
fn where_there_are_no_locks_a_compaction_goes_on_without() {
    for swap in [Swap::None, Swap::Replace] {
        for errno in [libc::ENOLCK, libc::ENOSYS, libc::EOPNOTSUPP] {
            compact_with_answer(&world(), swap, errno).unwrap();
        }
    }
}

/// Any other failure tells nothing of whether somebody else has the lock.
#[test]
fn a_lock_that_cannot_be_asked_for_is_an_error() {
    for swap in [Swap::None, Swap::Replace] {
        for errno in [libc::EIO, libc::EBADF, libc::EINVAL, libc::ENOMEM, libc::ESTALE] {
            let world = world();
            let error = compact_with_answer(&world, swap, errno).unwrap_err();
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(errno)));
            world.check_alone();
        }
        let error = compact_with_answer(&world(), swap, libc::EWOULDBLOCK).unwrap_err();
        assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EBUSY)));
    }
}

/// NFS locks nothing that is not open for writing; a folder cannot be opened so.
#[test]
fn what_cannot_be_locked_since_it_may_only_be_read() {
    let compacted = |swap, errno| {
        let world = world();
        let folder = world.folder.path().join("folder");
        std::fs::create_dir(&folder).unwrap();
        let compacted = |naming| {
            let options = OnlineOptions::new().swap(swap).compact(CompactOptions::new().naming(naming));
            compact_online(&folder, world.target(), &options, &mut nothing()).unwrap_err()
        };
        let calls = Faulty::counting();
        compacted(calls.clone());
        let at = calls.log().iter().position(|&call| call == "try lock").unwrap();
        let fault = Fault { at, failure: Failure::NotDone(errno), then: Then::Nothing };
        compacted(Faulty::new(Lacks::default(), Some(fault)))
    };
    // One that goes on finds out that it is no file.
    assert_eq!(compacted(Swap::None, libc::EBADF).os_error(), Some(libc::EISDIR));
    let error = compacted(Swap::Replace, libc::EBADF);
    assert!(matches!(error, Error::Naming { .. }) && error.os_error() == Some(libc::EBADF), "{error:?}");
    for swap in [Swap::None, Swap::Replace] {
        assert_eq!(compacted(swap, libc::EIO).os_error(), Some(libc::EIO));
    }
}

/// Files that only a caller's operations know have names that lead nowhere; that this cannot be told is something else.
#[test]
fn a_name_that_cannot_be_followed_is_an_error() {
    let folder = temp_dir();
    let memory = Memory::default();
    let compacted = |name: &str| {
        let source = folder.path().join(name);
        drop(memory.open(source.to_str().unwrap()));
        let options = OnlineOptions::new().compact(CompactOptions::new().file_ops(memory.ops()));
        compact_online(&source, folder.path().join(format!("{name}-target")), &options, &mut nothing())
    };
    // These file operations make no files that could be named, and that is found later.
    let nowhere = compacted("nowhere").unwrap_err();
    symlink("loop", folder.path().join("loop")).unwrap();
    let error = compacted("loop").unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::ELOOP)));
    assert_ne!(nowhere.os_error(), Some(libc::ELOOP));
    // The library's own know no others.
    let missing = folder.path().join("missing");
    let error = compact_online(missing, folder.path().join("t"), &OnlineOptions::new(), &mut nothing());
    let error = error.unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::NO_SUCH_FILE, Some(libc::ENOENT)));
}

/// Whose rights the result is to have must be known, too; but for files that only a caller's operations know.
#[test]
fn a_name_that_cannot_be_followed_any_more_is_an_error() {
    let world = world();
    let source = world.source();
    let mut displace = While(|| {
        std::fs::rename(&source, source.with_extension("moved")).unwrap();
        symlink(source.file_name().unwrap(), &source).unwrap();
    });
    let ops = CompactOptions::new().file_ops(Arc::new(Forwarding::default()));
    let options = OnlineOptions::new().swap(Swap::Replace).compact(ops);
    let error = compact_online(&source, "", &options, &mut displace).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::ELOOP)));
}

/// Compacts a source of so many large bodies; returns how often the caller's operations were asked to sync, too.
fn counted(replacing: bool, blocks: usize, mut before_publish: impl FnMut(&AtomicBool)) -> (World, usize) {
    let mut world = world();
    for number in 0..blocks {
        let (id, body) = (format!("large-{number}"), world.rng.noise(1 << 20));
        world.writer.save(&[Document::new(id.as_bytes(), &body)], SaveOptions::default()).unwrap();
        world.writer.commit().unwrap();
    }
    let (failing, syncs) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (fails, counts) = (failing.clone(), syncs.clone());
    let ops = Forwarding::default().before(move |call| match call {
        Call::Read(_) if fails.load(Ordering::Relaxed) => Err(IoError::new(ErrorCode::READ, libc::EIO)),
        Call::Sync => {
            counts.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
        _ => Ok(()),
    });
    let swap = if replacing { Swap::Replace } else { Swap::None };
    let options = OnlineOptions::new().swap(swap).compact(CompactOptions::new().file_ops(Arc::new(ops)));
    let mut publish = Publish(|| before_publish(&failing));
    compact_online(world.source(), world.target(), &options, &mut publish).unwrap();
    (world, syncs.load(Ordering::Relaxed))
}

/// Does something when the result has its name.
struct Publish<F: FnMut()>(F);

impl<F: FnMut()> CompactHooks for Publish<F> {}
impl<F: FnMut()> ReplayHooks for Publish<F> {}
impl<F: FnMut()> OnlineHooks for Publish<F> {
    fn publish(&mut self, _: &Db, _: &Db) -> Result<()> {
        self.0();
        Ok(())
    }
}

/// Whether somebody has written to the replaced file is found out by the library's own calls.
#[test]
fn a_replaced_file_goes_though_the_callers_operations_do_not_read_any_more() {
    let (world, _) = counted(true, 0, |failing| failing.store(true, Ordering::Relaxed));
    assert_eq!(names_in(world.folder.path()).len(), 1);
}

/// What a copy is to be synced on the way is for the library's own operations.
#[test]
fn a_callers_operations_are_asked_for_no_further_syncs() {
    let [small, large] = [0, 12].map(|blocks| counted(false, blocks, |_| {}).1);
    assert_eq!(small, large);
}

/// The calls of a compaction, and which of them gives the new file its first name.
fn naming_calls(swap: Swap) -> (Vec<&'static str>, usize) {
    let (world, naming) = (world(), Faulty::counting());
    let options = OnlineOptions::new().swap(swap).compact(CompactOptions::new().naming(naming.clone()));
    compact_online(world.source(), world.target(), &options, &mut nothing()).unwrap();
    let calls = naming.log();
    // The first one finds out whether there is such a call.
    let at = calls.iter().rposition(|&call| call == "link unnamed").unwrap();
    (calls, at)
}

/// One that has it already needs no lock; the first of two names is one that leftovers have, too.
#[test]
fn a_file_without_a_name_is_locked_before_it_gets_one_of_a_leftover() {
    let (calls, at) = naming_calls(Swap::None);
    assert_ne!(calls[at - 1], "try lock");
    let (calls, at) = naming_calls(Swap::Replace);
    assert_eq!(calls[at - 1], "try lock");
    for (errno, fails) in [(libc::EIO, true), (libc::EBADF, true), (libc::ENOLCK, false)] {
        let world = world();
        let fault = Fault { at: at - 1, failure: Failure::NotDone(errno), then: Then::Nothing };
        let naming = Faulty::new(Lacks::default(), Some(fault));
        let options = OnlineOptions::new().swap(Swap::Replace).compact(CompactOptions::new().naming(naming));
        let result = compact_online(world.source(), world.target(), &options, &mut nothing());
        assert_eq!(result.is_err(), fails);
        if let Err(error) = result {
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(errno)));
            world.check_alone();
        }
    }
}

/// What a compaction makes has its source's permissions, whether it has a name meanwhile or not.
#[test]
fn a_temporary_name_does_not_change_who_may_read_the_file() {
    let modes = Lacks::ways().flat_map(|lacks| {
        [Swap::None, Swap::Replace].map(|swap| {
            let world = world();
            std::fs::set_permissions(world.source(), Permissions::from_mode(0o600)).unwrap();
            let naming = CompactOptions::new().naming(Faulty::new(lacks, None));
            let options = OnlineOptions::new().swap(swap).compact(naming);
            compact_online(world.source(), world.target(), &options, &mut nothing()).unwrap();
            let made = if swap == Swap::None { world.target() } else { world.source() };
            (lacks, swap, std::fs::metadata(made).unwrap().mode() & 0o777)
        })
    });
    for (lacks, swap, mode) in modes {
        assert_eq!(mode, 0o600, "{lacks:?} {swap:?}");
    }
}

/// A handle is not given up because the system does not answer.
#[test]
fn what_cannot_be_asked_is_not_out_of_date() {
    let world = world();
    let folder = world.folder.path().join("folder");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("a");
    let db = Db::create(&path).unwrap();
    assert_eq!(db.is_current().unwrap(), Some(true));
    std::fs::rename(&path, folder.join("b")).unwrap();
    assert_eq!(db.is_current().unwrap(), Some(false), "gone");
    std::fs::write(&path, "").unwrap();
    assert_eq!(db.is_current().unwrap(), Some(false), "another file");
    std::fs::rename(&folder, world.folder.path().join("moved")).unwrap();
    assert_eq!(db.is_current().unwrap(), Some(false), "no folder");
    std::fs::write(&folder, "").unwrap();
    assert_eq!(db.is_current().unwrap(), Some(false), "a file for a folder");
    std::fs::remove_file(&folder).unwrap();
    symlink("folder", &folder).unwrap();
    let error = db.is_current().unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::ELOOP)));
}
