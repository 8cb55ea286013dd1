// SPDX-License-Identifier: Apache-2.0

//! What couchstore is fuzzed with. Each target is a function of bytes that must neither panic nor hang, nor use memory
//! beyond what is promised; some check more. `fuzz/` gives them to libFuzzer, `tests/corpus.rs` what is in its corpus.
//!
//! * `parts`: header, chunk, node, entries of documents, by themselves
//! * `file`: a whole file, and all that can be done with one
//! * `structured`: a file whose contents were changed, with checksums that are right
//! * `sequences`: the random sequences of `tests/differential`
//! * `sorting`: sort runs
//! * `seeds`: the corpus to begin with

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::missing_panics_doc, reason = "panics are what is looked for")]
#![allow(dead_code, reason = "what the modules of other tests have besides")]

#[path = "../../differential/case.rs"]
mod case;
#[path = "../../common/mod.rs"]
mod common;
#[path = "../../differential/engine.rs"]
mod engine;
mod file;
#[path = "../../differential/handle.rs"]
mod handle;
mod input;
mod parts;
#[path = "../../differential/play.rs"]
mod play;
#[path = "../../differential/rust.rs"]
mod rust;
pub mod seeds;
mod sequences;
mod sorting;
mod structured;
#[path = "../../differential/world.rs"]
mod world;

pub use file::whole_file;
pub use parts::{chunk, document, header, node};
pub use sequences::sequences;
pub use sorting::sorting;
pub use structured::structured;

/// What is fuzzed.
pub type Target = fn(&[u8]);

/// All targets by their names.
pub const TARGETS: [(&str, Target); 8] = [
    ("header", header),
    ("chunk", chunk),
    ("node", node),
    ("document", document),
    ("whole_file", whole_file),
    ("structured", structured),
    ("sequences", sequences),
    ("sorting", sorting),
];
