// SPDX-License-Identifier: Apache-2.0

//! What the answers of locking mean, and those of asking what a name leads to.

use crate::common::naming::{Failure, Fault, Faulty, Lacks, Then};
use crate::common::rng::Rng;
use crate::swap::nothing;
use crate::world::{Habits, World};
use couchstore::{CompactOptions, Db, ErrorCode, OnlineOptions, Result, Swap, compact_online};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

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
