# SPDX-License-Identifier: Apache-2.0

"""Compaction of a file that is in use."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest

from couchstore import CompactAction, CouchStore, CouchStoreException, DocumentInfo, ErrorCode, OnlineStats, Progress


@pytest.fixture
def filled(store: CouchStore) -> CouchStore:
    """3000 documents, every one saved twice, and a local document."""
    ids = [f"{n:04}" for n in range(3000)]
    for round in range(2):
        store.save_many(ids, [f"{round} {id}" * 10 for id in ids])
        store.commit()
    store.delete("0001")
    store.local_docs["_local/a"] = "local"
    store.commit()
    return store


class Stop(Exception):
    """Raised by callbacks."""


class Lock:
    """A lock that counts, and may fail."""

    def __init__(self) -> None:
        self.entered = self.left = 0
        self.fail_to_enter = self.fail_to_leave = False
        self.is_held = False

    def __enter__(self) -> Lock:
        if self.fail_to_enter:
            raise Stop("enter")
        self.entered += 1
        self.is_held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.left += 1
        self.is_held = False
        if self.fail_to_leave:
            raise Stop("leave")


def content(store: CouchStore) -> list[tuple[str, int, bytes]]:
    return [(info.id, info.sequence, info.contents) for info in store]


def test_to_another_name(filled: CouchStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    stats = filled.compact_online(target)
    assert isinstance(stats, OnlineStats)
    assert stats.documents == 3000
    assert stats.bytes == target.stat().st_size
    assert stats.total_us >= stats.lock_hold_us > 0
    assert filled.is_current()
    with CouchStore(target, "r") as copy:
        assert content(copy) == content(filled)
        assert copy.local_docs["_local/a"] == b"local"
    with pytest.raises(CouchStoreException) as caught:
        filled.compact_online(target)
    assert (caught.value.code, caught.value.os_error) == (ErrorCode.OPEN_FILE, errno.EEXIST)


def test_sizes_of_nodes_are_those_of_the_store(filled: CouchStore, path: Path, tmp_path: Path) -> None:
    filled.compact_online(tmp_path / "small nodes")
    with CouchStore(path, flags=0x880000) as store:
        store.compact(tmp_path / "at rest")
        store.compact_online(tmp_path / "online")
    small, at_rest, online = (tmp_path.joinpath(name).stat().st_size for name in ("small nodes", "at rest", "online"))
    assert online == at_rest < small


def test_unknown_flags(filled: CouchStore, tmp_path: Path) -> None:
    with pytest.raises(CouchStoreException) as caught:
        filled.compact_online(tmp_path / "target", flags=0x10)
    assert caught.value.code == ErrorCode.INVALID_ARGUMENTS


def test_in_place(filled: CouchStore, path: Path, tmp_path: Path) -> None:
    before, size = content(filled), path.stat().st_size
    filled.compact_online()
    assert path.stat().st_size < size / 1.5
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert not filled.is_current()
    assert content(filled) == before
    filled.reopen()
    assert filled.is_current()
    assert content(filled) == before
    filled["more"] = "1"
    filled.commit()


def test_all_callbacks(filled: CouchStore, tmp_path: Path) -> None:
    target = tmp_path / "target"
    lock = Lock()
    published: list[tuple[int, int, str, str, bool]] = []
    steps: list[Progress] = []
    asked: list[str] = []

    def publish(source: CouchStore, copy: CouchStore) -> None:
        counts = source.info().doc_count, copy.info().doc_count
        published.append((*counts, source.filename, copy.filename, lock.is_held))
        assert target.exists()

    def hook(info: DocumentInfo, body: bytes | None) -> CompactAction | None:
        asked.append(info.id)
        return CompactAction.DROP if info.id == "0002" else None

    stats = filled.compact_online(
        target,
        lock=lock,
        publish=publish,
        progress=steps.append,
        cancel=lambda: False,
        drop_deletes=True,
        hook=hook,
        finish=lambda copy: copy.local_docs.update(added=b"1"),
        max_unlocked_rounds=0,
        delta_bytes_for_lock=1,
        memory_budget=1 << 20,
    )
    assert (lock.entered, lock.left) == (1, 1)
    assert published == [(2999, 2998, filled.filename, str(target), True)]
    assert steps[0].done_docs == 0 and steps[-1].done_docs == steps[-1].total_docs == 3000
    assert len(asked) == 2999 and "0001" not in asked
    assert stats.documents == 2998 and stats.rounds == 0
    with CouchStore(target, "r") as copy:
        assert "0002" not in copy and copy.info().deleted_count == 0
        assert "added" in copy.local_docs


@pytest.mark.parametrize("name", ["max_unlocked_rounds", "delta_bytes_for_lock", "memory_budget"])
def test_limits(filled: CouchStore, tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {name: 1}
    filled.compact_online(tmp_path / "target", **options)
    if name != "max_unlocked_rounds":
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            filled.compact_online(**{**options, name: 0})


def test_cancelling(filled: CouchStore, path: Path, tmp_path: Path) -> None:
    cancelled = threading.Event()
    with pytest.raises(CouchStoreException) as caught:
        filled.compact_online(progress=lambda _: cancelled.set(), cancel=cancelled.is_set)
    assert caught.value.code == ErrorCode.CANCEL
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert filled.is_current()


@pytest.mark.parametrize("callback", ["publish", "progress", "cancel", "hook", "finish", "keys"])
def test_exceptions_undo_everything(filled: CouchStore, path: Path, tmp_path: Path, callback: str) -> None:
    def fail(*_: Any) -> Any:
        raise Stop(callback)

    lock = Lock()
    options: dict[str, Any] = {callback: fail}
    for target in (tmp_path / "target", None):
        with pytest.raises(Stop, match=callback):
            filled.compact_online(target, lock=lock, **options)
    assert lock.entered == lock.left
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert filled.is_current()
    filled.compact_online()


def test_a_lock_that_cannot_be_taken(filled: CouchStore, path: Path, tmp_path: Path) -> None:
    lock = Lock()
    lock.fail_to_enter = True
    published: list[Any] = []
    with pytest.raises(Stop, match="enter"):
        filled.compact_online(lock=lock, publish=lambda *stores: published.append(stores))
    assert (lock.entered, lock.left) == (0, 0)
    assert not published
    assert filled.is_current()
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_lock_that_cannot_be_left(filled: CouchStore) -> None:
    lock = Lock()
    lock.fail_to_leave = True
    with pytest.raises(Stop, match="leave"):
        filled.compact_online(lock=lock)
    assert not filled.is_current()


def test_one_at_a_time(filled: CouchStore, tmp_path: Path) -> None:
    errors: list[CouchStoreException] = []

    def second(_: Progress) -> None:
        try:
            filled.compact_online(tmp_path / "second")
        except CouchStoreException as error:
            errors.append(error)

    filled.compact_online(tmp_path / "first", progress=second)
    assert errors and {(error.code, error.os_error) for error in errors} == {(ErrorCode.OPEN_FILE, errno.EBUSY)}


def test_stores_of_publish_cannot_be_reopened(filled: CouchStore, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="cannot be opened again"):
        filled.compact_online(tmp_path / "target", publish=lambda source, target: target.reopen())
    assert not (tmp_path / "target").exists()


def test_stores_of_publish_are_closed_afterwards(filled: CouchStore, tmp_path: Path) -> None:
    kept: list[CouchStore] = []
    filled.compact_online(tmp_path / "target", publish=lambda *stores: kept.extend(stores))
    for store in kept:
        assert store.closed
        with pytest.raises(CouchStoreException):
            store.info()


def test_beside_a_writer(filled: CouchStore, path: Path) -> None:
    """A thread goes on saving through the same store, over several compactions; nothing is lost."""
    lock = threading.Lock()
    stop = threading.Event()
    expected = dict(filled.items())
    failures: list[BaseException] = []
    commits = 0

    def write() -> None:
        nonlocal commits
        try:
            while not stop.is_set():
                with lock:
                    for n in range(10):
                        id = f"{(commits * 7 + n) % 3100:04}"
                        body = f"commit {commits}".encode()
                        if n == 9:
                            filled.delete(id)
                            expected.pop(id, None)
                        else:
                            filled[id] = body
                            expected[id] = body
                    filled.local_docs["count"] = str(commits)
                    filled.commit()
                    commits += 1
                # Lets the other thread have the lock.
                stop.wait(0.0005)
        except BaseException as error:
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            before = commits
            filled.compact_online(lock=lock, publish=lambda source, copy: filled.reopen())
            assert filled.is_current()
            while commits < before + 5 and not failures:
                stop.wait(0.001)
    finally:
        stop.set()
        writer.join()
    assert not failures
    with CouchStore(path, "r") as store:
        assert dict(store.items()) == expected
        assert store.local_docs["count"] == str(commits - 1).encode()
