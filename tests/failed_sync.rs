// SPDX-License-Identifier: Apache-2.0

//! After a failed sync the operating system may have dropped what it could not write, and says nothing of it later:
//! the handle writes no more. Only the second sync of a commit may be tried again, by writing its one byte again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::watched::{Call, Effect, FAILURE, Fault, Kind};
use common::world::{NAME, World};
use couchstore::{Document, Error, ErrorCode, LocalUpdate, SaveOptions};

fn failed_sync(index: usize, times: usize) -> Fault {
    Fault { kind: Kind::Sync, index, times, effect: Effect::Fail }
}

#[test]
fn after_a_failed_sync_the_handle_only_reads() {
    for index in [0, 1] {
        let world = World::new(false);
        let db = world.open();
        db.save(&[Document::new(b"new", b"new")], SaveOptions::default()).unwrap();
        world.watched.set_fault(Some(failed_sync(index, 1)));
        assert_eq!(db.commit().unwrap_err().code(), FAILURE);
        world.watched.take_log();
        let refused = [
            db.commit(),
            db.save(&[Document::new(b"a", b"a")], SaveOptions::default()).map(drop),
            db.save_local(&[LocalUpdate { id: b"a", body: None }]),
        ];
        for result in refused {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Latched { .. }), "{error}");
            assert_eq!(error.code(), ErrorCode::WRITE);
        }
        assert_eq!(db.get(b"a").unwrap().unwrap().len(), 30);
        db.close().unwrap();
        assert_eq!(world.watched.count(Kind::Write), 0, "nothing more is written, also not at close");
        // With the first sync failed nobody sees the commit; with the second one everybody may.
        let reopened = world.memory.options().open(NAME).unwrap();
        assert_eq!(reopened.get(b"new").unwrap().is_some(), index == 1);
        reopened.save(&[Document::new(b"more", b"more")], SaveOptions::default()).unwrap();
        reopened.commit().unwrap();
    }
}

#[test]
fn a_periodic_sync_that_fails_inside_a_write_counts_as_a_failed_sync() {
    let world = World::new(false);
    let db = world.open();
    let fault = Fault { kind: Kind::Write, index: 0, times: 1, effect: Effect::FailedSync };
    world.watched.set_fault(Some(fault));
    let body = vec![0; 200_000];
    let error = db.save(&[Document::new(b"new", &body)], SaveOptions::default()).unwrap_err();
    assert_eq!(error.code(), FAILURE);
    assert!(matches!(db.commit(), Err(Error::Latched { .. })));
    world.before.check(&db);
    drop(db);
    world.check_file(NAME, &[&world.before]);
}

#[test]
fn the_second_sync_may_be_tried_again() {
    let world = World::new(false);
    let db = world.open();
    db.save(&[Document::new(b"new", b"new")], SaveOptions::default()).unwrap();
    world.watched.take_log();
    world.watched.set_fault(Some(failed_sync(1, 2)));
    let mut asked = Vec::new();
    db.commit_with(
        7,
        Some(&mut |errno| {
            asked.push(errno);
            true
        }),
    )
    .unwrap();
    assert_eq!(asked, [libc::EIO, libc::EIO]);
    // The byte is written again each time: a sync alone proves nothing.
    let header = db.header_position();
    let flips = world.watched.take_log();
    let flips = flips.iter().filter(|call| **call == Call::Write(1, header)).count();
    assert_eq!(flips, 3);
    db.commit().unwrap();
}

#[test]
fn a_caller_who_gives_up_is_asked_once() {
    let world = World::new(true);
    let db = world.open();
    world.watched.set_fault(Some(failed_sync(1, usize::MAX)));
    let mut asked = 0;
    let result = db.commit_with(
        7,
        Some(&mut |_| {
            asked += 1;
            false
        }),
    );
    assert_eq!((result.unwrap_err().code(), asked), (FAILURE, 1));
    // The first sync is never tried again.
    let db = world.memory.options().open(NAME).unwrap();
    drop(db);
    let db = world.open();
    world.watched.set_fault(Some(failed_sync(0, usize::MAX)));
    assert!(db.commit_with(7, Some(&mut |_| panic!("asked"))).is_err());
}
