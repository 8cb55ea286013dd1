# SPDX-License-Identifier: Apache-2.0

"""Going through documents in batches, so that memory stays constant and no call is open between two documents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable

from . import _native
from ._callbacks import Callbacks
from ._handle import Handle
from ._native import SizedBuf, lib
from .documents import DocumentInfo
from .errors import CouchStoreException, ErrorCode
from .flags import ScanOption

BATCH = 500
"""Documents that are read at a time."""

Copy = Callable[[_native.DocInfo], DocumentInfo]
"""Makes an entry of what the library shows."""

_RANGES = 1
_MAX_SEQUENCE = 2**48 - 1


def changes(handle: Handle, copy: Copy, since: int, options: int) -> Iterator[DocumentInfo]:
    """Documents with sequences from ``since`` to the one that is the last at the beginning, in order."""
    last = handle.info().last_sequence
    if options & ScanOption.TOLERATE_CORRUPTION:
        yield from _everything(handle, copy, lib.couchstore_changes_since, since, options)
        return
    while since <= min(last, _MAX_SEQUENCE):
        batch = _Batch(handle, copy, BATCH, last)
        batch.run(lib.couchstore_changes_since, since, options)
        if not batch.is_full:
            yield from batch.infos
            return
        # Before the entries are handed out: saving changes them.
        since = batch.infos[-1].sequence + 1
        yield from batch.infos


def documents(handle: Handle, copy: Copy, start: bytes, end: bytes | None, options: int) -> Iterator[DocumentInfo]:
    """Documents with ids from ``start`` to ``end``, both included, in order of ids."""
    if options & ScanOption.TOLERATE_CORRUPTION:
        yield from _everything(handle, copy, lib.couchstore_docinfos_by_id, *_id_range(start, end), options | _RANGES)
        return
    while True:
        batch = _Batch(handle, copy, BATCH)
        batch.run(lib.couchstore_docinfos_by_id, *_id_range(start, end), options | _RANGES)
        if not batch.is_full:
            yield from batch.infos
            return
        # The next key in order of bytes.
        start = batch.infos[-1].key + b"\0"
        yield from batch.infos


def local_documents(handle: Handle) -> Iterator[tuple[bytes, bytes]]:
    """Ids and bodies of all local documents, in order of ids."""
    start = b""
    found: list[tuple[bytes, bytes]] = []

    def add(_: Any, doc: Any, __: Any) -> int:
        if len(found) == BATCH:
            return ErrorCode.SCAN_YIELD
        found.append((doc.contents.id.to_bytes(), doc.contents.json.to_bytes()))
        return 0

    while True:
        found.clear()
        bounds = _sized_bufs(start)
        _scan(handle, _native.LOCAL_DOCS_CALLBACK, add, lib.couchstore_scan_local_docs, bounds)
        yield from found
        if len(found) < BATCH:
            return
        start = found[-1][0] + b"\0"


def _everything(handle: Handle, copy: Copy, function: Any, *arguments: Any) -> Iterator[DocumentInfo]:
    """All at once: a damaged entry may have no key to go on from. Errors come after what could be read."""
    batch = _Batch(handle, copy, None)
    try:
        batch.run(function, *arguments)
    except CouchStoreException:
        yield from batch.infos
        raise
    yield from batch.infos


class _Batch:
    """Some documents, read in one call."""

    def __init__(self, handle: Handle, copy: Copy, size: int | None, last_sequence: int | None = None) -> None:
        self.infos: list[DocumentInfo] = []
        self.is_full = False
        self._handle = handle
        self._copy = copy
        self._size = size
        self._last_sequence = last_sequence

    def run(self, function: Any, *arguments: Any) -> None:
        _scan(self._handle, _native.CHANGES_CALLBACK, self._add, function, *arguments)

    def _add(self, _: Any, info: Any, __: Any) -> int:
        native = info.contents
        if self._last_sequence is not None and native.db_seq > self._last_sequence:
            return ErrorCode.SCAN_YIELD
        # Documents may share a sequence number; then they must not be torn apart.
        if (
            self._size is not None
            and len(self.infos) >= self._size
            and (self._last_sequence is None or native.db_seq != self.infos[-1].sequence)
        ):
            self.is_full = True
            return ErrorCode.SCAN_YIELD
        self.infos.append(self._copy(native))
        return 0


def _scan(handle: Handle, callback_type: Any, callback: Callable[..., int], function: Any, *arguments: Any) -> None:
    callbacks = Callbacks()
    native = callback_type(callbacks.guard(callback))
    try:
        with handle as db:
            callbacks.call(function, db, *arguments, native, None, path=handle.filename)
    except CouchStoreException as error:
        if error.code != ErrorCode.SCAN_YIELD:
            raise


def _sized_bufs(*keys: bytes) -> Any:
    """An array of keys that keeps them alive."""
    array: Any = (SizedBuf * len(keys))()
    for element, key in zip(array, keys):
        element.borrow(key)
    array.keys = keys
    return array


def _id_range(start: bytes, end: bytes | None) -> tuple[Any, int]:
    keys = (start,) if end is None else (start, end)
    return _sized_bufs(*keys), len(keys)
