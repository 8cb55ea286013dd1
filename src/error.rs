//! The one error type of the library, and the one place where errors become couchstore's codes.
//!
//! Sources: the values and texts are those of the public header (`error.h`); which situation gives which code is
//! the format's and the API's contract. Inside the crate an error carries what a person needs to find the cause:
//! the file, the offset and what was expected there.

#![forbid(unsafe_code)]

use std::sync::Arc;

/// Result of every fallible operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A couchstore result code as C callers see it: 0 is success, all others are negative.
///
/// It is a number and not an enum because callbacks may return codes of their own, which are handed on unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: ErrorCode = ErrorCode($value);)*

            /// The text that `couchstore_strerror` gives for this code.
            pub fn text(self) -> &'static std::ffi::CStr {
                match self.0 {
                    $($value => $text,)*
                    _ => c"couchstore_strerror unknown errcode",
                }
            }
        }
    };
}

codes! {
    /// No error.
    SUCCESS = 0, c"success";
    /// The file could not be opened or created.
    OPEN_FILE = -1, c"error opening file";
    /// Bytes of the file do not follow the format.
    CORRUPT = -2, c"malformed data in file";
    /// Memory could not be had.
    ALLOC_FAIL = -3, c"failed to allocate buffer";
    /// The file could not be read, or ends too early.
    READ = -4, c"error reading file";
    /// There is no such document.
    DOC_NOT_FOUND = -5, c"document not found";
    /// The file holds no header.
    NO_HEADER = -6, c"no header in non-empty file";
    /// The file could not be written.
    WRITE = -7, c"error writing to file";
    /// The header has a version that this library does not know.
    HEADER_VERSION = -8, c"incorrect version in header";
    /// A checksum does not match.
    CHECKSUM_FAIL = -9, c"checksum fail";
    /// The caller's arguments make no sense.
    INVALID_ARGUMENTS = -10, c"invalid arguments";
    /// The file does not exist.
    NO_SUCH_FILE = -11, c"no such file";
    /// A callback ended the operation.
    CANCEL = -12, c"error cancel";
    /// Kept for clients of views.
    REDUCTION_TOO_LARGE = -13, c"reduction too large";
    /// Kept for clients of views.
    REDUCER_FAILURE = -14, c"reducer failure";
    /// The handle's file has been closed.
    FILE_CLOSED = -15, c"cannot do this operation when file is closed";
    /// The handle can no longer be used.
    DB_NO_LONGER_VALID = -16, c"this db handle could have its file reopened and must be closed";
    /// Closing the file failed.
    FILE_CLOSE = -17, c"error closing file";
    /// The file operations do not offer this.
    NOT_SUPPORTED = -18, c"not supported";
    /// A scan callback wants to go on later.
    SCAN_YIELD = -19, c"scan yield";
    /// A scan callback gave up.
    SCAN_CANCELLED = -20, c"scan cancelled";
    /// There is no key for an encrypted file.
    NO_ENCRYPTION_KEY = -21, c"encryption key not found";
    /// Encrypting failed.
    ENCRYPT = -22, c"encryption failed";
    /// Decrypting failed.
    DECRYPT = -23, c"decryption failed";
    /// The library itself failed; the handle takes no more writes.
    INTERNAL = -100, c"internal error";
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.text().to_string_lossy(), self.0)
    }
}

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
    #[error("{file}: {operation} at offset {position} failed: {code}, OS error {os_error}")]
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
    /// Bytes of the file break a rule of the format.
    #[error("{file}: malformed data at offset {position}: {expected}")]
    Corrupt {
        /// Name of the file.
        file: Arc<str>,
        /// Offset of the chunk or block.
        position: u64,
        /// The rule that is broken.
        expected: &'static str,
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
    #[error("{file}: no header")]
    NoHeader {
        /// Name of the file.
        file: Arc<str>,
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
    /// The handle's file has been closed.
    #[error("the file is closed")]
    FileClosed,
    /// The handle's file was lost while moving between headers.
    #[error("the handle is no longer valid")]
    DbNoLongerValid,
    /// Something that these file operations or this version do not offer.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// The file is encrypted and no key was given for it.
    #[error("{file}: encrypted, and no key for it")]
    NoEncryptionKey {
        /// Name of the file.
        file: Arc<str>,
    },
    /// Encrypting failed, or the caller's key store did.
    #[error("{file}: encryption failed")]
    Encrypt {
        /// Name of the file.
        file: Arc<str>,
    },
    /// The key does not fit the file.
    #[error("{file}: decryption failed")]
    Decrypt {
        /// Name of the file.
        file: Arc<str>,
    },
    /// A write on a handle that was opened read-only.
    #[error("{file}: opened read-only")]
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
    /// A defect of this library.
    #[error("internal error: {0}")]
    Internal(String),
}

impl Error {
    /// The code that C callers get for this error.
    pub fn code(&self) -> ErrorCode {
        match self {
            Error::Io { code, .. } | Error::Callback(code) => *code,
            Error::Corrupt { .. } => ErrorCode::CORRUPT,
            Error::Truncated { .. } => ErrorCode::READ,
            Error::Checksum { .. } => ErrorCode::CHECKSUM_FAIL,
            Error::NoHeader { .. } => ErrorCode::NO_HEADER,
            Error::HeaderVersion { .. } => ErrorCode::HEADER_VERSION,
            Error::AllocFail { .. } => ErrorCode::ALLOC_FAIL,
            Error::DocNotFound => ErrorCode::DOC_NOT_FOUND,
            Error::InvalidArguments(_) => ErrorCode::INVALID_ARGUMENTS,
            Error::FileClosed => ErrorCode::FILE_CLOSED,
            Error::DbNoLongerValid | Error::Stale { .. } => ErrorCode::DB_NO_LONGER_VALID,
            Error::NotSupported(_) => ErrorCode::NOT_SUPPORTED,
            Error::NoEncryptionKey { .. } => ErrorCode::NO_ENCRYPTION_KEY,
            Error::Encrypt { .. } => ErrorCode::ENCRYPT,
            Error::Decrypt { .. } => ErrorCode::DECRYPT,
            Error::ReadOnly { .. } | Error::Latched { .. } => ErrorCode::WRITE,
            Error::Internal(_) => ErrorCode::INTERNAL,
        }
    }

    /// The operating system's error number behind this error, if there is one.
    pub fn os_error(&self) -> Option<i32> {
        match self {
            Error::Io { os_error, .. } if *os_error != 0 => Some(*os_error),
            Error::ReadOnly { .. } => Some(libc::EBADF),
            Error::Stale { .. } => Some(libc::ESTALE),
            _ => None,
        }
    }

    /// Whether a scan that tolerates corruption may step over this error: damage in the file, not a closed handle,
    /// lack of memory or the caller's own code.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Error::Corrupt { .. }
                | Error::Truncated { .. }
                | Error::Checksum { .. }
                | Error::Io { operation: Operation::Read, .. }
        )
    }
}

/// Reserves room for `additional` more elements, or says how much memory was missing.
pub(crate) fn try_reserve<T>(vec: &mut Vec<T>, additional: usize) -> Result<()> {
    vec.try_reserve_exact(additional)
        .map_err(|_| Error::AllocFail { bytes: additional.saturating_mul(size_of::<T>()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_have_the_unknown_text() {
        assert_eq!(ErrorCode(-24).text(), c"couchstore_strerror unknown errcode");
        assert_eq!(ErrorCode(1).text(), c"couchstore_strerror unknown errcode");
        assert_eq!(ErrorCode::SCAN_CANCELLED.text(), c"scan cancelled");
    }

    #[test]
    fn callback_codes_pass_unchanged() {
        assert_eq!(Error::Callback(ErrorCode(-4711)).code(), ErrorCode(-4711));
    }
}
