// SPDX-License-Identifier: Apache-2.0

//! The C functions. Everything here is thin: it converts arguments, calls the Rust API and converts the result.
//!
//! The doc comments of the functions are the documentation in `couch_api.h`, which is generated from these files in
//! the order of the modules below: they are written for C programmers.
//!
//! # The pointer contract
//!
//! What `couch_db.h` asks of C callers, and what every SAFETY comment in these modules refers to:
//!
//! * a `Db*` is NULL or came from a function that opens, or was shown to a callback that runs, and was not freed since
//! * a pointer with a length is NULL (an error, unless the length is 0) or valid for that many elements
//! * a pointer to a struct, a string or a place for a result is NULL or valid; results do not overlap arguments
//! * what is freed here came from this library and is freed once
//! * callbacks keep what `couch_db.h` says of them, and do not unwind

//!
//! # Names
//!
//! The C++ API (`cxx/`) defines some of these functions anew, to give exceptions back to C++ callers, and calls the ones
//! here by names with `couchstore_private_`: their `export_name` with the feature `cxx-shim`. It takes precedence over
//! `no_mangle`, which stays for cbindgen: that looks for nothing else.

#![allow(non_camel_case_types, non_snake_case, reason = "the names of the C header")]
#![cfg_attr(feature = "cxx-shim", allow(unused_attributes, reason = "no_mangle beside export_name"))]
#![allow(
    clippy::missing_safety_doc,
    reason = "one contract for all functions: see the module's documentation"
)]

// In the order of the header, which begins with what most programs use. The empty lines keep it so: rustfmt sorts what
// stands together. (`build.rs` puts the functions behind other names, couchstore_c_*, last.)
pub mod open;

pub mod read;

pub mod save;

pub mod commit;

pub mod info;

pub mod headers;

pub mod scan;

pub mod local;

pub mod compact;

pub mod online;

pub mod keys;

pub mod diagnostics;

pub mod node_cache;

pub mod latency_info;

pub mod file_ops;

/// cbindgen:ignore
#[cfg(feature = "cxx-shim")]
pub mod shim;

pub mod types;

mod alloc;
mod call;
mod flags;
mod guard;
mod handle;
mod latency;
mod ptr;
mod turn;
