// SPDX-License-Identifier: Apache-2.0

//! The file operations of a C++ object: a table of functions made by the C++ layer, and the object they are called on.
//!
//! This is what `couch_file_ops` of version 5 is not: `close` reports failure, and there are functions for options,
//! tags, statistics and buffers. The struct is internal; `cxx/entry.h` has its other half.
//!
//! # The contract with the C++ layer
//!
//! The table is a constant. The object stays alive until every handle opened with it is freed. No function unwinds:
//! the layer catches what the object throws. A handle is used by one thread at a time, and only with its own table.

#![allow(non_camel_case_types, reason = "the names of the C header")]

use super::foreign::{couch_file_handle, couchstore_error_info_t, length, open_flags, status};
use super::{FileHandle, FileOps, FileTag, IoError, OpenMode};
use crate::error::ErrorCode;
use std::ffi::{CStr, c_char, c_int, c_void};

type Info = *mut couchstore_error_info_t;
type Object = *mut c_void;
type Switch = unsafe extern "C" fn(Object, couch_file_handle) -> c_int;

/// The functions of `FileOpsInterface`, each with the object as its first argument.
#[repr(C)]
#[derive(Debug)]
#[allow(missing_docs, reason = "described in file_ops.h")]
pub struct couchstore_private_file_ops {
    /// Unlike the other constructor it may fail: when the object threw, there is no handle to destroy.
    pub constructor: unsafe extern "C" fn(Object, Info, *mut couch_file_handle) -> c_int,
    pub open: unsafe extern "C" fn(Object, Info, *mut couch_file_handle, *const c_char, c_int) -> c_int,
    pub close: unsafe extern "C" fn(Object, Info, couch_file_handle) -> c_int,
    pub set_periodic_sync: unsafe extern "C" fn(Object, couch_file_handle, u64) -> c_int,
    pub set_tracing_enabled: Switch,
    pub set_write_validation_enabled: Switch,
    pub set_mprotect_enabled: Switch,
    pub pread: unsafe extern "C" fn(Object, Info, couch_file_handle, *mut c_void, usize, i64) -> isize,
    pub pwrite: unsafe extern "C" fn(Object, Info, couch_file_handle, *const c_void, usize, i64) -> isize,
    pub goto_eof: unsafe extern "C" fn(Object, Info, couch_file_handle) -> i64,
    pub sync: unsafe extern "C" fn(Object, Info, couch_file_handle) -> c_int,
    /// `FileOpsInterface::advise` about the whole file.
    pub evict: unsafe extern "C" fn(Object, Info, couch_file_handle),
    pub tag: unsafe extern "C" fn(Object, couch_file_handle, u8),
    pub get_stats: unsafe extern "C" fn(Object, couch_file_handle) -> *mut c_void,
    pub destructor: unsafe extern "C" fn(Object, couch_file_handle),
    pub free_buffers: unsafe extern "C" fn(Object, couch_file_handle),
}

/// File operations that call a C++ object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectOps {
    table: &'static couchstore_private_file_ops,
    object: Object,
}

// SAFETY: the object is only handed to the functions of its table, which may be called from any thread.
unsafe impl Send for ObjectOps {}
// SAFETY: as above.
unsafe impl Sync for ObjectOps {}

impl ObjectOps {
    /// Binds an object to its table.
    ///
    /// # Safety
    ///
    /// Both follow the contract of this module.
    pub(crate) unsafe fn new(table: &'static couchstore_private_file_ops, object: *mut c_void) -> ObjectOps {
        ObjectOps { table, object }
    }
}

/// A file opened by the object.
struct ObjectFile {
    ops: ObjectOps,
    handle: couch_file_handle,
}

// SAFETY: a file handle may move between threads; it is used by one at a time because all use takes `&mut self`.
unsafe impl Send for ObjectFile {}

impl FileOps for ObjectOps {
    fn open(&self, name: &CStr, mode: OpenMode) -> Result<Box<dyn FileHandle>, IoError> {
        let mut info = couchstore_error_info_t::default();
        let mut handle = std::ptr::null_mut();
        // SAFETY: the contract of the module; `info` and `handle` are valid for the call.
        let code = unsafe { (self.table.constructor)(self.object, &raw mut info, &raw mut handle) };
        status(code, info)?;
        if handle.is_null() && mode.unbuffered {
            return Err(IoError::new(ErrorCode::ALLOC_FAIL, info.error));
        }
        // From here on dropping it runs the destructor, also if open fails.
        let mut file = ObjectFile { ops: *self, handle };
        let place = &raw mut file.handle;
        // SAFETY: the contract of the module; `handle` was made by the constructor, and the name is terminated.
        let code =
            unsafe { (self.table.open)(self.object, &raw mut info, place, name.as_ptr(), open_flags(mode)) };
        status(code, info)?;
        Ok(Box::new(file))
    }
}

