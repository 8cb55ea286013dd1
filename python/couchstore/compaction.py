# SPDX-License-Identifier: Apache-2.0

"""Compaction: hooks, and the calls."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from ctypes import byref, sizeof
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional, TypedDict

from . import _native
from ._callbacks import Callbacks
from ._handle import Handle
from ._native import SizedBuf, lib, unsigned
from .documents import DocumentInfo
from .errors import ErrorCode
from .flags import CompactAction, CompactFlag
from .keys import Keys, SameKeys, native_callback

if TYPE_CHECKING:
    from .store import CouchStore

CompactHook = Callable[[DocumentInfo, Optional[bytes]], Optional[CompactAction]]
Lock = AbstractContextManager[Any]

_SWAP_REPLACE = 1

# Of a store's open flags those that count for a compaction: UNBUFFERED, sizes of read buffers and of tree nodes.
_SOURCE_FLAGS = 0xFFFF08


@dataclass(frozen=True)
class Progress:
    """How far a compaction is."""

    done_docs: int
    total_docs: int
    done_bytes: int


@dataclass(frozen=True)
class OnlineStats:
    """Figures of an online compaction.

    documents, bytes: of the result; deleted documents count.
    rounds: of catching up without the lock.
    restarts: copies begun anew because the source was rewound.
    locked_bytes: growth of the source that was left for the lock.
    lock_hold_us: longest time that the lock was held, in microseconds.
    total_us: how long everything took, in microseconds.
    """

    documents: int
    bytes: int
    rounds: int
    restarts: int
    locked_bytes: int
    lock_hold_us: int
    total_us: int


class OnlineOptions(TypedDict, total=False):
    """Options of CouchStore.compact_online() that are handed on to it."""

    drop_deletes: bool
    hook: CompactHook | None
    finish: Callable[[CouchStore], Any] | None
    keys: Keys | SameKeys | None
    flags: int
    max_unlocked_rounds: int | None
    delta_bytes_for_lock: int | None
    memory_budget: int | None


@dataclass(frozen=True)
class Limits:
    """Numbers of an online compaction; None: the default of the library."""

    max_unlocked_rounds: int | None
    delta_bytes_for_lock: int | None
    memory_budget: int | None

    def fill(self, options: _native.OnlineCompactOptions) -> None:
        """Puts them into the struct, in which 0 means the default and a negative number of rounds none."""
        for name in ("delta_bytes_for_lock", "memory_budget"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1")
            setattr(options, name, 0 if value is None else unsigned(name, value))
        rounds = self.max_unlocked_rounds
        options.max_unlocked_rounds = 0 if rounds is None else unsigned("max_unlocked_rounds", rounds, 31) or -1


Lend = Callable[[int, bytes, Callable[["CouchStore"], Any]], None]
"""Calls a function with a store on a handle of the library's, for a file of this name, and closes the store."""


@dataclass
class Decisions:
    """What to keep, as the library asks for it."""

    lend: Lend
    hook: CompactHook | None
    finish: Callable[[CouchStore], Any] | None
    drop_deletes: bool
    target_name: bytes

    def native(self, callbacks: Callbacks) -> Any:
        """The callback for the library; none if its own ways will do."""
        if self.hook is None and self.finish is None:
            return _native.COMPACT_HOOK()
        return _native.COMPACT_HOOK(callbacks.guard(self._decide))

    def _decide(self, target: int, info: Any, body: SizedBuf, _: Any) -> int:
        if not info:
            if self.finish is not None:
                self.lend(target, self.target_name, self.finish)
            return CompactAction.KEEP
        if self.drop_deletes and info.contents.deleted:
            return CompactAction.DROP
        if self.hook is None:
            return CompactAction.KEEP
        contents = None if body.buf is None else body.to_bytes()
        action = self.hook(DocumentInfo._copy(info.contents), contents)
        if action is None:
            return CompactAction.KEEP
        if not isinstance(action, CompactAction):
            # A bool would do the opposite of what it seems to say.
            raise TypeError(f"a compaction hook must return a CompactAction or None, not {action!r}")
        return action


def native_flags(drop_deletes: bool, flags: int) -> int:
    """The flags for the library."""
    return unsigned("flags", flags) | (CompactFlag.DROP_DELETES if drop_deletes else 0)


