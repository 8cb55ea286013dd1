// SPDX-License-Identifier: Apache-2.0

//! Giving files names: the system calls of atomic creation and of swapping files, behind a seam.
//!
//! All names are relative to one open directory, so that renaming a parent directory meanwhile changes nothing.
//! Tests put their own implementation before the real one and let each call fail. What a failed call means is decided
//! in `folder`.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Identity of a file, whatever its names: device and inode.
pub type FileId = (u64, u64);

/// Rights of a file that nobody but its owner may open.
pub const PRIVATE: u32 = 0o600;
/// Rights that a new file is made with where nothing speaks against it; the kernel takes some away.
pub const USUAL: u32 = 0o666;

/// System calls on the names in a directory. One method, one call; syncs are never tried again.
pub trait Naming: Send + Sync {
    /// Opens a directory. It need not be one that may be read.
    fn open_directory(&self, path: &Path) -> io::Result<File>;
    /// Creates a file without a name (`O_TMPFILE`) and with the usual rights, open for reading and writing.
    fn create_unnamed(&self, directory: &File) -> io::Result<File>;
    /// Creates a file that must not exist, open for reading and writing.
    fn create_named(&self, directory: &File, name: &CStr, mode: u32) -> io::Result<File>;
    /// Opens an existing regular file, if possible for writing.
    fn open_existing(&self, directory: &File, name: &CStr) -> io::Result<File>;
    /// Gives an unnamed file a name that must not exist.
    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()>;
    /// Renames a file to a name that must not exist (`RENAME_NOREPLACE`).
    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()>;
    /// Renames a file to a name that it takes from another file, if there is one.
    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()>;
    /// Swaps the names of two files (`RENAME_EXCHANGE`).
    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()>;
    /// Gives a file a second name that must not exist.
    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()>;
    /// Removes a name.
    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()>;
    /// Makes the names of a directory durable.
    fn sync_directory(&self, directory: &File) -> io::Result<()>;
    /// Makes the whole file system durable that the file is on.
    fn sync_file_system(&self, file: &File) -> io::Result<()>;
    /// Which file has this name.
    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId>;
    /// All names of a directory.
    fn list(&self, directory: &File) -> io::Result<Vec<CString>>;
    /// Locks a file against everybody else who asks for that (`flock`), without waiting: `EWOULDBLOCK`.
    fn try_lock(&self, file: &File) -> io::Result<()>;
}

/// The real calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixNaming;

