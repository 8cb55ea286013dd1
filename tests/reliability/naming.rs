// SPDX-License-Identifier: Apache-2.0

//! Failures of the system calls that give files their names, on a real file system.
//!
//! Each call that atomic creation makes on names fails: as if it had not been made, and as if its answer had got lost,
//! which network file systems do. The same on file systems that lack some of the calls.

use crate::common::model::Model;
use crate::common::naming::{Failure, Fault, Faulty, Lacks, Then, is_temporary, names_in};
use crate::common::temp_dir;
use crate::run::{message, report};
use couchstore::{CompactOptions, Db, Error, ErrorCode, OpenOptions, Result, compact};
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

const NAME: &str = "db.couch";

/// Descriptors that this process has open in a folder, of files without a name too.
fn descriptors_in(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

fn check_whole(path: &Path) {
    Model::default().check(&Db::open(path).expect("a complete database"));
}

/// Fails unless the file is an empty database as it is created.
pub(crate) fn check_new_database(path: &Path) {
    check_whole(path);
    assert_eq!(std::fs::read(path).unwrap()[0], 1, "block 0 begins with a header");
}

/// Which file operations write the file.
#[derive(Clone, Copy, Debug)]
enum Through {
    Default,
    /// The caller's, with [`OpenOptions::bootstrap`].
    Custom,
    /// The default ones, for the target of a compaction.
    Compaction,
}

/// The default operations, but not taken for them.
struct Foreign;

impl couchstore::io::FileOps for Foreign {
    fn open(
        &self,
        name: &CStr,
        mode: couchstore::io::OpenMode,
    ) -> Result<Box<dyn couchstore::io::FileHandle>, couchstore::io::IoError> {
        couchstore::io::posix::PosixOps.open(name, mode)
    }
}

fn create(dir: &Path, through: Through, exclusive: bool, naming: Arc<Faulty>) -> Result<Db> {
    let target = dir.join(NAME);
    if let Through::Compaction = through {
        let elsewhere = temp_dir();
        let source = Db::create(elsewhere.path().join(NAME))?;
        compact(&source, &target, &CompactOptions::new().naming(naming))?;
        return Db::open(target);
    }
    let options = OpenOptions::new().create(true).exclusive(exclusive).naming(naming);
    let options = match through {
        Through::Default | Through::Compaction => options,
        Through::Custom => options.file_ops(Arc::new(Foreign)).bootstrap(true),
    };
    options.open(target)
}

/// One run. Returns the calls.
fn run(through: Through, lacks: Lacks, fault: Option<Fault>) -> Vec<&'static str> {
    let dir = temp_dir();
    let naming = Faulty::new(lacks, fault);
    let result = create(dir.path(), through, false, naming.clone());
    let log = naming.log();
    let names = names_in(dir.path());
    match &result {
        Ok(db) => {
            Model::default().check(db);
            assert_eq!(names, [NAME], "{log:?}");
            check_whole(&dir.path().join(NAME));
        }
        Err(error) => {
            let Some(fault) = fault else { panic!("no fault, but {error}") };
            assert!(!fault.is_harmless(&log), "{error} after {log:?}");
            // A file that only the caller's operations can open is no help where the folder cannot be synced.
            let no_sync = lacks.syncs && log[fault.at] == "open existing";
            assert!(!is_unknown(error) || no_sync || !fault.can_be_undone(&log), "{error} after {log:?}");
            assert_eq!(error.code(), ErrorCode::OPEN_FILE, "{log:?}");
            let errno = error.os_error().unwrap();
            // If the file system lacks a call, and then does not say what is there, the first failure is told.
            let lacked = is_unknown(error) && [libc::EPERM, libc::EINVAL].contains(&errno);
            assert!(errno == fault.failure.errno() || lacked, "{error} after {log:?}");
            check_leftovers(dir.path(), &names, error, fault, &log);
        }
    }
    drop(result);
    assert_eq!(descriptors_in(dir.path()), 0, "descriptors that were not closed");
    // Whatever has been left behind does not disturb the next one, which removes it if it looks for that.
    if let (Through::Compaction, true) = (through, dir.path().join(NAME).exists()) {
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
    }
    let naming = Faulty::new(lacks, None);
    let again = create(dir.path(), through, false, naming.clone()).expect("create again");
    Model::default().check(&again);
    if !(lacks.locks || lacks.lists) && naming.log().contains(&"list") {
        assert_eq!(names_in(dir.path()), [NAME], "leftovers are removed");
    }
    log
}

/// Whether the library says that it does not know what the names lead to.
fn is_unknown(error: &Error) -> bool {
    matches!(error, Error::Naming { .. })
}

