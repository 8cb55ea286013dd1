// SPDX-License-Identifier: Apache-2.0

//! Reading single documents, and the memory of documents.

use super::alloc;
use super::flags::DECOMPRESS_DOC_BODIES;
use super::guard::{guard_db, guard_value};
use super::latency::Call;
use super::ptr::{self, Out};
use super::types::{Doc, DocInfo, Handle, couchstore_error_t, couchstore_open_options, sized_buf};
use crate::db::Db;
use crate::error::internal_error;
use crate::error::{Error, Result};
use crate::format::docinfo::DocInfoRef;
use std::ffi::c_void;

/// The entry of the document with this id, also of a deleted one.
///
/// @param id    the id
/// @param idlen its length in bytes
/// @param pInfo receives the entry, to be freed with couchstore_free_docinfo()
/// @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_docinfo_by_id"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_docinfo_by_id(
    db: *mut Handle,
    id: *const c_void,
    idlen: usize,
    pInfo: *mut *mut DocInfo,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let (id, out) = unsafe { (ptr::bytes(id, idlen)?, Out::new(pInfo)?) };
        out.set(db.with_doc_info_by_id(id, alloc::doc_info)?);
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::DocinfoById, db, body) }
}

/// The entry of the document that was last changed with this sequence number.
///
/// @param pInfo receives the entry, to be freed with couchstore_free_docinfo()
/// @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_docinfo_by_sequence"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_docinfo_by_sequence(
    db: *mut Handle,
    sequence: u64,
    pInfo: *mut *mut DocInfo,
) -> couchstore_error_t {
    let body = |db: &Db| {
        db.check_open()?;
        // SAFETY: the pointer contract of `capi`.
        let out = unsafe { Out::new(pInfo) }?;
        out.set(db.with_doc_info_by_seq(sequence, alloc::doc_info)?);
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::DocinfoBySequence, db, body) }
}

/// The document with this id and the body of this entry, read as the options say.
fn read(db: &Db, id: sized_buf, info: &DocInfoRef<'_>, options: couchstore_open_options) -> Result<*mut Doc> {
    db.with_body(info, options & DECOMPRESS_DOC_BODIES != 0, |body| alloc::doc(id, body))
}

/// Sets `*pDoc` to NULL, and then to the document that `make` gives.
///
/// # Safety
/// The pointer contract of `capi`.
unsafe fn open_into(db: &Db, pDoc: *mut *mut Doc, make: impl FnOnce() -> Result<*mut Doc>) -> Result<()> {
    // SAFETY: the contract above.
    let out = unsafe { Out::new(pDoc) };
    if let Ok(out) = &out {
        out.set(std::ptr::null_mut());
    }
    db.check_open()?;
    out?.set(make()?);
    Ok(())
}

/// Reads the document with this id.
///
/// @param id      the id
/// @param idlen   its length in bytes
/// @param pDoc    set to NULL at first, then receives the document, to be freed with
///                couchstore_free_document(). Its id points to the caller's id; an empty body is
///                {NULL, 0}
/// @param options DECOMPRESS_DOC_BODIES, or 0 for the body as it is stored
/// @return COUCHSTORE_ERROR_DOC_NOT_FOUND: there is none, or it has no body; COUCHSTORE_ERROR_CORRUPT:
///         a body that is not what it says
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_open_document"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_open_document(
    db: *mut Handle,
    id: *const c_void,
    idlen: usize,
    pDoc: *mut *mut Doc,
    options: couchstore_open_options,
) -> couchstore_error_t {
    let make = |db: &Db| {
        // SAFETY: the pointer contract of `capi`.
        let key = unsafe { ptr::bytes(id, idlen) }?;
        let id = sized_buf { buf: id.cast_mut().cast(), size: idlen };
        read(db, id, &db.bare_doc_info(key)?, options)
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::OpenDocument, db, |db| open_into(db, pDoc, || make(db))) }
}

/// Reads the body of a document whose entry is known.
///
/// @param docinfo an entry of this database; bp, content_meta and id are used
/// @param pDoc    set to NULL at first, then receives the document, to be freed with
///                couchstore_free_document(). Its id points to the entry's
/// @param options as for couchstore_open_document()
/// @return as couchstore_open_document()
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_open_doc_with_docinfo"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_open_doc_with_docinfo(
    db: *mut Handle,
    docinfo: *const DocInfo,
    pDoc: *mut *mut Doc,
    options: couchstore_open_options,
) -> couchstore_error_t {
    let make = |db: &Db| {
        // SAFETY: the pointer contract of `capi`.
        let docinfo = unsafe { ptr::get(docinfo) }?;
        let info = DocInfoRef {
            body_position: docinfo.bp,
            content_meta: docinfo.content_meta,
            physical_size: docinfo.physical_size as u64,
            ..DocInfoRef::default()
        };
        read(db, docinfo.id, &info, options)
    };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::OpenDocWithDocinfo, db, |db| open_into(db, pDoc, || make(db))) }
}

/// Frees a document that the library has handed out; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_free_document(doc: *mut Doc) {
    // SAFETY: the pointer contract of `capi`.
    unsafe { alloc::free(doc) };
}

/// Makes an entry with copies of these strings, everything else being 0.
///
/// @param id       NULL: none
/// @param rev_meta NULL: none
/// @return one block of memory, to be freed with couchstore_free_docinfo(); NULL: no memory
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_alloc_docinfo(
    id: *const sized_buf,
    rev_meta: *const sized_buf,
) -> *mut DocInfo {
    let make = || -> Result<*mut DocInfo, Error> {
        // SAFETY: the pointer contract of `capi`.
        let (id, rev_meta) = unsafe { (ptr::optional_buf(id)?, ptr::optional_buf(rev_meta)?) };
        alloc::doc_info(&DocInfoRef { id, rev_meta, ..DocInfoRef::default() })
    };
    guard_value(std::ptr::null_mut(), || {
        make().unwrap_or_else(|error| {
            internal_error::keep(&error);
            std::ptr::null_mut()
        })
    })
}

/// Frees an entry that the library has handed out; NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_free_docinfo(docinfo: *mut DocInfo) {
    // SAFETY: the pointer contract of `capi`.
    unsafe { alloc::free(docinfo) };
}
