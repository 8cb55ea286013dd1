// SPDX-License-Identifier: Apache-2.0

//! Saving documents.

use super::alloc::borrowed_doc_info;
use super::call::callback;
use super::flags::{COMPRESS_DOC_BODIES, SEQUENCE_AS_IS};
use super::guard::guard_db;
use super::latency::Call;
use super::ptr;
use super::types::{Doc, DocInfo, Handle, couchstore_error_t, couchstore_save_options, save_callback_fn};
use crate::db::Db;
use crate::db::save::{Document, OnSave, SaveOptions};
use crate::error::Result;
use crate::format::docinfo::DocInfoRef;
use crate::memory;
use std::ffi::c_void;

/// The arguments of the functions below.
pub(super) struct Batch {
    pub(super) docs: *const *const Doc,
    pub(super) infos: *const *mut DocInfo,
    pub(super) count: usize,
    pub(super) options: couchstore_save_options,
}

impl Batch {
    /// # Safety
    /// The pointer contract of `capi`, for the arrays and all that they point to.
    pub(super) unsafe fn save(&self, db: &Db, on_save: OnSave<'_>) -> Result<()> {
        db.check_open()?;
        let documents = {
            // SAFETY: the contract above.
            unsafe { self.documents() }?
        };
        let options = SaveOptions {
            compress: self.options & COMPRESS_DOC_BODIES != 0,
            keep_sequences: self.options & SEQUENCE_AS_IS != 0,
        };
        let sequences = db.save_and_tell(&documents, options, on_save)?;
        if !options.keep_sequences {
            // SAFETY: the contract above; the array was checked with the documents.
            let infos = unsafe { ptr::slice(self.infos, self.count) }?;
            for (&info, seq) in infos.iter().zip(sequences) {
                // SAFETY: valid for writes by the contract; only the field is touched.
                unsafe { (*info).db_seq = seq };
            }
        }
        Ok(())
    }

    /// Saves, and tells of each document the entry that it replaces (NULL if there was none), its own entry, and
    /// its element of `requests` (NULL: there is no such array).
    ///
    /// # Safety
    /// The pointer contract of `capi`, for the arrays and all that they point to.
    pub(super) unsafe fn save_and_tell(
        &self,
        db: &Db,
        requests: *const *mut c_void,
        mut tell: impl FnMut(*const DocInfo, *const DocInfo, *mut c_void) -> Result<()>,
    ) -> Result<()> {
        db.check_open()?;
        let requests = if requests.is_null() {
            None
        } else {
            // SAFETY: the contract above.
            Some(unsafe { ptr::slice(requests, self.count) }?)
        };
        let mut on_save = |old: Option<&DocInfoRef<'_>>, new: &DocInfoRef<'_>, index: usize| {
            let old = old.map(borrowed_doc_info);
            let new = borrowed_doc_info(new);
            let old = old.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let request = requests.and_then(|all| all.get(index)).copied().unwrap_or(std::ptr::null_mut());
            tell(old, &raw const new, request)
        };
        // SAFETY: the contract above.
        unsafe { self.save(db, &mut on_save) }
    }

    /// # Safety
    /// The pointer contract of `capi`, for the arrays and all that they point to.
    unsafe fn documents<'a>(&self) -> Result<Vec<Document<'a>>> {
        // SAFETY: the contract above.
        let infos = unsafe { ptr::slice(self.infos, self.count) }?;
        let docs = if self.docs.is_null() {
            None
        } else {
            // SAFETY: the contract above.
            Some(unsafe { ptr::slice(self.docs, self.count) }?)
        };
        let mut documents = Vec::new();
        memory::reserve_exact(&mut documents, self.count)?;
        for (index, &info) in infos.iter().enumerate() {
            let doc = docs.map_or(std::ptr::null(), |docs| docs[index]);
            // SAFETY: the contract above.
            let document = unsafe { ptr::document(doc, info) };
            documents.push(document.map_err(|error| error.of_document(index))?);
        }
        Ok(documents)
    }
}

