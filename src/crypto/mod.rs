// SPDX-License-Identifier: Apache-2.0

//! Encryption: the keys of callers, the key of a file, and the cipher of its chunks.
//!
//! * [`primitives`]: AES-256-GCM, HMAC-SHA-256 and random numbers, as a library of cryptography has them. The one
//!   place that knows whether this build has one (the feature `encryption`)
//! * [`cipher`]: AES-256-GCM with the chunk's position as nonce
//! * [`keys`]: from a caller's key to the key of a file

#![forbid(unsafe_code)]

pub(crate) mod cipher;
pub(crate) mod keys;

#[cfg(feature = "encryption")]
mod primitives;
#[cfg(not(feature = "encryption"))]
#[path = "left_out.rs"]
mod primitives;

/// Whether this build can read and write encrypted files: whether the feature `encryption` is on. If it is off, opening
/// one, or creating one, gives [`Error::EncryptionLeftOut`](crate::Error::EncryptionLeftOut).
pub const AVAILABLE: bool = cfg!(feature = "encryption");
