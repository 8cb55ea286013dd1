"""Handles of the library that cannot be used wrongly: one thread at a time, never after closing, never leaked."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Callable

from ._native import lib
from .errors import CouchStoreException, ErrorCode, call


def _release(pointer: int, process: int) -> None:
    # A forked child shares the file with its parent: closing there would write the parent's buffer.
    if os.getpid() == process:
        lib.couchstore_close_db(pointer)


class Handle:
    """A ``Db *``. ``with handle as pointer`` is the only way to it: locked, open and not freed meanwhile.

    Closes itself when it is collected, and at the end of the process.
    """

    def __init__(self, pointer: int, owned: bool = True) -> None:
        """owned: False for a handle that a callback is given; it is to be closed when the callback ends."""
        self._lock = threading.RLock()
        self._calls = 0
        self._owned = owned
        # Of files: positions in one are not those in the next.
        self.generation = 0
        self._adopt(pointer)

    def _adopt(self, pointer: int) -> None:
        self._pointer: int | None = pointer
        self._finalizer = weakref.finalize(self, _release, pointer, os.getpid()) if self._owned else None

    def __enter__(self) -> int:
        self._lock.acquire()
        if self._pointer is None:
            self._lock.release()
            raise CouchStoreException(ErrorCode.FILE_CLOSED)
        self._calls += 1
        return self._pointer

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        self._lock.release()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._pointer is None

    def close(self) -> None:
        """Closes and frees the handle; does nothing the second time.

        Raises RuntimeError in a callback of a call on this handle. If closing fails, the handle is closed all the same.
        """
        with self._lock:
            self._refuse_callbacks()
            pointer = self._detach()
            if pointer is not None and self._owned:
                call(lib.couchstore_close_db, pointer)

    def replace(self, open_another: Callable[[], int]) -> None:
        """Goes on with another handle, and closes the old one. If opening fails everything stays as it is."""
        with self._lock:
            with self:
                pass  # what is closed stays closed
            self._refuse_callbacks()
            if not self._owned:
                raise RuntimeError("a store that a callback is given cannot be opened again")
            pointer = open_another()
            old = self._detach()
            self._adopt(pointer)
            self.generation += 1
            lib.couchstore_close_db(old)

    def _refuse_callbacks(self) -> None:
        if self._calls:
            raise RuntimeError("a callback cannot close the store that it is called by")

    def _detach(self) -> int | None:
        pointer, self._pointer = self._pointer, None
        if self._finalizer is not None:
            self._finalizer.detach()
        return pointer
