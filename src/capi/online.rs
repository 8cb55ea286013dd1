// SPDX-License-Identifier: Apache-2.0

//! Compaction that runs with saves.

use super::call::{callback, callback_on_two};
use super::compact::{Hooks, ReplayCallbacks, Rewrite, path};
use super::file_ops;
use super::flags;
use super::guard::{callback_result, guard};
use super::keys::KeyCallback;
use super::latency::Call;
use super::ptr::{self, Out};
use super::types::{
    Handle, couchstore_error_t, couchstore_online_compact_options, couchstore_online_compact_stats,
};
use crate::compact::copy::{CompactHooks, Verdict};
use crate::compact::hooks::{OnlineHooks, ReplayHooks};
use crate::compact::online::{OnlineStats, compact_online};
use crate::compact::options::{OnlineOptions, Swap};
use crate::crypto::keys::KeyStore;
use crate::db::{Db, leads_to};
use crate::error::{Error, ErrorCode, Result};
use crate::format::docinfo::DocInfoRef;
use crate::io::FileOps;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// Compacts a file while others save to it.
///
/// The source's newest state is copied without any lock, and so is most of what is committed
/// meanwhile. For the last bit options->lock is called, which keeps writers out; then the result is
/// given its name durably, options->publish is called, and options->unlock. A writer that is faster
/// than the copying is kept out for a few short times before. Of local documents only those are put
/// that the source has changed meanwhile; what the hooks write into the result stays.
///
/// Handles that have the source open keep it, also when the result takes its name; see
/// couchstore_is_current(). Only one such compaction of a source runs at a time.
///
/// Switching over is done in options->publish. Open a new handle there: on source_name if the result
/// has taken that name, else on target_name. Then close and free the handles on the old file, or
/// let their users do so when they have finished reading. couchstore_reopen_file() is not for this: it
/// asks for the header that the handle stood on, in the same place, which the new file does not have,
/// and closes the handle with COUCHSTORE_ERROR_DB_NO_LONGER_VALID. The new handle may be saved to as
/// soon as it is open. If publish returns an error the names are put back: before that it closes what
/// it has opened, and nothing may have been committed there. After publish has returned
/// COUCHSTORE_SUCCESS, so does this function.
///
/// The two handles that hooks are shown are the library's own: source, for reading only, stands on the
/// header that is copied or replayed, target is the result. Hooks may read from both; only the
/// last call of options->hook, and options->precommit, save to target. They must not be closed, and
/// are gone when the hook returns.
///
/// All hooks, lock and unlock among them, are called on the thread that has called this function, one
/// at a time, and none holds a lock of the library's: they may use any other handle. But publish, and
/// whatever else is called under the lock, must not wait for a thread that waits for the lock, and no
/// hook may wait for this compaction.
///
/// An example of all that is examples/online_compaction.c.
///
/// With the library's own file operations it is asked at the beginning whether the file system has room
/// for all bodies. If not, nothing is copied: COUCHSTORE_ERROR_WRITE with errno ENOSPC, and the
/// numbers of bytes in couchstore_last_internal_error(). The trees, and what sorting puts on the disk,
/// come on top. It is not asked on other file systems than ext2 to ext4, XFS and tmpfs, nor where
/// options->hook, COUCHSTORE_COMPACT_FLAG_DROP_DELETES or COUCHSTORE_COMPACT_RECOVERY_MODE may leave
/// something out.
///
/// With COUCHSTORE_SWAP_REPLACE the result keeps owner, group, permissions and access control list of
/// the source as far as the process may, and is open to nobody to whom the source is closed. With
/// COUCHSTORE_SWAP_NONE it has permissions as after couchstore_compact_db().
///
/// After any failure the names are as they were, nothing of the result is left, and the lock was given
/// back; unless names could not be put back, or it could not be told what they lead to: then the error
/// says that the outcome is unknown, all names stay as they are, and the host should look at them
/// before it goes on with either file.
///
/// What a dead process has left in the result's folder (.couchstore-*) is removed, as far as nobody
/// needs it. A source whose name was taken, and to which something was committed in spite of that, is
/// kept as .couchstore-*.old.
///
/// Tombstones that are made while the compaction runs are kept, also with
/// COUCHSTORE_COMPACT_FLAG_DROP_DELETES.
///
/// @param source_name the file to be compacted
/// @param target_name name of the result, which must not exist; ignored (NULL is fine) if the result
///                    takes the source's name
/// @param options     all zero but size is fine: no lock, which is right only if nobody writes
/// @param stats       receives figures; NULL: none
/// @return what a hook returned, if it is an error; COUCHSTORE_ERROR_OPEN_FILE with errno EBUSY:
///         another one runs; COUCHSTORE_ERROR_OPEN_FILE with errno ESTALE: the source's name leads to
///         another file by now; COUCHSTORE_ERROR_OPEN_FILE with errno EBADF: the source may only be
///         read, its file system locks none but files that may be written, and it was to be replaced;
///         COUCHSTORE_ERROR_INVALID_ARGUMENTS: options that this version does not know; otherwise what
///         opening, reading or writing gave
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_compact_db_online"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_compact_db_online(
    source_name: *const c_char,
    target_name: *const c_char,
    options: *const couchstore_online_compact_options,
    stats: *mut couchstore_online_compact_stats,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { compact_db_online(source_name, target_name, options, stats, Replaced::default()) }
}

