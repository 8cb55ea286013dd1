// SPDX-License-Identifier: Apache-2.0

//! What the C++ layer calls in place of the C functions, where those cannot say what C++ can: file operations as an
//! object, key getters, callbacks that may fail because they threw.
//!
//! Internal: nothing here is exported from the shared library or declared in a public header. `cxx/entry.h` has the
//! other half of each struct and function. All rely on the pointer contract of `capi`; the callbacks never unwind,
//! because the layer catches exceptions and returns a negative code for them.

#![allow(missing_docs, reason = "internal; described where it matters")]

use super::alloc;
use super::call::{callback, callback_on};
use super::compact::{Hooks, ReplayCallbacks, Rewrite, path};
use super::diagnostics::give;
use super::flags;
use super::guard::{ask_value, callback_result, guard, guard_db, guard_dbs, guard_value};
use super::handle::Published;
use super::keys::given_key;
use super::latency::Call;
use super::online::{Replaced, TryLock, compact_db_online};
use super::open::open;
use super::ptr::{self, Out};
use super::save::Batch;
use super::types::{
    Doc, DocInfo, Handle, LocalDoc, couchstore_commit_retry_fn, couchstore_compact_flags,
    couchstore_compact_hook, couchstore_direction, couchstore_error_t, couchstore_local_docs_callback_fn,
    couchstore_online_compact_options, couchstore_online_compact_stats, couchstore_open_flags,
    couchstore_pre_copy_hook, couchstore_precommit_hook, couchstore_save_options, cs_off_t, sized_buf,
};
use crate::compact::copy::compact_with;
use crate::compact::replay::replay_or_tell;
use crate::crypto::keys::{EncryptionKey, KeyStore, KeyStoreFailed};
use crate::db::commit::system_clock;
use crate::db::open::OpenOptions;
use crate::db::{Db, State};
use crate::error::internal_error::{Handler, last_internal_error, set_on_internal_error};
use crate::error::{Error, Result};
use crate::io::FileOps;
use crate::io::object::ObjectOps;
pub use crate::io::object::couchstore_private_file_ops;
use crate::io::posix::PosixOps;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

/// File operations: a C++ object with its functions, or the library's own (`table` NULL).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct couchstore_private_ops {
    pub table: *const couchstore_private_file_ops,
    pub object: *mut c_void,
}

impl couchstore_private_ops {
    /// # Safety
    /// The contract of `io::object`.
    unsafe fn to_rust(self) -> Arc<dyn FileOps> {
        // SAFETY: the table is NULL or a constant of the C++ layer.
        match unsafe { self.table.as_ref() } {
            // SAFETY: the contract above.
            Some(table) => Arc::new(unsafe { ObjectOps::new(table, self.object) }),
            None => Arc::new(PosixOps),
        }
    }

    /// Has these file operations used; the library's own are used if nothing is said.
    ///
    /// # Safety
    /// The contract of `io::object`.
    unsafe fn be_used(self, options: &mut OpenOptions) {
        // SAFETY: the table is NULL or a constant of the C++ layer.
        if let Some(table) = unsafe { self.table.as_ref() } {
            // SAFETY: the contract above.
            options.set_object_ops(unsafe { ObjectOps::new(table, self.object) });
        }
    }
}

/// A key as its getter gave it.
#[repr(C)]
#[derive(Debug)]
pub struct couchstore_private_key {
    pub id: sized_buf,
    pub key: sized_buf,
    /// 0: none, 1: AES-256-GCM.
    pub cipher: c_int,
    /// 0: the key itself is used, 1: derived from the key, 2: from a password.
    pub derivation: c_int,
}

/// Asks for the key with this id, the empty id being the active key. Returns 1 and fills in `key`, which stays good
/// until the getter goes away; 0: there is none; negative: finding it failed.
type KeyFunction =
    unsafe extern "C" fn(ctx: *mut c_void, id: sized_buf, key: *mut couchstore_private_key) -> c_int;

/// A key getter; `function` NULL: there is none.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct couchstore_private_keys {
    pub function: Option<KeyFunction>,
    pub ctx: *mut c_void,
}

// SAFETY: it is called only by the function that it was passed to, on that function's thread.
unsafe impl Send for couchstore_private_keys {}
// SAFETY: as above.
unsafe impl Sync for couchstore_private_keys {}

