// SPDX-License-Identifier: Apache-2.0

//! The text of the last internal error, per thread, and the process-wide handler that hosts may set to log it.
//!
//! This is where errors become texts for C callers: in the words of couchstore where those are known, since existing
//! callers match them, and else in a sentence that names file, offset and what was expected. A success never clears
//! the text.

#![forbid(unsafe_code)]

use super::{Error, Found, NoKey};
use parking_lot::RwLock;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

/// Longest text kept, in bytes.
const MAX_TEXT: usize = 249;

/// Called with each internal error as it happens, on the thread where it happens.
pub type Handler = Arc<dyn Fn(&str) + Send + Sync>;

/// Stands for the beginning of a file name that is too long.
const CUT: &str = "...";

/// A fixed-size text: thread-local storage without a destructor serves until the very end of a thread.
#[derive(Clone, Copy)]
struct Text {
    bytes: [u8; MAX_TEXT],
    length: usize,
}

impl Text {
    const EMPTY: Text = Text { bytes: [0; MAX_TEXT], length: 0 };

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl std::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for character in text.chars() {
            let mut encoded = [0; 4];
            let encoded = character.encode_utf8(&mut encoded).as_bytes();
            let Some(room) = self.bytes.get_mut(self.length..self.length + encoded.len()) else {
                return Err(std::fmt::Error);
            };
            room.copy_from_slice(encoded);
            self.length += encoded.len();
        }
        Ok(())
    }
}

thread_local! {
    static LAST: RefCell<Text> = const { RefCell::new(Text::EMPTY) };
}

static HANDLER: RwLock<Option<Handler>> = RwLock::new(None);

/// Takes a text for which this is not the time to tell the handler, and says whether it did. It is to be told with
/// [`tell_handler`] then.
pub(crate) type Postpone = fn(&str) -> bool;

static POSTPONE: OnceLock<Postpone> = OnceLock::new();

/// Sets, once, who may postpone telling the handler.
pub(crate) fn postpone_with(postpone: Postpone) {
    POSTPONE.get_or_init(|| postpone);
}

/// The text of an error in couchstore's own words, if it has some.
fn in_known_words(error: &Error) -> Option<String> {
    Some(match error {
        Error::Checksum { position, length, crc, .. } => {
            format!("Couchstore::pread_bin_internal() Checksum fail length:{length} crc:{crc} pos:{position}")
        }
        Error::Corrupt { position, found, .. } => match found {
            Found::Unsaid => return None,
            Found::BlockType(byte) => {
                format!("find_header_at_pos: unknown block type:{byte} pos:{position}")
            }
            // The length stands behind the block's first byte.
            Found::HeaderLength(length) => format!(
                "Couchstore::pread_bin_internal() Invalid header length:{length} max_header_size:1024 pos:{}",
                position + 1
            ),
            Found::Uncompressed(length) => format!(
                "Couchstore::pread_compressed() Invalid compressed buffer length:{length} pos:{position}"
            ),
            Found::EmptyNode => {
                format!("btree_lookup_inner: (nodebuflen > 0) check failed on line {}", line!())
            }
        },
        Error::NoEncryptionKey { why: NoKey::NoStore(_), .. } => {
            "Couchstore::read_and_set_encryption_key() Encrypted file but no encryption key callback provided"
                .into()
        }
        Error::NoHeader { cause: Some(cause), .. } | Error::DbNoLongerValid(cause) => in_known_words(cause)?,
        _ => return None,
    })
}

impl Error {
    /// What couchstore keeps as its last internal error for this one, if it does.
    pub fn in_known_words(&self) -> Option<String> {
        in_known_words(self)
    }
}

/// The sentence of an error. Of a long file name only the end is left, lest the reason be cut off.
fn sentence(error: &Error) -> String {
    let full = error.to_string();
    let excess = full.len().saturating_sub(MAX_TEXT);
    let is_long = |name: &&Arc<str>| excess > 0 && name.len() >= excess + CUT.len();
    let Some(name) = error.file().filter(is_long) else { return full };
    let kept = name.char_indices().map(|(at, _)| at).find(|at| *at >= excess + CUT.len());
    let kept = kept.map_or("", |at| &name[at..]);
    full.replacen(name.as_ref(), &format!("{CUT}{kept}"), 1)
}

fn text_of(error: &Error) -> String {
    in_known_words(error).unwrap_or_else(|| sentence(error))
}

/// Keeps the text of an error for this thread.
pub(crate) fn keep(error: &Error) {
    store(&text_of(error));
}

/// Keeps the text of an error for this thread and tells the handler: for those that couchstore reports.
pub(crate) fn report(error: &Error) {
    tell(&text_of(error));
}