/// A lock that may fail, in place of the caller's; a negative result: it is not held.
pub(super) type TryLock = unsafe extern "C" fn(ctx: *mut c_void) -> c_int;

/// What stands in place of members of the options, in forms that they cannot have.
#[derive(Default)]
pub(super) struct Replaced {
    pub(super) try_lock: Option<TryLock>,
    pub(super) rewrite: Option<Rewrite>,
    pub(super) keys: Option<Arc<dyn KeyStore>>,
    pub(super) file_ops: Option<Arc<dyn FileOps>>,
}

/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn compact_db_online(
    source_name: *const c_char,
    target_name: *const c_char,
    options: *const couchstore_online_compact_options,
    stats: *mut couchstore_online_compact_stats,
    replaced: Replaced,
) -> couchstore_error_t {
    guard(Call::CompactDbOnline, || {
        // SAFETY: the pointer contract of `capi`.
        let (source, options) = unsafe { (ptr::name(source_name)?, read_options(options)?) };
        flags::check_known(options.open_flags, options.flags)?;
        let rust = OnlineOptions {
            compact: flags::compact_options(options.flags),
            source: flags::open_options(options.open_flags),
            swap: swap(options.swap)?,
            max_unlocked_rounds: rounds(options.max_unlocked_rounds),
            ..OnlineOptions::default()
        };
        let mut rust = with_sizes(rust, options)?;
        rust.compact.keys = replaced.keys.or(rust.compact.keys);
        rust.compact.file_ops = replaced.file_ops.unwrap_or(rust.compact.file_ops);
        let target = if rust.swap == Swap::Replace && target_name.is_null() {
            source
        } else {
            // SAFETY: the pointer contract of `capi`.
            unsafe { ptr::name(target_name) }?
        };
        let rewrite = replaced.rewrite.or(options.dhook.map(Rewrite::Plain));
        let mut hooks = OnlineCallbacks {
            compact: Hooks::new(options.hook, rewrite, None, options.hook_ctx),
            replay: ReplayCallbacks {
                pre_copy: options.pre_copy,
                precommit: options.precommit,
                ctx: options.replay_ctx,
            },
            options,
            try_lock: replaced.try_lock,
        };
        let figures = compact_online(path(source), path(target), &rust, &mut hooks)?;
        // SAFETY: the pointer contract of `capi`.
        if let Ok(out) = unsafe { Out::new(stats) } {
            out.set(to_c(&figures));
        }
        Ok(())
    })
}

/// No version of the options will ever be larger, in bytes.
const LARGEST_OPTIONS: usize = 1 << 16;

/// The caller's options; what its version of the struct does not have yet is zero, and so must be what this library
/// does not know yet.
///
/// # Safety
/// The pointer contract of `capi`; the first member is the size of the caller's struct.
unsafe fn read_options(
    options: *const couchstore_online_compact_options,
) -> Result<couchstore_online_compact_options> {
    let mut known = couchstore_online_compact_options::ZERO;
    let full = size_of::<couchstore_online_compact_options>();
    // SAFETY: the contract above: the size can be read.
    let size = unsafe { *ptr::get(options.cast::<usize>())? };
    if !(size_of::<usize>()..=LARGEST_OPTIONS).contains(&size) {
        return Err(Error::InvalidArguments("expected options whose size is that of their struct"));
    }
    // SAFETY: the contract above: so many bytes can be read. Not as a reference to the struct: it may be smaller.
    let given = unsafe { std::slice::from_raw_parts(options.cast::<u8>(), size) };
    if given.iter().skip(full).any(|&byte| byte != 0) {
        return Err(Error::InvalidArguments(
            "expected zeros in the part of the options that this version does not know",
        ));
    }
    let length = size.min(full);
    // SAFETY: `given` has so many bytes, and so has `known`, of which every pattern of bytes is one.
    unsafe { (&raw mut known).cast::<u8>().copy_from_nonoverlapping(given.as_ptr(), length) };
    Ok(known)
}

fn swap(given: c_int) -> Result<Swap> {
    match given {
        0 => Ok(Swap::None),
        1 => Ok(Swap::Replace),
        _ => Err(Error::InvalidArguments("a swap that does not exist")),
    }
}

fn rounds(given: c_int) -> u32 {
    match given {
        0 => OnlineOptions::default().max_unlocked_rounds,
        given => u32::try_from(given).unwrap_or(0),
    }
}

