# SPDX-License-Identifier: Apache-2.0

"""Handles of the library that cannot be used wrongly: one thread at a time, never after closing, never leaked."""

from __future__ import annotations

import os
import threading
from ctypes import byref
from typing import Any, Callable

from . import _native
from ._native import lib
from .errors import CouchStoreException, ErrorCode, call


class Handle:
    """A ``Db *``. ``with handle as pointer`` is the only way to it: locked, open and not freed meanwhile.

    Closes itself when it is collected. At the end of the process open ones are left to the system: threads, and
    functions of ``atexit``, may still use them.
    """

    # Also when the globals of this module are gone, at the end of the process.
    _free = lib.couchstore_close_db
    _current_process = staticmethod(os.getpid)
    _pointer: int | None = None

    def __init__(self, pointer: int, name: bytes, owned: bool = True) -> None:
        """name: of the file, as the library was given it.

        owned: False for a handle that a callback is given; it is to be closed when the callback ends.
        """
        self.name = name
        self.filename = os.fsdecode(name)
        self._lock = threading.RLock()
        self._calls = 0
        self._owned = owned
        self._process = os.getpid()
        # Positions of one generation mean nothing in the next.
        self.generation = 0
        # Whether something was saved that a commit has not made permanent.
        self.has_changes = False
        self._pointer = pointer

    def __enter__(self) -> int:
        # Before locking: a thread that holds the lock does not exist in a forked child.
        if self._is_inherited:
            reason = "opened before this process was forked"
            raise CouchStoreException(ErrorCode.FILE_CLOSED, self.filename, reason=reason)
        self._lock.acquire()
        if self._pointer is None:
            self._lock.release()
            raise CouchStoreException(ErrorCode.FILE_CLOSED, self.filename)
        self._calls += 1
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        self._lock.release()

    def __del__(self) -> None:
        pointer, self._pointer = self._pointer, None
        # A forked child shares the file with its parent: closing there would write the parent's buffer.
        if pointer is not None and self._owned and not self._is_inherited:
            self._free(pointer)

    def call(self, function: Any, *arguments: Any) -> None:
        """Calls a function of the library with the handle and these arguments. Raises as ``errors.call()``."""
        with self as db:
            call(function, db, *arguments, path=self.filename)

    def info(self) -> _native.DbInfo:
        """Figures of the database."""
        native = _native.DbInfo()
        self.call(lib.couchstore_db_info, byref(native))
        return native

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, or belongs to the process that this one was forked from."""
        return self._pointer is None or self._is_inherited

    def close(self) -> None:
        """Closes and frees the handle; does nothing the second time, and in a forked child.

        Raises RuntimeError in a callback of a call on this handle. If closing fails, the handle is closed all the same.
        """
        if self._is_inherited:
            return
        with self._lock:
            self._refuse_callbacks()
            pointer, self._pointer = self._pointer, None
            if pointer is not None and self._owned:
                call(lib.couchstore_close_db, pointer, path=self.filename)

    def replace(self, open_another: Callable[[], int], keep_changes: bool = False) -> None:
        """Goes on with another handle, and closes the old one. If opening fails everything stays as it is.

        keep_changes: raises RuntimeError instead if something was saved that was not committed.
        """
        with self as old:
            self._refuse_callbacks(own_calls=1)
            if keep_changes:
                self.check_no_changes()
            if not self._owned:
                raise RuntimeError("a store that a callback is given cannot be opened again")
            self._pointer = open_another()
            self.generation += 1
            self.has_changes = False
            lib.couchstore_close_db(old)

    def check_no_changes(self) -> None:
        """Raises RuntimeError if something was saved that was not committed."""
        with self:
            if self.has_changes:
                raise RuntimeError("something was saved that was not committed: it would be lost")

    def move(self, function: Any, *arguments: Any) -> None:
        """As call(), for functions that go to another header: they discard what was not committed."""
        with self:
            if self.has_changes:
                # Also if it fails. The space of what is discarded is used again.
                self.generation += 1
            self.call(function, *arguments)
            self.has_changes = False

    def save(self, function: Any, *arguments: Any) -> None:
        """As call(), for functions that change what the next commit makes permanent."""
        with self:
            before, self.has_changes = self.has_changes, True
            try:
                self.call(function, *arguments)
            except CouchStoreException:
                self.has_changes = before
                raise

    def commit(self, function: Any, *arguments: Any) -> None:
        """As call(), for functions that make it permanent."""
        with self:
            self.call(function, *arguments)
            self.has_changes = False

    @property
    def _is_inherited(self) -> bool:
        return self._current_process() != self._process

    def _refuse_callbacks(self, own_calls: int = 0) -> None:
        if self._calls > own_calls:
            raise RuntimeError("a callback cannot close the store that it is called by")
