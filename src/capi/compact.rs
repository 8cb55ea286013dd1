// SPDX-License-Identifier: Apache-2.0

//! Compaction and replay.

use super::alloc::{self, DocInfoBlock};
use super::call::{callback, callback_on, callback_on_two};
use super::file_ops;
use super::flags;
use super::guard::{callback_result, guard_db, guard_dbs};
use super::latency::Call;
use super::ptr;
use super::types::{
    DocInfo, Handle, couch_file_ops, couchstore_compact_flags, couchstore_compact_hook,
    couchstore_docinfo_hook, couchstore_error_t, couchstore_pre_copy_hook, couchstore_precommit_hook,
    sized_buf,
};
use crate::compact::copy::{CompactHooks, CompactOptions, Verdict, compact, compact_with};
use crate::compact::hooks::ReplayHooks;
use crate::compact::replay::replay;
use crate::crypto::keys::KeyStore;
use crate::db::Db;
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

pub(super) fn path(name: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(name.to_bytes()))
}

/// Copies the state of a handle, uncommitted changes included, to a new file with exactly one
/// header.
///
/// What other handles commit to the source meanwhile is not seen. The target of an encrypted source
/// is NOT encrypted. It has the source's permissions, without those that the umask takes away (with a
/// caller's operations, which couchstore_compact_db_ex() takes, those that the operations give it).
///
/// The target gets its name when it is complete and durable: a process that dies before that, or a
/// power cut, leaves none, and whoever looks for it by name meanwhile finds nothing. A file that gets
/// the name meanwhile is left alone and found at the end.
///
/// If the file system has no room for all bodies this is said before anything is copied:
/// COUCHSTORE_ERROR_WRITE with errno ENOSPC (see couchstore_compact_db_online()).
///
/// @param source          stays open and unchanged
/// @param target_filename must not exist; is gone again after a failure
/// @return COUCHSTORE_ERROR_OPEN_FILE with errno EEXIST: the target exists, at the start or at the
///         end; otherwise what reading, writing or opening gave
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_compact_db"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_compact_db(
    source: *mut Handle,
    target_filename: *const c_char,
) -> couchstore_error_t {
    let body = |source: &Db| {
        source.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let name = unsafe { ptr::name(target_filename) }?;
        compact(source, path(name), &CompactOptions::default())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CompactDb, source, body) }
}

/// Compacts with hooks; in C by the name couchstore_compact_db_ex().
///
/// For each document, in order of sequence numbers, hook is called without the body, and again with
/// it if it returned COUCHSTORE_COMPACT_NEED_BODY; if the document is kept and has a body, dhook
/// may then change its rev_meta. After the last document, when local documents have been copied as
/// well, hook is called with a NULL document, and the target is committed with the timestamp of the
/// source's header.
///
/// The target gets its name at the end, as with couchstore_compact_db(): the hooks find nothing by
/// that name. But with ops that are not the default ones it is created under its name through them,
/// at once: it is removed after every error, but a process that dies leaves it half-made.
///
/// @param flags    COUCHSTORE_COMPACT_* values, or-ed together. With COUCHSTORE_COMPACT_RECOVERY_MODE
///                 what cannot be read is left out, the target is completed, and the last error
///                 returned
/// @param hook     decides about each document; NULL: all are copied
/// @param dhook    may change entries; only with hook; NULL: none is changed
/// @param hook_ctx passed to hook
/// @param ops      for the target, as for couchstore_open_db_ex(); NULL: the default ones
/// @return what a hook returned, if negative; COUCHSTORE_ERROR_INVALID_ARGUMENTS: dhook without hook,
///         or a hook that asks for the body twice; otherwise as couchstore_compact_db()
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_c_compact_db_ex(
    source: *mut Handle,
    target_filename: *const c_char,
    flags: couchstore_compact_flags,
    hook: couchstore_compact_hook,
    dhook: couchstore_docinfo_hook,
    hook_ctx: *mut c_void,
    ops: *const couch_file_ops,
) -> couchstore_error_t {
    let compaction = Compaction { target_filename, flags, keys: None, hook, dhook, hook_ctx, ops };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::CompactDbEx, source, |source| compaction.run(source)) }
}

/// The arguments of the functions that compact with hooks.
pub(super) struct Compaction {
    pub(super) target_filename: *const c_char,
    pub(super) flags: couchstore_compact_flags,
    pub(super) keys: Option<Arc<dyn KeyStore>>,
    pub(super) hook: couchstore_compact_hook,
    pub(super) dhook: couchstore_docinfo_hook,
    pub(super) hook_ctx: *mut c_void,
    pub(super) ops: *const couch_file_ops,
}

