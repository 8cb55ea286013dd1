// SPDX-License-Identifier: Apache-2.0

//! The real naming calls in front of which some fail, or are missing, as on other file systems.

use couchstore::io::naming::{FileId, Naming, PosixNaming};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// What a file system does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lacks {
    /// Files without a name.
    pub(crate) unnamed: bool,
    /// Names for files without one.
    pub(crate) naming_unnamed: bool,
    /// Flags of renaming: not to replace, to exchange.
    pub(crate) flags: bool,
    /// Files with two names.
    pub(crate) links: bool,
    /// Locks.
    pub(crate) locks: bool,
    /// Folders that may be read.
    pub(crate) lists: bool,
    /// Syncs of folders.
    pub(crate) syncs: bool,
}

impl Lacks {
    /// File systems that differ in the ways in which files get their names.
    pub(crate) fn ways() -> impl Iterator<Item = Lacks> {
        (0..8).map(|bits| Lacks {
            unnamed: bits & 1 != 0,
            naming_unnamed: bits & 2 != 0,
            flags: bits & 4 != 0,
            ..Lacks::default()
        })
    }

    /// The same, and each of them where leftovers cannot be found, and where folders cannot be synced.
    pub(crate) fn all() -> impl Iterator<Item = Lacks> {
        Lacks::ways().flat_map(|lacks| {
            [lacks, Lacks { locks: true, lists: true, ..lacks }, Lacks { syncs: true, ..lacks }]
        })
    }
}

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It is not made.
    NotDone(i32),
    /// It is made, and reported to have failed, as happens over a network.
    Done(i32),
}

impl Failure {
    pub(crate) fn errno(self) -> i32 {
        let (Failure::NotDone(errno) | Failure::Done(errno)) = self;
        errno
    }
}

/// Calls that change names: whether they were carried out can be seen afterwards.
const VISIBLE: [&str; 6] = ["link unnamed", "rename exclusive", "rename", "exchange", "link", "unlink"];

/// Which calls fail besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// None.
    Nothing,
    /// From then on nobody can tell any more what the names lead to.
    NoIdentity,
    /// All.
    Everything,
}

/// A fault: the number of the call, from 0, and what happens to it and afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) failure: Failure,
    pub(crate) then: Then,
}

impl Fault {
    /// Whether nothing but the answer to this call gets lost, and what has become of it can be seen.
    pub(crate) fn is_harmless(&self, log: &[&str]) -> bool {
        let only_an_answer = matches!(self.failure, Failure::Done(_)) && self.then == Then::Nothing;
        only_an_answer && VISIBLE.contains(&log[self.at])
    }

    /// Whether it can be told what the names lead to, and they can be put back.
    pub(crate) fn can_be_undone(&self, log: &[&str]) -> bool {
        self.then == Then::Nothing && log[self.at] != "identify"
    }
}

/// A file system and its faults.
#[derive(Default)]
pub(crate) struct Faulty {
    lacks: Lacks,
    fault: Option<Fault>,
    /// Before this call the process says [`PARKED`], and waits for being killed.
    park_at: Option<usize>,
    log: Mutex<Vec<&'static str>>,
}

pub(crate) const PARKED: &str = "parked";

impl Faulty {
    pub(crate) fn new(lacks: Lacks, fault: Option<Fault>) -> Arc<Faulty> {
        Arc::new(Faulty { lacks, fault, ..Faulty::default() })
    }

    /// The process is to be killed before this call.
    pub(crate) fn parking(lacks: Lacks, at: usize) -> Arc<Faulty> {
        Arc::new(Faulty { lacks, park_at: Some(at), ..Faulty::default() })
    }

    /// Without faults: only counts.
    pub(crate) fn counting() -> Arc<Faulty> {
        Arc::default()
    }

    /// The calls so far.
    pub(crate) fn log(&self) -> Vec<&'static str> {
        self.log.lock().unwrap().clone()
    }

    /// What happens to this call.
    fn enter(&self, name: &'static str) -> Option<Failure> {
        let mut log = self.log.lock().unwrap();
        log.push(name);
        if self.park_at == Some(log.len() - 1) {
            println!("{PARKED}");
            loop {
                std::thread::park();
            }
        }
        let (number, fault) = (log.len() - 1, self.fault?);
        let later = match fault.then {
            Then::Nothing => false,
            Then::NoIdentity => name == "identify",
            Then::Everything => true,
        };
        (number == fault.at || number > fault.at && later).then_some(fault.failure)
    }

    fn call<T>(&self, name: &'static str, action: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let failure = self.enter(name);
        match failure {
            None => return action(),
            Some(Failure::NotDone(_)) => {}
            Some(Failure::Done(_)) => drop(action()?),
        }
        Err(io::Error::from_raw_os_error(failure.unwrap().errno()))
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
        self.call("create unnamed", || lacking(self.lacks.unnamed, libc::EOPNOTSUPP, action))
    }

    fn create_named(&self, directory: &File, name: &CStr, mode: u32) -> io::Result<File> {
        self.call("create named", || PosixNaming.create_named(directory, name, mode))
    }

    fn open_existing(&self, directory: &File, name: &CStr) -> io::Result<File> {
        self.call("open existing", || PosixNaming.open_existing(directory, name))
    }

    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        let action = || PosixNaming.link_unnamed(file, directory, name);
        let lacks = self.lacks.naming_unnamed || self.lacks.links;
        self.call("link unnamed", || lacking(lacks, libc::EPERM, action))
    }

    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        let action = || PosixNaming.rename_exclusive(directory, from, to);
        self.call("rename exclusive", || lacking(self.lacks.flags, libc::EINVAL, action))
    }

    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        self.call("rename", || PosixNaming.rename(directory, from, to))
    }

    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        let action = || PosixNaming.exchange(directory, one, other);
        self.call("exchange", || lacking(self.lacks.flags, libc::EINVAL, action))
    }

    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        let action = || PosixNaming.link(directory, from, to);
        self.call("link", || lacking(self.lacks.links, libc::EPERM, action))
    }

    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        self.call("unlink", || PosixNaming.unlink(directory, name))
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        let action = || PosixNaming.sync_directory(directory);
        self.call("sync directory", || lacking(self.lacks.syncs, libc::EINVAL, action))
    }

    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        // All that the machine writes is not waited for: what matters here is that it is asked for.
        self.call("sync file system", || file.metadata().map(drop))
    }

    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        self.call("identify", || PosixNaming.identify(directory, name))
    }

    fn list(&self, directory: &File) -> io::Result<Vec<CString>> {
        let action = || PosixNaming.list(directory);
        self.call("list", || lacking(self.lacks.lists, libc::EACCES, action))
    }

    fn try_lock(&self, file: &File) -> io::Result<()> {
        let action = || PosixNaming.try_lock(file);
        self.call("try lock", || lacking(self.lacks.locks, libc::ENOLCK, action))
    }
}

/// Whether a name is one of the library's temporary ones. Fails if a host would take it for a database.
pub(crate) fn is_temporary(name: &str) -> bool {
    let temporary = name.starts_with(".couchstore-");
    assert!(!temporary || !name.contains(".couch."), "{name}");
    temporary
}

/// Whether a name is that of a file that a compaction has displaced.
pub(crate) fn is_displaced(name: &str) -> bool {
    is_temporary(name) && name.rsplit('.').next() == Some("old")
}

/// Names in a folder, in order.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