const NEW_FILE: libc::c_int = libc::O_RDWR | libc::O_CLOEXEC;
/// A FIFO must not keep anybody waiting.
const EXISTING_FILE: libc::c_int = libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn open_at(directory: &File, name: &CStr, flags: libc::c_int, mode: u32) -> io::Result<File> {
    loop {
        // SAFETY: an open directory and a terminated name; the mode is given because the flags may create.
        let fd = unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, mode) };
        if fd >= 0 {
            // SAFETY: a descriptor that was just opened, and that nobody else knows.
            let file = unsafe { File::from_raw_fd(fd) };
            // Keep clear of the standard streams, should they be closed: what is printed must not land in the file.
            return if fd <= libc::STDERR_FILENO { file.try_clone() } else { Ok(file) };
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn rename_at(directory: &File, from: &CStr, to: &CStr, flags: libc::c_uint) -> io::Result<()> {
    let fd = directory.as_raw_fd();
    // SAFETY: terminated names and an open descriptor.
    check(unsafe { libc::renameat2(fd, from.as_ptr(), fd, to.as_ptr(), flags) })
}

fn link_at(
    from: libc::c_int,
    old: &CStr,
    directory: &File,
    new: &CStr,
    flags: libc::c_int,
) -> io::Result<()> {
    // SAFETY: terminated names and open descriptors.
    check(unsafe { libc::linkat(from, old.as_ptr(), directory.as_raw_fd(), new.as_ptr(), flags) })
}

impl Naming for PosixNaming {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        let open = |flags| OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | flags).open(path);
        match open(0) {
            // Its names can be changed all the same.
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => open(libc::O_PATH),
            result => result,
        }
    }

    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        // Never with O_EXCL: that would forbid to give the file a name later.
        open_at(directory, c".", NEW_FILE | libc::O_TMPFILE, USUAL)
    }

    fn create_named(&self, directory: &File, name: &CStr, mode: u32) -> io::Result<File> {
        open_at(directory, name, NEW_FILE | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW, mode)
    }

    fn open_existing(&self, directory: &File, name: &CStr) -> io::Result<File> {
        let file = open_at(directory, name, EXISTING_FILE | libc::O_RDWR, 0)
            .or_else(|_| open_at(directory, name, EXISTING_FILE | libc::O_RDONLY, 0))?;
        let is_regular = file.metadata()?.is_file();
        if is_regular { Ok(file) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
    }

    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        // By way of /proc, which may be missing, because linking a descriptor directly may take a capability.
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        match link_at(libc::AT_FDCWD, &path, directory, name, libc::AT_SYMLINK_FOLLOW) {
            Err(error) if !is_final(&error) => {
                let direct = link_at(file.as_raw_fd(), c"", directory, name, libc::AT_EMPTY_PATH);
                direct.map_err(|second| if is_final(&second) { second } else { error })
            }
            result => result,
        }
    }

    fn rename_exclusive(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        rename_at(directory, from, to, libc::RENAME_NOREPLACE)
    }

    fn rename(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        rename_at(directory, from, to, 0)
    }

    fn exchange(&self, directory: &File, one: &CStr, other: &CStr) -> io::Result<()> {
        rename_at(directory, one, other, libc::RENAME_EXCHANGE)
    }

    fn link(&self, directory: &File, from: &CStr, to: &CStr) -> io::Result<()> {
        link_at(directory.as_raw_fd(), from, directory, to, 0)
    }

    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        // SAFETY: a terminated name and an open descriptor.
        check(unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) })
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        // SAFETY: an open descriptor. Not File::sync_all, which tries again after EINTR.
        check(unsafe { libc::fsync(directory.as_raw_fd()) })
    }

    fn sync_file_system(&self, file: &File) -> io::Result<()> {
        // SAFETY: an open descriptor.
        check(unsafe { libc::syncfs(file.as_raw_fd()) })
    }

    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId> {
        let mut stat = std::mem::MaybeUninit::<libc::stat>::uninit();
        let (fd, flags) = (directory.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
        // SAFETY: a terminated name, an open descriptor, and room for the result.
        check(unsafe { libc::fstatat(fd, name.as_ptr(), stat.as_mut_ptr(), flags) })?;
        // SAFETY: filled in by the successful call.
        let stat = unsafe { stat.assume_init() };
        Ok((stat.st_dev, stat.st_ino))
    }

    fn list(&self, directory: &File) -> io::Result<Vec<CString>> {
        // Opened anew: the position belongs to whoever has opened it, and reading may not be allowed.
        let again = open_at(directory, c".", libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC, 0)?;
        Listing::new(again)?.names()
    }

    fn try_lock(&self, file: &File) -> io::Result<()> {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::Error::from_raw_os_error(libc::EWOULDBLOCK),
            TryLockError::Error(error) => error,
        })
    }
}

/// A directory that is being read.
struct Listing(*mut libc::DIR);

impl Listing {
    fn new(directory: File) -> io::Result<Listing> {
        let fd = directory.into_raw_fd();
        // SAFETY: an open descriptor, whose ownership goes to the stream.
        let stream = unsafe { libc::fdopendir(fd) };
        if stream.is_null() {
            let error = io::Error::last_os_error();
            // SAFETY: the call has failed and so has not taken the descriptor.
            drop(unsafe { File::from_raw_fd(fd) });
            return Err(error);
        }
        Ok(Listing(stream))
    }

    fn names(&self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        loop {
            // SAFETY: errno of this thread; only it tells the end from a failure.
            unsafe { *libc::__errno_location() = 0 };
            // SAFETY: an open stream, used by this thread alone.
            let entry = unsafe { libc::readdir64(self.0) };
            if entry.is_null() {
                let error = io::Error::last_os_error();
                return if error.raw_os_error() == Some(0) { Ok(names) } else { Err(error) };
            }
            // SAFETY: an entry has a terminated name, and stays until the next call.
            names.push(unsafe { CStr::from_ptr((&raw const (*entry).d_name).cast()) }.to_owned());
        }
    }
}

