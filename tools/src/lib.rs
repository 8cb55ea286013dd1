// SPDX-License-Identifier: Apache-2.0

//! The command-line tools: one program with a name for each, see [`dispatch`].
//!
//! They use the public Rust API of the library and nothing else.

#![forbid(unsafe_code)]
#![deny(clippy::disallowed_types)]
#![allow(rustdoc::private_intra_doc_links, reason = "who reads this reads the source")]
#![allow(clippy::cast_precision_loss, reason = "figures for people are shown with few digits")]
#![allow(clippy::needless_pass_by_value, reason = "every tool's run takes its arguments whole")]

pub mod bench;
pub mod check;
pub mod compact;
pub mod create;
pub mod dbck;
pub mod dbdiff;
pub mod dbdump;
pub mod dbinfo;
pub mod map;
pub mod recommit;

pub mod dispatch;

pub mod carry;
pub mod couchbase;
pub mod dump_keys;
pub mod exit;
pub mod failure;
pub mod found;
pub mod help;
pub mod interrupt;
pub mod keys;
pub mod man;
pub mod open;
pub mod output;
pub mod program;
pub mod progress;
pub mod scratch;
pub mod text;
