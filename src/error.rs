// SPDX-License-Identifier: Apache-2.0

//! The one error type of the library, and the one place where errors become couchstore's codes.
//!
//! Sources: the values and texts are those of the public header (`error.h`); which situation gives which code is
//! the format's and the API's contract. Inside the crate an error carries what a person needs to find the cause:
//! the file, the offset and what was expected there.

#![forbid(unsafe_code)]

mod codes;
mod convert;
mod detail;
pub(crate) mod internal_error;

pub use codes::ErrorCode;
pub use detail::{Found, NoKey, Sought};

use std::borrow::Cow;
use std::sync::Arc;

/// Result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the library was doing when the file operations failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Opening or creating.
    Open,
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Asking for the file's size.
    Size,
    /// Making written data durable.
    Sync,
    /// Closing.
    Close,
    /// Switching on an option such as periodic sync.
    Configure,
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Operation::Open => "open",
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Size => "size",
            Operation::Sync => "sync",
            Operation::Close => "close",
            Operation::Configure => "configure",
        })
    }
}

/// Why a file is not written any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Its size is not what the handle has left.
    Size {
        /// The size found.
        found: u64,
        /// The size when the handle looked last, or what it has written since.
        least: u64,
        /// The end of what the handle has written, or tried to write.
        most: u64,
    },
    /// It has no name any more, and its name leads to another file.
    Replaced,
}

impl std::fmt::Display for Stale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Stale::Size { found, least, most } if least == most => {
                write!(f, "it has {found} bytes, expected {least}: somebody else writes to it or has cut it")
            }
            Stale::Size { found, least, most } => {
                write!(
                    f,
                    "it has {found} bytes, expected {least} to {most}: somebody else writes to it or has cut it"
                )
            }
            Stale::Replaced => f.write_str("its name leads to another file by now"),
        }
    }
}

