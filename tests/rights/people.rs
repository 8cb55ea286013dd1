// SPDX-License-Identifier: Apache-2.0

//! Threads that become other users, access control lists, a folder with a database.

use couchstore::{CompactHooks, ReplayHooks};
use couchstore::{Db, Document, OnlineHooks, SaveOptions};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use tempfile::TempDir;

pub(crate) const ACCESS: &str = "system.posix_acl_access";
pub(crate) const DEFAULT: &str = "system.posix_acl_default";

/// What most users have.
pub(crate) const USUAL_UMASK: u32 = 0o022;

/// Somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) user: u32,
    /// The first is that of new files.
    pub(crate) groups: Vec<u32>,
}

pub(crate) fn person(user: u32, groups: &[u32]) -> Person {
    Person { user, groups: groups.to_vec() }
}

pub(crate) fn root() -> Person {
    person(0, &[0])
}

fn checked(result: libc::c_long) {
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

impl Person {
    /// Does something as this person, in a thread of its own.
    pub(crate) fn run<T: Send>(&self, umask: u32, action: impl FnOnce() -> T + Send) -> T {
        let run = || {
            self.take_over_thread(umask);
            action()
        };
        std::thread::scope(|scope| scope.spawn(run).join()).unwrap()
    }

    /// As [`Person::run`]; whenever the action calls what it is given, `help` does something as root.
    pub(crate) fn run_with_root<T: Send>(
        &self,
        umask: u32,
        help: &mut dyn FnMut(),
        action: impl FnOnce(&mut dyn FnMut()) -> T + Send,
    ) -> T {
        let ((ask, asked), (tell, told)) = (channel(), channel());
        std::thread::scope(|scope| {
            let thread = scope.spawn(move || {
                self.take_over_thread(umask);
                action(&mut || {
                    ask.send(()).unwrap();
                    told.recv().unwrap();
                })
            });
            // Until the thread has ended, and with it its end of the channel.
            while asked.recv().is_ok() {
                help();
                tell.send(()).unwrap();
            }
            thread.join().unwrap()
        })
    }

    /// To the kernel users, groups and, with this, umasks are those of threads. The library's functions would change
    /// the whole process.
    fn take_over_thread(&self, umask: u32) {
        let group = self.groups[0];
        // SAFETY: plain numbers, and an array with its length.
        unsafe {
            checked(libc::unshare(libc::CLONE_FS).into());
            libc::umask(umask);
            checked(libc::syscall(libc::SYS_setgroups, self.groups.len(), self.groups.as_ptr()));
            checked(libc::syscall(libc::SYS_setresgid, group, group, group));
            checked(libc::syscall(libc::SYS_setresuid, self.user, self.user, self.user));
        }
    }

    /// What this person can do with a file: to read is 4, to write 2, both at once 1.
    pub(crate) fn access(&self, path: &Path) -> u8 {
        self.run(USUAL_UMASK, || {
            let can = |read, write| u8::from(OpenOptions::new().read(read).write(write).open(path).is_ok());
            can(true, false) << 2 | can(false, true) << 1 | can(true, true)
        })
    }
}

/// An access control list as the kernel takes it: tag, rights, id.
pub(crate) fn list(entries: &[(u8, u8, u32)]) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0];
    for &(tag, rights, id) in entries {
        bytes.extend([tag, 0, rights, 0]);
        bytes.extend((0..4).map(|index| (id >> (8 * index)) as u8));
    }
    bytes
}

pub(crate) const OWNER: u8 = 1;
pub(crate) const USER: u8 = 2;
pub(crate) const GROUP: u8 = 4;
pub(crate) const NAMED_GROUP: u8 = 8;
pub(crate) const MASK: u8 = 16;
pub(crate) const OTHER: u8 = 32;
pub(crate) const NOBODY: u32 = u32::MAX;

pub(crate) fn set(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
}

pub(crate) fn get(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1 << 16];
    match rustix::fs::getxattr(path, name, value.as_mut_slice()) {
        Ok(length) => Some(value[..length].to_vec()),
        Err(Errno::NODATA) => None,
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

/// Owner, group, permissions and list of a file.
pub(crate) fn rights(path: &Path) -> (u32, u32, u32, Option<Vec<u8>>) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.uid(), metadata.gid(), metadata.mode() & 0o7777, get(path, ACCESS))
}

/// A folder that everybody may use, with a database that has a few documents.
pub(crate) struct Place {
    pub(crate) folder: TempDir,
}

impl Place {
    /// `None`, with a message: the process may not do what the test takes.
    pub(crate) fn new() -> Option<Place> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(&folder, Permissions::from_mode(0o777)).unwrap();
        let place = Place { folder };
        let db = Db::create(place.source()).unwrap();
        let body = vec![7; 1000];
        let documents: Vec<_> = (0_u8..9).map(|index| [index]).collect();
        let documents: Vec<_> = documents.iter().map(|id| Document::new(id, &body)).collect();
        db.save(&documents, SaveOptions::default()).unwrap();
        db.commit().unwrap();
        let probe = place.folder.path().join("probe");
        std::fs::write(&probe, b"").unwrap();
        let any = list(&[
            (OWNER, 6, NOBODY),
            (USER, 6, 7),
            (GROUP, 0, NOBODY),
            (MASK, 6, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        let taken = rustix::fs::setxattr(&probe, ACCESS, &any, XattrFlags::empty());
        std::fs::remove_file(&probe).unwrap();
        if taken.is_err() {
            eprintln!("skipped: no access control lists in {}", place.folder.path().display());
            return None;
        }
        Some(place)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.folder.path().join("source.couch")
    }

    pub(crate) fn target(&self) -> PathBuf {
        self.folder.path().join("target.couch")
    }

    /// Gives the source an owner, a group and permissions.
    pub(crate) fn set_source(&self, owner: u32, group: u32, mode: u32) {
        chown(self.source(), Some(owner), Some(group)).unwrap();
        std::fs::set_permissions(self.source(), Permissions::from_mode(mode)).unwrap();
    }

    /// Each new file in the folder gets this list.
    pub(crate) fn set_default(&self, list: &[u8]) {
        set(self.folder.path(), DEFAULT, list);
    }

    /// The source is a file that was made by a compaction, and is whole.
    pub(crate) fn check_replaced(&self, old: &File) {
        assert_ne!(old.metadata().unwrap().ino(), std::fs::metadata(self.source()).unwrap().ino());
        assert_eq!(Db::open(self.source()).unwrap().info().unwrap().doc_count, 9);
        assert_eq!(crate::common::files_in(self.folder.path()), 1);
    }
}

/// Hooks that do something while the copy is made.
pub(crate) struct While<F: FnMut()>(pub(crate) F);

impl<F: FnMut()> CompactHooks for While<F> {
    fn copied(&mut self, _: &Db) -> couchstore::Result<()> {
        self.0();
        Ok(())
    }
}
impl<F: FnMut()> ReplayHooks for While<F> {}
impl<F: FnMut()> OnlineHooks for While<F> {}
