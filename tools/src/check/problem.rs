// SPDX-License-Identifier: Apache-2.0

//! What is wrong with a file.

use crate::program::{Failure, LibraryError};
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
    /// The call of the original's library that fails because of it, and what the original's tool says then.
    pub(super) call: Option<(Call, String)>,
}

/// What the original's tool calls, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    Open,
    ChangesSince,
    AllDocs,
}

impl Call {
    /// Its line for an error, without the name of the file.
    pub(super) fn words(self, error: &LibraryError) -> String {
        let name = match self {
            Call::Open => "couchstore_open_db",
            Call::ChangesSince => "couchstore_changes_since",
            Call::AllDocs => "couchstore_all_docs",
        };
        let os_error = match error.os_error {
            0 => "errno = 0: 'Success'".to_owned(),
            code => {
                let text = std::io::Error::from_raw_os_error(code).to_string();
                // Rust adds the number in brackets.
                format!("errno = {code}: '{}'", text.split(" (os error").next().unwrap_or(""))
            }
        };
        let LibraryError { internal, .. } = error;
        format!(
            "{name} returned error: couchstore_error_t:{} last_error:'{internal}' last_os_error:{os_error}",
            error.text()
        )
    }
}

impl Problem {
    /// Something wrong with a header.
    pub(super) fn of_header(position: u64, reason: impl Into<String>) -> Problem {
        Problem { position, tree: None, reason: reason.into(), call: None }
    }

    /// Something wrong in a tree.
    pub(super) fn of_tree(tree: Tree, position: u64, reason: impl Into<String>) -> Problem {
        Problem { position, tree: Some(tree_name(tree)), reason: reason.into(), call: None }
    }

    /// A node that cannot be read.
    pub(super) fn of_node(tree: Tree, position: u64, error: Error) -> Problem {
        let call = match tree {
            Tree::BySeq => Some(Call::ChangesSince),
            Tree::ById => Some(Call::AllDocs),
            Tree::Local => None,
        };
        Problem::of_tree(tree, position, reason_of(&error)).failing(call, error)
    }

    /// The same, and this call fails because of it.
    pub(super) fn failing(self, call: Option<Call>, error: Error) -> Problem {
        let Failure::Library(error) = Failure::from(error) else { return self };
        Problem { call: call.map(|call| (call, call.words(&error))), ..self }
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

fn tree_name(tree: Tree) -> &'static str {
    match tree {
        Tree::ById => "by-id",
        Tree::BySeq => "by-seq",
        Tree::Local => "local",
    }
}
