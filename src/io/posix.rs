// SPDX-License-Identifier: Apache-2.0

//! The default file operations: plain system calls.

use super::foreign::open_flags;
use super::naming::{self, FileId};
use super::stale::FileStatus;
use super::{FileHandle, FileOps, IoError, OpenMode};
use crate::error::ErrorCode;
use std::cell::Cell;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;

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
    /// `errno` of a periodic sync that has failed. Whoever called these operations has seen a failed write and may try
    /// it again; but the kernel may have dropped more than that one write. So nothing is written or synced any more.
    failed_periodic_sync: Option<i32>,
    validate_writes: bool,
    /// Which file it is, once somebody has asked or has looked at the file for something else.
    identity: Cell<Option<FileId>>,
}

/// With periodic sync the disk is told of what was written once it is so much, in whole pages.
const WRITE_BACK: u64 = 64 << 10;
const PAGE: u64 = 4096;

struct PeriodicSync {
    every: u64,
    written: u64,
    /// What was written in one piece and the disk was not told of yet.
    untold: Range<u64>,
}

impl PeriodicSync {
    /// Notes what was written. What the disk is to be told of now, if it is enough.
    fn range_to_tell(&mut self, offset: u64, length: u64) -> Option<Range<u64>> {
        if offset != self.untold.end {
            self.untold.start = offset - offset % PAGE;
        }
        self.untold.end = offset + length;
        let whole_pages = self.untold.end - self.untold.end % PAGE;
        if whole_pages < self.untold.start + WRITE_BACK {
            return None;
        }
        let start = std::mem::replace(&mut self.untold.start, whole_pages);
        Some(start..whole_pages)
    }
}

/// Lets the disk begin with what was written, so that the periodic sync finds little left to do and holds up nobody for
/// long. Nothing is waited for, and errors are those of the sync.
fn begin_write_back(file: &File, range: &Range<u64>) {
    #[cfg(target_os = "linux")]
    // SAFETY: no memory is involved; the descriptor is open.
    unsafe {
        let length = (range.end - range.start) as i64;
        libc::sync_file_range(file.as_raw_fd(), range.start as i64, length, libc::SYNC_FILE_RANGE_WRITE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, range);
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

/// Why a file is not opened.
enum Refusal {
    /// It is something else: a device, a FIFO, a socket.
    NotRegular,
    Os(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::Os(error)
    }
}

/// What the operating system says of a file, which is to be a regular one.
fn check_regular(stat: &libc::stat64) -> Result<(), Refusal> {
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFREG => Ok(()),
        libc::S_IFDIR => Err(io::Error::from_raw_os_error(libc::EISDIR).into()),
        _ => Err(Refusal::NotRegular),
    }
}

/// The answer of `stat(2)` or one of its kind.
fn stat_by(call: impl FnOnce(*mut libc::stat64) -> libc::c_int) -> io::Result<libc::stat64> {
    let mut stat = MaybeUninit::uninit();
    if call(stat.as_mut_ptr()) != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in by the successful call.
    Ok(unsafe { stat.assume_init() })
}

fn stat_of(file: &File) -> io::Result<libc::stat64> {
    // SAFETY: an open descriptor, and room for the result.
    stat_by(|stat| unsafe { libc::fstat64(file.as_raw_fd(), stat) })
}

/// Opens a file. Should something else have taken its place at the last moment, [`FileHandle::size`] will say so.
fn open_file(name: &CStr, mode: OpenMode) -> Result<File, Refusal> {
    // SAFETY: a terminated name, and room for the result.
    let found = || stat_by(|stat| unsafe { libc::stat64(name.as_ptr(), stat) });
    if !mode.exclusive
        && let Ok(stat) = found()
    {
        // Opening it may already do something (a device), or wait for somebody else (a FIFO).
        check_regular(&stat)?;
    }
    let flags = open_flags(mode) | libc::O_CLOEXEC;
    let file = if mode.read_only {
        // Reading a database should not write to its inode; only the owner may ask for that.
        match open_at_once(name, flags | libc::O_NOATIME) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => open_at_once(name, flags)?,
            result => result?,
        }
    } else {
        open_at_once(name, flags)?
    };
    if file.as_raw_fd() <= libc::STDERR_FILENO {
        // The standard streams were closed: what the program prints must not land in the database.
        return Ok(file.try_clone()?);
    }
    Ok(file)
}

