//! Encryption: the keys of callers, the key of a file, and the cipher of its chunks.
//!
//! * [`cipher`]: AES-256-GCM with the chunk's position as nonce
//! * [`keys`]: from a caller's key to the key of a file

#![forbid(unsafe_code)]

pub(crate) mod cipher;
pub(crate) mod keys;
