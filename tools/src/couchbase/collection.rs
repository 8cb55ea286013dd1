// SPDX-License-Identifier: Apache-2.0

//! Ids of documents in collections begin with the number of the collection, in unsigned LEB128: seven bits a byte,
//! the lowest first, the top bit set in all but the last. Prepared sync writes have a number of their own before it.

use crate::text::escaped;

/// The default collection, which alone has a name.
const DEFAULT: u32 = 0;
/// What the server itself writes about collections and scopes.
const SYSTEM: u32 = 1;
/// Stands before the collection of what a sync write has prepared.
const PREPARED: u32 = 2;

/// What a system event is about, by its number in the id.
const EVENTS: [(u32, &str); 2] = [(0, "collection"), (1, "scope")];

/// How ids are shown and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    /// As they are.
    Plain,
    /// "(collection:0x8)key" for one in collection 8.
    Collections,
}

/// Which document is asked for by its key, in files with collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its collection; of a system event what it is about.
    pub collection: u32,
    /// It was prepared by a sync write.
    pub prepared: bool,
    /// It is a system event.
    pub system: bool,
}

impl Ids {
    /// An id for people: without anything that a terminal obeys, nor bytes beyond ASCII.
    pub fn show(self, id: &[u8]) -> String {
        let (place, key) = self.place_of(id);
        place + &escaped(key)
    }

    /// An id for programs: what is not UTF-8 is replaced.
    pub fn for_programs(self, id: &[u8]) -> String {
        let (place, key) = self.place_of(id);
        place + &String::from_utf8_lossy(key)
    }

    /// The part of the id that is the client's.
    pub fn key_of(self, id: &[u8]) -> &[u8] {
        self.place_of(id).1
    }

    fn place_of(self, id: &[u8]) -> (String, &[u8]) {
        if self == Ids::Plain {
            return (String::new(), id);
        }
        let (prepared, rest) = match split(id) {
            Some((PREPARED, rest)) if split(rest).is_some() => ("prepare:", rest),
            _ => ("", id),
        };
        if let Some((what, number, key)) = system_event(rest) {
            return (format!("({prepared}system-event-key:{what}:{number:#x})"), key);
        }
        match split(rest) {
            Some((DEFAULT, key)) => (format!("({prepared}collection:0x0:default)"), key),
            Some((number, key)) => (format!("({prepared}collection:{number:#x})"), key),
            None => (String::new(), id),
        }
    }

    /// The id of the document with this key.
    pub fn id_of(self, key: &[u8], place: Whereabouts) -> Vec<u8> {
        if self == Ids::Plain {
            return key.into();
        }
        let mut id = if place.prepared { encode(PREPARED) } else { Vec::new() };
        if place.system {
            id.extend(encode(SYSTEM));
            let names_it = |event: &&(u32, &str)| key.strip_prefix(b"_") == Some(event.1.as_bytes());
            id.extend(encode(EVENTS.iter().find(names_it).map_or(0, |event| event.0)));
        }
        id.extend(encode(place.collection));
        id.extend_from_slice(key);
        id
    }
}

/// What a system event is about, which one of these, and the rest of its id.
fn system_event(id: &[u8]) -> Option<(&'static str, u32, &[u8])> {
    let (SYSTEM, rest) = split(id)? else { return None };
    let (event, rest) = split(rest)?;
    let what = EVENTS.iter().find(|known| known.0 == event)?.1;
    let (number, key) = split(rest)?;
    Some((what, number, key))
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
    fn ids_say_where_they_belong() {
        let shown = |id: &[u8]| Ids::Collections.show(id);
        assert_eq!(shown(b"\x00key"), "(collection:0x0:default)key");
        assert_eq!(shown(b"\x08airline_10"), "(collection:0x8)airline_10");
        assert_eq!(shown(b"\x8f\x01k"), "(collection:0x8f)k");
        assert_eq!(shown(b"\x02\x08a:b"), "(prepare:collection:0x8)a:b");
        assert_eq!(shown(b"\x01\x01\x08_scope"), "(system-event-key:scope:0x8)_scope");
        assert_eq!(shown(b"\x01\x00\x08_collection"), "(system-event-key:collection:0x8)_collection");
        assert_eq!(Ids::Plain.show(b"\x08key"), "\\bkey");
    }

    #[test]
    fn what_is_shown_can_be_asked_for() {
        let id = |key: &[u8], place| Ids::Collections.id_of(key, place);
        let eight = Whereabouts { collection: 8, ..Whereabouts::default() };
        assert_eq!(id(b"key", Whereabouts::default()), b"\x00key");
        assert_eq!(id(b"\xff", eight), b"\x08\xff");
        assert_eq!(id(b"a", Whereabouts { prepared: true, ..eight }), b"\x02\x08a");
        assert_eq!(id(b"_scope", Whereabouts { system: true, ..eight }), b"\x01\x01\x08_scope");
        assert_eq!(id(b"_collection", Whereabouts { system: true, ..eight }), b"\x01\x00\x08_collection");
        assert_eq!(Ids::Plain.id_of(b"key", eight), b"key");
    }

    #[test]
    fn strange_ids_are_shown_as_they_are() {
        assert_eq!(Ids::Collections.show(b"\xff\xff"), "\\xFFFFFFFF\\xFFFFFFFF");
        assert_eq!(Ids::Collections.show(b""), "");
        assert_eq!(Ids::Collections.show(b"\x02"), "(collection:0x2)");
        assert_eq!(Ids::Collections.show(b"\x01\x09x"), "(collection:0x1)\\tx");
        assert_eq!(Ids::Plain.for_programs(b"\x08\xff"), "\u{8}\u{fffd}");
    }
}
