//! Ids of documents in collections begin with the number of the collection, in unsigned LEB128: seven bits a byte,
//! the lowest first, the top bit set in all but the last. Prepared sync writes have a number of their own before it.

use crate::text::{lossless, printable};

/// Stands before the collection of what a sync write has prepared.
const PREPARED: u32 = 2;

/// How ids are shown and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// As they are.
    Plain,
    /// "cid:0x8:key" for one in collection 8, with "pre:" before it for what a sync write has prepared.
    Collections,
}

impl Ids {
    /// An id for people, without control characters.
    pub fn show(self, id: &[u8]) -> String {
        self.decode(id, printable)
    }

    /// An id for programs: control characters stay if it is UTF-8.
    pub fn lossless(self, id: &[u8]) -> String {
        self.decode(id, lossless)
    }

    fn decode(self, id: &[u8], key_text: fn(&[u8]) -> String) -> String {
        let collection = |id| match split(id) {
            Some((number, key)) => format!("cid:{number:#x}:{}", key_text(key)),
            None => key_text(id),
        };
        match split(id) {
            _ if self == Ids::Plain => key_text(id),
            Some((PREPARED, rest)) if split(rest).is_some() => format!("pre:{}", collection(rest)),
            _ => collection(id),
        }
    }

    /// The id that a person means. Without a collection it is the default one, 0.
    pub fn parse(self, text: &[u8]) -> Vec<u8> {
        if self == Ids::Plain {
            return text.into();
        }
        let (mut id, text) = match text.strip_prefix(b"pre:") {
            Some(rest) => (encode(PREPARED), rest),
            None => (Vec::new(), text),
        };
        let (number, key) = named(text).unwrap_or((0, text));
        id.extend(encode(number));
        id.extend_from_slice(key);
        id
    }
}

/// The collection and the key of "cid:0x8:key".
fn named(text: &[u8]) -> Option<(u32, &[u8])> {
    let rest = text.strip_prefix(b"cid:0x")?;
    let (digits, key) = rest.split_at(rest.iter().position(|&byte| byte == b':')?);
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, &key[1..]))
}

/// A collection's number as ids begin with it.
pub fn encode(number: u32) -> Vec<u8> {
    let (mut out, mut left) = (Vec::new(), number);
    while left > 0x7f {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
    out
}

/// The number of the collection, and the key in it; `None` if the id does not begin with a number of 32 bits.
pub fn split(id: &[u8]) -> Option<(u32, &[u8])> {
    let length = id.iter().take(5).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, key) = id.split_at(length);
    let number = number.iter().rev().fold(0u64, |number, byte| number << 7 | u64::from(byte & 0x7f));
    Some((u32::try_from(number).ok()?, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        for number in [0, 1, 8, 127, 128, 0x3fff, 0x4000, u32::MAX] {
            let mut id = encode(number);
            id.extend_from_slice(b"key");
            assert_eq!(split(&id), Some((number, &b"key"[..])));
        }
        assert_eq!(encode(0x80), [0x80, 1]);
        assert_eq!(split(b""), None);
        assert_eq!(split(&[0x80; 9]), None);
        assert_eq!(split(&[0xff, 0xff, 0xff, 0xff, 0x7f]), None, "35 bits");
    }

    #[test]
    fn what_is_shown_can_be_asked_for() {
        let ids = [&b"\x00key"[..], b"\x08airline_10", b"\x80\x01", b"\x02\x08a:b"];
        let shown = ids.map(|id| Ids::Collections.show(id));
        assert_eq!(shown, ["cid:0x0:key", "cid:0x8:airline_10", "cid:0x80:", "pre:cid:0x8:a:b"]);
        for (id, shown) in ids.iter().zip(&shown) {
            assert_eq!(Ids::Collections.parse(shown.as_bytes()), *id);
        }
        assert_eq!(Ids::Collections.parse(b"key"), b"\x00key");
        assert_eq!(Ids::Collections.parse(b"cid:0x8:\xff"), b"\x08\xff");
        assert_eq!(Ids::Collections.parse(b"cid:0xfffffffff:k"), b"\x00cid:0xfffffffff:k");
        assert_eq!(Ids::Plain.parse(b"cid:0x8:key"), b"cid:0x8:key");
    }

    #[test]
    fn strange_ids_are_shown_as_they_are() {
        assert_eq!(Ids::Collections.show(b"\xff\xff"), "\\xff\\xff");
        assert_eq!(Ids::Collections.show(b""), "");
        assert_eq!(Ids::Collections.show(b"\x02"), "cid:0x2:");
        assert_eq!(Ids::Plain.show(b"\x08key"), "\\x08key");
        assert_eq!(Ids::Plain.lossless(b"\x08key"), "\u{8}key");
    }
}
