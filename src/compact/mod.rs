//! Compaction: a new file with what one header refers to, and catching up with what was committed since.
//!
//! * [`copy`]: compaction of a handle's state into a new file
//! * [`sort`]: the by-id entries come in order of sequence and have to be sorted, in memory or on disk
//! * `spill`: the sorted runs on disk
//! * [`replay`]: brings an older copy up to a newer header
//! * [`descent`]: whether a replay gets from one header to another
//! * [`online`]: both together, beside a writer
//! * `exclusion`: one at a time
//! * `pace`: whether that catches up with the writer, and slowing it down

#![forbid(unsafe_code)]

pub(crate) mod copy;
pub(crate) mod descent;
mod exclusion;
pub(crate) mod online;
mod pace;
pub(crate) mod replay;
pub(crate) mod sort;
mod spill;
