// SPDX-License-Identifier: Apache-2.0

//! Bodies of made-up documents. They depend on the seed and the number of the document, and on nothing else.

use clap::ValueEnum;

/// Types of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DocType {
    /// Bytes
    Binary,
    /// Bytes, stored compressed
    #[value(name = "binarycompress", alias = "binary-compressible")]
    BinaryCompress,
    /// JSON
    Json,
    /// JSON, stored compressed
    #[value(name = "jsoncompress", alias = "json-compressible")]
    JsonCompress,
}

impl DocType {
    pub(super) fn is_json(self) -> bool {
        matches!(self, DocType::Json | DocType::JsonCompress)
    }

    pub(super) fn is_compressed(self) -> bool {
        matches!(self, DocType::BinaryCompress | DocType::JsonCompress)
    }
}

/// `SplitMix64`: every seed gives a sequence of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// For one thing among many of a seed.
    pub(super) fn new(seed: u64, number: u64) -> Random {
        let mut random = Random(seed);
        Random(random.next() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// Makes bodies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) doc_type: DocType,
    /// Length of bodies; JSON may need a few bytes more.
    pub(super) length: usize,
    /// Hardly compressible.
    pub(super) low_compression: bool,
    pub(super) seed: u64,
}

impl Content {
    /// The body of the document with this number.
    pub(super) fn body(&self, number: u64) -> Vec<u8> {
        if !self.doc_type.is_json() {
            return self.filling(number, self.length);
        }
        let mut body = format!("{{\"number\":{number},\"data\":\"").into_bytes();
        let left = self.length.saturating_sub(body.len() + 2);
        body.extend(self.filling(number, left));
        body.extend_from_slice(b"\"}");
        body
    }

    /// Letters and digits for JSON, any bytes else.
    fn filling(&self, number: u64, length: usize) -> Vec<u8> {
        const LETTERS: [u8; 64] = *b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
        let mut random = Random::new(self.seed, number);
        let as_text = self.doc_type.is_json();
        let mut byte = || {
            let byte = random.next() as u8;
            if as_text { LETTERS[usize::from(byte & 63)] } else { byte }
        };
        if self.low_compression {
            return (0..length).map(|_| byte()).collect();
        }
        let piece: Vec<u8> = (0..16).map(|_| byte()).collect();
        piece.into_iter().cycle().take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Content = Content { doc_type: DocType::Json, length: 100, low_compression: true, seed: 1 };

    #[test]
    fn bodies_follow_from_seed_and_number() {
        assert_eq!(JSON.body(7), JSON.body(7));
        assert_ne!(JSON.body(7), JSON.body(8));
        assert_ne!(JSON.body(7), Content { seed: 2, ..JSON }.body(7));
    }

    #[test]
    fn json_is_json_and_of_the_length_asked_for() {
        let body = JSON.body(7);
        assert_eq!(body.len(), 100);
        let parsed: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(parsed["number"], 7);
        let tiny = Content { length: 0, ..JSON }.body(123);
        assert_eq!(tiny, br#"{"number":123,"data":""}"#);
    }

    #[test]
    fn low_compression_means_what_it_says() {
        let compressed = |low_compression| {
            let content =
                Content { doc_type: DocType::BinaryCompress, length: 4000, low_compression, ..JSON };
            snap::raw::Encoder::new().compress_vec(&content.body(1)).expect("compress").len()
        };
        assert!(compressed(false) < 500);
        assert!(compressed(true) >= 4000);
    }
}
