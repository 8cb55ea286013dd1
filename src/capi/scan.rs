// SPDX-License-Identifier: Apache-2.0

//! Going through many documents.

use super::alloc;
use super::call::{CallbacksOn, callback_on};
use super::flags::{RANGES, scan_options};
use super::guard::{callback_result, guard_db};
use super::latency::Call;
use super::ptr::{self, Out};
use super::types::{
    DocInfo, Handle, couchstore_changes_callback_fn, couchstore_docinfos_options, couchstore_error_t,
    couchstore_walk_tree_callback_fn, sized_buf,
};
use crate::db::Db;
use crate::db::scan::{OnItem, Visitor, WalkItem, seq_key};
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use crate::memory;
use crate::tree::TreeKind;
use std::ffi::{c_int, c_uint, c_void};

/// A [`couchstore_changes_callback_fn`] that is there.
type Callback = unsafe extern "C" fn(*mut Handle, *mut DocInfo, *mut c_void) -> c_int;

/// Shows documents to a C callback.
struct ToCallback<'a> {
    callbacks: CallbacksOn<'a>,
    callback: Callback,
    ctx: *mut c_void,
    block: alloc::DocInfoBlock,
}

impl Visitor for ToCallback<'_> {
    #[inline]
    fn show(&mut self, info: &DocInfoRef<'_>) -> Result<()> {
        let docinfo = self.block.fill(info)?;
        // SAFETY: the pointer contract of `capi`.
        let code = self.callbacks.run(|handle| unsafe { (self.callback)(handle, docinfo, self.ctx) });
        if code > 0 {
            // The callback keeps it.
            self.block.give_away();
        }
        callback_result(code).map(|_| ())
    }

    #[inline]
    fn before_use(&mut self) {
        self.callbacks.go_on();
    }
}

/// Runs `scan` with a visitor that shows each document to the C callback.
fn with_callback(
    db: &Db,
    callback: couchstore_changes_callback_fn,
    ctx: *mut c_void,
    scan: impl FnOnce(&mut ToCallback<'_>) -> Result<()>,
) -> Result<()> {
    db.check_open()?;
    let callback = callback.ok_or(Error::InvalidArguments("expected a callback, got NULL"))?;
    scan(&mut ToCallback { callbacks: CallbacksOn::new(db), callback, ctx, block: <_>::default() })
}

/// Shows all documents with a sequence number of at least since, in order, deleted ones too.
///
/// @param since    sequence number to begin with
/// @param options  COUCHSTORE_DELETES_ONLY, COUCHSTORE_NO_DELETES, COUCHSTORE_TOLERATE_CORRUPTION
/// @param callback called for each document; it may read from the handle
/// @param ctx      passed to the callback
/// @return what the callback returned, if negative; with COUCHSTORE_TOLERATE_CORRUPTION the last
///         error that was stepped over
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_changes_since"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_changes_since(
    db: *mut Handle,
    since: u64,
    options: couchstore_docinfos_options,
    callback: couchstore_changes_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        let options = scan_options(options);
        with_callback(db, callback, ctx, |visitor| {
            db.scan(TreeKind::BySeq, &seq_key(since), None, options, visitor)
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::ChangesSince, db, body) }
}

/// Shows all documents in order of ids, deleted ones too.
///
/// @param startKeyPtr the id to begin with; NULL or empty: the beginning
/// @param options     as for couchstore_changes_since()
/// @param callback    called for each document; it may read from the handle
/// @param ctx         passed to the callback
/// @return as couchstore_changes_since()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_all_docs"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_all_docs(
    db: *mut Handle,
    startKeyPtr: *const sized_buf,
    options: couchstore_docinfos_options,
    callback: couchstore_changes_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let from = unsafe { ptr::optional_buf(startKeyPtr) }?;
        let options = scan_options(options);
        with_callback(db, callback, ctx, |visitor| db.scan(TreeKind::ById, from, None, options, visitor))
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::AllDocs, db, body) }
}

/// No keys: an error, unless the database is empty.
fn no_keys(is_empty: bool) -> Result<()> {
    if is_empty { Ok(()) } else { Err(Error::InvalidArguments("expected at least one key, got 0")) }
}

/// Shows those of the documents with these sequence numbers that exist, in ascending order.
///
/// @param sequence the numbers, in any order; with RANGES the first and the last of a range, both
///                 included, or only its first
/// @param numDocs  their count
/// @param options  RANGES and those of couchstore_changes_since()
/// @param callback called for each document; it may read from the handle
/// @param ctx      passed to the callback
/// @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: numDocs is 0 (COUCHSTORE_SUCCESS in an empty database);
///         otherwise as couchstore_changes_since()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_docinfos_by_sequence"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_docinfos_by_sequence(
    db: *mut Handle,
    sequence: *const u64,
    numDocs: c_uint,
    options: couchstore_docinfos_options,
    callback: couchstore_changes_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let sequences = unsafe { ptr::slice(sequence, numDocs as usize) }?;
        let [first, rest @ ..] = sequences else { return no_keys(db.by_seq_root().is_none()) };
        let scan = scan_options(options);
        with_callback(db, callback, ctx, |visitor| {
            if options & RANGES != 0 {
                let last = rest.first().map(|&seq| seq_key(seq));
                db.scan(TreeKind::BySeq, &seq_key(*first), last.as_ref().map(|key| &key[..]), scan, visitor)
            } else {
                db.docs_by_seqs_for(sequences, scan, visitor)
            }
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::DocinfosBySequence, db, body) }
}

