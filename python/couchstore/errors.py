"""Errors: codes of the library become exceptions here, and nowhere else."""

from __future__ import annotations

import ctypes
import errno
import os
from enum import IntEnum
from typing import Any

from ._native import lib


class ErrorCode(IntEnum):
    """The codes of ``error.h``."""

    OPEN_FILE = -1
    CORRUPT = -2
    ALLOC_FAIL = -3
    READ = -4
    DOC_NOT_FOUND = -5
    NO_HEADER = -6
    WRITE = -7
    HEADER_VERSION = -8
    CHECKSUM_FAIL = -9
    INVALID_ARGUMENTS = -10
    NO_SUCH_FILE = -11
    CANCEL = -12
    REDUCTION_TOO_LARGE = -13
    REDUCER_FAILURE = -14
    FILE_CLOSED = -15
    DB_NO_LONGER_VALID = -16
    FILE_CLOSE = -17
    NOT_SUPPORTED = -18
    SCAN_YIELD = -19
    SCAN_CANCELLED = -20
    NO_ENCRYPTION_KEY = -21
    ENCRYPT = -22
    DECRYPT = -23
    INTERNAL = -100


# Failures of system calls: for these errno tells the reason.
_SYSTEM_CODES = {
    ErrorCode.OPEN_FILE,
    ErrorCode.READ,
    ErrorCode.WRITE,
    ErrorCode.NO_SUCH_FILE,
    ErrorCode.DB_NO_LONGER_VALID,
    ErrorCode.FILE_CLOSE,
}


# Absence, and what callbacks end a call with: the library's text is that of an earlier failure then.
_WITHOUT_REASON = {
    ErrorCode.DOC_NOT_FOUND,
    ErrorCode.CANCEL,
    ErrorCode.SCAN_YIELD,
    ErrorCode.SCAN_CANCELLED,
}


class CouchStoreException(Exception):
    """A call of the library failed.

    code: an ErrorCode, or another negative number if a callback returned one.
    what: what the call was about, for example the name of the file; may be empty.
    os_error: errno, if a system call failed; else 0.
    reason: what the library says of it: which check failed where in which file; may be empty.
    """

    def __init__(self, code: int, what: str = "", os_error: int = 0, reason: str = "") -> None:
        super().__init__(code, what, os_error, reason)
        self.code: int = ErrorCode(code) if code in ErrorCode.__members__.values() else code
        self.what = what
        self.os_error = os_error
        self.reason = reason

    def __str__(self) -> str:
        text = f"{strerror(self.code)} ({int(self.code)})"
        if self.what:
            text = f"{self.what}: {text}"
        if self.reason:
            # Most begin with the name of the file.
            text = f"{text}: {self.reason[len(self.what) + 2 :] if self._reason_names_it else self.reason}"
        elif self.os_error:
            text = f"{text}: {os.strerror(self.os_error)}"
        return text

    @property
    def _reason_names_it(self) -> bool:
        return bool(self.what) and self.reason.startswith(f"{self.what}: ")


class CouchStoreOSError(CouchStoreException, OSError):
    """The operating system refused something: ``errno``, ``strerror`` and ``filename`` tell what and where."""

    def __init__(self, code: int, what: str = "", os_error: int = 0, reason: str = "") -> None:
        CouchStoreException.__init__(self, code, what, os_error, reason)
        self.errno = os_error
        self.strerror = os.strerror(os_error)
        self.filename = what or None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self.code), self.what, self.os_error, self.reason)

    __str__ = CouchStoreException.__str__


class CouchStoreFileNotFoundError(CouchStoreOSError, FileNotFoundError):
    """There is no such file."""


class CouchStoreMemoryError(CouchStoreException, MemoryError):
    """The library could not get memory."""


def exception(code: int, what: str = "", os_error: int = 0, reason: str = "") -> CouchStoreException:
    """The exception for a code: also one of Python's own where there is one."""
    if code == ErrorCode.ALLOC_FAIL:
        return CouchStoreMemoryError(code, what, os_error, reason)
    if code == ErrorCode.NO_SUCH_FILE:
        return CouchStoreFileNotFoundError(code, what, os_error or errno.ENOENT, reason)
    if os_error:
        return CouchStoreOSError(code, what, os_error, reason)
    return CouchStoreException(code, what, os_error, reason)


def strerror(code: int) -> str:
    """The library's text for a code."""
    return bytes(lib.couchstore_strerror(code)).decode()


def _last_reason() -> str:
    """Why the last call on this thread failed, without the quotes."""
    text = ctypes.create_string_buffer(300)
    lib.couchstore_last_internal_error(None, text, len(text))
    return text.value.decode(errors="replace")[1:-1]


def call(function: Any, *arguments: Any, what: str = "") -> None:
    """Calls a function of the library. Raises CouchStoreException unless it returns success."""
    ctypes.set_errno(0)
    code = function(*arguments)
    if code:
        os_error = ctypes.get_errno() if code in _SYSTEM_CODES else 0
        raise exception(code, what, os_error, "" if code in _WITHOUT_REASON else _last_reason())
