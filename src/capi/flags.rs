// SPDX-License-Identifier: Apache-2.0

//! The bits of the C flags.

use super::types::{couchstore_compact_flags, couchstore_docinfos_options, couchstore_open_flags};
use crate::db::open::{LARGEST_BUFFERS, OpenOptions};
use crate::db::scan::ScanOptions;
use crate::error::{Error, Result};

pub(super) const COMPRESS_DOC_BODIES: u64 = 1;
pub(super) const SEQUENCE_AS_IS: u64 = 2;
pub(super) const DECOMPRESS_DOC_BODIES: u64 = 1;
pub(super) const RANGES: u64 = 1;

/// All bits of `couchstore_open_flags` and of `couchstore_compact_flags` that mean something.
const OPEN_FLAGS: u64 = 0x18_7fff_ff3f;
const COMPACT_FLAGS: u64 = 0x1f00_000f;

/// The two fields that ask for read buffers of some sizes.
const CUSTOM_BUFFER: u64 = 0xff00;

const PERIODIC_SYNC_SHIFT: u32 = 24;
const PERIODIC_SYNC_MASK: u64 = 0x1f;

/// A 4-bit field.
fn nibble(flags: u64, shift: u32) -> u32 {
    (flags >> shift & 0xf) as u32
}

/// Bytes between automatic syncs: bits 28 to 24, n means 1 KiB << (n - 1), 0 means off.
pub(super) fn periodic_sync(flags: u64) -> Option<u64> {
    let field = flags >> PERIODIC_SYNC_SHIFT & PERIODIC_SYNC_MASK;
    (field > 0).then(|| 1024 << (field - 1))
}

/// The flags that ask for a sync after every `bytes` bytes: rounded up to KiB, then down to a power of two.
pub(super) fn encode_periodic_sync(bytes: u64) -> couchstore_open_flags {
    let kibibytes = bytes.div_ceil(1024).max(1);
    let exponent = u64::from(kibibytes.ilog2()).min(PERIODIC_SYNC_MASK - 1);
    (exponent + 1) << PERIODIC_SYNC_SHIFT
}

/// Sizes in KiB: 0 means the default.
fn node_size(field: u32) -> usize {
    const DEFAULT: usize = 1279;
    if field == 0 { DEFAULT } else { field as usize * 1024 }
}

/// The options for `couchstore_open_flags`.
pub(super) fn open_options(flags: couchstore_open_flags) -> OpenOptions {
    let has = |bit: u64| flags & bit != 0;
    let unit = match nibble(flags, 12) {
        0 => 4096,
        n => 1024 << (n - 1),
    };
    let count: usize = match nibble(flags, 8) {
        0 => 16,
        n => 8 << (n - 1),
    };
    // The highest values ask for terabytes.
    let count = count.min(LARGEST_BUFFERS / unit);
    let options = if flags & CUSTOM_BUFFER == 0 {
        OpenOptions::new()
    } else {
        OpenOptions::new().read_buffers(unit, count)
    };
    options
        .create(has(1))
        .read_only(has(2))
        .legacy_crc(has(4))
        .unbuffered(has(8))
        .exclusive(has(0x10))
        .no_commit_at_create(has(0x20))
        .node_sizes(node_size(nibble(flags, 20)), node_size(nibble(flags, 16)))
        .periodic_sync(periodic_sync(flags))
        .tracing(has(0x2000_0000))
        .write_validation(has(0x4000_0000))
        .mprotect(has(0x8_0000_0000))
        .recovery(has(0x10_0000_0000))
        .stale_check(!has(0x4000_0000_0000_0000))
}

/// Refuses bits that mean nothing. Only newer functions do: callers of older ones have always got away with them.
pub(super) fn check_known(open: couchstore_open_flags, compact: couchstore_compact_flags) -> Result<()> {
    if open & !OPEN_FLAGS != 0 || compact & !COMPACT_FLAGS != 0 {
        return Err(Error::InvalidArguments("flags of no meaning"));
    }
    Ok(())
}

/// The options for `couchstore_docinfos_options`.
pub(super) fn scan_options(options: couchstore_docinfos_options) -> ScanOptions {
    ScanOptions {
        deletes_only: options & 2 != 0,
        no_deletes: options & 4 != 0,
        tolerate_corruption: options & 8 != 0,
    }
}

/// The options for `couchstore_compact_flags`, without file operations.
pub(super) fn compact_options(flags: couchstore_compact_flags) -> crate::compact::copy::CompactOptions {
    crate::compact::copy::CompactOptions {
        drop_deletes: flags & 1 != 0,
        upgrade: flags & 2 != 0,
        unbuffered: flags & 4 != 0,
        recovery: flags & 8 != 0,
        periodic_sync: periodic_sync(flags),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periodic_sync_as_observed_of_the_original() {
        let cases = [(1, 0x100_0000), (1024, 0x100_0000), (1025, 0x200_0000), (4096, 0x300_0000)];
        for (bytes, flags) in cases.into_iter().chain([(1 << 50, 0x1f00_0000), (0, 0x100_0000)]) {
            assert_eq!(encode_periodic_sync(bytes), flags, "{bytes}");
        }
        assert_eq!(encode_periodic_sync(u64::MAX), 0x1f00_0000);
        assert_eq!(periodic_sync(0x100_0000), Some(1024));
        assert_eq!(periodic_sync(11 << 24), Some(1 << 20));
        assert_eq!(periodic_sync(0x1f00_0000), Some(1 << 40));
        assert_eq!(periodic_sync(0), None);
    }
}