/// Keeps the text of a panic for this thread and tells the handler.
pub(crate) fn report_panic(text: &str) {
    tell(&format!("panic: {text}"));
}

fn store(text: &str) -> Text {
    let mut new = Text::EMPTY;
    // A text that is too long is cut.
    let _ = new.write_str(text);
    LAST.with(|last| *last.borrow_mut() = new);
    new
}

fn tell(text: &str) {
    let kept = store(text);
    let is_postponed = || POSTPONE.get().is_some_and(|postpone| postpone(kept.as_str()));
    if HANDLER.read().is_some() && !is_postponed() {
        tell_handler(kept.as_str());
    }
}

/// Tells the handler, if there is one.
pub(crate) fn tell_handler(text: &str) {
    let handler = HANDLER.read().clone();
    if let Some(handler) = handler {
        handler(text);
    }
}

/// The last internal error of this thread, quoted: `'text'`; `''` if there was none.
pub fn last_internal_error() -> String {
    LAST.with(|last| format!("'{}'", last.borrow().as_str()))
}

/// Sets or removes the handler that is told of every internal error in the process. It must not panic.
pub fn set_on_internal_error(handler: Option<Handler>) {
    let old = std::mem::replace(&mut *HANDLER.write(), handler);
    // Not under the lock: dropping a handler may run code of the caller's, which may report errors itself.
    drop(old);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Sought;

    fn corrupt(position: u64, found: Found) -> Error {
        Error::Corrupt { file: "f".into(), position, expected: "something else", found }
    }

    /// Callers match these.
    #[test]
    fn the_words_of_couchstore() {
        let checksum = Error::Checksum { file: "f".into(), position: 4097, length: 45, crc: 4_000_000_000 };
        let no_store = Error::NoEncryptionKey { file: "f".into(), why: NoKey::NoStore("id".into()) };
        for (error, text) in [
            (corrupt(0, Found::BlockType(116)), "find_header_at_pos: unknown block type:116 pos:0"),
            (
                corrupt(1_277_952, Found::HeaderLength(0x7fff_ffff)),
                "Couchstore::pread_bin_internal() Invalid header length:2147483647 max_header_size:1024 pos:1277953",
            ),
            (checksum, "Couchstore::pread_bin_internal() Checksum fail length:45 crc:4000000000 pos:4097"),
            (
                corrupt(61, Found::Uncompressed(9)),
                "Couchstore::pread_compressed() Invalid compressed buffer length:9 pos:61",
            ),
            (
                no_store,
                "Couchstore::read_and_set_encryption_key() Encrypted file but no encryption key callback provided",
            ),
        ] {
            assert_eq!(text_of(&error), text);
            assert_eq!(text_of(&Error::DbNoLongerValid(Box::new(error.clone()))), text);
            let cause = Some(Box::new(error));
            assert_eq!(text_of(&Error::NoHeader { file: "f".into(), sought: Sought::At(0), cause }), text);
        }
        let node = text_of(&corrupt(61, Found::EmptyNode));
        assert!(node.starts_with("btree_lookup_inner: (nodebuflen > 0) check failed on line "), "{node}");
        assert_eq!(
            text_of(&corrupt(61, Found::Unsaid)),
            "f: malformed data at offset 61: expected something else"
        );
    }

    #[test]
    fn texts_are_cut_at_the_limit_and_kept_per_thread() {
        report_panic(&"x".repeat(1000));
        assert_eq!(last_internal_error().len(), MAX_TEXT + 2);
        std::thread::spawn(|| assert_eq!(last_internal_error(), "''")).join().expect("thread");
    }

    #[test]
    fn a_short_name_is_kept_where_something_else_is_long() {
        let why = NoKey::Unknown("k".repeat(255).into());
        keep(&Error::NoEncryptionKey { file: "a".into(), why });
        let text = last_internal_error();
        assert!(text.starts_with("'a: encrypted, and no key for it: expected the key \"kkk"), "{text}");
        assert_eq!(text.len(), MAX_TEXT + 2);
    }

    #[test]
    fn of_long_names_the_end_is_kept_and_all_of_the_reason() {
        for length in [0, 100, 190, 200, 210, 255, 4000] {
            for unit in ["x", "ü", "\u{20ac}"] {
                let file = unit.repeat(length) + "/a.couch.1";
                let error = Error::Truncated { file: file.into(), position: u64::MAX, wanted: 17 };
                keep(&error);
                let text = last_internal_error();
                let reason =
                    "a.couch.1: expected 17 bytes at offset 18446744073709551615, the file ends before'";
                assert!(text.ends_with(reason), "{text}");
                assert!(text.len() <= MAX_TEXT + 2, "{text}");
                assert_eq!(text.starts_with("'..."), error.to_string().len() > MAX_TEXT, "{text}");
            }
        }
    }
}