/// Opens a file that was a regular one a moment ago, without waiting should it be a FIFO by now. To regular files the
/// flag means nothing, but for one whose owner holds a lease on it: it is waited for.
fn open_at_once(name: &CStr, flags: libc::c_int) -> io::Result<File> {
    let open = |flags| {
        uninterrupted(|| {
            // SAFETY: a terminated name; the mode is given because the flags may create.
            let fd = unsafe { libc::open64(name.as_ptr(), flags, 0o666) };
            // SAFETY: a descriptor that was just opened, and that nobody else knows.
            if fd >= 0 { Ok(unsafe { File::from_raw_fd(fd) }) } else { Err(io::Error::last_os_error()) }
        })
    };
    match open(flags | libc::O_NONBLOCK) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => open(flags),
        result => result,
    }
}

/// Why a file was refused, as its caller is told.
fn refused(refusal: &Refusal, read_only: bool) -> IoError {
    match refusal {
        Refusal::NotRegular => {
            IoError { not_regular: true, ..IoError::new(ErrorCode::OPEN_FILE, libc::EINVAL) }
        }
        Refusal::Os(error) => match os_error(error) {
            libc::ENOENT => IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT),
            // A directory can be opened, but not read.
            libc::EISDIR if read_only => IoError::new(ErrorCode::READ, libc::EISDIR),
            other => IoError::new(ErrorCode::OPEN_FILE, other),
        },
    }
}

