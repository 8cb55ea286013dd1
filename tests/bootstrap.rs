// SPDX-License-Identifier: Apache-2.0

//! Which names can be created atomically, and as what. What happens when that fails is in `reliability`.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::forwarding::{Call, Forwarding};
use common::memory::Memory;
use common::watched::Watched;
use couchstore::io::posix::PosixOps;
use couchstore::io::{FileHandle, FileOps, IoError, OpenMode};
use couchstore::{Db, Document, Error, ErrorCode, OpenOptions, SaveOptions};
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

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

/// File operations on the real file system that note how files are opened.
#[derive(Default)]
struct Noting(Mutex<Vec<(PathBuf, OpenMode)>>);

impl FileOps for Noting {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let path = PathBuf::from(OsStr::from_bytes(name.to_bytes()));
        self.0.lock().unwrap().push((path, mode));
        PosixOps.open(name, mode)
    }
}

/// A temporary name may be another's by chance: that one's file is not taken for a new one.
#[test]
fn a_callers_operations_make_temporary_files_that_did_not_exist() {
    let (dir, ops) = (common::temp_dir(), Arc::new(Noting::default()));
    let path = dir.path().join("a");
    OpenOptions::new().create(true).bootstrap(true).file_ops(ops.clone()).open(&path).unwrap();
    let opened = ops.0.lock().unwrap();
    assert!(opened.iter().any(|(name, mode)| *name != path && mode.create));
    assert!(opened.iter().all(|(_, mode)| mode.exclusive == mode.create), "{opened:?}");
}

/// Files in memory, of which is said, as if somebody made them right after the question, that they do not exist.
struct Hurried {
    memory: Memory,
    removed: AtomicBool,
    /// What opened files answer when they are asked for their size.
    size: Option<i32>,
}

impl FileOps for Hurried {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        // Files in memory do not know which of two was there first.
        let handle = self.memory.ops().open(name, OpenMode { exclusive: false, ..mode })?;
        let (size, error) = (self.size, |errno| Err(IoError::new(ErrorCode::READ, errno)));
        let ops = Forwarding::on(Arc::new(Opened(Mutex::new(Some(handle)))));
        let ops = ops.before(move |call| match (call, size) {
            (Call::Size, Some(errno)) => error(errno),
            _ => Ok(()),
        });
        ops.open(name, mode)
    }

    fn exists(&self, _: &CStr) -> bool {
        false
    }

    fn remove(&self, _: &CStr) {
        self.removed.store(true, Ordering::Relaxed);
    }
}

/// One file that is open already.
struct Opened(Mutex<Option<Box<dyn FileHandle>>>);

impl FileOps for Opened {
    fn open(&self, _: &CStr, _: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(self.0.lock().unwrap().take().unwrap())
    }
}

/// Whether a file is removed again that could not be opened after all.
fn is_removed(name: &str, content: Option<&[u8]>, exclusive: bool, size: Option<i32>) -> bool {
    let memory = Memory::default();
    if let Some(content) = content {
        memory.put(name, content.to_vec());
    }
    let ops = Arc::new(Hurried { memory, removed: AtomicBool::new(false), size });
    let options = OpenOptions::new().create(true).exclusive(exclusive).file_ops(ops.clone());
    options.open(name).unwrap_err();
    ops.removed.load(Ordering::Relaxed)
}

#[test]
fn only_what_was_made_here_is_removed_again() {
    let folder = common::temp_dir();
    let folder = folder.path().to_str().unwrap();
    assert!(is_removed("new", None, false, Some(libc::EIO)));
    assert!(is_removed("new", None, true, Some(libc::EIO)));
    // Somebody was faster, as the content tells, or the kind.
    assert!(!is_removed("faster", Some(b"no database"), false, None));
    assert!(!is_removed(folder, None, false, Some(libc::EIO)));
    // Where the operations promise that it is new they are believed.
    assert!(is_removed("new", Some(b"no database"), true, None));
}

#[test]
fn what_was_there_is_not_removed() {
    let dir = common::temp_dir();
    let path = dir.path().join("a");
    std::fs::write(&path, "").unwrap();
    let failing = Forwarding::default().before(|call| match call {
        Call::Size => Err(IoError::new(ErrorCode::READ, libc::EIO)),
        _ => Ok(()),
    });
    OpenOptions::new().create(true).file_ops(Arc::new(failing.clone())).open(&path).unwrap_err();
    assert!(path.exists());
    std::fs::remove_file(&path).unwrap();
    OpenOptions::new().create(true).file_ops(Arc::new(failing)).open(&path).unwrap_err();
    assert!(!path.exists(), "made by the call that failed");
}

/// What can be asked of file operations, which refuse one of them.
struct Refusing {
    ops: PosixOps,
    asked: Arc<Mutex<Vec<&'static str>>>,
    refused: &'static str,
}

struct RefusingFile {
    file: Box<dyn FileHandle>,
    asked: Arc<Mutex<Vec<&'static str>>>,
    refused: &'static str,
}

impl RefusingFile {
    fn ask(&self, what: &'static str) -> Result<(), IoError> {
        self.asked.lock().unwrap().push(what);
        if what == self.refused { Err(IoError::new(ErrorCode::OPEN_FILE, libc::ENOTSUP)) } else { Ok(()) }
    }
}

impl FileOps for Refusing {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let (file, asked, refused) = (self.ops.open(name, mode)?, self.asked.clone(), self.refused);
        Ok(Box::new(RefusingFile { file, asked, refused }))
    }
}

impl FileHandle for RefusingFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        self.file.pread(buf, offset)
    }
    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        self.file.pwrite(buf, offset)
    }
    fn size(&mut self) -> Result<u64, IoError> {
        self.file.size()
    }
    fn sync(&mut self) -> Result<(), IoError> {
        self.file.sync()
    }
    fn close(&mut self) -> Result<(), IoError> {
        self.file.close()
    }
    fn set_periodic_sync(&mut self, _: u64) -> Result<(), IoError> {
        self.ask("periodic sync")
    }
    fn set_tracing(&mut self) -> Result<(), IoError> {
        self.ask("tracing")
    }
    fn set_write_validation(&mut self) -> Result<(), IoError> {
        self.ask("write validation")
    }
    fn set_mprotect(&mut self) -> Result<(), IoError> {
        self.ask("mprotect")
    }
}

#[test]
fn file_operations_are_asked_for_what_is_wanted_and_may_refuse() {
    let dir = common::temp_dir();
    let wanted = ["tracing", "write validation", "mprotect", "periodic sync"];
    for (index, &refused) in wanted.iter().chain(&[""]).enumerate() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let ops = Arc::new(Refusing { ops: PosixOps, asked: asked.clone(), refused });
        let options = OpenOptions::new().create(true).file_ops(ops);
        let name = dir.path().join(index.to_string());
        options.open(&name).unwrap();
        assert!(asked.lock().unwrap().is_empty());
        let all = options.tracing(true).write_validation(true).mprotect(true).periodic_sync(Some(1 << 20));
        let opened = all.open(&name);
        assert_eq!(opened.is_err(), !refused.is_empty());
        if let Err(error) = opened {
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::ENOTSUP)));
        }
        let all: Vec<_> = wanted.iter().take(index + 1).copied().collect();
        assert_eq!(*asked.lock().unwrap(), all);
    }
}
