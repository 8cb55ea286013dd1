// SPDX-License-Identifier: Apache-2.0

//! Chunks: what stands in front of every document body, node and header.
//!
//! ```text
//! data chunk      u32 length, top bit set | u32 checksum | body
//! header chunk    u32 length + 4, top bit clear | u32 checksum | body      (the length counts the checksum)
//! encrypted chunk u32 length, top bit clear | ciphertext | 16-byte tag    (the length counts the tag)
//! ```

use super::Malformed;

/// Bytes before the body of a chunk: length and checksum.
pub(crate) const PREFIX: usize = 8;
/// Bytes before the ciphertext of an encrypted chunk: the length.
pub(crate) const ENCRYPTED_PREFIX: usize = 4;
/// Bytes behind it: the tag.
const TAG: u32 = 16;
/// Range of the length field of a file header, and of the metadata header.
const HEADER_LENGTHS: std::ops::RangeInclusive<u32> = 4..=1024;
/// Longest body of a file header.
pub(crate) const LONGEST_HEADER: usize = 1020;
const METADATA_LENGTHS: std::ops::RangeInclusive<u32> = 4..=4096;

/// Longest body of a document: the by-sequence tree stores the size of its chunk in 28 bits.
pub(crate) fn longest_body(encrypted: bool) -> usize {
    let overhead = if encrypted { ENCRYPTED_PREFIX + TAG as usize } else { PREFIX };
    super::ints::MAX_VALUE - overhead
}

/// Reads the length of an encrypted chunk: of its ciphertext and tag.
pub(crate) fn parse_encrypted(bytes: [u8; ENCRYPTED_PREFIX]) -> Result<u32, Malformed> {
    let length = u32::from_be_bytes(bytes);
    if length & DATA_BIT != 0 || length < TAG {
        return Err(Malformed("an encrypted chunk of at least 16 bytes, its top bit clear"));
    }
    Ok(length)
}
const DATA_BIT: u32 = 0x8000_0000;

/// Which checksum a file uses; fixed by the version of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// IEEE 802.3, version 11.
    Crc32,
    /// Castagnoli, versions 12 to 14.
    Crc32c,
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Checksum::Crc32 => "CRC-32",
            Checksum::Crc32c => "CRC-32C",
        })
    }
}

impl Checksum {
    /// Checksum of `bytes`.
    pub(crate) fn compute(self, bytes: &[u8]) -> u32 {
        match self {
            Checksum::Crc32 => crc32fast::hash(bytes),
            Checksum::Crc32c => crc_fast::crc32_iscsi(bytes),
        }
    }
}

/// The eight bytes before a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkPrefix {
    /// Length of the body in bytes.
    pub(crate) length: u32,
    /// Its checksum.
    pub(crate) crc: u32,
}

impl ChunkPrefix {
    fn split(bytes: [u8; PREFIX]) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = bytes;
        (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
    }

    fn join(length: u32, crc: u32) -> [u8; PREFIX] {
        (u64::from(length) << 32 | u64::from(crc)).to_be_bytes()
    }

    /// Reads the prefix of a data chunk.
    pub(crate) fn parse_data(bytes: [u8; PREFIX]) -> Result<ChunkPrefix, Malformed> {
        let (length, crc) = ChunkPrefix::split(bytes);
        if length & DATA_BIT == 0 {
            return Err(Malformed("a chunk whose length has its top bit set"));
        }
        Ok(ChunkPrefix { length: length & !DATA_BIT, crc })
    }

    /// Reads the prefix of a metadata header.
    pub(crate) fn parse_metadata(bytes: [u8; PREFIX]) -> Result<ChunkPrefix, Malformed> {
        let (length, crc) = ChunkPrefix::split(bytes);
        if !METADATA_LENGTHS.contains(&length) {
            return Err(Malformed("a metadata header of 4 to 4096 bytes"));
        }
        Ok(ChunkPrefix { length: length - 4, crc })
    }

    /// The length that the prefix of a file header states: without the top bit, if it is too large even so.
    pub(crate) fn stated_length(bytes: [u8; PREFIX]) -> u32 {
        let (length, _) = ChunkPrefix::split(bytes);
        if HEADER_LENGTHS.contains(&(length & !DATA_BIT)) { length } else { length & !DATA_BIT }
    }

    /// Reads the prefix of a file header.
    pub(crate) fn parse_header(bytes: [u8; PREFIX]) -> Result<ChunkPrefix, Malformed> {
        let (length, crc) = ChunkPrefix::split(bytes);
        if !HEADER_LENGTHS.contains(&length) {
            return Err(Malformed("a header of 4 to 1024 bytes"));
        }
        Ok(ChunkPrefix { length: length - 4, crc })
    }

    /// The bytes of the prefix of a data chunk.
    pub(crate) fn encode_data(self) -> [u8; PREFIX] {
        ChunkPrefix::join(self.length | DATA_BIT, self.crc)
    }

    /// The bytes of the prefix of a file header.
    pub(crate) fn encode_header(self) -> [u8; PREFIX] {
        ChunkPrefix::join(self.length + 4, self.crc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_standard_check_string() {
        assert_eq!(Checksum::Crc32.compute(b"123456789"), 0xcbf4_3926);
        assert_eq!(Checksum::Crc32c.compute(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn body_chunk_of_the_documented_file() {
        let prefix = ChunkPrefix { length: 5, crc: Checksum::Crc32c.compute(b"world") };
        assert_eq!(prefix.encode_data(), [0x80, 0, 0, 5, 0x31, 0xaa, 0x81, 0x4e]);
        assert_eq!(ChunkPrefix::parse_data(prefix.encode_data()), Ok(prefix));
    }

    #[test]
    fn lengths_out_of_range_are_malformed() {
        assert!(ChunkPrefix::parse_data([0, 0, 0, 5, 0, 0, 0, 0]).is_err());
        assert!(ChunkPrefix::parse_header([0, 0, 0, 3, 0, 0, 0, 0]).is_err());
        assert!(ChunkPrefix::parse_header([0, 0, 4, 1, 0, 0, 0, 0]).is_err());
        assert!(ChunkPrefix::parse_header([0x80, 0, 0, 43, 0, 0, 0, 0]).is_err());
        assert!(ChunkPrefix::parse_header([0, 0, 4, 0, 0, 0, 0, 0]).is_ok());
    }

    #[test]
    fn stated_lengths_of_headers_lose_a_top_bit_that_is_not_all_that_is_wrong() {
        let stated = |length: u32| ChunkPrefix::stated_length(ChunkPrefix::join(length, 7));
        assert_eq!([0, 3, 4, 43, 1024, 1025].map(stated), [0, 3, 4, 43, 1024, 1025]);
        assert_eq!([0, 3, 1025, 1 << 30].map(|length| stated(DATA_BIT | length)), [0, 3, 1025, 1 << 30]);
        assert_eq!(stated(DATA_BIT | 0x2b), DATA_BIT | 0x2b);
    }

    #[test]
    fn chunks_of_longest_bodies_have_sizes_of_28_bits() {
        assert_eq!(longest_body(false) + PREFIX, (1 << 28) - 1);
        assert_eq!(longest_body(true) + ENCRYPTED_PREFIX + TAG as usize, (1 << 28) - 1);
    }

    #[test]
    fn what_is_shown() {
        assert_eq!(Checksum::Crc32.to_string(), "CRC-32");
        assert_eq!(Checksum::Crc32c.to_string(), "CRC-32C");
        assert_eq!(Malformed("a header").to_string(), "a header");
    }
}
