// SPDX-License-Identifier: Apache-2.0

//! Compaction: a new file with what one header refers to, and catching up with what was committed since.
//!
//! * [`copy`]: compaction of a handle's state into a new file
//! * `copying`: the documents of one file into another, `bodies`: how much of bodies is read
//! * `trees`: the trees of the copy; `beside`: a second thread that builds them, `exchange`: what is between the two
//! * [`sort`]: the by-id entries come in order of sequence and have to be sorted, in memory or on disk
//! * `gather`: entries in memory, `spill`: sorted runs of them on disk, `merge`: several runs as one
//! * [`replay`]: brings an older copy up to a newer header, `locals`: its local documents
//! * [`descent`]: whether a replay gets from one header to another
//! * [`online`]: both together, beside a writer; `catch_up`: what it replays
//! * [`hooks`]: what callers may do meanwhile
//! * `exclusion`: one at a time
//! * `pace`: whether that catches up with the writer, and slowing it down
//! * `space`: whether there is room for the copy
//! * `progress`: telling the host how far it is
//! * [`options`]: how online compactions work, and builders of all options

#![forbid(unsafe_code)]

mod beside;
pub(crate) mod bodies;
mod catch_up;
pub(crate) mod copy;
mod copying;
pub(crate) mod descent;
mod exchange;
mod exclusion;
mod gather;
pub(crate) mod hooks;
mod locals;
mod merge;
pub(crate) mod online;
pub(crate) mod options;
mod pace;
mod progress;
pub(crate) mod replay;
pub(crate) mod sort;
mod space;
mod spill;
mod trees;
