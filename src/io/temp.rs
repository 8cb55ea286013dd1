//! Temporary files that leave nothing behind.

#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A name for a temporary file that no other process uses and that hosts, which look for `.couch.`, do not see.
pub(crate) fn temporary_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!(".couchstore-{}-{random:016x}.tmp", std::process::id())
}

/// An open file without a name in `dir`.
pub(crate) fn unnamed_file(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        Ok(file) => Ok(file),
        Err(error) if refuses_unnamed(&error) => {
            let path = dir.join(temporary_name());
            let file = options.create_new(true).custom_flags(libc::O_NOFOLLOW).open(&path)?;
            std::fs::remove_file(&path)?;
            Ok(file)
        }
        Err(error) => Err(error),
    }
}

/// Whether this is how a file system says that it has no unnamed files.
pub(crate) fn refuses_unnamed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn unnamed_files_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = unnamed_file(dir.path()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 0);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn names_differ_and_are_not_taken_for_databases() {
        let (a, b) = (temporary_name(), temporary_name());
        assert_ne!(a, b);
        assert!(!a.contains(".couch."));
    }
}
