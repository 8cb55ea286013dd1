// SPDX-License-Identifier: Apache-2.0

//! How much more fits into the file system of a file, as far as it tells.

#![forbid(unsafe_code)]

use rustix::fs::fstatfs;
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};
use std::fs::File;
use std::time::Duration;

/// File systems that store bytes as they are: ext2 to ext4, XFS, tmpfs. Elsewhere the bytes may become fewer (Btrfs and
/// ZFS compress), or somebody else has the disk (NFS).
const PLAIN: [u64; 3] = [0xEF53, 0x5846_5342, 0x0102_1994];

/// XFS takes back the space of removed files beside its work, and counts it as taken until then.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Bytes that can be written to the file system of `file`, should they be less than `needed`. `None`: they are not, or
/// it is not known.
pub(crate) fn lacks(file: &File, needed: u64) -> Option<u64> {
    let mut found = None;
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(BETWEEN_LOOKS);
        }
        found = Some(free(file)?);
        if found >= Some(needed) {
            return None;
        }
    }
    found
}

/// Bytes that can be written; `None`: not known.
fn free(file: &File) -> Option<u64> {
    let status = fstatfs(file).ok()?;
    // A file system without a limit of its own says 0.
    if status.f_blocks == 0 || !PLAIN.contains(&(status.f_type as u64)) {
        return None;
    }
    let blocks = if has_reserve() { status.f_bfree } else { status.f_bavail };
    Some(blocks.saturating_mul(u64::try_from(status.f_bsize).ok()?))
}

/// Whether the process may take the blocks that are kept back for root.
fn has_reserve() -> bool {
    let capable = |sets: rustix::thread::CapabilitySets| sets.effective.contains(CapabilitySet::SYS_RESOURCE);
    geteuid().is_root() || capabilities(None).is_ok_and(capable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_file_system_without_a_limit_is_never_too_small() {
        // Files in memory of the kernel's own: it says nothing of their room.
        let file = rustix::fs::memfd_create("room", rustix::fs::MemfdFlags::empty()).unwrap();
        assert_eq!(lacks(&File::from(file), u64::MAX), None);
    }

    #[test]
    fn nothing_is_lacking_where_nothing_is_needed() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(lacks(&file, 0), None);
    }

    #[test]
    fn what_no_file_system_has_is_lacking_where_the_system_tells() {
        let file = tempfile::tempfile().unwrap();
        let known = free(&file);
        let lacking = lacks(&file, u64::MAX);
        assert_eq!(lacking.is_some(), known.is_some());
    }
}