/// Makes a file's content durable. This is tried once: whatever the reason of a failure, a signal too, the kernel may
/// have dropped what it did not write, and a second call would say that all is well.
fn sync_once(file: &File) -> io::Result<()> {
    // SAFETY: an open descriptor. (`File::sync_data` would try again after a signal.)
    let result = unsafe { libc::fdatasync(file.as_raw_fd()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn sync_failed(os_error: i32) -> IoError {
    IoError { sync_failed: true, ..IoError::new(ErrorCode::WRITE, os_error) }
}

impl From<File> for PosixFile {
    fn from(file: File) -> PosixFile {
        PosixFile {
            file: Some(file),
            periodic_sync: None,
            failed_periodic_sync: None,
            validate_writes: false,
            identity: Cell::new(None),
        }
    }
}

impl PosixFile {
    /// Opens or creates a file.
    pub(crate) fn open(name: &CStr, mode: OpenMode) -> Result<PosixFile, IoError> {
        let file = open_file(name, mode).map_err(|refusal| refused(&refusal, mode.read_only))?;
        Ok(PosixFile::from(file))
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

    fn count_for_periodic_sync(&mut self, offset: u64, written: usize) -> Result<(), IoError> {
        let Some(periodic) = &mut self.periodic_sync else { return Ok(()) };
        if let (Some(file), Some(range)) = (&self.file, periodic.range_to_tell(offset, written as u64)) {
            begin_write_back(file, &range);
        }
        periodic.written += written as u64;
        if periodic.written < periodic.every {
            return Ok(());
        }
        periodic.written = 0;
        self.sync().inspect_err(|error| self.failed_periodic_sync = Some(error.os_error))
    }

    fn check_periodic_sync(&self) -> Result<(), IoError> {
        self.failed_periodic_sync.map_or(Ok(()), |os_error| Err(sync_failed(os_error)))
    }
}

impl FileHandle for PosixFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let file = self.file(ErrorCode::READ)?;
        uninterrupted(|| file.read_at(buf, offset)).map_err(failed(ErrorCode::READ))
    }

    fn pread_onto(&mut self, buf: &mut Vec<u8>, most: usize, offset: u64) -> Result<usize, IoError> {
        let file = self.file(ErrorCode::READ)?.as_raw_fd();
        let room = buf.spare_capacity_mut();
        let (pointer, size) = (room.as_mut_ptr().cast(), most.min(room.len()));
        let pread = || {
            // SAFETY: an open descriptor, and room for so many bytes.
            let n = unsafe { libc::pread64(file, pointer, size, offset as i64) };
            usize::try_from(n).map_err(|_| io::Error::last_os_error())
        };
        let n = uninterrupted(pread).map_err(failed(ErrorCode::READ))?;
        // SAFETY: room as above, of which the system has filled in so many bytes.
        unsafe { buf.set_len(buf.len() + n) };
        Ok(n)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let file = self.file(ErrorCode::WRITE)?;
        self.check_periodic_sync()?;
        let written = uninterrupted(|| file.write_at(buf, offset)).map_err(failed(ErrorCode::WRITE))?;
        if self.validate_writes {
            self.validate(&buf[..written], offset)?;
        }
        self.count_for_periodic_sync(offset, written)?;
        Ok(written)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        let stat = stat_of(self.file(ErrorCode::READ)?).map_err(failed(ErrorCode::READ))?;
        // Of what cannot be written either, a directory alone could have been opened.
        check_regular(&stat).map_err(|refusal| refused(&refusal, true))?;
        self.identity.set(Some((stat.st_dev, stat.st_ino)));
        Ok(stat.st_size as u64)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let file = self.file(ErrorCode::WRITE)?;
        self.check_periodic_sync()?;
        sync_once(file).map_err(|error| sync_failed(os_error(&error)))
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
        if self.identity.get().is_none() {
            self.identity.set(self.file.as_ref().and_then(|file| naming::identity(file).ok()));
        }
        self.identity.get()
    }

    fn os_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    fn status(&self) -> Option<Result<FileStatus, IoError>> {
        Some(self.file(ErrorCode::WRITE).and_then(|file| {
            let stat = stat_of(file).map_err(failed(ErrorCode::WRITE))?;
            let (size, linked) = (stat.st_size as u64, stat.st_nlink > 0);
            Ok(FileStatus { size, linked, id: (stat.st_dev, stat.st_ino) })
        }))
    }

    fn evict(&mut self) {
        let _ = self.advise(0, 0, libc::POSIX_FADV_DONTNEED);
    }

    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        self.periodic_sync = (bytes > 0).then_some(PeriodicSync { every: bytes, written: 0, untold: 0..0 });
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
    use std::os::unix::ffi::OsStrExt;

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
            let code = if read_only { ErrorCode::READ } else { ErrorCode::OPEN_FILE };
            assert_eq!(error, IoError::new(code, libc::EISDIR));
            let missing = PosixFile::open(c"", mode).err().unwrap();
            assert_eq!(missing, IoError::new(ErrorCode::NO_SUCH_FILE, libc::ENOENT));
        }
    }

    /// Whether it is there at once or takes the place of a regular file meanwhile.
    #[test]
    fn devices_pipes_and_sockets_are_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (fifo, socket) = (path_in(&dir, "fifo"), path_in(&dir, "socket"));
        // SAFETY: a terminated name.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        let _listener = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
        for name in [c"/dev/null", c"/dev/zero", c"/dev/full", &fifo, &socket] {
            for number in 0..4 {
                let mode = OpenMode { read_only: number & 1 != 0, create: number & 2 != 0, ..CREATE };
                let error = PosixFile::open(name, mode).err().unwrap();
                assert_eq!((error.code, error.os_error), (ErrorCode::OPEN_FILE, libc::EINVAL), "{name:?}");
                assert!(error.not_regular);
            }
            let exclusive = PosixFile::open(name, OpenMode { exclusive: true, ..CREATE }).err().unwrap();
            assert_eq!(exclusive, IoError::new(ErrorCode::OPEN_FILE, libc::EEXIST), "{name:?}");
        }
        let file = open_at_once(&fifo, libc::O_RDONLY).unwrap();
        let error = PosixFile::from(file).size().err().unwrap();
        assert_eq!((error.code, error.os_error), (ErrorCode::OPEN_FILE, libc::EINVAL));
        assert!(error.not_regular);
    }

    #[test]
    fn a_lease_of_somebody_elses_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let name = path_in(&dir, "f");
        let held = File::create(dir.path().join("f")).unwrap();
        let fd = held.as_raw_fd();
        // SAFETY: an open descriptor and numbers. The signal that tells the holder of the lease must not end the test.
        let leased = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) == 0
        };
        if !leased {
            // Not on every file system.
            return;
        }
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| PosixFile::open(&name, OpenMode::default()).map(drop));
            std::thread::sleep(std::time::Duration::from_millis(50));
            // SAFETY: as above.
            assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) }, 0);
            opened.join().unwrap().unwrap();
        });
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

    /// Writing to it works, syncing it does not.
    fn never_synced() -> PosixFile {
        PosixFile::from(File::options().write(true).open("/dev/null").unwrap())
    }

    #[test]
    fn nothing_is_written_after_a_failed_periodic_sync() {
        let mut file = never_synced();
        file.set_periodic_sync(2).unwrap();
        assert_eq!(file.pwrite(b"a", 0), Ok(1));
        let failed = sync_failed(libc::EINVAL);
        assert_eq!(file.pwrite(b"b", 1), Err(failed));
        for _ in 0..2 {
            assert_eq!(file.pwrite(b"c", 2), Err(failed));
            assert_eq!(file.sync(), Err(failed));
            // Neither does asking for other syncs, or for none.
            file.set_periodic_sync(0).unwrap();
        }
    }

    #[test]
    fn after_a_sync_of_the_callers_it_is_for_the_caller_to_decide() {
        let mut file = never_synced();
        file.set_periodic_sync(2).unwrap();
        assert_eq!(file.sync(), Err(sync_failed(libc::EINVAL)));
        assert_eq!(file.pwrite(b"a", 0), Ok(1));
    }
}
