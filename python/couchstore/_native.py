# SPDX-License-Identifier: Apache-2.0

"""The C library: finding it, its structs, its callbacks and the prototypes of all functions that are used.

The layouts are those of ``libcouchstore/couch_common.h`` and ``couch_db.h``, field by field.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import operator
import os
from collections.abc import Iterator
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any

LIBRARY_VARIABLE = "COUCHSTORE_LIBRARY"
_FILE_NAMES = ("libcouchstore.so", "libcouchstore.dylib")
_MAX_INT = 2**31 - 1


class SizedBuf(Structure):
    """``sized_buf``. Keeps nothing alive: whoever sets ``buf`` holds the bytes."""

    _fields_ = [("buf", c_void_p), ("size", c_size_t)]
    buf: int | None
    size: int

    def to_bytes(self) -> bytes:
        """A copy of the bytes."""
        if not self.size or self.buf is None:
            return b""
        if self.size <= _MAX_INT:
            return ctypes.string_at(self.buf, self.size)
        # string_at() takes an int.
        return (ctypes.c_char * self.size).from_address(self.buf).raw

    def borrow(self, data: bytes) -> None:
        """Points to these bytes, which must outlive the use of this struct."""
        self.buf = address_of(data)
        self.size = len(data)


class Doc(Structure):
    """``Doc``."""

    _fields_ = [("id", SizedBuf), ("data", SizedBuf)]
    id: SizedBuf
    data: SizedBuf


class DocInfo(Structure):
    """``DocInfo``."""

    _fields_ = [
        ("id", SizedBuf),
        ("db_seq", c_uint64),
        ("rev_seq", c_uint64),
        ("rev_meta", SizedBuf),
        ("deleted", c_int),
        ("content_meta", c_uint8),
        ("bp", c_uint64),
        ("physical_size", c_size_t),
    ]
    id: SizedBuf
    db_seq: int
    rev_seq: int
    rev_meta: SizedBuf
    deleted: int
    content_meta: int
    bp: int
    physical_size: int


class LocalDoc(Structure):
    """``LocalDoc``."""

    _fields_ = [("id", SizedBuf), ("json", SizedBuf), ("deleted", c_int)]
    id: SizedBuf
    json: SizedBuf
    deleted: int


class DbInfo(Structure):
    """``DbInfo``."""

    _fields_ = [
        # Belongs to the handle: not to be looked at when that may be closed.
        ("filename", c_void_p),
        ("last_sequence", c_uint64),
        ("doc_count", c_uint64),
        ("deleted_count", c_uint64),
        ("space_used", c_uint64),
        ("file_size", c_uint64),
        ("header_position", c_int64),
        ("purge_seq", c_uint64),
    ]
    last_sequence: int
    doc_count: int
    deleted_count: int
    space_used: int
    file_size: int
    header_position: int
    purge_seq: int


class HeaderInfo(Structure):
    """``couchstore_header_info``."""

    _fields_ = [
        ("version", c_uint64),
        ("timestamp", c_uint64),
        ("update_seq", c_uint64),
        ("purge_seq", c_uint64),
        ("header_position", c_uint64),
        ("doc_count", c_uint64),
        ("deleted_count", c_uint64),
        ("space_used", c_uint64),
        ("file_size", c_uint64),
        ("previous_header_position", c_uint64),
    ]


class EncryptionKey(Structure):
    """``couchstore_encryption_key``."""

    _fields_ = [("id", SizedBuf), ("key", SizedBuf), ("derivation", c_int)]
    id: SizedBuf
    key: SizedBuf
    derivation: int


# Callbacks. Their exceptions must not reach ctypes, which would print and drop them: see _callbacks.py.
CHANGES_CALLBACK = CFUNCTYPE(c_int, c_void_p, POINTER(DocInfo), c_void_p)
LOCAL_DOCS_CALLBACK = CFUNCTYPE(c_int, c_void_p, POINTER(LocalDoc), c_void_p)
COMPACT_HOOK = CFUNCTYPE(c_int, c_void_p, POINTER(DocInfo), SizedBuf, c_void_p)
KEY_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, POINTER(EncryptionKey))
LOCK_CALLBACK = CFUNCTYPE(None, c_void_p)
PUBLISH_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p)
PROGRESS_CALLBACK = CFUNCTYPE(c_int, c_void_p, c_uint64, c_uint64, c_uint64)


class OnlineCompactOptions(Structure):
    """``couchstore_online_compact_options``. Hooks that are not used here are plain pointers."""

    _fields_ = [
        ("size", c_size_t),
        ("flags", c_uint64),
        ("ops", c_void_p),
        ("keys", KEY_CALLBACK),
        ("keys_ctx", c_void_p),
        ("hook", COMPACT_HOOK),
        ("dhook", c_void_p),
        ("hook_ctx", c_void_p),
        ("pre_copy", c_void_p),
        ("precommit", c_void_p),
        ("replay_ctx", c_void_p),
        ("lock", LOCK_CALLBACK),
        ("unlock", LOCK_CALLBACK),
        ("publish", PUBLISH_CALLBACK),
        ("progress", PROGRESS_CALLBACK),
        ("ctx", c_void_p),
        ("swap", c_int),
        ("max_unlocked_rounds", c_int),
        ("delta_bytes_for_lock", c_uint64),
        ("memory_budget", c_size_t),
        ("open_flags", c_uint64),
        ("threads", c_size_t),
    ]


class OnlineCompactStats(Structure):
    """``couchstore_online_compact_stats``."""

    _fields_ = [
        ("documents", c_uint64),
        ("bytes", c_uint64),
        ("rounds", c_uint64),
        ("restarts", c_uint64),
        ("locked_bytes", c_uint64),
        ("lock_hold_us", c_uint64),
        ("total_us", c_uint64),
    ]


# Parameters of the functions. All of them return a code, but those in _RESULTS.
_DB = c_void_p
_ID = (c_char_p, c_size_t)
_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "couchstore_open_db": (c_char_p, c_uint64, POINTER(_DB)),
    "couchstore_open_db_with_key": (c_char_p, c_uint64, c_void_p, KEY_CALLBACK, c_void_p, POINTER(_DB)),
    "couchstore_close_db": (_DB,),
    "couchstore_seek": (_DB, c_int),
    "couchstore_seek_offset": (_DB, c_int64),
    "couchstore_db_info": (_DB, POINTER(DbInfo)),
    "couchstore_get_header": (_DB, POINTER(HeaderInfo)),
    "couchstore_get_encryption_key_id": (_DB, c_char_p, c_size_t, POINTER(c_size_t)),
    "couchstore_is_current": (_DB, POINTER(c_int)),
    "couchstore_set_purge_seq": (_DB, c_uint64),
    "couchstore_save_documents": (_DB, POINTER(c_void_p), POINTER(c_void_p), c_size_t, c_uint64),
    "couchstore_c_commit": (_DB,),
    "couchstore_c_commit_ex": (_DB, c_uint64, c_void_p, c_void_p),
    "couchstore_docinfo_by_id": (_DB, *_ID, POINTER(POINTER(DocInfo))),
    "couchstore_docinfo_by_sequence": (_DB, c_uint64, POINTER(POINTER(DocInfo))),
    "couchstore_open_doc_with_docinfo": (_DB, POINTER(DocInfo), POINTER(POINTER(Doc)), c_uint64),
    "couchstore_free_document": (POINTER(Doc),),
    "couchstore_free_docinfo": (POINTER(DocInfo),),
    "couchstore_changes_since": (_DB, c_uint64, c_uint64, CHANGES_CALLBACK, c_void_p),
    "couchstore_docinfos_by_id": (_DB, POINTER(SizedBuf), c_size_t, c_uint64, CHANGES_CALLBACK, c_void_p),
    "couchstore_changes_count": (_DB, c_uint64, c_uint64, POINTER(c_uint64)),
    "couchstore_open_local_document": (_DB, *_ID, POINTER(POINTER(LocalDoc))),
    "couchstore_save_local_document": (_DB, POINTER(LocalDoc)),
    "couchstore_scan_local_docs": (_DB, POINTER(SizedBuf), LOCAL_DOCS_CALLBACK, c_void_p),
    "couchstore_free_local_document": (POINTER(LocalDoc),),
    "couchstore_compact_db_with_key": (
        *(_DB, c_char_p, c_uint64, KEY_CALLBACK, c_void_p),
        *(COMPACT_HOOK, c_void_p, c_void_p, c_void_p),
    ),
    "couchstore_compact_db_online": (
        *(c_char_p, c_char_p, POINTER(OnlineCompactOptions), POINTER(OnlineCompactStats)),
    ),
    "couchstore_strerror": (c_int,),
    "couchstore_last_internal_error": (_DB, c_char_p, c_size_t),
}
_RESULTS = {
    "couchstore_free_document": None,
    "couchstore_free_docinfo": None,
    "couchstore_free_local_document": None,
    "couchstore_strerror": c_char_p,
}


def address_of(data: bytes) -> int:
    """The address of the first byte, good as long as the object lives."""
    return ctypes.cast(c_char_p(data), c_void_p).value or 0


def unsigned(name: str, value: int, bits: int = 64) -> int:
    """The value, checked: ctypes would cut off what does not fit. Raises ValueError that mentions the name."""
    number = operator.index(value)
    if not 0 <= number < 1 << bits:
        raise ValueError(f"{name} must be from 0 to {(1 << bits) - 1}, not {number}")
    return number


def fields(struct: Structure) -> dict[str, Any]:
    """The members of a struct by name."""
    return {field[0]: getattr(struct, field[0]) for field in struct._fields_}


def candidates() -> Iterator[str]:
    """Where the library may be, in order of preference. Names without a folder are the dynamic linker's to find."""
    chosen = os.environ.get(LIBRARY_VARIABLE)
    if chosen:
        yield chosen
        return
    for name in _FILE_NAMES:
        beside = Path(__file__).with_name(name)
        if beside.exists():
            yield str(beside)
    # What ldconfig knows; then LD_LIBRARY_PATH, which find_library() does not look at everywhere.
    found = ctypes.util.find_library("couchstore")
    if found:
        yield found
    yield from _FILE_NAMES


def load() -> ctypes.CDLL:
    """Loads the first library that can be loaded.

    Raises ImportError with all that was tried, or if the library lacks functions of this version.
    """
    failures = []
    for name in candidates():
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError as error:
            failures.append(str(error))
            continue
        _declare(library, name)
        return library
    raise ImportError(
        "libcouchstore was not found. Install it, put it beside this package, or set "
        f"{LIBRARY_VARIABLE} to its path. Tried: " + "; ".join(failures)
    )


def _declare(library: ctypes.CDLL, name: str) -> None:
    for function_name, parameters in _PROTOTYPES.items():
        try:
            function = getattr(library, function_name)
        except AttributeError:
            raise ImportError(
                f"{name} has no function {function_name}: it is another couchstore, or too old for this package"
            ) from None
        function.argtypes = parameters
        function.restype = _RESULTS.get(function_name, c_int)


lib = load()
