// SPDX-License-Identifier: Apache-2.0

//! The types of the C headers, by their C names and with their layouts. They are described there.

#![allow(missing_docs, reason = "described in the C headers")]

use std::ffi::{c_char, c_int, c_void};

/// What the headers call `Db`.
pub use super::handle::Handle;
pub use crate::io::foreign::{couch_file_handle, couch_file_ops, couchstore_error_info_t};

pub type couchstore_error_t = c_int;
pub type cs_off_t = i64;
pub type couchstore_open_flags = u64;
pub type couchstore_save_options = u64;
pub type couchstore_open_options = u64;
pub type couchstore_docinfos_options = u64;
pub type couchstore_compact_flags = u64;
pub type couchstore_direction = c_int;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct sized_buf {
    pub buf: *mut c_char,
    pub size: usize,
}

impl sized_buf {
    pub(super) const EMPTY: sized_buf = sized_buf { buf: std::ptr::null_mut(), size: 0 };

    /// These bytes, for a reader: C has no way to say that it must not write to them. Of none the pointer is good all
    /// the same: some callers take NULL for something else, and Rust's own pointer to nothing for a wild one.
    pub(super) fn borrow(bytes: &[u8]) -> sized_buf {
        let pointer = if bytes.is_empty() { c"".as_ptr() } else { bytes.as_ptr().cast() };
        sized_buf { buf: pointer.cast_mut(), size: bytes.len() }
    }
}

#[repr(C)]
#[derive(Debug)]
pub struct Doc {
    pub id: sized_buf,
    pub data: sized_buf,
}

#[repr(C)]
#[derive(Debug)]
pub struct DocInfo {
    pub id: sized_buf,
    pub db_seq: u64,
    pub rev_seq: u64,
    pub rev_meta: sized_buf,
    pub deleted: c_int,
    pub content_meta: u8,
    pub bp: u64,
    pub physical_size: usize,
}

#[repr(C)]
#[derive(Debug)]
pub struct LocalDoc {
    pub id: sized_buf,
    pub json: sized_buf,
    pub deleted: c_int,
}

#[repr(C)]
#[derive(Debug)]
pub struct DbInfo {
    pub filename: *const c_char,
    pub last_sequence: u64,
    pub doc_count: u64,
    pub deleted_count: u64,
    pub space_used: u64,
    pub file_size: u64,
    pub header_position: cs_off_t,
    pub purge_seq: u64,
}

#[repr(C)]
#[derive(Debug)]
pub struct couchstore_header_info {
    pub version: u64,
    pub timestamp: u64,
    pub update_seq: u64,
    pub purge_seq: u64,
    pub header_position: u64,
    pub doc_count: u64,
    pub deleted_count: u64,
    pub space_used: u64,
    pub file_size: u64,
    pub previous_header_position: u64,
}

#[repr(C)]
#[derive(Debug)]
pub struct couchstore_file_stats {
    pub read_count: u64,
    pub write_count: u64,
    pub write_bytes: u64,
    pub read_bytes: u64,
    pub sync_count: u64,
}

#[repr(C)]
#[derive(Debug)]
pub struct couchstore_c_latency {
    pub name: *const c_char,
    pub count: u64,
    pub total_us: u64,
    pub max_us: u64,
    pub buckets: *const u64,
    pub num_buckets: usize,
}

#[repr(C)]
#[derive(Debug)]
pub struct couchstore_encryption_key {
    pub id: sized_buf,
    pub key: sized_buf,
    pub derivation: c_int,
}

pub type couchstore_key_fn = Option<
    unsafe extern "C" fn(
        ctx: *mut c_void,
        id: *const c_char,
        id_size: usize,
        key: *mut couchstore_encryption_key,
    ) -> c_int,
>;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct couchstore_online_compact_options {
    pub size: usize,
    pub flags: couchstore_compact_flags,
    pub ops: *const couch_file_ops,
    pub keys: couchstore_key_fn,
    pub keys_ctx: *mut c_void,
    pub hook: couchstore_compact_hook,
    pub dhook: couchstore_docinfo_hook,
    pub hook_ctx: *mut c_void,
    pub pre_copy: couchstore_pre_copy_hook,
    pub precommit: couchstore_precommit_hook,
    pub replay_ctx: *mut c_void,
    pub lock: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
    pub unlock: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
    pub publish: Option<
        unsafe extern "C" fn(
            ctx: *mut c_void,
            source: *mut Handle,
            target: *mut Handle,
        ) -> couchstore_error_t,
    >,
    pub progress: Option<
        unsafe extern "C" fn(ctx: *mut c_void, done_docs: u64, total_docs: u64, done_bytes: u64) -> c_int,
    >,
    pub ctx: *mut c_void,
    pub swap: c_int,
    pub max_unlocked_rounds: c_int,
    pub delta_bytes_for_lock: u64,
    pub memory_budget: usize,
    pub open_flags: couchstore_open_flags,
    pub threads: usize,
}

