// SPDX-License-Identifier: Apache-2.0

//! The body of a document as it is shown.

use crate::couchbase::rev_meta::datatype;
use crate::couchbase::xattr::{self, Xattrs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// Snappy makes nothing smaller than by this factor. What claims to be is not Snappy, and costs no memory.
const MOST_COMPRESSED: usize = 24;

/// A body without what it was packed in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Body {
    /// Inflated, without extended attributes.
    pub(super) bytes: Vec<u8>,
    /// Whether it was compressed, by the library or by the client.
    pub(super) snappy: bool,
    /// Extended attributes that stood before it.
    pub(super) xattrs: Option<Xattrs>,
}

impl Body {
    /// From what the library returns. `datatype` is the client's, `snappy` says that the library has inflated it.
    pub(super) fn unpack(stored: Vec<u8>, datatype: u8, snappy: bool) -> Body {
        let (bytes, snappy) = match inflate(&stored) {
            Some(inflated) if datatype & datatype::SNAPPY != 0 => (inflated, true),
            _ => (stored, snappy),
        };
        if datatype & datatype::XATTR != 0
            && let Some((xattrs, rest)) = xattr::split(&bytes)
        {
            return Body { bytes: rest.to_vec(), snappy, xattrs: Some(xattrs) };
        }
        Body { bytes, snappy, xattrs: None }
    }

    /// The value that it is if it is JSON, else a string, in which what is not UTF-8 is replaced.
    pub(super) fn json(&self) -> Value {
        let as_text = |_| Value::String(String::from_utf8_lossy(&self.bytes).into_owned());
        serde_json::from_slice(&self.bytes).unwrap_or_else(as_text)
    }

    /// All bytes.
    pub(super) fn base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// Extended attributes as one JSON object; a value that is no JSON becomes a string.
    pub(super) fn xattrs_object(&self) -> Option<Map<String, Value>> {
        let value =
            |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
        let xattrs = self.xattrs.as_ref()?;
        Some(xattrs.iter().map(|(name, text)| (name.clone(), value(text))).collect())
    }
}

/// `None`: it is not compressed.
fn inflate(stored: &[u8]) -> Option<Vec<u8>> {
    let length = snap::raw::decompress_len(stored).ok()?;
    if length > stored.len().saturating_mul(MOST_COMPRESSED) {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(stored).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_compression_and_xattrs_are_taken_off() {
        let plain = b"\0\0\0\x0b\0\0\0\x07_a\x00123\x00{\"b\":1}";
        let packed = snap::raw::Encoder::new().compress_vec(plain).expect("compress");
        let body = Body::unpack(packed, datatype::SNAPPY | datatype::JSON | datatype::XATTR, false);
        assert!(body.snappy);
        assert_eq!(body.bytes, b"{\"b\":1}");
        assert_eq!(body.xattrs, Some(vec![("_a".into(), "123".into())]));
        assert_eq!(body.json(), serde_json::json!({"b": 1}));
        assert_eq!(Value::Object(body.xattrs_object().expect("xattrs")).to_string(), r#"{"_a":123}"#);
    }

    #[test]
    fn a_wrong_datatype_leaves_the_body_alone() {
        let body = Body::unpack(b"hello".to_vec(), 0xff, false);
        assert_eq!(body, Body { bytes: b"hello".to_vec(), snappy: false, xattrs: None });
        assert_eq!(body.json(), "hello");
        let huge = b"\xff\xff\xff\xff\x0f\0".to_vec();
        assert_eq!(Body::unpack(huge.clone(), datatype::SNAPPY, false).bytes, huge);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let body = Body { bytes: vec![0xff, 0], ..Body::default() };
        assert_eq!(body.json(), "\u{fffd}\0");
        assert_eq!(body.base64(), "/wA=");
    }
}
