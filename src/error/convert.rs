// SPDX-License-Identifier: Apache-2.0

//! Errors of callers as errors of this library, and those of this library as errors of input and output.

use super::{Error, ErrorCode};
use std::io;
use std::sync::Arc;

impl Error {
    /// An error of the caller's own, for a hook or callback to return: whoever has called the library gets it back.
    ///
    /// ```
    /// use couchstore::Error;
    ///
    /// let error = Error::caller(std::io::Error::other("no more"));
    /// assert_eq!(error.of_caller::<std::io::Error>().map(ToString::to_string), Some("no more".into()));
    /// ```
    pub fn caller(error: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Caller(Arc::new(error))
    }

    /// The error that a hook or callback has made of its own with [`Error::caller`], if this is one of that type.
    pub fn of_caller<T: std::error::Error + 'static>(&self) -> Option<&T> {
        let Error::Caller(error) = self else { return None };
        error.downcast_ref()
    }

    fn io_kind(&self) -> io::ErrorKind {
        if let Some(os_error) = self.os_error() {
            return io::Error::from_raw_os_error(os_error).kind();
        }
        match self {
            Error::Truncated { .. } => return io::ErrorKind::UnexpectedEof,
            Error::ReadOnly { .. } => return io::ErrorKind::PermissionDenied,
            _ => {}
        }
        match self.code() {
            ErrorCode::NO_SUCH_FILE | ErrorCode::DOC_NOT_FOUND => io::ErrorKind::NotFound,
            ErrorCode::CORRUPT
            | ErrorCode::CHECKSUM_FAIL
            | ErrorCode::NO_HEADER
            | ErrorCode::HEADER_VERSION
            | ErrorCode::DECRYPT => io::ErrorKind::InvalidData,
            ErrorCode::INVALID_ARGUMENTS => io::ErrorKind::InvalidInput,
            ErrorCode::ALLOC_FAIL => io::ErrorKind::OutOfMemory,
            ErrorCode::NOT_SUPPORTED => io::ErrorKind::Unsupported,
            ErrorCode::NO_ENCRYPTION_KEY => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::Other,
        }
    }
}

/// The error stays inside, with all that it says: `get_ref` and `downcast` of [`io::Error`] give it back.
impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        io::Error::new(error.io_kind(), error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::super::{Operation, Sought};
    use super::*;
    use std::error::Error as _;

    #[test]
    fn errors_of_callers_come_back_as_they_are() {
        let own = Error::caller("x".parse::<u8>().unwrap_err());
        assert!(own.of_caller::<std::num::ParseIntError>().is_some());
        assert!(own.of_caller::<std::fmt::Error>().is_none());
        assert!(Error::DocNotFound.of_caller::<std::fmt::Error>().is_none());
        assert_eq!(
            (own.to_string().as_str(), own.code()),
            ("invalid digit found in string", ErrorCode::CANCEL)
        );
    }

    #[test]
    fn errors_of_io_keep_kind_and_error() {
        let (file, code) = ("f".into(), ErrorCode::WRITE);
        let full = Error::Io { operation: Operation::Write, file, position: 9, code, os_error: libc::ENOSPC };
        for (error, kind) in [
            (full, io::ErrorKind::StorageFull),
            (Error::DocNotFound, io::ErrorKind::NotFound),
            (Error::InvalidArguments("x"), io::ErrorKind::InvalidInput),
            (Error::Truncated { file: "f".into(), position: 1, wanted: 2 }, io::ErrorKind::UnexpectedEof),
            (Error::FileClosed, io::ErrorKind::Other),
        ] {
            let text = error.to_string();
            let io = io::Error::from(error);
            assert_eq!((io.kind(), io.to_string()), (kind, text.clone()));
            assert_eq!(io.downcast::<Error>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn causes_are_told() {
        let cause = || Box::new(Error::HeaderVersion { file: "f".into(), position: 4096, version: 99 });
        let lost = Error::DbNoLongerValid(cause());
        let none = Error::NoHeader { file: "f".into(), sought: Sought::At(4096), cause: Some(cause()) };
        for error in [lost, none] {
            assert_eq!(error.source().unwrap().to_string(), cause().to_string());
        }
        assert!(Error::DocNotFound.source().is_none());
        assert!(Error::NoHeader { file: "f".into(), sought: Sought::At(0), cause: None }.source().is_none());
    }
}
