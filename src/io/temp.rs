//! Temporary files: their names, and where there is no need of names.

#![forbid(unsafe_code)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;

/// A name for a temporary file that no other process uses and that hosts, which look for `.couch.`, do not see.
pub(crate) fn temporary_name() -> String {
    let random = RandomState::new().build_hasher().finish();
    format!(".couchstore-{}-{random:016x}.tmp", std::process::id())
}

/// Whether this is how a file system says that it has no unnamed files.
pub(crate) fn refuses_unnamed(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL | libc::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_not_taken_for_databases() {
        let (a, b) = (temporary_name(), temporary_name());
        assert_ne!(a, b);
        assert!(!a.contains(".couch."));
    }
}
