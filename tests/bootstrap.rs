// SPDX-License-Identifier: Apache-2.0

//! Which names can be created atomically, and as what. What happens when that fails is in `reliability`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::memory::Memory;
use common::watched::Watched;
use couchstore::io::posix::PosixOps;
use couchstore::{Db, Document, Error, ErrorCode, OpenOptions, SaveOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

fn put(db: &Db) {
    db.save(&[Document::new(b"a", b"1")], SaveOptions::default()).unwrap();
    db.commit().unwrap();
}

fn check(path: &Path) {
    assert!(path.symlink_metadata().unwrap().is_file(), "{}", path.display());
    assert_eq!(Db::open(path).unwrap().get(b"a").unwrap().unwrap(), b"1");
}

#[test]
fn a_link_that_leads_nowhere_says_where_the_file_is_made() {
    let dir = common::temp_dir();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    // By its whole name, relative to the link's folder, and over several links.
    symlink(path("whole-file"), path("whole")).unwrap();
    symlink("folder/relative-file", path("relative")).unwrap();
    symlink("../chain-file", path("folder/chain")).unwrap();
    symlink("folder/chain", path("chain")).unwrap();
    for (link, file) in
        [("whole", "whole-file"), ("relative", "folder/relative-file"), ("chain", "chain-file")]
    {
        put(&Db::create(path(link)).unwrap());
        check(&path(file));
        assert!(path(link).symlink_metadata().unwrap().is_symlink(), "{link}");
        // Now there is one: it is opened.
        let db = Db::create(path(link)).unwrap();
        assert_eq!(db.get(b"a").unwrap().unwrap(), b"1");
    }
    assert_eq!(common::files_in(dir.path()), 6, "nothing else is left");
    assert_eq!(common::files_in(&path("folder")), 2);
}

#[test]
fn links_to_nowhere_that_cannot_be_followed() {
    let dir = common::temp_dir();
    let path = |name: &str| dir.path().join(name);
    symlink("loop", path("loop")).unwrap();
    symlink("missing/file", path("no-folder")).unwrap();
    symlink("file", path("link")).unwrap();
    for name in ["loop", "no-folder"] {
        Db::create(path(name)).unwrap_err();
    }
    // Whoever insists on a new file does not want what a link names.
    let error = OpenOptions::new().create(true).exclusive(true).open(path("link")).unwrap_err();
    assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
    assert_eq!(common::files_in(dir.path()), 3);
}

#[test]
fn a_name_that_ends_with_a_slash_is_no_files() {
    let dir = common::temp_dir();
    for name in ["new.couch/", "new.couch//"] {
        let name = format!("{}/{name}", dir.path().display());
        assert_eq!(Db::create(&name).unwrap_err().code(), ErrorCode::OPEN_FILE, "{name}");
        let exclusive = OpenOptions::new().create(true).exclusive(true);
        assert_eq!(exclusive.open(&name).unwrap_err().code(), ErrorCode::OPEN_FILE, "{name}");
    }
    assert_eq!(common::files_in(dir.path()), 0);
}

/// What is created atomically is there with its first header, or not at all.
#[test]
fn a_file_without_header_is_not_created_atomically() {
    let dir = common::temp_dir();
    let path = dir.path().join("new.couch");
    let options = OpenOptions::new().create(true).no_commit_at_create(true).bootstrap(true);
    assert_eq!(options.open(&path).unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
    let options = options.file_ops(Memory::default().ops());
    assert_eq!(options.open(&path).unwrap_err().code(), ErrorCode::INVALID_ARGUMENTS);
    assert_eq!(common::files_in(dir.path()), 0);
}

/// What is acknowledged lasts: also the header of a file that was there, but empty. A caller's operations are not asked
/// to sync before the first commit.
#[test]
fn an_existing_empty_file_gets_a_durable_header() {
    let dir = common::temp_dir();
    let path = dir.path().join("empty");
    let own = Watched::new(Arc::new(PosixOps)).ops();
    let all = OpenOptions::new();
    for (options, syncs) in [(all.clone(), 1), (all.clone().create(true), 1), (all.file_ops(own), 0)] {
        std::fs::write(&path, "").unwrap();
        let db = options.open(&path).unwrap();
        assert_eq!(db.file_stats().unwrap().sync_count, syncs);
        drop(db);
        assert_eq!(Db::open(&path).unwrap().file_stats().unwrap().sync_count, 0, "it is one now");
    }
}

#[test]
fn what_is_no_regular_file_is_called_so() {
    for options in [OpenOptions::new(), OpenOptions::new().read_only(true), OpenOptions::new().create(true)] {
        let error = options.open("/dev/null").unwrap_err();
        assert!(matches!(error, Error::NotRegular { .. }), "{error:?}");
        assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EINVAL)));
        assert_eq!(error.to_string(), "/dev/null: not a regular file, so it cannot be a database");
    }
}
