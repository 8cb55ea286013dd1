// SPDX-License-Identifier: Apache-2.0

//! A Rust crate with parts in C and C++ that use couchstore's APIs, as its feature `cxx` lets one have them: the tests
//! call those parts through the functions here. Without this crate's own feature `cxx` it is empty.

#![cfg(feature = "cxx")]

pub mod executor;

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

// The functions that the part in C++ calls.
use couchstore as _;

/// A struct, or one of its fields, as the C++ compiler lays it out.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// `struct` or `struct.field`.
    pub name: String,
    /// Offset of the field, alignment of the struct.
    pub place: usize,
    /// Its size in bytes.
    pub size: usize,
}

#[repr(C)]
struct RawLayout {
    name: *const c_char,
    place: usize,
    size: usize,
}

unsafe extern "C" {
    /// The layout of this number; `name` is NULL behind the last.
    safe fn consumer_layout(number: usize) -> RawLayout;
    /// Runs a case with a file of this name that does not exist yet. NULL: it went well; else what went wrong.
    fn consumer_exceptions(case: *const c_char, path: *const c_char) -> *const c_char;
}

/// All layouts.
pub fn layouts() -> Vec<Layout> {
    let all = (0..).map(|number| consumer_layout(number)).take_while(|layout| !layout.name.is_null());
    all.map(|RawLayout { name, place, size }| {
        // SAFETY: it is a literal of the C++ part.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
        Layout { name, place, size }
    })
    .collect()
}

/// Runs the case of this name in `exceptions.cc`, in an empty folder; returns what went wrong.
pub fn exceptions(case: &CStr, folder: &Path) -> Result<(), String> {
    let path =
        CString::new(folder.join("db.couch").as_os_str().as_bytes()).map_err(|error| error.to_string())?;
    // SAFETY: both strings live through the call, and nothing unwinds out of it.
    let said = unsafe { consumer_exceptions(case.as_ptr(), path.as_ptr()) };
    if said.is_null() {
        return Ok(());
    }
    // SAFETY: a string that stays until the next call on this thread.
    Err(unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned())
}