/// Shows those of the documents with these ids that exist, in ascending order of ids.
///
/// @param ids      the ids, in any order; with RANGES the first and the last of a range, both
///                 included, or only its first
/// @param numDocs  their count
/// @param options  RANGES and those of couchstore_changes_since()
/// @param callback called for each document; it may read from the handle
/// @param ctx      passed to the callback
/// @return as couchstore_docinfos_by_sequence()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_docinfos_by_id"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_docinfos_by_id(
    db: *mut Handle,
    ids: *const sized_buf,
    numDocs: usize,
    options: couchstore_docinfos_options,
    callback: couchstore_changes_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        let scan = scan_options(options);
        // SAFETY: the pointer contract of `capi`.
        let ids = unsafe { ptr::slice(ids, numDocs) }?;
        if let [id] = ids
            && options & RANGES == 0
        {
            // SAFETY: the same contract, for the buffer.
            let id = unsafe { ptr::buf(id) }?;
            return with_callback(db, callback, ctx, |visitor| db.only_doc_by_id(id, scan, visitor));
        }
        // SAFETY: the same contract, for the buffers.
        let mut ids = memory::try_collect(ids.iter().map(|id| unsafe { ptr::buf(id) }))?;
        let [first, ..] = ids[..] else { return no_keys(db.by_id_root().is_none()) };
        let last = ids.get(1).copied();
        with_callback(db, callback, ctx, |visitor| {
            if options & RANGES != 0 {
                db.scan(TreeKind::ById, first, last, scan, visitor)
            } else {
                db.docs_by_ids_of(&mut ids, scan, visitor)
            }
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::DocinfosById, db, body) }
}

/// Number of documents with sequence numbers from min_seq to max_seq, both included, deleted ones
/// too. Costs a few reads, whatever the number.
///
/// @param count set to 0 at first, then receives the number
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_changes_count"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_changes_count(
    db: *mut Handle,
    min_seq: u64,
    max_seq: u64,
    count: *mut u64,
) -> couchstore_error_t {
    let body = |db: &Db| {
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(count) };
        if let Ok(out) = &out {
            out.set(0);
        }
        db.check_open()?;
        out?.set(db.changes_count(min_seq, max_seq)?);
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::ChangesCount, db, body) }
}

/// Runs `walk` with a visitor that shows each item to the C callback.
fn with_walk_callback(
    db: &Db,
    callback: couchstore_walk_tree_callback_fn,
    ctx: *mut c_void,
    walk: impl FnOnce(OnItem<'_>) -> Result<()>,
) -> Result<()> {
    db.check_open()?;
    let callback = callback.ok_or(Error::InvalidArguments("expected a callback, got NULL"))?;
    walk(&mut |depth, item| {
        let depth = depth as c_int;
        let code = match item {
            WalkItem::Node { subtree_size, reduce } => {
                let reduce = sized_buf::borrow(reduce);
                let none = std::ptr::null();
                callback_on(db, |handle| {
                    // SAFETY: the pointer contract of `capi`.
                    unsafe { callback(handle, depth, none, *subtree_size, &raw const reduce, ctx) }
                })
            }
            WalkItem::Document(info) => {
                let docinfo = alloc::borrowed_doc_info(info);
                callback_on(db, |handle| {
                    // SAFETY: the pointer contract of `capi`.
                    unsafe { callback(handle, depth, &raw const docinfo, 0, std::ptr::null(), ctx) }
                })
            }
        };
        callback_result(code).map(|_| ())
    })
}

/// Walks the index by id: each node, then what is below it, down to the documents.
///
/// @param startDocID the id to begin with; NULL or empty: the beginning. The root is always shown.
/// @param options    as for couchstore_changes_since()
/// @param callback   called for each node and each document; it may read from the handle
/// @param ctx        passed to the callback
/// @return as couchstore_changes_since()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_walk_id_tree"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_walk_id_tree(
    db: *mut Handle,
    startDocID: *const sized_buf,
    options: couchstore_docinfos_options,
    callback: couchstore_walk_tree_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        with_walk_callback(db, callback, ctx, |visit| {
            // SAFETY: the pointer contract of `capi`.
            let from = unsafe { ptr::optional_buf(startDocID) }?;
            db.walk_by_id(from, scan_options(options), visit)
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::WalkIdTree, db, body) }
}

/// Walks the index by sequence number. As couchstore_walk_id_tree().
///
/// @param startSequence the sequence number to begin with
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_walk_seq_tree"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_walk_seq_tree(
    db: *mut Handle,
    startSequence: u64,
    options: couchstore_docinfos_options,
    callback: couchstore_walk_tree_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        with_walk_callback(db, callback, ctx, |visit| {
            db.walk_by_seq(startSequence, scan_options(options), visit)
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::WalkSeqTree, db, body) }
}

/// Walks the tree of local documents. As couchstore_walk_id_tree(); the documents have only their id
/// and, as physical_size, the length of their body.
///
/// @param startLocalID the id to begin with; NULL or empty: the beginning
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_walk_local_tree"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_walk_local_tree(
    db: *mut Handle,
    startLocalID: *const sized_buf,
    options: couchstore_docinfos_options,
    callback: couchstore_walk_tree_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        with_walk_callback(db, callback, ctx, |visit| {
            // SAFETY: the pointer contract of `capi`.
            let from = unsafe { ptr::optional_buf(startLocalID) }?;
            db.walk_local(from, scan_options(options), visit)
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::WalkLocalTree, db, body) }
}