/// Saves one document. See couchstore_save_documents().
///
/// @param doc  the body; NULL: the document is deleted
/// @param info everything else; db_seq is set
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_save_document"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_save_document(
    db: *mut Handle,
    doc: *const Doc,
    info: *mut DocInfo,
    options: couchstore_save_options,
) -> couchstore_error_t {
    let batch = Batch { docs: &raw const doc, infos: &raw const info, count: 1, options };
    // SAFETY: the pointer contract of `capi`; the arrays of one element live through the call.
    unsafe { guard_db(Call::SaveDocument, db, |db| batch.save(db, &mut |_, _, _| Ok(()))) }
}

/// Saves documents. Nothing is durable, or visible to other handles, before couchstore_commit().
///
/// The documents get the next sequence numbers, in the order of the array, unless the options
/// contain COUCHSTORE_SEQUENCE_AS_IS. An existing document of the same id is replaced; if an id comes
/// twice in one call its last document counts. With COMPRESS_DOC_BODIES, bodies whose content_meta
/// has COUCH_DOC_IS_COMPRESSED are compressed; without it they are stored as given, whatever the bit.
///
/// @param docs    the bodies (only Doc.data is read); NULL, or a NULL element: the document is
///                deleted and has no body
/// @param infos   everything else: id, rev_seq, rev_meta, content_meta, and deleted for a deletion
///                with a body. db_seq is set on success
/// @param numDocs number of elements of both; 0 is fine
/// @param options COMPRESS_DOC_BODIES, COUCHSTORE_SEQUENCE_AS_IS
/// @return COUCHSTORE_ERROR_INVALID_ARGUMENTS: an id of more than 4095 bytes, a body or rev_meta of
///         about 256 MiB or more, or a next sequence number beyond 2^48 - 1; then nothing was written.
///         COUCHSTORE_ERROR_WRITE: the file cannot be written, was opened read-only, has 2^47 bytes
///         (errno is EFBIG: positions end there), or a sync failed before on this handle. After any
///         failure nothing has changed.
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_save_documents"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_save_documents(
    db: *mut Handle,
    docs: *const *mut Doc,
    infos: *const *mut DocInfo,
    numDocs: usize,
    options: couchstore_save_options,
) -> couchstore_error_t {
    let batch = Batch { docs: docs.cast(), infos, count: numDocs, options };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SaveDocuments, db, |db| batch.save(db, &mut |_, _, _| Ok(()))) }
}

/// Saves documents and tells of each what it replaced.
///
/// As couchstore_save_documents(). The callback is called while the index is rewritten, so also if
/// the call fails in the end. It may read from the handle, not write to it.
///
/// @param userReqs    one value for each document, passed to the callback; NULL: none
/// @param save_cb     called once for each document, in ascending order of ids; NULL: not called
/// @param save_cb_ctx passed to the callback
#[cfg_attr(feature = "cxx-shim", unsafe(export_name = "couchstore_private_save_documents_and_callback"))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn couchstore_save_documents_and_callback(
    db: *mut Handle,
    docs: *const *const Doc,
    infos: *const *mut DocInfo,
    userReqs: *const *mut c_void,
    numDocs: usize,
    options: couchstore_save_options,
    save_cb: save_callback_fn,
    save_cb_ctx: *mut c_void,
) -> couchstore_error_t {
    let batch = Batch { docs, infos, count: numDocs, options };
    let tell = |old, new, request| {
        if let Some(save_cb) = save_cb {
            // SAFETY: the pointer contract of `capi`; both entries live through the call.
            callback(|| unsafe { save_cb(old, new, save_cb_ctx, request) });
        }
        Ok(())
    };
    // SAFETY: the pointer contract of `capi`.
    let body = |db: &Db| unsafe { batch.save_and_tell(db, userReqs, tell) };
    // SAFETY: the pointer contract of `capi`.
    unsafe { guard_db(Call::SaveDocumentsAndCallback, db, body) }
}
