// SPDX-License-Identifier: Apache-2.0

//! The committed `couch_api.h` is what cbindgen makes of `src/capi` today. Runs with the feature `header`.

#![cfg(feature = "header")]

#[test]
fn committed_header_is_not_stale() {
    let generated = std::fs::read_to_string(env!("COUCHSTORE_GENERATED_HEADER")).expect("generated header");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/libcouchstore/couch_api.h");
    let committed = std::fs::read_to_string(path).expect("committed header");
    for (number, (generated, committed)) in generated.lines().zip(committed.lines()).enumerate() {
        assert_eq!(generated, committed, "line {} of couch_api.h: run `make header`", number + 1);
    }
    assert!(generated == committed, "couch_api.h has another length: run `make header`");
}