def compact(
    source: Handle,
    target: bytes,
    lend: Lend,
    drop_deletes: bool,
    hook: CompactHook | None,
    finish: Callable[[CouchStore], Any] | None,
    keys: Keys | None,
    flags: int,
) -> None:
    """See CouchStore.compact()."""
    flags = native_flags(drop_deletes, flags)
    decisions = Decisions(lend, hook, finish, bool(flags & CompactFlag.DROP_DELETES), target)
    callbacks = Callbacks()
    native_hook = decisions.native(callbacks)
    native_keys = native_callback(keys, callbacks)
    with source as db:
        arguments = (db, target, flags, native_keys, None, native_hook, None, None, None)
        names = {"path": source.filename, "target": os.fsdecode(target)}
        callbacks.call(lib.couchstore_compact_db_with_key, *arguments, **names)


@dataclass
class Online:
    """The callbacks of one online compaction. See CouchStore.compact_online()."""

    lend: Lend
    hook: CompactHook | None
    finish: Callable[[CouchStore], Any] | None
    drop_deletes: bool
    lock: Lock | None
    publish: Callable[[CouchStore, CouchStore], Any] | None
    progress: Callable[[Progress], Any] | None
    cancel: Callable[[], bool] | None
    flags: int
    open_flags: int

    def run(self, source: bytes, target: bytes | None, keys: Keys | None, limits: Limits) -> OnlineStats:
        """Compacts. Raises what a callback raised, also if the compaction was through by then."""
        flags = native_flags(self.drop_deletes, self.flags)
        final_name = source if target is None else target
        decisions = Decisions(self.lend, self.hook, self.finish, bool(flags & CompactFlag.DROP_DELETES), final_name)
        callbacks = Callbacks()
        switch = _Switch(self, callbacks, source, final_name)
        options = _native.OnlineCompactOptions(
            size=sizeof(_native.OnlineCompactOptions),
            flags=flags,
            keys=native_callback(keys, callbacks),
            hook=decisions.native(callbacks),
            lock=_native.LOCK_CALLBACK(callbacks.guard(switch.take)),
            unlock=_native.LOCK_CALLBACK(callbacks.guard(switch.release)),
            publish=_native.PUBLISH_CALLBACK(callbacks.guard(switch.publish)),
            progress=_native.PROGRESS_CALLBACK(callbacks.guard(switch.progress)),
            swap=_SWAP_REPLACE if target is None else 0,
            open_flags=self.open_flags & _SOURCE_FLAGS,
        )
        limits.fill(options)
        stats = _native.OnlineCompactStats()
        arguments = (source, target, byref(options), byref(stats))
        names = {"path": os.fsdecode(source), "target": "" if target is None else os.fsdecode(target)}
        callbacks.call(lib.couchstore_compact_db_online, *arguments, **names)
        return OnlineStats(**_native.fields(stats))


class _Switch:
    """Locking and switching over, as the library asks for it."""

    def __init__(self, job: Online, callbacks: Callbacks, source: bytes, target: bytes) -> None:
        self._job = job
        self._callbacks = callbacks
        self._source = source
        self._target = target
        self._is_locked = False

    def take(self, _: Any) -> None:
        # This cannot fail for the library: publish() and progress() see to it that it ends.
        if self._job.lock is not None:
            self._job.lock.__enter__()
            self._is_locked = True

    def release(self, _: Any) -> None:
        if self._is_locked and self._job.lock is not None:
            self._is_locked = False
            self._job.lock.__exit__(None, None, None)

    def publish(self, _: Any, source: int, target: int) -> int:
        if self._callbacks.error is not None:
            return ErrorCode.CANCEL
        lend, publish = self._job.lend, self._job.publish
        if publish is not None:
            switch = publish
            lend(source, self._source, lambda old: lend(target, self._target, lambda new: switch(old, new)))
        return 0

    def progress(self, _: Any, done_docs: int, total_docs: int, done_bytes: int) -> int:
        if self._callbacks.error is not None or (self._job.cancel is not None and self._job.cancel()):
            return ErrorCode.CANCEL
        if self._job.progress is not None:
            self._job.progress(Progress(done_docs, total_docs, done_bytes))
        return 0
