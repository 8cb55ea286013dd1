// SPDX-License-Identifier: Apache-2.0

//! Folders for work in progress.
//!
//! One goes away when it is dropped. A tool that is killed cannot do that: the next one that works in the same place
//! does. It knows folders in use by a file in them, which is locked as long as their tool lives.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tempfile::TempDir;

/// The file that is locked.
const LOCK: &str = "lock";

/// Others may take a new folder for one that was left behind, before it is locked. Not for ever.
const TRIES: usize = 100;

/// A folder that others do not know of. Removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// A new folder in `directory`; its name begins with `prefix`. Those that killed tools have left there are removed.
    pub fn new(prefix: &str, directory: &Path) -> io::Result<Scratch> {
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(directory)?;
            if let Some(lock) = lock_new(folder.path())? {
                remove_abandoned(prefix, directory, folder.path());
                return Ok(Scratch { folder, _lock: lock });
            }
        }
        Err(ErrorKind::ResourceBusy.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Removes it, and tells whether that was possible.
    pub fn close(self) -> io::Result<()> {
        self.folder.close()
    }
}

/// Locks a new folder. `None`: somebody else took it for one that was left behind.
fn lock_new(folder: &Path) -> io::Result<Option<File>> {
    let path = folder.join(LOCK);
    let lock = match File::create_new(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        made => made?,
    };
    match lock.try_lock() {
        // Where there are no locks, nobody else gets one and removes anything.
        Ok(()) | Err(TryLockError::Error(_)) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
    }
    Ok(path.exists().then_some(lock))
}

/// Removes folders of this user that no tool holds. What cannot be removed stays.
fn remove_abandoned(prefix: &str, directory: &Path, own: &Path) {
    let (Ok(entries), Ok(user)) = (directory.read_dir(), own.metadata().map(|own| own.uid())) else { return };
    for entry in entries.flatten() {
        let is_such = entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes())
            && entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == user);
        if is_such {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(folder: &Path) -> io::Result<()> {
    match File::options().write(true).open(folder.join(LOCK)) {
        Ok(lock) if lock.try_lock().is_ok() => std::fs::remove_dir_all(folder),
        Ok(_) => Ok(()),
        // Killed before it could lock anything: only if nothing is in it.
        Err(error) if error.kind() == ErrorKind::NotFound => std::fs::remove_dir(folder),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn folders_in_use_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Scratch::new("work-", dir.path()).unwrap();
        std::fs::write(first.path().join("file"), "").unwrap();
        let second = Scratch::new("work-", dir.path()).unwrap();
        assert!(first.path().join("file").exists() && second.path().exists());
        drop(first);
        second.close().unwrap();
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn only_what_was_left_behind_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, files: &[&str]| {
            let folder = dir.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            for file in files {
                std::fs::write(folder.join(file), "").unwrap();
            }
        };
        make("work-killed", &[LOCK, "half of a file"]);
        make("work-killed-early", &[]);
        make("work-of-the-user", &["file"]);
        make("other-killed", &[LOCK]);
        std::fs::write(dir.path().join("work-file"), "").unwrap();
        std::os::unix::fs::symlink("other-killed", dir.path().join("work-link")).unwrap();
        drop(Scratch::new("work-", dir.path()).unwrap());
        let mut left: Vec<_> = dir
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["other-killed", "work-file", "work-link", "work-of-the-user"]);
        assert!(dir.path().join("other-killed/lock").exists());
    }

    /// Each may take the other's new folder for one that was left behind.
    #[test]
    fn many_at_once_do_not_take_each_others() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let scratch = Scratch::new("work-", dir.path()).unwrap();
                        std::fs::write(scratch.path().join("file"), "content").unwrap();
                        assert_eq!(std::fs::read(scratch.path().join("file")).unwrap(), b"content");
                        scratch.close().unwrap();
                    }
                });
            }
        });
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}