impl couchstore_private_keys {
    /// The getter as a key store for the length of the call that it was passed to; none if there is none.
    fn store(self) -> Option<Arc<dyn KeyStore>> {
        self.function?;
        Some(Arc::new(self))
    }
}

impl KeyStore for couchstore_private_keys {
    fn key(&self, id: &[u8]) -> Result<Option<EncryptionKey>, KeyStoreFailed> {
        let Some(function) = self.function else { return Ok(None) };
        let mut key =
            couchstore_private_key { id: sized_buf::EMPTY, key: sized_buf::EMPTY, cipher: 0, derivation: 0 };
        // SAFETY: the contract of the module.
        let found = callback(|| unsafe { function(self.ctx, sized_buf::borrow(id), &raw mut key) });
        if found < 0 {
            return Err(KeyStoreFailed);
        }
        if found == 0 || key.cipher == 0 {
            return Ok(None);
        }
        // SAFETY: the contract of the module: the strings are good while the getter lives.
        let (id, secret) = unsafe { (ptr::buf(&key.id), ptr::buf(&key.key)) };
        let (Ok(id), Ok(secret)) = (id, secret) else { return Err(KeyStoreFailed) };
        Ok(Some(given_key(id, secret, key.derivation)))
    }
}

/// `bootstrap`: on behalf of `cb::couchstore::bootstrap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_open(
    filename: *const c_char,
    flags: couchstore_open_flags,
    keys: couchstore_private_keys,
    ops: couchstore_private_ops,
    bootstrap: bool,
    db: *mut *mut Handle,
) -> couchstore_error_t {
    let call = if bootstrap { Call::BootstrapDb } else { Call::OpenDbEx };
    guard(call, || {
        // SAFETY: the pointer contract of `capi`.
        let (filename, out) = unsafe { (ptr::name(filename)?, Out::new(db)?) };
        let mut options = flags::open_options(flags);
        // SAFETY: the contract of `io::object`.
        unsafe { ops.be_used(&mut options) };
        if keys.function.is_some() {
            options.set_keys(keys.store());
        }
        if bootstrap {
            options.set_bootstrap();
        }
        open(&options, filename, &out)
    })
}

/// `timestamp` NULL: the system clock.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_commit(
    db: *mut Handle,
    timestamp: *const u64,
    retry: couchstore_commit_retry_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let call = if timestamp.is_null() { Call::Commit } else { Call::CommitEx };
    let body = |db: &Db| {
        // SAFETY: the pointer contract of `capi`.
        let timestamp = unsafe { timestamp.as_ref() }.copied().unwrap_or_else(system_clock);
        // SAFETY: the pointer contract of `capi`.
        unsafe { super::commit::commit_or_ask(db, timestamp, retry, ctx) }
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(call, db, body) }
}

/// As `save_callback_fn`, but a negative result ends the save.
type SaveFunction = unsafe extern "C" fn(
    old: *const DocInfo,
    new: *const DocInfo,
    ctx: *mut c_void,
    request: *mut c_void,
) -> c_int;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_save(
    db: *mut Handle,
    docs: *const *const Doc,
    infos: *const *mut DocInfo,
    requests: *const *mut c_void,
    count: usize,
    options: couchstore_save_options,
    on_save: SaveFunction,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let batch = Batch { docs, infos, count, options };
    let tell = |old, new, request| {
        // SAFETY: the pointer contract of `capi`; both entries live through the call.
        callback_result(callback(|| unsafe { on_save(old, new, ctx, request) })).map(|_| ())
    };
    // SAFETY: the pointer contract of `capi`.
    let body = |db: &Db| unsafe { batch.save_and_tell(db, requests, tell) };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SaveDocumentsAndCallback, db, body) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_save_local(
    db: *mut Handle,
    docs: *const *mut LocalDoc,
    count: usize,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSaveLocalDocuments, db, |db| super::local::save_all(db, docs, count)) }
}