fn with_sizes(mut rust: OnlineOptions, options: couchstore_online_compact_options) -> Result<OnlineOptions> {
    if options.delta_bytes_for_lock != 0 {
        rust.delta_bytes_for_lock = options.delta_bytes_for_lock;
    }
    rust.compact.keys = KeyCallback::store(options.keys, options.keys_ctx);
    if options.memory_budget != 0 {
        rust.compact.memory_budget = options.memory_budget;
    }
    rust.compact.threads = options.threads.max(1);
    if !options.ops.is_null() {
        // SAFETY: the pointer contract of `capi`.
        rust.compact.file_ops = unsafe { file_ops::to_rust(options.ops) }?;
    }
    Ok(rust)
}

fn to_c(stats: &OnlineStats) -> couchstore_online_compact_stats {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    couchstore_online_compact_stats {
        documents: stats.documents,
        bytes: stats.bytes,
        rounds: u64::from(stats.rounds),
        restarts: u64::from(stats.restarts),
        locked_bytes: stats.locked_bytes,
        lock_hold_us: micros(stats.lock_time),
        total_us: micros(stats.total_time),
    }
}

struct OnlineCallbacks {
    compact: Hooks,
    replay: ReplayCallbacks,
    options: couchstore_online_compact_options,
    try_lock: Option<TryLock>,
}

impl CompactHooks for OnlineCallbacks {
    fn filters(&self) -> bool {
        self.compact.filters()
    }

    fn filter(&mut self, target: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        self.compact.filter(target, info, body)
    }

    fn rewrites(&self) -> bool {
        self.compact.rewrites()
    }

    fn rewrite(&mut self, info: &DocInfoRef<'_>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        self.compact.rewrite(info, body)
    }

    fn progress(&mut self, done: u64, total: u64, bytes: u64) -> Result<()> {
        let Some(progress) = self.options.progress else { return Ok(()) };
        // SAFETY: the pointer contract of `capi`.
        match callback(|| unsafe { progress(self.options.ctx, done, total, bytes) }) {
            0 => Ok(()),
            code => callback_result(code).and(Err(Error::Callback(ErrorCode::CANCEL))),
        }
    }

    fn copied(&mut self, target: &Db) -> Result<()> {
        self.compact.copied(target)
    }
}

impl ReplayHooks for OnlineCallbacks {
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        self.replay.before_document(source, target, info)
    }

    fn before_local(&mut self, source: &Db, target: &Db, id: &[u8], length: usize) -> Result<bool> {
        self.replay.before_local(source, target, id, length)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        ReplayHooks::precommit(&mut self.replay, source, target)
    }
}

impl OnlineHooks for OnlineCallbacks {
    fn counts_on_precommit(&self) -> bool {
        self.replay.precommit.is_some()
    }

    fn lock(&mut self) {
        if let Some(lock) = self.options.lock {
            // SAFETY: the pointer contract of `capi`.
            callback(|| unsafe { lock(self.options.ctx) });
        }
    }

    fn try_lock(&mut self) -> Result<()> {
        let Some(try_lock) = self.try_lock else {
            self.lock();
            return Ok(());
        };
        // SAFETY: the pointer contract of `capi`.
        callback_result(callback(|| unsafe { try_lock(self.options.ctx) })).map(|_| ())
    }

    fn unlock(&mut self) {
        if let Some(unlock) = self.options.unlock {
            // SAFETY: the pointer contract of `capi`.
            callback(|| unsafe { unlock(self.options.ctx) });
        }
    }

    fn publish(&mut self, source: &Db, target: &Db) -> Result<()> {
        let Some(publish) = self.options.publish else { return Ok(()) };
        // SAFETY: the pointer contract of `capi`.
        let run = |source, target| unsafe { publish(self.options.ctx, source, target) };
        match callback_on_two(source, target, run) {
            0 => Ok(()),
            code => Err(Error::Callback(ErrorCode(code))),
        }
    }
}

/// Whether the name under which a file was opened still leads to the handle's file. It does not after
/// the file was removed, or replaced by a compaction: then opening the name again gives the new one.
///
/// @param is_current receives 1 or 0
/// @return COUCHSTORE_ERROR_NOT_SUPPORTED: the file operations do not tell;
///         COUCHSTORE_ERROR_OPEN_FILE: the system does not say what the name leads to
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_is_current(
    db: *mut Handle,
    is_current: *mut c_int,
) -> couchstore_error_t {
    let answer = || {
        // SAFETY: the pointer contract of `capi`.
        let handle = unsafe { ptr::get(db) }?;
        let (open, identity, name) =
            handle.ask(|known| (known.check_open(), known.identity, known.filename().to_owned()));
        open?;
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(is_current) }?;
        let without = Error::NotSupported("expected file operations that tell which file a handle has");
        out.set(c_int::from(leads_to(&name, identity.ok_or(without)?)?));
        Ok(())
    };
    guard(Call::IsCurrent, answer)
}
