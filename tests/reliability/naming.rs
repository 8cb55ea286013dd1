//! Failures of the system calls that give files their names, on a real file system.
//!
//! Each call that atomic creation makes on names fails: as if it had not been made, and as if its answer had got lost,
//! which network file systems do. The same without unnamed files, and without renaming that never replaces.

use crate::common::model::Model;
use crate::common::temp_dir;
use crate::run::{message, report};
use couchstore::io::naming::{FileId, Naming, PosixNaming};
use couchstore::{Db, ErrorCode, OpenOptions, Result};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};

const NAME: &str = "db.couch";

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is not made.
    NotDone(i32),
    /// It is made, and reported to have failed.
    Done(i32),
}

/// A file system and its faults.
#[derive(Clone, Copy, Debug)]
struct Setting {
    /// It has no files without a name.
    no_unnamed: bool,
    /// It cannot rename without replacing.
    no_exclusive_rename: bool,
    /// The calls that fail: the first one, and whether all later ones do.
    from: usize,
    forever: bool,
    failure: Option<Failure>,
}

/// The real calls, with faults.
pub(crate) struct Faulty {
    setting: Setting,
    log: Mutex<Vec<&'static str>>,
}

impl Faulty {
    fn new(setting: Setting) -> Arc<Faulty> {
        Arc::new(Faulty { setting, log: Mutex::default() })
    }

    /// Without faults: only counts.
    pub(crate) fn counting() -> Arc<Faulty> {
        Faulty::new(Setting {
            no_unnamed: false,
            no_exclusive_rename: false,
            from: 0,
            forever: false,
            failure: None,
        })
    }

    pub(crate) fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }

    fn call<T>(&self, name: &'static str, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Setting { from, forever, failure, .. } = self.setting;
        let number = {
            let mut log = self.log.lock().unwrap();
            log.push(name);
            log.len() - 1
        };
        let failure = failure.filter(|_| number == from || forever && number > from);
        let Some(failure) = failure else { return action() };
        let errno = match failure {
            Failure::NotDone(errno) => errno,
            Failure::Done(errno) => {
                action()?;
                errno
            }
        };
        Err(io::Error::from_raw_os_error(errno))
    }
}

/// A call that the file system may not have.
fn lacking<T>(lacks: bool, errno: i32, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if lacks { Err(io::Error::from_raw_os_error(errno)) } else { action() }
}

impl Naming for Faulty {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        self.call("open directory", || PosixNaming.open_directory(path))
    }

    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        let action = || PosixNaming.create_unnamed(directory);
        self.call("create unnamed", || lacking(self.setting.no_unnamed, libc::EOPNOTSUPP, action))
    }

    fn create_named(&self, directory: &File, name: &CStr) -> io::Result<File> {
        self.call("create named", || PosixNaming.create_named(directory, name))
    }

    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        self.call("link unnamed", || PosixNaming.link_unnamed(file, directory, name))
    }

    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        let action = || PosixNaming.rename_exclusive(directory, from, to);
        let lacks = self.setting.no_exclusive_rename;
        self.call("rename exclusive", || lacking(lacks, libc::EINVAL, action))
    }

    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename", || PosixNaming.rename(directory, from, to))
    }

    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        self.call("exchange", || PosixNaming.exchange(directory, one, other))
    }

    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("link", || PosixNaming.link(directory, from, to))
    }

    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        self.call("unlink", || PosixNaming.unlink(directory, name))
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        self.call("sync directory", || PosixNaming.sync_directory(directory))
    }

    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        self.call("identify", || PosixNaming.identify(directory, name))
    }
}

/// Names in a folder, in order.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Descriptors that this process has open in a folder, of files without a name too.
fn descriptors_in(dir: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap();
    let targets = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(dir)).count()
}

/// Fails unless the file is an empty database that takes changes.
pub(crate) fn check_new_database(path: &Path) {
    let db = Db::open(path).expect("a complete database");
    Model::default().check(&db);
    assert_eq!(std::fs::read(path).unwrap()[0], 1, "block 0 begins with a header");
}

