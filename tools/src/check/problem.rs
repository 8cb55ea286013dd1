//! What is wrong with a file.

use super::tree_name;
use couchstore::Error;
use couchstore::inspect::Tree;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// Longest part of a key that is shown, in characters.
const SHOWN_KEY: usize = 60;

/// One thing that is wrong. Ordered by where it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    /// Offset of the header, node or body.
    pub(super) position: u64,
    /// The tree that it belongs to.
    pub(super) tree: Option<&'static str>,
    /// What is wrong.
    pub(super) reason: String,
}

impl Problem {
    /// Something wrong with a header.
    pub(super) fn of_header(position: u64, reason: impl Into<String>) -> Problem {
        Problem { position, tree: None, reason: reason.into() }
    }

    /// Something wrong in a tree.
    pub(super) fn of_tree(tree: Tree, position: u64, reason: impl Into<String>) -> Problem {
        Problem { position, tree: Some(tree_name(tree)), reason: reason.into() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {}: ", self.position)?;
        if let Some(tree) = self.tree {
            write!(f, "{tree} tree: ")?;
        }
        f.write_str(&self.reason)
    }
}

/// The problems of a file: the first ones that were found, and how many there are. Those of older headers that newer
/// ones share are counted once.
pub(super) struct Problems {
    most: usize,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    kept: BTreeSet<Problem>,
    count: u64,
}

impl Problems {
    /// Keeps so many of them at `most`.
    pub(super) fn new(most: usize) -> Problems {
        Problems { most, found: Mutex::default() }
    }

    pub(super) fn add(&self, problem: Problem) {
        let mut found = self.found.lock();
        if found.kept.contains(&problem) {
            return;
        }
        found.count += 1;
        if found.kept.len() < self.most {
            found.kept.insert(problem);
        }
    }

    /// Those that were kept, in the order of their places, and how many there are.
    pub(super) fn finish(self) -> (BTreeSet<Problem>, u64) {
        let found = self.found.into_inner();
        (found.kept, found.count)
    }
}

/// Where an error about a file's bytes says that they are.
pub(super) fn position_of(error: &Error) -> Option<u64> {
    match error {
        Error::Corrupt { position, .. }
        | Error::Truncated { position, .. }
        | Error::Checksum { position, .. }
        | Error::HeaderVersion { position, .. }
        | Error::Io { position, .. } => Some(*position),
        _ => None,
    }
}

/// An error without the file's name and the place, which are told before it.
pub(super) fn reason_of(error: &Error) -> String {
    match error {
        Error::Corrupt { expected, found, .. } => format!("malformed: expected {expected}{found}"),
        Error::Truncated { wanted, .. } => format!("the file ends before these {wanted} bytes"),
        Error::Checksum { length, crc, .. } => format!("the checksum of {length} bytes is not {crc}"),
        Error::HeaderVersion { version, .. } => format!("version {version}, expected 11 to 14"),
        Error::Io { operation, os_error, .. } => {
            format!("cannot {operation}: {}", std::io::Error::from_raw_os_error(*os_error))
        }
        other => other.to_string(),
    }
}

/// A key as it is shown: a sequence number, or an id in quotes.
pub(super) fn show_key(tree: Tree, key: &[u8]) -> String {
    match (tree, seq_of(key)) {
        (Tree::BySeq, Some(seq)) => seq.to_string(),
        _ => show_id(key),
    }
}

/// The sequence number that a key of the by-sequence tree stands for.
pub(super) fn seq_of(key: &[u8]) -> Option<u64> {
    (key.len() == 6).then(|| key.iter().fold(0, |seq, &byte| seq << 8 | u64::from(byte)))
}

/// An id in quotes, cut off if it is long.
pub(super) fn show_id(id: &[u8]) -> String {
    let text = String::from_utf8_lossy(id);
    let mut shown: String = text.chars().take(SHOWN_KEY).flat_map(char::escape_debug).collect();
    if text.chars().count() > SHOWN_KEY {
        shown.push('…');
    }
    format!("\"{shown}\"")
}