/// Everything that can go wrong. [`Error::code`] gives the couchstore code.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file operations reported a failure; their code is handed on unchanged.
    #[error(fmt = detail::io)]
    Io {
        /// What was tried.
        operation: Operation,
        /// Name of the file as given at open.
        file: Arc<str>,
        /// File offset in bytes, 0 where there is none.
        position: u64,
        /// The code of the file operations.
        code: ErrorCode,
        /// `errno`, 0 if unknown.
        os_error: i32,
    },
    /// A file could not be given its name, or not lose it again; the text says what is the case.
    #[error("{file}: {state}: {code}, OS error {os_error}")]
    Naming {
        /// Name of the file as given by the caller.
        file: Arc<str>,
        /// What the names are like, or what is missing to change them.
        state: &'static str,
        /// Which code this is.
        code: ErrorCode,
        /// `errno`, 0 if unknown.
        os_error: i32,
    },
    /// A copy that was not begun: the file system has too little room for it.
    #[error("{file}: not begun, it needs at least {needed} bytes and the file system has {available}")]
    NoSpace {
        /// Name of the file that was to be made.
        file: Arc<str>,
        /// Bytes that it would have had at least.
        needed: u64,
        /// Bytes that could be written.
        available: u64,
    },
    /// The name leads to a device, a FIFO or a socket.
    #[error("{file}: not a regular file, so it cannot be a database")]
    NotRegular {
        /// Name of the file as given at open.
        file: Arc<str>,
    },
    /// Bytes of the file break a rule of the format.
    #[error(fmt = detail::corrupt)]
    Corrupt {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the chunk or block.
        position: u64,
        /// What the rule that is broken asks for.
        expected: &'static str,
        /// What stands there instead.
        found: Found,
    },
    /// The file ends before the data that something in it points to.
    #[error("{file}: expected {wanted} bytes at offset {position}, the file ends before")]
    Truncated {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the data.
        position: u64,
        /// How many bytes should be there.
        wanted: u64,
    },
    /// A checksum does not match the bytes.
    #[error("{file}: checksum of the {length} bytes at offset {position} is not {crc}")]
    Checksum {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the chunk.
        position: u64,
        /// Length of the body.
        length: u32,
        /// The checksum that the file states.
        crc: u32,
    },
    /// No header was found.
    #[error("{file}: {sought}")]
    NoHeader {
        /// Name of the file.
        file: Arc<str>,
        /// Where it was looked for.
        sought: Sought,
        /// What only looked like one.
        #[source]
        cause: Option<Box<Error>>,
    },
    /// The header is of a version that is not 11 to 14.
    #[error("{file}: header at offset {position} has version {version}, expected 11 to 14")]
    HeaderVersion {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the header.
        position: u64,
        /// The version found.
        version: u8,
    },
    /// The metadata header of an encrypted file is of a version that is neither 0 nor 1.
    #[error("{file}: metadata header at offset 0 has version {version}, expected 0 or 1")]
    MetadataVersion {
        /// Name of the file.
        file: Arc<str>,
        /// The version found.
        version: u8,
    },
    /// Memory could not be had.
    #[error("could not allocate {bytes} bytes")]
    AllocFail {
        /// The amount asked for.
        bytes: usize,
    },
    /// The document does not exist, or has no body.
    #[error("document not found")]
    DocNotFound,
    /// Arguments that make no sense; the text says which.
    #[error("invalid arguments: {0}")]
    InvalidArguments(&'static str),
    /// A document of a batch that makes no sense.
    #[error("invalid arguments: document {index} of the batch, counted from 0: {reason}")]
    Refused {
        /// Its index.
        index: usize,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// The handle's file has been closed.
    #[error("the handle's file is closed")]
    FileClosed,
    /// The handle's file was lost, or is another one, for this reason.
    #[error("the handle is no longer valid: {0}")]
    DbNoLongerValid(#[source] Box<Error>),
    /// The file has another header than a handle on it had there.
    #[error(
        "{file}: expected the update sequence {expected} in the header at offset {position}, found {found}"
    )]
    OtherHeader {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the header.
        position: u64,
        /// What the handle's header has.
        expected: u64,
        /// What this one has.
        found: u64,
    },
    /// Something that these file operations or this version do not offer.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// The file is encrypted and there is no key for it.
    #[error("{file}: encrypted, and no key for it: {why}")]
    NoEncryptionKey {
        /// Name of the file.
        file: Arc<str>,
        /// Why not.
        why: NoKey,
    },
    /// The file is encrypted, or should be, and this build of the library was made without its feature `encryption`.
    #[error("{file}: encrypted files are not supported: this build of the library has no encryption")]
    EncryptionLeftOut {
        /// Name of the file.
        file: Arc<str>,
    },
    /// Encrypting failed, or the caller's key store did.
    #[error("{file}: encryption failed: {reason}")]
    Encrypt {
        /// Name of the file.
        file: Arc<str>,
        /// What failed.
        reason: &'static str,
    },
    /// The key does not fit the file.
    #[error("{file}: decryption failed: the key {key_id:?} does not fit the metadata header at offset 0")]
    Decrypt {
        /// Name of the file.
        file: Arc<str>,
        /// Id of the key.
        key_id: Arc<str>,
    },
    /// A write on a handle that was opened read-only.
    #[error("{file}: cannot be written, it was opened read-only")]
    ReadOnly {
        /// Name of the file.
        file: Arc<str>,
    },
    /// A write on a handle on which a sync has failed before: the kernel may have dropped what it did not write.
    #[error("{file}: a sync failed, nothing more is written until the file is opened again")]
    Latched {
        /// Name of the file.
        file: Arc<str>,
    },
    /// A write to a file that is not as the handle has left it; see [`Stale`]. Nothing was written, and reading goes on.
    #[error("{file}: not written: {reason}")]
    Stale {
        /// Name of the file.
        file: Arc<str>,
        /// What was found.
        reason: Stale,
    },
    /// A callback of the caller ended the operation with this code.
    #[error("stopped by a callback: {0}")]
    Callback(ErrorCode),
    /// A callback of the caller ended the operation with this error of its own; see [`Error::caller`].
    #[error(transparent)]
    Caller(Arc<dyn std::error::Error + Send + Sync>),
    /// A defect of this library.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The code that C callers get for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Io { code, .. } | Error::Naming { code, .. } | Error::Callback(code) => *code,
            Error::Caller(_) => ErrorCode::CANCEL,
            Error::NotRegular { .. } => ErrorCode::OPEN_FILE,
            Error::Corrupt { .. } => ErrorCode::CORRUPT,
            Error::Truncated { .. } => ErrorCode::READ,
            Error::Checksum { .. } => ErrorCode::CHECKSUM_FAIL,
            Error::NoHeader { .. } => ErrorCode::NO_HEADER,
            Error::HeaderVersion { .. } => ErrorCode::HEADER_VERSION,
            Error::AllocFail { .. } => ErrorCode::ALLOC_FAIL,
            Error::DocNotFound => ErrorCode::DOC_NOT_FOUND,
            Error::InvalidArguments(_) | Error::Refused { .. } => ErrorCode::INVALID_ARGUMENTS,
            Error::FileClosed => ErrorCode::FILE_CLOSED,
            Error::DbNoLongerValid(_) | Error::OtherHeader { .. } | Error::Stale { .. } => {
                ErrorCode::DB_NO_LONGER_VALID
            }
            Error::NotSupported(_) | Error::MetadataVersion { .. } | Error::EncryptionLeftOut { .. } => {
                ErrorCode::NOT_SUPPORTED
            }
            Error::NoEncryptionKey { .. } => ErrorCode::NO_ENCRYPTION_KEY,
            Error::Encrypt { .. } => ErrorCode::ENCRYPT,
            Error::Decrypt { .. } => ErrorCode::DECRYPT,
            Error::ReadOnly { .. } | Error::Latched { .. } | Error::NoSpace { .. } => ErrorCode::WRITE,
            Error::Internal(_) => ErrorCode::INTERNAL,
        }
    }

    /// The operating system's error number behind this error, if there is one.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { os_error, .. } | Error::Naming { os_error, .. } if *os_error != 0 => Some(*os_error),
            Error::ReadOnly { .. } => Some(libc::EBADF),
            Error::NotRegular { .. } => Some(libc::EINVAL),
            Error::NoSpace { .. } => Some(libc::ENOSPC),
            Error::DbNoLongerValid(cause) => cause.os_error(),
            Error::Stale { .. } => Some(libc::ESTALE),
            _ => None,
        }
    }

    /// Offset in the file that this is about, if it is about one.
    pub fn position(&self) -> Option<u64> {
        match self {
            Error::Io { position, .. }
            | Error::Corrupt { position, .. }
            | Error::Truncated { position, .. }
            | Error::Checksum { position, .. }
            | Error::HeaderVersion { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// Name of the file that this is about, if it is about one.
    pub(crate) fn file(&self) -> Option<&Arc<str>> {
        match self {
            Error::Io { file, .. }
            | Error::Naming { file, .. }
            | Error::NotRegular { file }
            | Error::NoSpace { file, .. }
            | Error::EncryptionLeftOut { file }
            | Error::Corrupt { file, .. }
            | Error::Truncated { file, .. }
            | Error::Checksum { file, .. }
            | Error::NoHeader { file, .. }
            | Error::HeaderVersion { file, .. }
            | Error::MetadataVersion { file, .. }
            | Error::OtherHeader { file, .. }
            | Error::NoEncryptionKey { file, .. }
            | Error::Encrypt { file, .. }
            | Error::Decrypt { file, .. }
            | Error::Stale { file, .. }
            | Error::ReadOnly { file }
            | Error::Latched { file } => Some(file),
            Error::DbNoLongerValid(cause) => cause.file(),
            _ => None,
        }
    }

    /// For a document of a batch: which one it is.
    pub(crate) fn of_document(self, index: usize) -> Error {
        match self {
            Error::InvalidArguments(reason) => Error::Refused { index, reason: reason.into() },
            other => other,
        }
    }

    /// Whether a scan that tolerates corruption may step over this error: damage in the file, not a closed handle,
    /// lack of memory or the caller's own code.
    pub fn is_damage(&self) -> bool {
        let concerns_the_file = matches!(
            self,
            Error::Corrupt { .. }
                | Error::Truncated { .. }
                | Error::Checksum { .. }
                | Error::Io { operation: Operation::Read, .. }
        );
        concerns_the_file && !self.is_final()
    }

    /// Whether this ends everything at once, though there may be other ways to go on: memory has run out, the file is
    /// of a version that nobody here knows, or the caller wants no more.
    ///
    /// Decided by the code alone: one that a caller's file operations return counts like our own. That something is
    /// *absent*, on the other hand, only [`Error::DocNotFound`] and [`Error::NoHeader`] say, never such a code.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self.code(), ErrorCode::ALLOC_FAIL | ErrorCode::HEADER_VERSION | ErrorCode::CANCEL)
    }

    /// Whether the file that was to be opened does not exist. Other operations may return this code too, and mean
    /// something else.
    pub(crate) fn is_missing_file(&self) -> bool {
        matches!(self, Error::Io { operation: Operation::Open, code: ErrorCode::NO_SUCH_FILE, .. })
    }

    /// Whether the name that a new file was to get is taken.
    pub(crate) fn is_taken_name(&self) -> bool {
        matches!(self, Error::Io { operation: Operation::Open, os_error: libc::EEXIST, .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each that is about a file.
    fn about_a_file() -> Vec<(Error, &'static str)> {
        let file = || Arc::<str>::from("f");
        let io =
            |operation, code, os_error| Error::Io { operation, file: file(), position: 7, code, os_error };
        let corrupt = |position, found| Error::Corrupt { file: file(), position, expected: "0 or 1", found };
        let no_header = |sought| Error::NoHeader { file: file(), sought, cause: None };
        let no_key = |why| Error::NoEncryptionKey { file: file(), why };
        let id = || Arc::<str>::from("id");
        vec![
            (
                io(Operation::Read, ErrorCode::READ, 5),
                "read at offset 7 failed: Input/output error (os error 5)",
            ),
            (
                io(Operation::Write, ErrorCode(-99), 0),
                "write at offset 7 failed: couchstore_strerror unknown errcode (-99)",
            ),
            (io(Operation::Sync, ErrorCode::WRITE, 28), "sync failed: No space left on device (os error 28)"),
            (corrupt(9, Found::Unsaid), "malformed data at offset 9: expected 0 or 1"),
            (corrupt(9, Found::HeaderLength(3)), "malformed data at offset 9: expected 0 or 1, found 3"),
            (corrupt(0, Found::BlockType(9)), "not a couchstore file: expected 0 or 1 at offset 0, found 9"),
            (
                corrupt(4096, Found::BlockType(9)),
                "expected 0 or 1 at offset 4096, found 9: damaged, or not a couchstore file",
            ),
            (
                Error::Truncated { file: file(), position: 9, wanted: 8 },
                "expected 8 bytes at offset 9, the file ends before",
            ),
            (
                Error::Checksum { file: file(), position: 9, length: 8, crc: 7 },
                "checksum of the 8 bytes at offset 9 is not 7",
            ),
            (no_header(Sought::At(-4096)), "no header at offset -4096, expected one"),
            (no_header(Sought::AtOrBelow(9)), "no header at or below offset 9, expected one"),
            (no_header(Sought::AtOrAbove(9)), "no header at or above offset 9, expected one"),
            (no_header(Sought::Anywhere(0)), "no header, the file is empty"),
            (
                no_header(Sought::Anywhere(9)),
                "not a couchstore file: no header in its 9 bytes, expected one at a multiple of 4096",
            ),
            (
                Error::HeaderVersion { file: file(), position: 9, version: 15 },
                "header at offset 9 has version 15, expected 11 to 14",
            ),
            (
                Error::MetadataVersion { file: file(), version: 2 },
                "metadata header at offset 0 has version 2, expected 0 or 1",
            ),
            (
                no_key(NoKey::NoMetadata),
                "encrypted, and no key for it: expected a metadata header at offset 0",
            ),
            (
                no_key(NoKey::NoStore(id())),
                "encrypted, and no key for it: expected the key \"id\", none was given",
            ),
            (
                Error::Decrypt { file: file(), key_id: id() },
                "decryption failed: the key \"id\" does not fit the metadata header at offset 0",
            ),
            (Error::Encrypt { file: file(), reason: "why" }, "encryption failed: why"),
            (Error::ReadOnly { file: file() }, "cannot be written, it was opened read-only"),
            (
                Error::OtherHeader { file: file(), position: 9, expected: 5, found: 6 },
                "expected the update sequence 5 in the header at offset 9, found 6",
            ),
        ]
    }

    #[test]
    fn sentences_name_the_file_the_offset_and_what_was_expected() {
        for (error, text) in about_a_file() {
            assert_eq!(error.to_string(), format!("f: {text}"));
            assert_eq!(error.file().map(AsRef::as_ref), Some("f"));
            let lost = Error::DbNoLongerValid(Box::new(error.clone()));
            assert_eq!(lost.to_string(), format!("the handle is no longer valid: f: {text}"));
            assert_eq!((lost.os_error(), lost.code()), (error.os_error(), ErrorCode::DB_NO_LONGER_VALID));
        }
        let refused = Error::InvalidArguments("expected a callback, got NULL").of_document(3);
        let text =
            "invalid arguments: document 3 of the batch, counted from 0: expected a callback, got NULL";
        assert_eq!((refused.to_string().as_str(), refused.code()), (text, ErrorCode::INVALID_ARGUMENTS));
    }

    #[test]
    fn callback_codes_pass_unchanged() {
        assert_eq!(Error::Callback(ErrorCode(-4711)).code(), ErrorCode(-4711));
    }
}