impl Compaction {
    /// # Safety
    /// The pointer contract of `capi`.
    pub(super) unsafe fn run(self, source: &Db) -> Result<()> {
        let mut hooks = Hooks::new(self.hook, self.dhook.map(Rewrite::Plain), None, self.hook_ctx);
        if hooks.rewrites() && !hooks.filters() {
            return Err(Error::InvalidArguments("expected a filter beside the hook that rewrites"));
        }
        source.check_open()?;
        let mut options = CompactOptions { keys: self.keys, ..flags::compact_options(self.flags) };
        if !self.ops.is_null() {
            // SAFETY: the contract above.
            options.file_ops = unsafe { file_ops::to_rust(self.ops) }?;
        }
        // SAFETY: the contract above.
        let name = unsafe { ptr::name(self.target_filename) }?;
        compact_with(source, path(name), &options, &mut hooks)
    }
}

/// A hook that may change entries.
#[derive(Clone, Copy)]
pub(super) enum Rewrite {
    /// The one of the C interface, which has no context.
    Plain(unsafe extern "C" fn(*mut *mut DocInfo, *const sized_buf) -> c_int),
    /// The one of the C++ layer.
    #[cfg_attr(not(feature = "cxx-shim"), allow(dead_code, reason = "made by `shim`"))]
    WithContext(unsafe extern "C" fn(*mut *mut DocInfo, *const sized_buf, *mut c_void) -> c_int),
}

/// The hooks of a caller. One entry goes through the first two, and may be replaced by the second.
pub(super) struct Hooks {
    hook: couchstore_compact_hook,
    dhook: Option<Rewrite>,
    precommit: couchstore_precommit_hook,
    ctx: *mut c_void,
    /// The entry of the document at hand, or NULL. It is in the block below, unless it went through the hook that may
    /// replace it.
    current: *mut DocInfo,
    block: DocInfoBlock,
}

impl Hooks {
    pub(super) fn new(
        hook: couchstore_compact_hook,
        dhook: Option<Rewrite>,
        precommit: couchstore_precommit_hook,
        ctx: *mut c_void,
    ) -> Hooks {
        let (current, block) = (std::ptr::null_mut(), DocInfoBlock::default());
        Hooks { hook, dhook, precommit, ctx, current, block }
    }

    /// The entry of the document at hand is not used any more.
    fn release(&mut self) {
        if !self.block.holds(self.current) {
            // SAFETY: NULL, or a block of ours that the rewriting hook has had, or what that made of it with realloc.
            unsafe { alloc::free(self.current) };
        }
        self.current = std::ptr::null_mut();
    }

    fn call(&self, target: &Db, docinfo: *mut DocInfo, item: sized_buf) -> Result<i32> {
        let Some(hook) = self.hook else { return Ok(0) };
        // SAFETY: the pointer contract of `capi`.
        let code = callback_on(target, |target| unsafe { hook(target, docinfo, item, self.ctx) });
        callback_result(code)
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        self.release();
    }
}

impl CompactHooks for Hooks {
    fn filters(&self) -> bool {
        self.hook.is_some()
    }

    fn filter(&mut self, target: &Db, info: &DocInfoRef<'_>, body: Option<&[u8]>) -> Result<Verdict> {
        let item = if let Some(body) = body {
            sized_buf::borrow(body)
        } else {
            self.release();
            self.current = self.block.fill(info)?;
            sized_buf { buf: std::ptr::null_mut(), size: 0x00ff_ffff }
        };
        Ok(match self.call(target, self.current, item)? {
            1 => Verdict::Drop,
            2 => Verdict::NeedBody,
            _ => Verdict::Keep,
        })
    }

    fn rewrites(&self) -> bool {
        self.dhook.is_some()
    }

    fn rewrite(&mut self, _info: &DocInfoRef<'_>, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(dhook) = self.dhook else { return Ok(None) };
        let item = sized_buf::borrow(body);
        // The hook may make another block of it.
        self.block.give_away();
        let current = &raw mut self.current;
        let ctx = self.ctx;
        // SAFETY: the pointer contract of `capi`; the hook leaves a valid entry in `current`.
        let code = callback(|| unsafe {
            match dhook {
                Rewrite::Plain(dhook) => Ok(dhook(current, &raw const item)),
                Rewrite::WithContext(dhook) => callback_result(dhook(current, &raw const item, ctx)),
            }
        })?;
        if code == 0 {
            return Ok(None);
        }
        // SAFETY: as above.
        let rev_meta = unsafe { ptr::buf(&ptr::get(self.current)?.rev_meta) }?;
        Ok(Some(rev_meta.to_vec()))
    }

