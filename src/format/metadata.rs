// SPDX-License-Identifier: Apache-2.0

//! The metadata header in block 0 of an encrypted file: which key it is encrypted with, and how.
//!
//! ```text
//! u8 version (0: the file's key is stored wrapped, 1: it is derived)
//! u8 length | key id
//! u8 length | context
//! ```

use super::Malformed;
use super::ints::Fields;

/// What the metadata header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub(crate) version: u8,
    /// Id of the caller's key; empty: the file is not encrypted after all.
    pub(crate) key_id: Vec<u8>,
    /// Version 0: nonce, wrapped key and tag; version 1: random bytes.
    pub(crate) context: Vec<u8>,
}

impl Metadata {
    /// The version of a body, the first thing to be looked at. `None`: the body is empty.
    pub(crate) fn version_of(body: &[u8]) -> Option<u8> {
        body.first().copied()
    }

    /// Reads a body. What follows the context is ignored.
    pub(crate) fn parse(body: &[u8]) -> Result<Metadata, Malformed> {
        let overrun = |_| Malformed("strings that end within the metadata header");
        let mut fields = Fields(body);
        let version = fields.u8().map_err(overrun)?;
        let length = fields.u8().map_err(overrun)?;
        let key_id = fields.take(usize::from(length)).map_err(overrun)?;
        let length = fields.u8().map_err(overrun)?;
        let context = fields.take(usize::from(length)).map_err(overrun)?;
        Ok(Metadata { version, key_id: key_id.to_vec(), context: context.to_vec() })
    }

    /// The body; the caller has checked that both strings have at most 255 bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        debug_assert!(self.key_id.len() <= 255 && self.context.len() <= 255);
        let mut out = vec![self.version];
        for string in [&self.key_id, &self.context] {
            out.push(string.len() as u8);
            out.extend_from_slice(string);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn round_trip_and_every_truncation() {
        let metadata = Metadata { version: 1, key_id: b"key".to_vec(), context: vec![7; 32] };
        let mut body = metadata.encode();
        for length in 0..body.len() {
            assert!(Metadata::parse(body.get(..length).unwrap()).is_err());
        }
        assert_eq!(Metadata::parse(&body), Ok(metadata.clone()));
        body.extend_from_slice(b"ignored");
        assert_eq!(Metadata::parse(&body), Ok(metadata));
    }
}
