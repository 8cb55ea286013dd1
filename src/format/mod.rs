// SPDX-License-Identifier: Apache-2.0

//! Bytes to values and back: everything that is laid out in a couchstore file, without any I/O.
//!
//! * [`block`]: 4096-byte blocks, each beginning with a type byte that is not content
//! * [`chunk`]: length and checksum in front of every piece of data
//! * [`header`]: the file header, the root of everything
//! * [`metadata`]: the metadata header of an encrypted file
//! * [`node`]: B+tree nodes and the pointers to children in them
//! * [`reduce`]: reduce values in memory
//! * [`docinfo`]: what the by-id and by-sequence trees say of a document
//! * [`ints`]: big-endian integers of odd widths
//!
//! File bytes are hostile: nothing here indexes, unwraps or allocates by a number from a file without a check.

#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

pub(crate) mod block;
pub(crate) mod chunk;
pub(crate) mod docinfo;
pub(crate) mod header;
pub(crate) mod ints;
pub(crate) mod metadata;
pub(crate) mod node;
pub(crate) mod reduce;

/// A rule of the format that some bytes break; shown, it reads as what was expected. The reader that knows file and
/// offset turns it into an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