impl couchstore_online_compact_options {
    pub(super) const ZERO: couchstore_online_compact_options = couchstore_online_compact_options {
        size: 0,
        flags: 0,
        ops: std::ptr::null(),
        keys: None,
        keys_ctx: std::ptr::null_mut(),
        hook: None,
        dhook: None,
        hook_ctx: std::ptr::null_mut(),
        pre_copy: None,
        precommit: None,
        replay_ctx: std::ptr::null_mut(),
        lock: None,
        unlock: None,
        publish: None,
        progress: None,
        ctx: std::ptr::null_mut(),
        swap: 0,
        max_unlocked_rounds: 0,
        delta_bytes_for_lock: 0,
        memory_budget: 0,
        open_flags: 0,
        threads: 0,
    };
}

#[repr(C)]
#[derive(Debug)]
pub struct couchstore_online_compact_stats {
    pub documents: u64,
    pub bytes: u64,
    pub rounds: u64,
    pub restarts: u64,
    pub locked_bytes: u64,
    pub lock_hold_us: u64,
    pub total_us: u64,
}

pub type save_callback_fn = Option<
    unsafe extern "C" fn(
        oldInfo: *const DocInfo,
        newInfo: *const DocInfo,
        ctx: *mut c_void,
        userReq: *mut c_void,
    ),
>;
pub type couchstore_commit_retry_fn =
    Option<unsafe extern "C" fn(ctx: *mut c_void, os_error: c_int) -> c_int>;
pub type couchstore_changes_callback_fn =
    Option<unsafe extern "C" fn(db: *mut Handle, docinfo: *mut DocInfo, ctx: *mut c_void) -> c_int>;
pub type couchstore_walk_tree_callback_fn = Option<
    unsafe extern "C" fn(
        db: *mut Handle,
        depth: c_int,
        doc_info: *const DocInfo,
        subtree_size: u64,
        reduce_value: *const sized_buf,
        ctx: *mut c_void,
    ) -> c_int,
>;
pub type couchstore_local_docs_callback_fn =
    Option<unsafe extern "C" fn(db: *mut Handle, doc: *mut LocalDoc, ctx: *mut c_void) -> c_int>;
pub type couchstore_compact_hook = Option<
    unsafe extern "C" fn(
        target: *mut Handle,
        docinfo: *mut DocInfo,
        item: sized_buf,
        ctx: *mut c_void,
    ) -> c_int,
>;
pub type couchstore_docinfo_hook =
    Option<unsafe extern "C" fn(docinfo: *mut *mut DocInfo, item: *const sized_buf) -> c_int>;
pub type couchstore_pre_copy_hook = Option<
    unsafe extern "C" fn(
        source: *mut Handle,
        target: *mut Handle,
        doc: *const DocInfo,
        local: *const DocInfo,
        ctx: *mut c_void,
    ) -> couchstore_error_t,
>;
pub type couchstore_precommit_hook = Option<
    unsafe extern "C" fn(source: *mut Handle, target: *mut Handle, ctx: *mut c_void) -> couchstore_error_t,
>;
pub type couchstore_internal_error_fn =
    Option<unsafe extern "C" fn(message: *const c_char, size: usize, ctx: *mut c_void)>;
pub type couchstore_c_latency_callback_fn =
    Option<unsafe extern "C" fn(latency: *const couchstore_c_latency, ctx: *mut c_void) -> c_int>;

/// The layouts that `couch_common.h` promises.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<sized_buf>() == 16);
    assert!(size_of::<Doc>() == 32 && offset_of!(Doc, data) == 16);
    assert!(size_of::<DocInfo>() == 72 && offset_of!(DocInfo, db_seq) == 16);
    assert!(offset_of!(DocInfo, rev_seq) == 24 && offset_of!(DocInfo, rev_meta) == 32);
    assert!(offset_of!(DocInfo, deleted) == 48 && offset_of!(DocInfo, content_meta) == 52);
    assert!(offset_of!(DocInfo, bp) == 56 && offset_of!(DocInfo, physical_size) == 64);
    assert!(size_of::<LocalDoc>() == 40 && offset_of!(LocalDoc, deleted) == 32);
    assert!(size_of::<DbInfo>() == 64 && offset_of!(DbInfo, purge_seq) == 56);
    assert!(size_of::<couch_file_ops>() == 88);
};
