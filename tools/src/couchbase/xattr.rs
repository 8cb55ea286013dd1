// SPDX-License-Identifier: Apache-2.0

//! Extended attributes, in front of a body whose datatype says so:
//!
//! ```text
//! u32 length of what follows up to the body
//! for each: u32 length of what follows | name | 00 | value (JSON) | 00
//! body
//! ```

/// Extended attributes, name and value, in the order in which they are stored.
pub type Xattrs = Vec<(String, String)>;

/// Splits extended attributes off a body; `None` if they make no sense.
pub fn split(body: &[u8]) -> Option<(Xattrs, &[u8])> {
    let (mut section, rest) = block(body)?;
    let mut xattrs = Vec::new();
    while !section.is_empty() {
        let (pair, others) = block(section)?;
        let mut parts = pair.strip_suffix(&[0])?.splitn(2, |&byte| byte == 0);
        let name = String::from_utf8(parts.next()?.to_vec()).ok()?;
        let value = String::from_utf8(parts.next()?.to_vec()).ok()?;
        xattrs.push((name, value));
        section = others;
    }
    Some((xattrs, rest))
}

/// A length and so many bytes, and what comes behind.
fn block(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_off() {
        let body = b"\0\0\0\x14\0\0\0\x07_a\0{}\0 \0\0\0\x05";
        assert_eq!(split(body), None, "a pair without its last zero");
        let body = b"\0\0\0\x14\0\0\0\x07_a\x00123\x00\0\0\0\x05b\0\"\"\0body";
        let expected = vec![("_a".to_owned(), "123".to_owned()), ("b".to_owned(), "\"\"".to_owned())];
        assert_eq!(split(body), Some((expected, &b"body"[..])));
        assert_eq!(split(b"\0\0\0\0body"), Some((Vec::new(), &b"body"[..])));
    }

    #[test]
    fn what_makes_no_sense_is_left_alone() {
        for body in [&b""[..], b"\0\0\0", b"\0\0\0\x01", b"\xff\xff\xff\xff", b"\0\0\0\x04\xff\xff\xff\xff"] {
            assert_eq!(split(body), None);
        }
    }
}
