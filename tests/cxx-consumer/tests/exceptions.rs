// SPDX-License-Identifier: Apache-2.0

//! What C++ callbacks and file operations throw passes through the Rust library. Runs with the feature `cxx`.

#![cfg(feature = "cxx")]

use couchstore_cxx_consumer::exceptions;
use std::ffi::CStr;
use std::path::Path;

#[track_caller]
fn run(case: &CStr) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary folder");
    if let Err(said) = exceptions(case, dir.path()) {
        panic!("not true: {said}");
    }
    dir
}

/// One test: the copies of what is thrown are counted.
#[test]
fn exceptions_arrive_where_the_function_was_called() {
    run(c"scans");
    run(c"nested");
    run(c"compaction");
    run(c"file operations");
    let dir = run(c"saves");
    // Both languages are one library: Rust reads what the C++ part has committed.
    let path: &Path = &dir.path().join("db.couch");
    let db = couchstore::Db::open(path).expect("the file");
    assert_eq!(db.info().expect("info").last_sequence, 5);
    assert_eq!(db.get(b"id-3").expect("readable").expect("a document"), b"id-3");
}

#[test]
fn what_goes_wrong_is_told() {
    let dir = tempfile::tempdir().expect("temporary folder");
    assert!(exceptions(c"no such case", dir.path()).is_err());
    // The folder of the file is missing.
    let error = exceptions(c"scans", &dir.path().join("nowhere")).expect_err("no folder");
    assert_eq!(error, "code == COUCHSTORE_SUCCESS");
}
