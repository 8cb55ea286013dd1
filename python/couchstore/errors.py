"""Errors: codes of the library become exceptions here, and nowhere else."""

from __future__ import annotations

import ctypes
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


class CouchStoreException(Exception):
    """A call of the library failed.

    code: an ErrorCode, or another negative number if a callback returned one.
    what: what the call was about, for example the name of the file; may be empty.
    os_error: errno, if a system call failed; else 0.
    """

    def __init__(self, code: int, what: str = "", os_error: int = 0) -> None:
        super().__init__(code, what, os_error)
        self.code: int = ErrorCode(code) if code in ErrorCode.__members__.values() else code
        self.what = what
        self.os_error = os_error

    def __str__(self) -> str:
        text = f"{strerror(self.code)} ({int(self.code)})"
        if self.what:
            text = f"{self.what}: {text}"
        if self.os_error:
            text = f"{text}: {os.strerror(self.os_error)}"
        return text


def strerror(code: int) -> str:
    """The library's text for a code."""
    return bytes(lib.couchstore_strerror(code)).decode()


def call(function: Any, *arguments: Any, what: str = "") -> None:
    """Calls a function of the library. Raises CouchStoreException unless it returns success."""
    ctypes.set_errno(0)
    code = function(*arguments)
    if code:
        raise CouchStoreException(code, what, ctypes.get_errno() if code in _SYSTEM_CODES else 0)
