# SPDX-License-Identifier: Apache-2.0

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
    path: the file that the call was about, as its name was given; may be empty.
    os_error: errno, if a system call failed; else 0.
    reason: the library's detail of the last error: which check failed where in which file; may be empty.
    target: the file that was to be made from it, if the call was a compaction; else empty.
    errno: as os_error; None if no system call failed.
    """

    errno: int | None

    def __init__(self, code: int, path: str = "", os_error: int = 0, reason: str = "", target: str = "") -> None:
        super().__init__(code, path, os_error, reason, target)
        self.code: int = ErrorCode(code) if code in ErrorCode.__members__.values() else code
        self.path = path
        self.os_error = os_error
        self.reason = reason
        self.target = target
        self.errno = os_error or None

    @property
    def name(self) -> str:
        """The code as C programs call it: ``COUCHSTORE_ERROR_NO_SUCH_FILE``; empty for a number without a name."""
        return f"COUCHSTORE_ERROR_{self.code.name}" if isinstance(self.code, ErrorCode) else ""

    @property
    def message(self) -> str:
        """What went wrong in one sentence: the reason without the path, or else the text of errno, or of the code."""
        if self.reason:
            # Most begin with the name of the file.
            begin = f"{self.what}: "
            return self.reason[len(begin) :] if self.what and self.reason.startswith(begin) else self.reason
        return os.strerror(self.os_error) if self.os_error else strerror(self.code)

    @property
    def what(self) -> str:
        """What the call was about: the path, or ``path -> target``; may be empty."""
        return f"{self.path} -> {self.target}" if self.target else self.path

    def __str__(self) -> str:
        text = f"{strerror(self.code)} ({int(self.code)})"
        if self.what:
            text = f"{self.what}: {text}"
        return f"{text}: {self.message}" if self.reason or self.os_error else text


class CouchStoreOSError(CouchStoreException, OSError):
    """The operating system refused something: ``errno``, ``strerror`` and ``filename`` tell what and where.

    If the call was a compaction, ``filename2`` is the target.
    """

    def __init__(self, code: int, path: str = "", os_error: int = 0, reason: str = "", target: str = "") -> None:
        CouchStoreException.__init__(self, code, path, os_error, reason, target)
        self.strerror = os.strerror(os_error)
        self.filename = path or None
        self.filename2 = target or None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (int(self.code), self.path, self.os_error, self.reason, self.target)

    __str__ = CouchStoreException.__str__


class CouchStoreFileNotFoundError(CouchStoreOSError, FileNotFoundError):
    """There is no such file."""


class CouchStoreMemoryError(CouchStoreException, MemoryError):
    """The library could not get memory."""


def exception(code: int, path: str = "", os_error: int = 0, reason: str = "", target: str = "") -> CouchStoreException:
    """The exception for a code: also one of Python's own where there is one."""
    kind = CouchStoreException
    if code == ErrorCode.ALLOC_FAIL:
        kind = CouchStoreMemoryError
    elif code == ErrorCode.NO_SUCH_FILE:
        kind, os_error = CouchStoreFileNotFoundError, os_error or errno.ENOENT
    elif os_error:
        kind = CouchStoreOSError
    return kind(code, path, os_error, reason, target)


def strerror(code: int) -> str:
    """The library's text for a code."""
    return bytes(lib.couchstore_strerror(code)).decode()


def _last_reason() -> str:
    """Why the last call on this thread failed, without the quotes."""
    text = ctypes.create_string_buffer(300)
    lib.couchstore_last_internal_error(None, text, len(text))
    return text.value.decode(errors="replace")[1:-1]


def call(function: Any, *arguments: Any, path: str = "", target: str = "") -> None:
    """Calls a function of the library. Raises CouchStoreException, with these names, unless it returns success."""
    ctypes.set_errno(0)
    code = function(*arguments)
    if code:
        os_error = ctypes.get_errno() if code in _SYSTEM_CODES else 0
        raise exception(code, path, os_error, "" if code in _WITHOUT_REASON else _last_reason(), target)