/// The callback owns every document that it gets; a negative result ends the scan.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_scan_local(
    db: *mut Handle,
    from: sized_buf,
    callback: couchstore_local_docs_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        let callback = callback.ok_or(Error::InvalidArguments("expected a callback, got NULL"))?;
        // SAFETY: the pointer contract of `capi`.
        let from = unsafe { ptr::buf(&from) }?;
        db.scan_local(from, &mut |id, body| {
            let doc = alloc::local_doc(id, body)?;
            // SAFETY: the pointer contract of `capi`.
            callback_result(callback_on(db, |handle| unsafe { callback(handle, doc, ctx) })).map(|_| ())
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxScanLocalDocs, db, body) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_seek_offset(
    db: *mut Handle,
    offset: cs_off_t,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSeek, db, |db| db.seek_offset(offset)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_seek(
    db: *mut Handle,
    direction: couchstore_direction,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSeek, db, |db| super::headers::seek(db, direction)) }
}

/// Moves back to the newest header that is not newer than `timestamp`, or to the oldest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_seek_back_to(
    db: *mut Handle,
    timestamp: u64,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSeek, db, |db| db.seek_back_to(timestamp)) }
}

/// Where a handle stands, with what is not committed yet.
#[derive(Debug)]
pub struct couchstore_private_place(State);

/// To be freed with `couchstore_private_cxx_free_place`; NULL if there is no handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_place(db: *mut Handle) -> *mut couchstore_private_place {
    let mut place = std::ptr::null_mut();
    let body = |db: &Db| {
        place = Box::into_raw(Box::new(couchstore_private_place(db.snapshot())));
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`. Without a handle there is no place.
    unsafe { guard_db(Call::CxxSeek, db, body) };
    place
}

/// Puts the handle back to where it stood, from memory: that never fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_return_to(
    db: *mut Handle,
    place: *const couchstore_private_place,
) {
    // SAFETY: the pointer contract of `capi`.
    let place = unsafe { place.as_ref() };
    let body = |db: &Db| {
        if let Some(place) = place {
            db.update_state(|state| state.clone_from(&place.0));
        }
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSeek, db, body) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_free_place(place: *mut couchstore_private_place) {
    if !place.is_null() {
        // SAFETY: made by `couchstore_private_cxx_place`, and freed once.
        drop(unsafe { Box::from_raw(place) });
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_seek_first(
    db: *mut Handle,
    seqno: u64,
    granularity: u64,
) -> couchstore_error_t {
    let body = |db: &Db| db.seek_first_header_containing(seqno, granularity);
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CxxSeekFirst, db, body) }
}

/// A hook that changes entries, with a context.
pub type couchstore_private_rewrite =
    Option<unsafe extern "C" fn(*mut *mut DocInfo, item: *const sized_buf, ctx: *mut c_void) -> c_int>;

/// The hooks of a compaction; a negative result of any ends it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct couchstore_private_hooks {
    pub filter: couchstore_compact_hook,
    pub rewrite: couchstore_private_rewrite,
    pub precommit: couchstore_precommit_hook,
    pub ctx: *mut c_void,
}

/// `is_c_function`: on behalf of `couchstore_compact_db_ex`, not of `cb::couchstore::compact`; for the statistics.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_compact(
    source: *mut Handle,
    target_filename: *const c_char,
    flags: couchstore_compact_flags,
    keys: couchstore_private_keys,
    ops: couchstore_private_ops,
    hooks: couchstore_private_hooks,
    is_c_function: bool,
) -> couchstore_error_t {
    let call = if is_c_function { Call::CompactDbEx } else { Call::CxxCompact };
    let body = |source: &Db| {
        source.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let (name, ops) = unsafe { (ptr::name(target_filename)?, ops.to_rust()) };
        let mut options = flags::compact_options(flags);
        options.keys = keys.store();
        options.file_ops = ops;
        let rewrite = hooks.rewrite.map(Rewrite::WithContext);
        let mut hooks = Hooks::new(hooks.filter, rewrite, hooks.precommit, hooks.ctx);
        compact_with(source, path(name), &options, &mut hooks)
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(call, source, body) }
}

/// What stands in place of members of the options of an online compaction; NULL: as they say.
#[repr(C)]
#[derive(Debug)]
pub struct couchstore_private_online {
    /// A negative result: the lock is not held, and the compaction ends. With the options' ctx.
    pub try_lock: Option<TryLock>,
    /// With the options' hook_ctx.
    pub rewrite: couchstore_private_rewrite,
    pub keys: couchstore_private_keys,
    /// Used if `has_ops`.
    pub ops: couchstore_private_ops,
    pub has_ops: bool,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_compact_online(
    source_name: *const c_char,
    target_name: *const c_char,
    options: *const couchstore_online_compact_options,
    stats: *mut couchstore_online_compact_stats,
    replaced: couchstore_private_online,
) -> couchstore_error_t {
    let replaced = Replaced {
        try_lock: replaced.try_lock,
        rewrite: replaced.rewrite.map(Rewrite::WithContext),
        keys: replaced.keys.store(),
        // SAFETY: the contract of `io::object`.
        file_ops: replaced.has_ops.then(|| unsafe { replaced.ops.to_rust() }),
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { compact_db_online(source_name, target_name, options, stats, replaced) }
}

/// `cannot_move` becomes true if the result is that of moving the source to the offset.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_replay(
    source: *mut Handle,
    target: *mut Handle,
    source_end_offset: u64,
    pre_copy: couchstore_pre_copy_hook,
    precommit: couchstore_precommit_hook,
    ctx: *mut c_void,
    flush_threshold: usize,
    cannot_move: &mut bool,
) -> couchstore_error_t {
    let body = |source: &Db, target: Option<&Db>| {
        let target = target.ok_or_else(ptr::no_handle)?;
        let mut hooks = ReplayCallbacks { pre_copy, precommit, ctx };
        replay_or_tell(source, target, source_end_offset, &mut hooks, flush_threshold, cannot_move)
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_dbs(Call::CxxReplay, source, target, body) }
}

/// Begins a call of the C++ layer that consists of several here, with callbacks between them: until it ends, the handle
/// is not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_begin(db: *mut Handle) {
    // SAFETY: the pointer contract of `capi`.
    let handle = unsafe { db.as_ref() };
    guard_value((), || handle.map_or((), Handle::begin_waiting_call));
}

/// Ends it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_end(db: *mut Handle) {
    // SAFETY: the pointer contract of `capi`.
    let handle = unsafe { db.as_ref() };
    guard_value((), || handle.map_or((), Handle::end_waiting_call));
}

/// The `FHStats` object of the file operations; NULL if they have none, or the file is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_file_stats(db: *mut Handle) -> *mut c_void {
    let mut object = std::ptr::null_mut();
    let body = |db: &Db| {
        object = db.file().with(|file| Ok(file.io().stats_object()))?;
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`. What it returns, the object says too.
    unsafe { guard_db(Call::FileStats, db, body) };
    object
}

