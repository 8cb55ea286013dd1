// SPDX-License-Identifier: Apache-2.0

//! Writes files byte by byte, with right checksums whatever nonsense they hold.

use super::raw::BLOCK;

/// A node's entries: key and value.
pub(crate) type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// The low `width` bytes of a number.
pub(crate) fn be(value: u64, width: usize) -> Vec<u8> {
    value.to_be_bytes()[8 - width..].to_vec()
}

/// A file in the making.
pub(crate) struct Forge {
    pub(crate) bytes: Vec<u8>,
    /// Version and previous-header field (with its lowest bit) of the headers to come.
    pub(crate) version: u8,
    pub(crate) previous: u64,
}

impl Forge {
    /// A file with an empty first block.
    pub(crate) fn new() -> Forge {
        Forge { bytes: vec![0; BLOCK as usize], version: 14, previous: 0 }
    }

    fn content(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if (self.bytes.len() as u64).is_multiple_of(BLOCK) {
                self.bytes.push(0);
            }
            self.bytes.push(byte);
        }
    }

    /// Where the next chunk will be.
    pub(crate) fn position(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// A chunk that claims to have `length` bytes.
    pub(crate) fn chunk_claiming(&mut self, length: u32, body: &[u8]) -> u64 {
        let position = self.position();
        let prefix = [(length | 0x8000_0000).to_be_bytes(), crc_fast::crc32_iscsi(body).to_be_bytes()];
        self.content(&prefix.concat());
        self.content(body);
        position
    }

    /// A chunk.
    pub(crate) fn chunk(&mut self, body: &[u8]) -> u64 {
        self.chunk_claiming(body.len() as u32, body)
    }

    /// A compressed node, whatever its bytes.
    pub(crate) fn raw_node(&mut self, plain: &[u8]) -> u64 {
        let compressed = snap::raw::Encoder::new().compress_vec(plain).unwrap();
        self.chunk(&compressed)
    }

    /// A node.
    pub(crate) fn node(&mut self, kind: u8, entries: &Entries) -> u64 {
        let mut plain = vec![kind];
        for (key, value) in entries {
            plain.extend(be((key.len() as u64) << 28 | value.len() as u64, 5));
            plain.extend_from_slice(key);
            plain.extend_from_slice(value);
        }
        self.raw_node(&plain)
    }

    /// A header with these roots, and zeros behind it up to the end of its block.
    pub(crate) fn header(&mut self, update_seq: u64, by_seq: &[u8], by_id: &[u8], local: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK as usize), 0);
        let position = self.position();
        let mut body = vec![self.version];
        body.extend([be(update_seq, 6), be(0, 6), be(0, 6)].concat());
        for root in [by_seq, by_id, local] {
            body.extend(be(root.len() as u64, 2));
        }
        body.extend([be(42, 8), be(self.previous, 6)].concat());
        body.extend([by_seq, by_id, local].concat());
        self.bytes.push(1);
        self.bytes.extend((body.len() as u32 + 4).to_be_bytes());
        self.bytes.extend(crc_fast::crc32_iscsi(&body).to_be_bytes());
        self.bytes.extend(body);
        position
    }
}

/// A root with a by-id reduce value.
pub(crate) fn by_id_root(position: u64) -> Vec<u8> {
    [be(position, 6), be(100, 6), be(1, 5), be(0, 5), be(100, 6)].concat()
}

/// A root with a by-sequence reduce value.
pub(crate) fn by_seq_root(position: u64) -> Vec<u8> {
    [be(position, 6), be(100, 6), be(1, 5)].concat()
}

/// The root of a tree of local documents.
pub(crate) fn local_root(position: u64) -> Vec<u8> {
    [be(position, 6), be(100, 6)].concat()
}

/// The value of an interior entry of the by-id tree; its reduce value also serves the other trees' readers.
pub(crate) fn pointer(position: u64) -> Vec<u8> {
    [be(position, 6), be(100, 6), be(16, 2), be(1, 5), be(0, 5), be(100, 6)].concat()
}

/// A by-id leaf value: sequence 1, a body of eight bytes less than `size` at `body_position`.
pub(crate) fn by_id_value(body_position: u64, size: u64) -> Vec<u8> {
    [be(1, 6), be(size, 4), be(body_position, 6), be(1, 6), be(0, 1)].concat()
}

/// A by-sequence leaf value.
pub(crate) fn by_seq_value(id: &[u8], body_position: u64, size: u64) -> Vec<u8> {
    let lengths = be((id.len() as u64) << 28 | size, 5);
    [&lengths[..], &be(body_position, 6), &be(1, 6), &be(0, 1), id].concat()
}

/// A file with nothing but the first header, as a library of this version (12 to 14) made it.
pub(crate) fn empty_file(version: u8) -> Vec<u8> {
    let mut body = vec![version];
    body.extend([0; 18 + 6]);
    if version >= 13 {
        body.extend([0; 8]);
    }
    if version >= 14 {
        body.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xfe]);
    }
    let length = body.len() as u32 + 4;
    [&[1], &length.to_be_bytes()[..], &crc_fast::crc32_iscsi(&body).to_be_bytes(), &body].concat()
}