/// Which file operations write the file.
#[derive(Clone, Copy, Debug)]
enum Through {
    Default,
    /// The caller's, with [`OpenOptions::bootstrap`].
    Custom,
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
    let options = OpenOptions::new().create(true).exclusive(exclusive).naming(naming);
    let options = match through {
        Through::Default => options,
        Through::Custom => options.file_ops(Arc::new(Foreign)).bootstrap(true),
    };
    options.open(dir.join(NAME))
}

/// One run. Returns the number of calls.
fn run(through: Through, setting: Setting) -> usize {
    let dir = temp_dir();
    let naming = Faulty::new(setting);
    let result = create(dir.path(), through, false, naming.clone());
    let log = naming.log();
    let names = names_in(dir.path());
    match &result {
        Ok(db) => {
            Model::default().check(db);
            assert_eq!(names, [NAME]);
            check_new_database(&dir.path().join(NAME));
        }
        Err(error) => {
            let Some(Failure::NotDone(errno) | Failure::Done(errno)) = setting.failure else {
                panic!("no fault, but {error}")
            };
            let code = if errno == libc::ENOENT { ErrorCode::NO_SUCH_FILE } else { ErrorCode::OPEN_FILE };
            assert_eq!((error.code(), error.os_error()), (code, Some(errno)), "{log:?}");
            check_leftovers(dir.path(), &names, setting, &log);
        }
    }
    drop(result);
    assert_eq!(descriptors_in(dir.path()), 0, "descriptors that were not closed");
    // Whatever has been left behind does not disturb the next one.
    let again = create(dir.path(), through, false, Faulty::counting()).expect("create again");
    Model::default().check(&again);
    log.len()
}

/// A failure leaves nothing. Only where a name cannot even be removed it stays, and then leads to a complete file.
fn check_leftovers(dir: &Path, names: &[String], setting: Setting, log: &[&str]) {
    if names.is_empty() {
        return;
    }
    // Removing takes two calls: is it still our file, and the removal.
    let could_not_remove =
        setting.forever || log[setting.from] == "unlink" || log[setting.from] == "identify";
    // The descriptor of a file whose creation is reported to have failed is lost, and with it the knowledge whose it is.
    let never_known = log[setting.from] == "create named";
    for name in names {
        if name == NAME {
            assert!(setting.forever, "the name stays after {log:?}");
            check_new_database(&dir.join(NAME));
        } else {
            assert!(name.starts_with(".couchstore-") && !name.contains(".couch."), "{name}");
            assert!(could_not_remove || never_known, "{names:?} stays after {log:?} {setting:?}");
        }
    }
}

/// Each naming call fails in each way, on each kind of file system.
pub(crate) fn sweep() -> (u64, u64) {
    let (mut runs, mut violations) = (0, 0);
    let mut attempt = |through, setting| {
        runs += 1;
        std::panic::catch_unwind(AssertUnwindSafe(|| run(through, setting))).unwrap_or_else(|panic| {
            violations += 1;
            report(&format!("FAILED: naming, {through:?} {setting:?}: {}", message(&*panic)));
            0
        })
    };
    for through in [Through::Default, Through::Custom] {
        for number in 0..4 {
            let (no_unnamed, no_exclusive_rename) = (number & 1 != 0, number & 2 != 0);
            let quiet = Setting { no_unnamed, no_exclusive_rename, from: 0, forever: false, failure: None };
            for from in 0..attempt(through, quiet) {
                for errno in [libc::EIO, libc::ENOSPC, libc::EDQUOT, libc::EROFS, libc::EACCES] {
                    for failure in [Failure::NotDone(errno), Failure::Done(errno)] {
                        for forever in [false, true] {
                            attempt(through, Setting { from, forever, failure: Some(failure), ..quiet });
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