/// A failure leaves nothing. Only where all goes on failing something may stay, or the library says that it does not
/// know; then the name leads to a complete file.
fn check_leftovers(dir: &Path, names: &[String], error: &Error, fault: Fault, log: &[&str]) {
    let unknown = is_unknown(error);
    for name in names {
        if name == NAME {
            assert!(unknown, "the name stays after {log:?}");
            check_whole(&dir.join(NAME));
        } else {
            assert!(is_temporary(name), "{name}");
            assert!(unknown || fault.then != Then::Nothing, "{names:?} stays after {log:?}");
        }
    }
}

/// Each naming call fails in each way, on each kind of file system.
pub(crate) fn sweep() -> (u64, u64) {
    let (mut runs, mut violations) = (0, 0);
    let mut attempt = |through, lacks, fault| {
        runs += 1;
        std::panic::catch_unwind(AssertUnwindSafe(|| run(through, lacks, fault))).unwrap_or_else(|panic| {
            violations += 1;
            report(&format!("FAILED: naming, {through:?} {lacks:?} {fault:?}: {}", message(&*panic)));
            Vec::new()
        })
    };
    for through in [Through::Default, Through::Custom, Through::Compaction] {
        for lacks in Lacks::all() {
            for at in 0..attempt(through, lacks, None).len() {
                for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EROFS, libc::EACCES] {
                    for failure in [Failure::NotDone(errno), Failure::Done(errno)] {
                        for then in [Then::Nothing, Then::NoIdentity, Then::Everything] {
                            attempt(through, lacks, Some(Fault { at, failure, then }));
                        }
                    }
                }
            }
        }
    }
    (runs, violations)
}

#[test]
fn naming_faults() {
    let (runs, violations) = sweep();
    report(&format!("naming faults: {runs} runs, {violations} violations"));
    assert_eq!(violations, 0);
}

/// Nothing that could replace another file is done instead.
#[test]
fn where_nothing_exclusive_exists_it_is_said_what_is_missing() {
    for through in [Through::Default, Through::Custom, Through::Compaction] {
        for unnamed in [false, true] {
            let dir = temp_dir();
            let lacks = Lacks { unnamed, flags: true, links: true, ..Lacks::default() };
            let error = create(dir.path(), through, false, Faulty::new(lacks, None)).unwrap_err();
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EPERM)));
            assert!(error.to_string().contains("neither RENAME_NOREPLACE nor hard links"), "{error}");
            assert!(names_in(dir.path()).is_empty());
        }
    }
}

/// Where a folder cannot be synced, the file system is; but a disk that fails stays one.
#[test]
fn a_folder_that_cannot_be_synced() {
    let run = |errno| {
        let dir = temp_dir();
        let calls = Faulty::counting();
        drop(create(dir.path(), Through::Default, false, calls.clone()).unwrap());
        let at = calls.log().iter().position(|&call| call == "sync directory").unwrap();
        std::fs::remove_file(dir.path().join(NAME)).unwrap();
        let fault = Fault { at, failure: Failure::NotDone(errno), then: Then::Nothing };
        let naming = Faulty::new(Lacks::default(), Some(fault));
        let result = create(dir.path(), Through::Default, false, naming.clone());
        let asked = naming.log().contains(&"sync file system");
        (result.map(drop).map_err(|error| error.os_error().unwrap()), asked, names_in(dir.path()).len())
    };
    for errno in [libc::EACCES, libc::EBADF, libc::EINVAL, libc::EOPNOTSUPP] {
        assert_eq!(run(errno), (Ok(()), true, 1));
    }
    for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EINTR] {
        assert_eq!(run(errno), (Err(errno), false, 0));
    }
}

/// Whatever is there already is left exactly as it is, whether it can be opened or not.
#[test]
fn existing_files_are_never_touched() {
    let dir = temp_dir();
    let path = dir.path().join(NAME);
    drop(Db::create(&path).unwrap());
    let good = std::fs::read(&path).unwrap();
    let damaged = [&good[..20], &[0xff; 20]].concat();
    for (content, opens) in [(good.clone(), true), (damaged, false), (b"no database at all".to_vec(), false)]
    {
        for through in [Through::Default, Through::Custom] {
            std::fs::write(&path, &content).unwrap();
            let naming = Faulty::counting();
            let error = create(dir.path(), through, true, naming.clone()).unwrap_err();
            assert_eq!((error.code(), error.os_error()), (ErrorCode::OPEN_FILE, Some(libc::EEXIST)));
            assert_eq!(create(dir.path(), through, false, naming.clone()).is_ok(), opens);
            assert_eq!(std::fs::read(&path).unwrap(), content);
            assert_eq!(names_in(dir.path()), [NAME]);
            let changed = naming.log().iter().any(|call| !["open directory", "identify"].contains(call));
            assert!(!changed, "{:?}", naming.log());
        }
    }
}
