// SPDX-License-Identifier: Apache-2.0

//! The numbers that C callers get for errors, and their texts.
//!
//! Values and texts are those of the public header (`error.h`).

#![forbid(unsafe_code)]

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
    /// The file operations, or this build of the library, do not offer this.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_have_the_unknown_text() {
        assert_eq!(ErrorCode(-24).text(), c"couchstore_strerror unknown errcode");
        assert_eq!(ErrorCode(1).text(), c"couchstore_strerror unknown errcode");
        assert_eq!(ErrorCode::SCAN_CANCELLED.text(), c"scan cancelled");
    }
}
