// SPDX-License-Identifier: Apache-2.0

//! Raw pointers to values: the only place where C pointers become Rust references.
//!
//! All functions rely on the pointer contract of the parent module.

use super::types::{Doc, DocInfo, sized_buf};
use crate::db::save::Document;
use crate::error::{Error, Result};
use std::ffi::{CStr, c_char, c_void};

/// The error for a call without a handle.
pub(super) fn no_handle() -> Error {
    Error::InvalidArguments("expected a handle, got NULL")
}

/// A struct of the caller.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn get<'a, T>(pointer: *const T) -> Result<&'a T> {
    // SAFETY: NULL or valid by the contract.
    match unsafe { pointer.as_ref() } {
        Some(value) => Ok(value),
        None => Err(Error::InvalidArguments("expected a struct, got NULL")),
    }
}

/// A place for a result. Checked before work begins, written with [`Out::set`].
pub(super) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// The pointer contract of `capi`.
    pub(super) unsafe fn new(pointer: *mut T) -> Result<Out<T>> {
        if pointer.is_null() {
            return Err(Error::InvalidArguments("expected a place for the result, got NULL"));
        }
        Ok(Out(pointer))
    }

    /// Writes the result.
    pub(super) fn set(&self, value: T) {
        // SAFETY: not NULL, and by the contract of `new` valid for a write during the call.
        unsafe { self.0.write(value) };
    }
}

/// `length` elements of the caller; NULL only if there are none.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn slice<'a, T>(pointer: *const T, length: usize) -> Result<&'a [T]> {
    if length == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Error::InvalidArguments("expected data of a size above 0, got NULL"));
    }
    if length > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(Error::InvalidArguments("expected data of a size below 2^63"));
    }
    // SAFETY: not NULL, and by the contract valid for `length` elements.
    Ok(unsafe { std::slice::from_raw_parts(pointer, length) })
}

/// Bytes of the caller.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn bytes<'a>(pointer: *const c_void, length: usize) -> Result<&'a [u8]> {
    // SAFETY: the same contract.
    unsafe { slice(pointer.cast(), length) }
}

/// The bytes of a `sized_buf`.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn buf<'a>(buf: &sized_buf) -> Result<&'a [u8]> {
    // SAFETY: the same contract.
    unsafe { slice(buf.buf.cast(), buf.size) }
}

/// The bytes of a `sized_buf` that may be absent: NULL is empty.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn optional_buf<'a>(pointer: *const sized_buf) -> Result<&'a [u8]> {
    // SAFETY: NULL or valid by the contract.
    match unsafe { pointer.as_ref() } {
        // SAFETY: the same contract.
        Some(buffer) => unsafe { buf(buffer) },
        None => Ok(&[]),
    }
}

/// A name of the caller.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn name<'a>(name: *const c_char) -> Result<&'a CStr> {
    if name.is_null() {
        return Err(Error::InvalidArguments("expected the name of a file, got NULL"));
    }
    // SAFETY: not NULL, and by the contract a terminated string.
    Ok(unsafe { CStr::from_ptr(name) })
}

/// What is to be saved: the entry gives everything but the body; no `Doc` is a deletion.
///
/// # Safety
/// The pointer contract of `capi`.
pub(super) unsafe fn document<'a>(doc: *const Doc, info: *const DocInfo) -> Result<Document<'a>> {
    // SAFETY: the same contract, for the structs and for the buffers in them.
    unsafe {
        let info = get(info)?;
        let body = match doc.as_ref() {
            Some(doc) => Some(buf(&doc.data)?),
            None => None,
        };
        Ok(Document {
            id: buf(&info.id)?,
            body,
            rev_meta: buf(&info.rev_meta)?,
            rev_seq: info.rev_seq,
            db_seq: info.db_seq,
            deleted: info.deleted != 0,
            content_meta: info.content_meta,
        })
    }
}
