# SPDX-License-Identifier: Apache-2.0

"""An online compaction beside other work."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Callable

from .compaction import Lock, OnlineStats, Progress
from .errors import CouchStoreException, ErrorCode

Run = Callable[[Lock, Callable[[Progress], None], Callable[[], bool]], OnlineStats]
"""Compacts with this lock, tells how far it is, and asks whether to stop."""


class OnlineCompaction:
    """An online compaction that runs beside a ``with`` block; see ``CouchStore.online_compaction()``.

    lock: held by whoever saves to the file while saving and committing.
    progress: how far it is; None before its first step.
    stats: figures of the compaction; None as long as it has not succeeded.
    """

    def __init__(self, run: Run, lock: Lock | None = None) -> None:
        self.lock: Lock = threading.RLock() if lock is None else lock
        self.progress: Progress | None = None
        self.stats: OnlineStats | None = None
        self._run = run
        self._error: BaseException | None = None
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name="couchstore compaction")

    def cancel(self) -> None:
        """Ends the compaction, which then leaves everything as it was; does not wait for that. It may be too late."""
        self._cancelled.set()

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def __enter__(self) -> OnlineCompaction:
        """Starts it. Raises RuntimeError the second time."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for it; cancels it before if the block ends with an exception, which then is all that is raised."""
        if kind is not None:
            self.cancel()
        try:
            self._thread.join()
        except BaseException:  # KeyboardInterrupt
            self.cancel()
            self._thread.join()
            raise
        # The traceback leads back here: it must not keep everything that it mentions alive.
        failure, self._error = self._error, None
        try:
            if kind is None and failure is not None:
                raise failure
        finally:
            del failure

    def _work(self) -> None:
        try:
            self.stats = self._run(self.lock, self._note, self._cancelled.is_set)
        except BaseException as error:
            asked_for = self._cancelled.is_set() and getattr(error, "code", None) == ErrorCode.CANCEL
            if not (asked_for and isinstance(error, CouchStoreException)):
                self._error = error

    def _note(self, progress: Progress) -> None:
        self.progress = progress
