// SPDX-License-Identifier: Apache-2.0

//! Moving between headers.

use super::guard::{guard_db, guard_last};
use super::latency::Call;
use super::types::{Handle, couchstore_direction, couchstore_error_t, cs_off_t};
use crate::db::Db;
use crate::db::headers::Direction;
use crate::error::{Error, ErrorCode, Result};

/// Runs a move that frees the handle when it fails.
///
/// # Safety
/// `db` follows the pointer contract of `capi`.
unsafe fn move_or_free(call: Call, db: *mut Handle, action: fn(&Db) -> Result<()>) -> couchstore_error_t {
    // SAFETY: the contract above.
    let last = unsafe { guard_last(call, db, action, |code| code != ErrorCode::SUCCESS.0) };
    if last.freed { ErrorCode::DB_NO_LONGER_VALID.0 } else { last.code }
}

/// Moves the handle to the header before the one that it stands on. Uncommitted changes are
/// discarded.
///
/// A commit from there makes a new branch of the file's history.
///
/// @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: there is none, or it cannot be read. Then the handle
///         has been closed AND FREED. couchstore_seek() does the same without freeing.
///         COUCHSTORE_ERROR_INVALID_ARGUMENTS: called from a callback of a call on the handle; nothing
///         was done
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_rewind_db_header"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_rewind_db_header(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { move_or_free(Call::Rewind, db, Db::rewind) }
}

/// Moves the handle to the header behind the one that it stands on. Uncommitted changes are
/// discarded.
///
/// @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: there is none, or it cannot be read. Then the handle
///         has been closed AND FREED. COUCHSTORE_ERROR_INVALID_ARGUMENTS: as of
///         couchstore_rewind_db_header()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_fastforward_db_header"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_fastforward_db_header(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { move_or_free(Call::FastForward, db, Db::fast_forward) }
}

/// Moves the handle to the header at this position. Uncommitted changes are discarded.
///
/// After a failure the handle stands where it stood, uncommitted changes discarded.
///
/// @param offset position of a header in bytes, for example from couchstore_get_header_position()
/// @return COUCHSTORE_ERROR_NO_HEADER: there is no header; COUCHSTORE_ERROR_INVALID_ARGUMENTS: not a
///         multiple of 4096; COUCHSTORE_ERROR_DB_NO_LONGER_VALID: the handle's own header could not be
///         read again either, the file has been closed
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_seek_offset"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_seek_offset(db: *mut Handle, offset: cs_off_t) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::Seek, db, |db| db.seek_offset(offset)) }
}

/// Moves the handle from header to header. Uncommitted changes are discarded; but a move backward
/// from the first header only fails, and changes nothing.
///
/// Forward and backward stay within the size that the file had when it was opened, or at the last
/// move to the end; the handle's own commits count.
///
/// What is saved after a move to the end may get the place of what that has discarded. So a scan, a
/// walk or a compaction that is going through uncommitted changes, and from whose callback the move
/// is made, ends with COUCHSTORE_ERROR_INVALID_ARGUMENTS when the callback returns.
///
/// @param direction COUCHSTORE_SEEK_FORWARD, COUCHSTORE_SEEK_BACKWARD, or COUCHSTORE_SEEK_END to
///                  look for headers that others have written meanwhile
/// @return as couchstore_seek_offset()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_seek"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_seek(
    db: *mut Handle,
    direction: couchstore_direction,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::Seek, db, |db| seek(db, direction)) }
}

/// Moves as a caller's number says. A closed handle comes before a wrong number.
pub(super) fn seek(db: &Db, direction: couchstore_direction) -> Result<()> {
    db.check_open()?;
    db.seek(match direction {
        0 => Direction::Forward,
        1 => Direction::Backward,
        2 => Direction::End,
        _ => return Err(Error::InvalidArguments("expected the direction 0, 1 or 2")),
    })
}

/// Moves the handle to the first header, up to the one it stands on, in which the sequence number
/// seqno had been reached. If there is none the handle stays where it is.
///
/// @param seqno       a sequence number
/// @param granularity 1, or an interval in units of the headers' timestamps: then the move goes on
///                    to the last header of the interval that the header lies in
/// @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: granularity is 0; otherwise as couchstore_seek_offset()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_seek_first_header_containing"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_seek_first_header_containing(
    db: *mut Handle,
    seqno: u64,
    granularity: u64,
) -> couchstore_error_t {
    let body = |db: &Db| db.seek_first_header_containing(seqno, granularity);
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SeekFirstHeaderContaining, db, body) }
}
