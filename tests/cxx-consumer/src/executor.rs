// SPDX-License-Identifier: Apache-2.0

//! The tables of functions of `executor.h`: the library as C and C++ have it.

use couchstore::capi::types::{
    Doc, DocInfo, LocalDoc, couchstore_encryption_key, couchstore_header_info, cs_off_t, sized_buf,
};
use std::ffi::{c_char, c_int, c_void};

/// A handle of the library's.
pub type Db = c_void;

/// `struct executor_how`.
#[repr(C)]
#[derive(Debug)]
pub struct How {
    /// `COUCHSTORE_OPEN_*`.
    pub flags: u64,
    /// `COUCHSTORE_COMPACT_*`.
    pub compact_flags: u64,
    /// NULL: not encrypted.
    pub key: *const couchstore_encryption_key,
    /// Through operations that hand every call on.
    pub forwarding: c_int,
}

/// `struct executor_query`.
#[repr(C)]
#[derive(Debug)]
pub struct Query {
    /// `QUERY_*`.
    pub kind: c_int,
    /// Options of scans.
    pub options: u64,
    /// Ids, one of them the first to be shown.
    pub ids: *const sized_buf,
    /// Sequence numbers, one of them the first to be shown.
    pub seqs: *const u64,
    /// How many.
    pub count: usize,
}

/// `QUERY_SINCE` of `executor.h`.
pub const QUERY_SINCE: c_int = 0;
/// `QUERY_FROM`.
pub const QUERY_FROM: c_int = 1;
/// `QUERY_IDS`.
pub const QUERY_IDS: c_int = 2;
/// `QUERY_SEQS`.
pub const QUERY_SEQS: c_int = 3;

/// `struct executor_sink`.
#[repr(C)]
#[derive(Debug)]
pub struct Sink {
    /// Passed to the functions.
    pub ctx: *mut c_void,
    /// Gets an entry.
    pub info: unsafe extern "C" fn(*mut c_void, c_int, *const DocInfo),
    /// Gets a node.
    pub node: unsafe extern "C" fn(*mut c_void, c_int, u64, *const sized_buf),
    /// Gets an id and a body.
    pub bytes: unsafe extern "C" fn(*mut c_void, *const sized_buf, *const sized_buf),
}

/// Called while an online compaction runs.
pub type Meanwhile = unsafe extern "C" fn(*mut c_void);

macro_rules! table {
    ($($name:ident($($type:ty),*);)*) => {
        /// `struct executor`: functions that return codes.
        #[repr(C)]
        #[derive(Debug)]
        pub struct Executor {
            $(#[doc = stringify!($name)]
            pub $name: unsafe extern "C" fn($($type),*) -> c_int,)*
        }
    };
}

table! {
    open(*const c_char, *const How, *mut *mut Db);
    close(*mut Db);
    free(*mut Db);
    reopen(*mut Db, *const c_char, *const How);
    save(*mut Db, *const *mut Doc, *const *mut DocInfo, usize, u64);
    save_locals(*mut Db, *mut LocalDoc, usize);
    set_purge_seq(*mut Db, u64);
    commit(*mut Db, u64);
    seek(*mut Db, c_int);
    seek_offset(*mut Db, cs_off_t);
    seek_containing(*mut Db, u64, u64);
    step(*mut Db, c_int);
    header(*mut Db, *mut couchstore_header_info);
    documents(*mut Db, *const Query, *const Sink);
    by_id(*mut Db, *const sized_buf, *const Sink);
    by_seq(*mut Db, u64, *const Sink);
    body_of(*mut Db, *const DocInfo, u64, *const Sink);
    body_by_id(*mut Db, *const sized_buf, *const Sink);
    local(*mut Db, *const sized_buf, *const Sink);
    locals(*mut Db, *const sized_buf, *const Sink);
    count(*mut Db, u64, u64, *mut u64);
    walk(*mut Db, c_int, *const Sink);
    compact(*mut Db, *const c_char, *const How);
    compact_online(*const c_char, *const c_char, *const How, Meanwhile, *mut c_void);
    replay(*mut Db, *mut Db, u64, usize);
}

unsafe extern "C" {
    safe fn c_executor() -> &'static Executor;
    safe fn cxx_executor() -> &'static Executor;
}

/// The library in plain C.
pub fn plain_c() -> &'static Executor {
    c_executor()
}

/// The library in C++.
pub fn cxx() -> &'static Executor {
    cxx_executor()
}
