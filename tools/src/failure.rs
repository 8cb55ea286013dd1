// SPDX-License-Identifier: Apache-2.0

//! Why a tool ends early, and errors of the library as tools tell them.

use couchstore::{Error, ErrorCode};
use std::borrow::Cow;
use std::io;

/// Why a tool ends early.
#[derive(Debug)]
pub enum Failure {
    /// Shown as one line on stderr.
    Message(String),
    /// The library failed.
    Library(LibraryError),
    /// Shown as the original's tools say it, which scripts look for; the rest for those who ask with --explain.
    Original {
        /// The line or lines.
        words: String,
        /// As [`Failure::Message`].
        more: Option<String>,
    },
    /// Everything has been said.
    Reported,
    /// The arguments make no sense together.
    Usage(String),
    /// The command line is wrong, and that has been said.
    Misused,
    /// There is nothing on the command line, and what is needed has been said.
    NothingGiven,
    /// Standard output takes no more: shown as one line on stderr, and nothing more is tried.
    Output(String),
    /// Whoever reads the output has had enough: the tool ends quietly, with success.
    ClosedPipe,
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// An error of the library, in its own words and in the original's.
#[derive(Debug)]
pub struct LibraryError {
    /// Which one.
    pub code: ErrorCode,
    /// The sentence with file, offset and what was expected.
    pub message: String,
    /// What the original's library keeps as its last internal error; empty if that is nothing.
    pub internal: String,
    /// `errno`, 0 if there is none.
    pub os_error: i32,
}

impl LibraryError {
    /// The short text of its code.
    pub fn text(&self) -> Cow<'static, str> {
        self.code.text().to_string_lossy()
    }
}

impl Failure {
    /// An error of the library as the original's tools say it; `words` are told its text. Others stay.
    #[must_use]
    pub fn in_original_words(self, words: impl FnOnce(&LibraryError) -> String) -> Failure {
        match self {
            Failure::Library(error) => Failure::Original { words: words(&error), more: Some(error.message) },
            other => other,
        }
    }

    /// Adds to what is said of a failure of the library or of a tool. Others stay.
    #[must_use]
    pub fn map_message(self, change: impl FnOnce(String) -> String) -> Failure {
        match self {
            Failure::Message(message) => Failure::Message(change(message)),
            Failure::Library(error) => {
                Failure::Library(LibraryError { message: change(error.message), ..error })
            }
            other => other,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::Message(message) | Failure::Usage(message) | Failure::Output(message) => message,
            Failure::Library(error) => &error.message,
            Failure::Original { words, .. } => words,
            Failure::Reported => "failed",
            Failure::Misused | Failure::NothingGiven => "wrong command line",
            Failure::ClosedPipe => "closed pipe",
            Failure::Interrupted => "interrupted",
        })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (message, os_error) = match &error {
            Error::Io { operation, file, os_error, .. } if *os_error != 0 => {
                let what = io::Error::from_raw_os_error(*os_error);
                (format!("{file}: cannot {operation}: {what}"), *os_error)
            }
            _ => (error.to_string(), 0),
        };
        let internal = error.in_known_words().unwrap_or_default();
        Failure::Library(LibraryError { code: error.code(), message, internal, os_error })
    }
}

/// For writing to standard output; errors of other files are given a name before they come here.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::ClosedPipe
        } else {
            Failure::Output(format!("standard output: {error}"))
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        Failure::from(io::Error::from(error))
    }
}