    fn copied(&mut self, target: &Db) -> Result<()> {
        self.release();
        self.call(target, std::ptr::null_mut(), sized_buf::EMPTY).map(|_| ())
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        let Some(precommit) = self.precommit else { return Ok(()) };
        // SAFETY: the pointer contract of `capi`.
        let run = |source, target| unsafe { precommit(source, target, self.ctx) };
        callback_result(callback_on_two(source, target, run)).map(|_| ())
    }
}

/// Puts into a copy what was committed to the source since: everything after the header that source
/// stands on (the one that target was copied from) up to the header at source_end_offset. Commits
/// target with that header's timestamp, and leaves source there.
///
/// Local documents that are equal are left alone; those that are gone from the source are removed.
///
/// @param source_end_offset position of a header of the source, in bytes, at or behind the one that
///                          source stands on. An earlier one takes local documents back to it, but
///                          not documents. If others have appended since source was opened, it is to
///                          be moved with couchstore_seek() to the end and with
///                          couchstore_seek_offset() back first: else the header is not found
/// @param pre_copy          called before each document and local document; NULL: not called
/// @param precommit         called before the commit; it may change the target; NULL: not called
/// @param hook_ctx          passed to both
/// @param flush_threshold   bytes of memory for documents that are gathered before they are saved; 0:
///                          none are gathered, each is saved by itself
/// @return what a hook returned (any non-zero value of precommit, negative ones of pre_copy), or
///         what reading and writing gave. COUCHSTORE_ERROR_NO_HEADER: source_end_offset is no header;
///         COUCHSTORE_ERROR_INVALID_ARGUMENTS: it is no multiple of 4096, or 2^63 or more. After a
///         failure source stands where it stood, and target has what it had
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_replay"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_replay(
    source: *mut Handle,
    target: *mut Handle,
    source_end_offset: u64,
    pre_copy: couchstore_pre_copy_hook,
    precommit: couchstore_precommit_hook,
    hook_ctx: *mut c_void,
    flush_threshold: usize,
) -> couchstore_error_t {
    let body = |source: &Db, target: Option<&Db>| {
        source.check_open()?;
        let target = target.ok_or_else(ptr::no_handle)?;
        let mut hooks = ReplayCallbacks { pre_copy, precommit, ctx: hook_ctx };
        replay(source, target, source_end_offset, &mut hooks, flush_threshold)
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_dbs(Call::Replay, source, target, body) }
}

pub(super) struct ReplayCallbacks {
    pub(super) pre_copy: couchstore_pre_copy_hook,
    pub(super) precommit: couchstore_precommit_hook,
    pub(super) ctx: *mut c_void,
}

impl ReplayCallbacks {
    fn before(&self, source: &Db, target: &Db, doc: *const DocInfo, local: *const DocInfo) -> Result<bool> {
        let Some(pre_copy) = self.pre_copy else { return Ok(true) };
        // SAFETY: the pointer contract of `capi`.
        let run = |source, target| unsafe { pre_copy(source, target, doc, local, self.ctx) };
        let code = callback_on_two(source, target, run);
        Ok(callback_result(code)? == 0)
    }
}

impl ReplayHooks for ReplayCallbacks {
    fn before_document(&mut self, source: &Db, target: &Db, info: &DocInfoRef<'_>) -> Result<bool> {
        let docinfo = alloc::borrowed_doc_info(info);
        self.before(source, target, &raw const docinfo, std::ptr::null())
    }

    fn before_local(&mut self, source: &Db, target: &Db, id: &[u8], length: usize) -> Result<bool> {
        let info = DocInfoRef { id, physical_size: length as u64, ..DocInfoRef::default() };
        let docinfo = alloc::borrowed_doc_info(&info);
        self.before(source, target, std::ptr::null(), &raw const docinfo)
    }

    fn precommit(&mut self, source: &Db, target: &Db) -> Result<()> {
        let Some(precommit) = self.precommit else { return Ok(()) };
        // SAFETY: the pointer contract of `capi`.
        let run = |source, target| unsafe { precommit(source, target, self.ctx) };
        let code = callback_on_two(source, target, run);
        if code == 0 { Ok(()) } else { Err(Error::Callback(crate::ErrorCode(code))) }
    }
}
