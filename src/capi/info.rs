// SPDX-License-Identifier: Apache-2.0

//! What is known of an open database.

use super::guard::{ask_value, guard_ask, guard_db};
use super::handle::Published;
use super::latency::Call;
use super::ptr::Out;
use super::types::{
    DbInfo, Handle, couchstore_error_t, couchstore_file_stats, couchstore_header_info, cs_off_t,
};
use crate::db::Db;
use std::ffi::c_char;

/// Figures of the database, with what was saved on this handle and not committed.
///
/// A closed handle gives what it knew, with file_size 0 and an empty name.
///
/// @param info receives the figures; info->filename lives as long as the handle
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_db_info"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_db_info(db: *mut Handle, info: *mut DbInfo) -> couchstore_error_t {
    let answer = |known: &Published| {
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(info) }?;
        let info = known.info.clone()?;
        let filename = if known.closed { c"".as_ptr() } else { known.filename().as_ptr() };
        out.set(DbInfo {
            filename,
            last_sequence: info.last_sequence,
            doc_count: info.doc_count,
            deleted_count: info.deleted_count,
            space_used: info.space_used,
            file_size: info.file_size,
            header_position: info.header_position as cs_off_t,
            purge_seq: info.purge_seq,
        });
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_ask(Call::DbInfo, db, answer) }
}

/// Everything that is known of the header that the handle stands on, with what was saved since.
///
/// @param info receives it. previous_header_position is UINT64_MAX below version 14 and in the first
///             header of a file, and 0 in the first header of a compacted file, where no header is.
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_get_header"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_get_header(
    db: *mut Handle,
    info: *mut couchstore_header_info,
) -> couchstore_error_t {
    let answer = |known: &Published| {
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(info) }?;
        let info = known.info.clone()?;
        out.set(couchstore_header_info {
            version: info.version as u64,
            timestamp: info.timestamp,
            update_seq: info.last_sequence,
            purge_seq: info.purge_seq,
            header_position: info.header_position,
            doc_count: info.doc_count,
            deleted_count: info.deleted_count,
            space_used: info.space_used,
            file_size: info.file_size,
            previous_header_position: info.previous_header.unwrap_or(u64::MAX),
        });
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_ask(Call::GetHeader, db, answer) }
}

/// The name with which the file was opened, as it was given.
///
/// @return lives as long as the handle; NULL for a NULL handle
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_get_db_filename(db: *mut Handle) -> *const c_char {
    // SAFETY: the pointer contract of `capi`.
    unsafe { ask_value(db, std::ptr::null(), |known| known.filename().as_ptr()) }
}

/// Position in bytes of the header that the handle stands on; 0 for a NULL handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_get_header_position(db: *mut Handle) -> u64 {
    // SAFETY: the pointer contract of `capi`.
    unsafe { ask_value(db, 0, |known| known.header_position) }
}

/// Counts of the calls of the file operations since the file was opened; in C by the name
/// couchstore_get_db_filestats().
///
/// @param stats receives the counts
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_get_db_filestats(
    db: *mut Handle,
    stats: *mut couchstore_file_stats,
) -> couchstore_error_t {
    let body = |db: &Db| {
        let counts = db.file_stats()?;
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(stats) }?;
        let stats = counts;
        out.set(couchstore_file_stats {
            read_count: stats.read_count,
            write_count: stats.write_count,
            write_bytes: stats.write_bytes,
            read_bytes: stats.read_bytes,
            sync_count: stats.sync_count,
        });
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::FileStats, db, body) }
}

/// Sets the purge sequence that the next commit stores: by custom, the highest sequence number of a
/// tombstone that was purged. couchstore_db_info() shows it at once.
///
/// @param purge_seq 0 to 2^48 - 1; of larger numbers the lowest 48 bits are taken
/// @return COUCHSTORE_SUCCESS, also for a handle that is closed or may only be read from
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_set_purge_seq(target: *mut Handle, purge_seq: u64) -> couchstore_error_t {
    let body = |db: &Db| {
        db.set_purge_seq(purge_seq);
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SetPurgeSeq, target, body) }
}
