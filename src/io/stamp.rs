// SPDX-License-Identifier: Apache-2.0

//! What the operating system says of a file by which a later look can tell whether it was changed.

use rustix::fs::{AtFlags, CWD, StatxFlags, StatxTimestamp, fstatfs, statfs, statx};
use std::ffi::CStr;
use std::fs::File;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Which file it is, through all its names and changes; an inode that is used again has another time of birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileKey {
    device: (u32, u32),
    inode: u64,
    born: Time,
}

/// Seconds and nanoseconds since the epoch.
type Time = (i64, u32);

/// A file at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileStamp {
    key: FileKey,
    size: u64,
    modified: Time,
    changed: Time,
}

/// File systems that give a change a time of its own once the one before it was asked for, from [`FINE_SINCE`] on: ext4,
/// XFS, Btrfs, tmpfs.
const FINE: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];
/// Linux 6.13.
const FINE_SINCE: (u32, u32) = (6, 13);
/// Elsewhere two changes within this time may have the same one.
const COARSE: Duration = Duration::from_secs(2);

/// How to ask for a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place<'a> {
    Open(&'a File),
    Named(&'a CStr),
}

impl Place<'_> {
    /// The file there; `None` if the system does not tell all of it.
    pub(crate) fn stamp(self) -> Option<FileStamp> {
        let status = match self {
            Place::Open(file) => statx(file, c"", AtFlags::EMPTY_PATH, wanted()),
            Place::Named(name) => statx(CWD, name, AtFlags::empty(), wanted()),
        };
        let status = status.ok()?;
        if !StatxFlags::from_bits_retain(status.stx_mask).contains(wanted()) {
            return None;
        }
        let time = |time: &StatxTimestamp| (time.tv_sec, time.tv_nsec);
        let device = (status.stx_dev_major, status.stx_dev_minor);
        Some(FileStamp {
            key: FileKey { device, inode: status.stx_ino, born: time(&status.stx_btime) },
            size: status.stx_size,
            modified: time(&status.stx_mtime),
            changed: time(&status.stx_ctime),
        })
    }

    /// Whether a change of the file there always shows, however soon it comes after another.
    fn has_fine_times(self) -> bool {
        let status = match self {
            Place::Open(file) => fstatfs(file),
            Place::Named(name) => statfs(name),
        };
        *KERNEL_IS_FINE && status.is_ok_and(|status| FINE.contains(&(status.f_type as u64)))
    }
}

impl FileStamp {
    /// Of a file of this size that was last changed so many seconds after the epoch.
    #[cfg(test)]
    pub(crate) fn made_up(size: u64, changed: i64) -> FileStamp {
        let key = FileKey { device: (0, 0), inode: 1, born: (0, 0) };
        FileStamp { key, size, modified: (changed, 0), changed: (changed, 0) }
    }

    pub(crate) fn key(&self) -> &FileKey {
        &self.key
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether a change of the file, which is at this place, is certain to show in a later stamp.
    pub(crate) fn is_settled(&self, place: Place<'_>) -> bool {
        is_long_ago(self.changed) || place.has_fine_times()
    }

    /// Whether the file was changed between `earlier`, which may be later, and this.
    pub(crate) fn changed_after(&self, earlier: &FileStamp) -> bool {
        self.changed > earlier.changed
    }
}

fn wanted() -> StatxFlags {
    StatxFlags::BASIC_STATS | StatxFlags::BTIME
}

/// Whether a change at this time is so long ago that another one would show.
fn is_long_ago((seconds, nanoseconds): Time) -> bool {
    let then = UNIX_EPOCH.checked_add(Duration::new(u64::try_from(seconds).unwrap_or(u64::MAX), nanoseconds));
    then.and_then(|then| SystemTime::now().duration_since(then).ok()).is_some_and(|age| age >= COARSE)
}

static KERNEL_IS_FINE: LazyLock<bool> = LazyLock::new(|| {
    let name = rustix::system::uname();
    name.release().to_str().ok().and_then(version).is_some_and(|version| version >= FINE_SINCE)
});

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn versions_of_kernels_are_compared_by_number() {
        for (release, expected) in
            [("6.13.0-rc1", Some((6, 13))), ("6.9", Some((6, 9))), ("10.2.3", Some((10, 2)))]
        {
            assert_eq!(version(release), expected);
        }
        assert!(version("6.9").unwrap() < FINE_SINCE && version("10.2").unwrap() > FINE_SINCE);
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn what_is_settled_does_not_change_unseen() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let name = CString::new(file.path().as_os_str().as_bytes()).unwrap();
        for round in 0..100 {
            let Some(before) = Place::Named(&name).stamp() else { return };
            assert_eq!(Place::Open(file.as_file()).stamp().unwrap(), before);
            let settled = before.is_settled(Place::Open(file.as_file()));
            std::io::Write::write_all(&mut file, b"x").unwrap();
            std::io::Seek::rewind(&mut file).unwrap();
            let after = Place::Named(&name).stamp().unwrap();
            assert_eq!(after.key(), before.key());
            // The first write also changes the size.
            assert!(!settled || before != after, "{round}: {before:?}");
            assert!(round == 0 || before.size() == after.size());
        }
    }
}
