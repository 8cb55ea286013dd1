// SPDX-License-Identifier: Apache-2.0

//! Committing.

use super::call::callback;
use super::guard::guard_db;
use super::latency::Call;
use super::types::{Handle, couchstore_commit_retry_fn, couchstore_error_t};
use crate::db::Db;
use crate::error::Result;
use std::ffi::c_void;

/// Makes everything that was saved on this handle durable, and visible to whoever opens the file; in
/// C by the name couchstore_commit().
///
/// The header gets the time of the system clock, in nanoseconds since 1970.
///
/// @return COUCHSTORE_ERROR_DB_NO_LONGER_VALID: the file was replaced, or is written by somebody else
///         (see couch_db.h); COUCHSTORE_ERROR_WRITE, or the code of the file operations. Nothing
///         became visible then, unless it was the very last sync that failed (see
///         couchstore_commit_ex()). If it was a sync that failed, this handle takes no more writes
///         (they return COUCHSTORE_ERROR_WRITE), because the operating system may have dropped what it
///         could not write: open the file again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_commit(db: *mut Handle) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::Commit, db, Db::commit) }
}

/// Commits with a timestamp of the caller's; in C by the name couchstore_commit_ex().
///
/// @param timestamp stored in the header; by custom nanoseconds since 1970
/// @param retry     asked when the last sync of the commit fails, the one that makes the header
///                  count: non-zero has the header's mark written and synced again. NULL: never.
///                  If the commit fails there, its outcome is open: the file may show it when it is
///                  opened again, but only from memory, so that a power cut takes it back. It is
///                  known after the next commit that succeeds: that one includes what it found.
/// @param ctx       passed to retry
/// @return as couchstore_commit()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_commit_ex(
    db: *mut Handle,
    timestamp: u64,
    retry: couchstore_commit_retry_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    let body = |db: &Db| unsafe { commit_or_ask(db, timestamp, retry, ctx) };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CommitEx, db, body) }
}

/// Commits, and asks the caller's function, if there is one, whether to sync again.
///
/// # Safety
/// The pointer contract of `capi`, for the function and its ctx.
pub(super) unsafe fn commit_or_ask(
    db: &Db,
    timestamp: u64,
    retry: couchstore_commit_retry_fn,
    ctx: *mut c_void,
) -> Result<()> {
    let Some(retry) = retry else { return db.commit_with(timestamp, None) };
    // SAFETY: the contract above.
    let mut ask = |os_error| callback(|| unsafe { retry(ctx, os_error) != 0 });
    db.commit_with(timestamp, Some(&mut ask))
}
