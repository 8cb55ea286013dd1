//! The default file operations: plain system calls.

use super::naming::{self, FileId};
use super::stale::FileStatus;
use super::{FileHandle, FileOps, IoError, OpenMode};
use crate::error::ErrorCode;
use std::ffi::{CStr, OsStr};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

/// Write validation compares this many bytes of each write.
const VALIDATED_BYTES: usize = 8192;

/// The library's own file operations.
#[derive(Clone, Copy, Debug, Default)]
pub struct PosixOps;

impl FileOps for PosixOps {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        Ok(Box::new(PosixFile::open(name, mode)?))
    }

    fn is_default(&self) -> bool {
        true
    }
}

/// A file opened by [`PosixOps`].
pub(crate) struct PosixFile {
    /// `None` once closed.
    file: Option<File>,
    periodic_sync: Option<PeriodicSync>,
    validate_writes: bool,
}

struct PeriodicSync {
    every: u64,
    written: u64,
}

fn os_error(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn failed(code: ErrorCode) -> impl Fn(io::Error) -> IoError {
    move |error| IoError::new(code, os_error(&error))
}

/// Repeats a call that a signal has interrupted.
fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

impl From<File> for PosixFile {
    fn from(file: File) -> PosixFile {
        PosixFile { file: Some(file), periodic_sync: None, validate_writes: false }
    }
}

impl PosixFile {
    /// Opens or creates a file.
    pub(crate) fn open(name: &CStr, mode: OpenMode) -> Result<PosixFile, IoError> {
        let file = PosixFile::open_file(name, mode).map_err(|error| {
            let missing = error.raw_os_error() == Some(libc::ENOENT);
            let code = if missing { ErrorCode::NO_SUCH_FILE } else { ErrorCode::OPEN_FILE };
            IoError::new(code, os_error(&error))
        })?;
        Ok(PosixFile::from(file))
    }

    fn open_file(name: &CStr, mode: OpenMode) -> io::Result<File> {
        let path = OsStr::from_bytes(name.to_bytes());
        let mut options = OpenOptions::new();
        options.read(true).write(!mode.read_only).mode(0o666);
        if mode.exclusive {
            options.create_new(mode.create);
        } else {
            options.create(mode.create);
        }
        let mut file = if mode.read_only {
            // Reading a database should not write to its inode; only the owner may ask for that.
            let quiet = options.clone().custom_flags(libc::O_NOATIME).open(path);
            match quiet {
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => options.open(path)?,
                result => result?,
            }
        } else {
            options.open(path)?
        };
        if file.as_raw_fd() <= libc::STDERR_FILENO {
            // The standard streams were closed: what the program prints must not land in the database.
            file = file.try_clone()?;
        }
        if file.metadata()?.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        Ok(file)
    }

    fn file(&self, code: ErrorCode) -> Result<&File, IoError> {
        self.file.as_ref().ok_or(IoError::new(code, libc::EBADF))
    }

    /// Gives the kernel a hint about a range.
    pub(crate) fn advise(&self, offset: i64, length: i64, advice: i32) -> Result<(), IoError> {
        let file = self.file(ErrorCode::WRITE)?;
        // SAFETY: the descriptor is open; the call only takes numbers.
        match unsafe { libc::posix_fadvise(file.as_raw_fd(), offset, length, advice) } {
            0 => Ok(()),
            error => Err(IoError::new(ErrorCode::WRITE, error)),
        }
    }

    fn validate(&self, buf: &[u8], offset: u64) -> Result<(), IoError> {
        let expected = &buf[..buf.len().min(VALIDATED_BYTES)];
        let mut found = vec![0; expected.len()];
        self.file(ErrorCode::READ)?.read_exact_at(&mut found, offset).map_err(failed(ErrorCode::READ))?;
        if found == expected { Ok(()) } else { Err(IoError::new(ErrorCode::CHECKSUM_FAIL, 0)) }
    }

    fn count_for_periodic_sync(&mut self, written: usize) -> Result<(), IoError> {
        let Some(periodic) = &mut self.periodic_sync else { return Ok(()) };
        periodic.written += written as u64;
        if periodic.written < periodic.every {
            return Ok(());
        }
        periodic.written = 0;
        self.sync()
    }
}

impl FileHandle for PosixFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let file = self.file(ErrorCode::READ)?;
        uninterrupted(|| file.read_at(buf, offset)).map_err(failed(ErrorCode::READ))
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let file = self.file(ErrorCode::WRITE)?;
        let written = uninterrupted(|| file.write_at(buf, offset)).map_err(failed(ErrorCode::WRITE))?;
        if self.validate_writes {
            self.validate(&buf[..written], offset)?;
        }
        self.count_for_periodic_sync(written)?;
        Ok(written)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        let metadata = self.file(ErrorCode::READ)?.metadata().map_err(failed(ErrorCode::READ))?;
        Ok(metadata.len())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let file = self.file(ErrorCode::WRITE)?;
        uninterrupted(|| file.sync_data())
            .map_err(|error| IoError { sync_failed: true, ..failed(ErrorCode::WRITE)(error) })
    }

    fn close(&mut self) -> Result<(), IoError> {
        let Some(file) = self.file.take() else { return Ok(()) };
        // SAFETY: `into_raw_fd` gives up ownership of an open descriptor, so it is closed here and only here.
        let result = unsafe { libc::close(file.into_raw_fd()) };
        if result == 0 {
            return Ok(());
        }
        // After EINTR the descriptor is gone on Linux: not an error, and never to be tried again.
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(IoError::new(ErrorCode::FILE_CLOSE, os_error(&error))),
        }
    }

    fn identity(&self) -> Option<FileId> {
        self.file.as_ref().and_then(|file| naming::identity(file).ok())
    }

    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        Some(self.file(ErrorCode::WRITE).and_then(|file| {
            let mut stat = std::mem::MaybeUninit::<libc::stat64>::uninit();
            // SAFETY: an open descriptor, and room for the result.
            if unsafe { libc::fstat64(file.as_raw_fd(), stat.as_mut_ptr()) } != 0 {
                return Err(failed(ErrorCode::WRITE)(io::Error::last_os_error()));
            }
            // SAFETY: filled in by the successful call.
            let stat = unsafe { stat.assume_init() };
            let (size, linked) = (stat.st_size as u64, stat.st_nlink > 0);
            Ok(FileStatus { size, linked, id: (stat.st_dev, stat.st_ino) })
        }))
    }

    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        self.periodic_sync = (bytes > 0).then_some(PeriodicSync { every: bytes, written: 0 });
        Ok(())
    }

    fn set_tracing(&mut self) -> Result<(), IoError> {
        Ok(())
    }

    fn set_write_validation(&mut self) -> Result<(), IoError> {
        self.validate_writes = true;
        Ok(())
    }

    fn set_mprotect(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::ffi::CString;

    fn path_in(dir: &tempfile::TempDir, name: &str) -> CString {
        CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap()
    }

    const CREATE: OpenMode = OpenMode { read_only: false, create: true, exclusive: false, unbuffered: false };

    #[test]
    fn missing_files_and_directories() {
        let dir = tempfile::tempdir().unwrap();
        let missing = PosixFile::open(&path_in(&dir, "none"), OpenMode::default()).err().unwrap();
        assert_eq!(missing, IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT));
        for read_only in [false, true] {
            let mode = OpenMode { read_only, ..OpenMode::default() };
            let error = PosixFile::open(&path_in(&dir, ""), mode).err().unwrap();
            assert_eq!(error, IoError::new(ErrorCode::OPEN_FILE, libc::EISDIR));
        }
    }

    #[test]
    fn read_at_the_end_is_zero_and_close_twice_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = PosixFile::open(&path_in(&dir, "f"), CREATE).unwrap();
        assert_eq!(file.pwrite(b"abc", 0), Ok(3));
        assert_eq!(file.pread(&mut [0; 4], 3), Ok(0));
        assert_eq!(file.size(), Ok(3));
        assert_eq!(file.close(), Ok(()));
        assert_eq!(file.close(), Ok(()));
        assert_eq!(file.pread(&mut [0; 4], 0).unwrap_err().os_error, libc::EBADF);
    }

    #[test]
    fn exclusive_refuses_an_existing_file() {
        let dir = tempfile::tempdir().unwrap();
        let mode = OpenMode { exclusive: true, ..CREATE };
        PosixFile::open(&path_in(&dir, "f"), mode).unwrap();
        let error = PosixFile::open(&path_in(&dir, "f"), mode).err().unwrap();
        assert_eq!(error, IoError::new(ErrorCode::OPEN_FILE, libc::EEXIST));
    }
}