impl Drop for Listing {
    fn drop(&mut self) {
        // SAFETY: an open stream, closed here and only here.
        unsafe { libc::closedir(self.0) };
    }
}

/// The directory of `path` and the last part of its name. Where that can be no file's, the error of open(2).
pub(crate) fn split(path: &CStr) -> io::Result<(&Path, CString)> {
    let last = path.to_bytes().rsplit(|&byte| byte == b'/').next();
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match last {
        Some(name) if !matches!(name, b"" | b"." | b"..") => Ok((directory, CString::new(name)?)),
        // With a slash behind its name: what that name leads to need not exist, the directory it is in must.
        Some(b"") if path.file_name().is_some() => Err(is_directory(&directory.join("."))),
        _ => Err(is_directory(path)),
    }
}

/// Why nothing can be opened or created at this directory, if it is one.
fn is_directory(path: &Path) -> io::Error {
    let found = std::fs::metadata(path);
    found.map_or_else(|error| error, |_| io::Error::from_raw_os_error(libc::EISDIR))
}

/// Identity of an open file.
pub(crate) fn identity(file: &File) -> io::Result<FileId> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Which file this path leads to; `None` if to none.
pub(crate) fn file_at(path: &Path) -> io::Result<Option<FileId>> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The regular file that this path leads to, if it has so many bytes at least.
pub(crate) fn regular_file_at(path: &Path, size: u64) -> Option<FileId> {
    let found = std::fs::metadata(path).ok()?;
    (found.is_file() && found.len() >= size).then(|| (found.dev(), found.ino()))
}

/// Whether this path leads to this file.
pub(crate) fn leads_to(path: &Path, file: FileId) -> io::Result<bool> {
    Ok(file_at(path)? == Some(file))
}

/// Whether a failed call is an answer that another way would give, too: the name is taken, or the disk is full or
/// broken. Any other failure may be of the way that was tried.
pub(crate) fn is_final(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EEXIST | libc::ENOSPC | libc::EDQUOT | libc::EIO | libc::EROFS))
}

/// Whether this is how a file system or kernel says that it does not have something.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Whether this is how a file system says that it has no locks.
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOLCK | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Whether somebody else has the lock.
pub(crate) fn is_locked(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn names_that_are_no_files_names_give_what_open_gives() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        File::create(dir.path().join("file")).unwrap();
        for name in ["sub/.", "sub/..", "sub/", "missing/.", "missing/..", "file/.", "new/", "missing/new/"] {
            let path = format!("{}/{name}", dir.path().display());
            let opened = File::options().write(true).create(true).truncate(false).open(&path).unwrap_err();
            let error = split(&CString::new(path).unwrap()).unwrap_err();
            assert_eq!(error.raw_os_error(), opened.raw_os_error(), "{name}");
        }
        assert_eq!(split(c"").unwrap_err().raw_os_error(), Some(libc::ENOENT));
        for directory in [c"/", c".", c".."] {
            assert_eq!(split(directory).unwrap_err().raw_os_error(), Some(libc::EISDIR));
        }
        for (path, directory, name) in [(c"a", ".", c"a"), (c"a/./b", "a", c"b"), (c"/.a..", "/", c".a..")] {
            assert_eq!(split(path).unwrap(), (Path::new(directory), name.to_owned()));
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_is_listed_from_the_start_each_time() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "").unwrap();
        let directory = PosixNaming.open_directory(dir.path()).unwrap();
        for _ in 0..2 {
            let mut names = PosixNaming.list(&directory).unwrap();
            names.sort();
            assert_eq!(names, [c".".to_owned(), c"..".to_owned(), c"a".to_owned()]);
        }
    }

    #[test]
    fn only_regular_files_are_opened_and_nobody_waits() {
        let dir = tempfile::tempdir().unwrap();
        let directory = PosixNaming.open_directory(dir.path()).unwrap();
        std::os::unix::fs::symlink("a", dir.path().join("link")).unwrap();
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        let fifo = CString::new(dir.path().join("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: a terminated name.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        for name in [c"link", c"folder", c"fifo", c"none"] {
            assert!(PosixNaming.open_existing(&directory, name).is_err(), "{name:?}");
        }
    }
}