/// The id of the key that a file is encrypted with, good as long as the handle; {NULL, 0} if it is not encrypted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_key_id(db: *const Handle) -> sized_buf {
    let answer = |known: &Published| match known.key_id() {
        [] => sized_buf::EMPTY,
        id => sized_buf::borrow(id),
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { ask_value(db, sized_buf::EMPTY, answer) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_last_internal_error(buf: *mut c_char, size: usize) {
    guard_value((), || {
        // SAFETY: the pointer contract of `capi`. There is room; a result would only say the opposite.
        let _ = unsafe { give(&last_internal_error(), buf, size) };
    });
}

/// A handler made by the C++ layer, which `destroy` frees.
struct OwnedHandler {
    call: unsafe extern "C" fn(message: *const c_char, size: usize, ctx: *mut c_void),
    destroy: unsafe extern "C" fn(ctx: *mut c_void),
    ctx: *mut c_void,
}

// SAFETY: the function may be called on any thread with its ctx, and destroyed on any.
unsafe impl Send for OwnedHandler {}
// SAFETY: as above.
unsafe impl Sync for OwnedHandler {}

impl Drop for OwnedHandler {
    fn drop(&mut self) {
        // SAFETY: the last owner is gone, so nobody calls it any more.
        unsafe { (self.destroy)(self.ctx) };
    }
}

impl OwnedHandler {
    fn tell(&self, text: &str) {
        // SAFETY: the contract of the module; the text lives through the call.
        unsafe { (self.call)(text.as_ptr().cast(), text.len(), self.ctx) };
    }
}

/// `call` NULL: nobody is told any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_private_cxx_on_internal_error(
    call: Option<unsafe extern "C" fn(message: *const c_char, size: usize, ctx: *mut c_void)>,
    destroy: unsafe extern "C" fn(ctx: *mut c_void),
    ctx: *mut c_void,
) {
    guard_value((), || {
        set_on_internal_error(call.map(|call| -> Handler {
            let handler = OwnedHandler { call, destroy, ctx };
            Arc::new(move |text: &str| handler.tell(text))
        }));
    });
}