impl ObjectFile {
    /// Runs one of the functions that switch something on.
    fn switch(&mut self, function: Switch) -> Result<(), IoError> {
        // SAFETY: the contract of the module.
        let code = unsafe { function(self.ops.object, self.handle) };
        status(code, couchstore_error_info_t::default())
    }
}

impl FileHandle for ObjectFile {
    fn pread(&mut self, buf: &mut [u8], offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let (pointer, size, at) = (buf.as_mut_ptr().cast(), buf.len(), offset as i64);
        // SAFETY: the contract of the module; `buf` is valid for writes of its length.
        let result =
            unsafe { (self.ops.table.pread)(self.ops.object, &raw mut info, self.handle, pointer, size, at) };
        length(result as i64, info).map(|n| n as usize)
    }

    fn pread_onto(&mut self, buf: &mut Vec<u8>, most: usize, offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let room = buf.spare_capacity_mut();
        let (pointer, size, at) = (room.as_mut_ptr().cast(), most.min(room.len()), offset as i64);
        // SAFETY: the contract of the module; there is room for so many bytes.
        let result =
            unsafe { (self.ops.table.pread)(self.ops.object, &raw mut info, self.handle, pointer, size, at) };
        let n = (length(result as i64, info)? as usize).min(size);
        // SAFETY: room as above, and by the contract of file_ops.h as many bytes were filled in as the result says.
        unsafe { buf.set_len(buf.len() + n) };
        Ok(n)
    }

    fn pwrite(&mut self, buf: &[u8], offset: u64) -> Result<usize, IoError> {
        let mut info = couchstore_error_info_t::default();
        let (pointer, size, at) = (buf.as_ptr().cast(), buf.len(), offset as i64);
        // SAFETY: the contract of the module; `buf` is valid for reads of its length.
        let result = unsafe {
            (self.ops.table.pwrite)(self.ops.object, &raw mut info, self.handle, pointer, size, at)
        };
        length(result as i64, info).map(|n| n as usize)
    }

    fn size(&mut self) -> Result<u64, IoError> {
        let mut info = couchstore_error_info_t::default();
        // SAFETY: the contract of the module.
        let result = unsafe { (self.ops.table.goto_eof)(self.ops.object, &raw mut info, self.handle) };
        length(result, info)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        let mut info = couchstore_error_info_t::default();
        // SAFETY: the contract of the module.
        let code = unsafe { (self.ops.table.sync)(self.ops.object, &raw mut info, self.handle) };
        status(code, info)
    }

    fn close(&mut self) -> Result<(), IoError> {
        let mut info = couchstore_error_info_t::default();
        // SAFETY: the contract of the module; called at most once.
        let code = unsafe { (self.ops.table.close)(self.ops.object, &raw mut info, self.handle) };
        status(code, info)
    }

    fn set_periodic_sync(&mut self, bytes: u64) -> Result<(), IoError> {
        // SAFETY: the contract of the module.
        let code = unsafe { (self.ops.table.set_periodic_sync)(self.ops.object, self.handle, bytes) };
        status(code, couchstore_error_info_t::default())
    }

    fn set_tracing(&mut self) -> Result<(), IoError> {
        self.switch(self.ops.table.set_tracing_enabled)
    }

    fn set_write_validation(&mut self) -> Result<(), IoError> {
        self.switch(self.ops.table.set_write_validation_enabled)
    }

    fn set_mprotect(&mut self) -> Result<(), IoError> {
        self.switch(self.ops.table.set_mprotect_enabled)
    }

    fn evict(&mut self) {
        let mut info = couchstore_error_info_t::default();
        // SAFETY: the contract of the module.
        unsafe { (self.ops.table.evict)(self.ops.object, &raw mut info, self.handle) };
    }

    fn tag(&mut self, tag: FileTag) {
        // SAFETY: the contract of the module.
        unsafe { (self.ops.table.tag)(self.ops.object, self.handle, tag as u8) };
    }

    fn free_buffers(&mut self) {
        // SAFETY: the contract of the module.
        unsafe { (self.ops.table.free_buffers)(self.ops.object, self.handle) };
    }

    fn stats_object(&mut self) -> *mut c_void {
        // SAFETY: the contract of the module.
        unsafe { (self.ops.table.get_stats)(self.ops.object, self.handle) }
    }
}

impl Drop for ObjectFile {
    fn drop(&mut self) {
        // SAFETY: the contract of the module; nothing uses the handle after this.
        unsafe { (self.ops.table.destructor)(self.ops.object, self.handle) };
    }
}
