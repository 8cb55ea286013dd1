// SPDX-License-Identifier: Apache-2.0

//! Encrypted files: what `docs/encryption.md` promises.
//!
//! * [`support`]: keys, key stores that note what they are asked, and what a database holds
//! * [`opening`]: right and wrong keys, key stores that fail
//! * [`metadata`]: damaged and foreign metadata headers
//! * [`layout`]: what the file looks like, and that nothing can be read or changed in it
//! * [`calls`]: the calls on the file operations
//! * [`compaction`]: to other keys, to and from files that are not encrypted, in use, and replay
//! * [`recorder`], [`nonces`], [`crashes`]: no position is ever encrypted twice

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod compaction;
#[cfg(feature = "sim")]
mod crashes;
mod layout;
mod metadata;
mod nonces;
mod opening;
mod recorder;
mod support;
