// SPDX-License-Identifier: Apache-2.0

//! Who may read and write a file after a compaction: nobody who could not before.
//!
//! * [`people`]: threads that become other users, access control lists, a folder with a database
//! * [`replaced`]: files that a compaction replaces: owner, group, permissions, lists, attributes
//! * [`copies`]: files that a compaction makes beside the source
//! * [`random`]: random rights, users and folders; everybody's access before and after
//!
//! Becoming somebody else takes root, and lists take a file system that has them: without, a test says that it was
//! skipped. A failure prints the seed of its history: `COUCHSTORE_TEST_SEED=seed` runs that one.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod copies;
mod people;
mod random;
mod replaced;
