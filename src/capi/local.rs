// SPDX-License-Identifier: Apache-2.0

//! Local documents.

use super::alloc;
use super::call::callback_on;
use super::guard::{callback_result, guard_db};
use super::latency::Call;
use super::ptr::{self, Out};
use super::types::{Handle, LocalDoc, couchstore_error_t, couchstore_local_docs_callback_fn, sized_buf};
use crate::db::Db;
use crate::db::local::LocalUpdate;
use crate::error::{Error, Result};
use crate::memory;
use std::ffi::c_void;

/// Reads a local document.
///
/// @param id    the id
/// @param idlen its length in bytes
/// @param lDoc  receives the document, to be freed with couchstore_free_local_document(); NULL if
///              there is none
/// @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_open_local_document"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_open_local_document(
    db: *mut Handle,
    id: *const c_void,
    idlen: usize,
    lDoc: *mut *mut LocalDoc,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let (id, out) = unsafe { (ptr::bytes(id, idlen)?, Out::new(lDoc)?) };
        match db.with_local(id, |body| alloc::local_doc(id, body)) {
            Err(Error::DocNotFound) => {
                out.set(std::ptr::null_mut());
                Err(Error::DocNotFound)
            }
            result => result.map(|doc| out.set(doc)),
        }
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::OpenLocalDocument, db, body) }
}

/// # Safety
/// The pointer contract of `capi`, for the struct and its buffers.
unsafe fn update<'a>(doc: *const LocalDoc) -> Result<LocalUpdate<'a>> {
    // SAFETY: the contract above.
    unsafe {
        let doc = ptr::get(doc)?;
        let body = if doc.deleted != 0 { None } else { Some(ptr::buf(&doc.json)?) };
        Ok(LocalUpdate { id: ptr::buf(&doc.id)?, body })
    }
}

/// # Safety
/// The pointer contract of `capi`, for the array and all that it points to.
pub(super) unsafe fn save_all(db: &Db, docs: *const *mut LocalDoc, count: usize) -> Result<()> {
    db.check_open()?;
    // SAFETY: the contract above.
    let updates = unsafe {
        let docs = ptr::slice(docs, count)?;
        let update =
            |(index, &doc): (usize, &*mut LocalDoc)| update(doc).map_err(|error| error.of_document(index));
        memory::try_collect(docs.iter().enumerate().map(update))
    }?;
    db.save_local(&updates)
}

/// Saves or removes a local document. It becomes durable with couchstore_commit().
///
/// @param lDoc id and body; with a non-zero deleted it is removed, which is COUCHSTORE_SUCCESS also if
///             there is none
/// @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of more than 4095 bytes or a body of 256 MiB or
///         more; after any failure nothing has changed
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_save_local_document"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_save_local_document(
    db: *mut Handle,
    lDoc: *mut LocalDoc,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        db.save_local(&[unsafe { update(lDoc) }?])
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SaveLocalDocument, db, body) }
}

/// Saves or removes several local documents in one change of their tree.
///
/// @param docs    as for couchstore_save_local_document(), in any order; if an id comes twice its last
///                document counts
/// @param numDocs their count; 0 is fine
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_save_local_documents"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_save_local_documents(
    db: *mut Handle,
    docs: *const *mut LocalDoc,
    numDocs: usize,
) -> couchstore_error_t {
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SaveLocalDocuments, db, |db| save_all(db, docs, numDocs)) }
}

/// Shows all local documents in order of ids.
///
/// @param from     the id to begin with; NULL or empty: the beginning
/// @param callback called for each local document; it may read from the handle
/// @param ctx      passed to the callback
/// @return what the callback returned, if negative
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_scan_local_docs"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_scan_local_docs(
    db: *mut Handle,
    from: *const sized_buf,
    callback: couchstore_local_docs_callback_fn,
    ctx: *mut c_void,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        let callback = callback.ok_or(Error::InvalidArguments("expected a callback, got NULL"))?;
        // SAFETY: the pointer contract of `capi`.
        let from = unsafe { ptr::optional_buf(from) }?;
        db.scan_local(from, &mut |id, body| {
            let doc = alloc::local_doc(id, body)?;
            // SAFETY: the pointer contract of `capi`.
            let code = callback_on(db, |handle| unsafe { callback(handle, doc, ctx) });
            if code <= 0 {
                // SAFETY: the callback does not keep it.
                unsafe { alloc::free(doc) };
            }
            callback_result(code).map(|_| ())
        })
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::ScanLocalDocs, db, body) }
}

/// Frees a local document that the library has handed out; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_free_local_document(lDoc: *mut LocalDoc) {
    // SAFETY: the pointer contract of `capi`.
    unsafe { alloc::free(lDoc) };
}
