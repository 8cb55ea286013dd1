//! Giving files names: the system calls of atomic creation and of swapping files, behind a seam.
//!
//! All names are relative to one open directory, so that renaming a parent directory meanwhile changes nothing.
//! Tests put their own implementation before the real one and let each call fail.

use super::temp::refuses_unnamed;
use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Identity of a file, whatever its names: device and inode.
pub type FileId = (u64, u64);

/// System calls on the names in a directory. One method, one call.
pub trait Naming: Send + Sync {
    /// Opens a directory.
    fn open_directory(&self, path: &Path) -> io::Result<File>;
    /// Creates a file without a name (`O_TMPFILE`), open for reading and writing.
    fn create_unnamed(&self, directory: &File) -> io::Result<File>;
    /// Creates a file that must not exist, open for reading and writing.
    fn create_named(&self, directory: &File, name: &CStr) -> io::Result<File>;
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
    /// Which file has this name.
    fn identify(&self, directory: &File, name: &CStr) -> io::Result<FileId>;
}

/// The real calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixNaming;

const NEW_FILE: libc::c_int = libc::O_RDWR | libc::O_CLOEXEC;
const MODE: libc::c_uint = 0o666;

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn open_at(directory: &File, name: &CStr, flags: libc::c_int) -> io::Result<File> {
    loop {
        // SAFETY: an open directory and a terminated name; the mode is given because the flags may create.
        let fd = unsafe { libc::openat(directory.as_raw_fd(), name.as_ptr(), flags, MODE) };
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

impl Naming for PosixNaming {
    fn open_directory(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(path)
    }

    fn create_unnamed(&self, directory: &File) -> io::Result<File> {
        // Never with O_EXCL: that would forbid to give the file a name later.
        open_at(directory, c".", NEW_FILE | libc::O_TMPFILE)
    }

    fn create_named(&self, directory: &File, name: &CStr) -> io::Result<File> {
        open_at(directory, name, NEW_FILE | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW)
    }

    fn link_unnamed(&self, file: &File, directory: &File, name: &CStr) -> io::Result<()> {
        // By way of /proc: linking a descriptor directly takes a capability.
        let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let (to, flags) = (directory.as_raw_fd(), libc::AT_SYMLINK_FOLLOW);
        // SAFETY: terminated names and open descriptors.
        check(unsafe { libc::linkat(libc::AT_FDCWD, path.as_ptr(), to, name.as_ptr(), flags) })
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
        let fd = directory.as_raw_fd();
        // SAFETY: terminated names and an open descriptor.
        check(unsafe { libc::linkat(fd, from.as_ptr(), fd, to.as_ptr(), 0) })
    }

    fn unlink(&self, directory: &File, name: &CStr) -> io::Result<()> {
        // SAFETY: a terminated name and an open descriptor.
        check(unsafe { libc::unlinkat(directory.as_raw_fd(), name.as_ptr(), 0) })
    }

    fn sync_directory(&self, directory: &File) -> io::Result<()> {
        directory.sync_all()
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

/// Names the file `temporary`, which is `file`, as `name`, which must not exist.
pub(crate) fn publish(
    naming: &dyn Naming,
    directory: &File,
    temporary: &CStr,
    name: &CStr,
    file: FileId,
) -> io::Result<()> {
    match naming.rename_exclusive(directory, temporary, name) {
        // The file system cannot rename without replacing. A plain rename could destroy another creator's file.
        Err(error) if is_unsupported(&error) => {
            naming.link(directory, temporary, name)?;
            // The file has its name; a second one left over would be foreign in the directory.
            naming.unlink(directory, temporary).inspect_err(|_| unlink_if_same(naming, directory, name, file))
        }
        result => result,
    }
}

/// Whether this is how a file system or kernel says that it knows no flags of renaming.
pub(crate) fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// Removes `name` if it still is this file: another creator's file is never touched.
pub(crate) fn unlink_if_same(naming: &dyn Naming, directory: &File, name: &CStr, file: FileId) {
    if naming.identify(directory, name).is_ok_and(|found| found == file) {
        let _ = naming.unlink(directory, name);
    }
}

/// A new file that has no name, or where the file system has no such files, a temporary one.
pub(crate) struct NewFile {
    pub(crate) file: File,
    /// The temporary name, if there is one.
    pub(crate) temporary: Option<CString>,
}

/// Creates a file that nobody sees yet.
pub(crate) fn create_hidden(naming: &dyn Naming, directory: &File) -> io::Result<NewFile> {
    match naming.create_unnamed(directory) {
        Ok(file) => Ok(NewFile { file, temporary: None }),
        Err(error) if refuses_unnamed(&error) => {
            let name = CString::new(super::temp::temporary_name())?;
            let file = naming.create_named(directory, &name)?;
            Ok(NewFile { file, temporary: Some(name) })
        }
        Err(error) => Err(error),
    }
}

/// An open file without a name in `directory`, for what is needed only while it is open.
pub(crate) fn unnamed_file(directory: &Path) -> io::Result<File> {
    let directory = PosixNaming.open_directory(directory)?;
    let NewFile { file, temporary } = create_hidden(&PosixNaming, &directory)?;
    if let Some(name) = temporary {
        PosixNaming.unlink(&directory, &name)?;
    }
    Ok(file)
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
    fn unnamed_files_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = unnamed_file(dir.path()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
