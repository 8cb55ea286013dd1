# SPDX-License-Identifier: Apache-2.0

"""The compaction that runs beside a block of statements."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from couchstore import (
    CompactAction,
    CouchStore,
    CouchStoreException,
    DocumentInfo,
    ErrorCode,
    OnlineCompaction,
    OnlineStats,
)


@pytest.fixture
def filled(store: CouchStore) -> CouchStore:
    """3000 documents, every one saved twice."""
    ids = [f"{n:04}" for n in range(3000)]
    for round in range(2):
        store.save_many(ids, [f"{round} {id}" * 10 for id in ids])
        store.commit()
    return store


class Stop(Exception):
    """Raised in blocks and callbacks."""


class Gate:
    """A hook that waits until it is opened, so that the block runs first."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, info: DocumentInfo, body: bytes | None) -> CompactAction | None:
        self.reached.set()
        assert self.opened.wait(60)
        return None


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def files(path: Path) -> list[str]:
    return [file.name for file in path.parent.iterdir()]


def test_the_store_goes_on_with_the_new_file(filled: CouchStore, path: Path) -> None:
    before, size = dict(filled.items()), path.stat().st_size
    with filled.online_compaction() as job:
        assert isinstance(job, OnlineCompaction)
    assert job.done
    assert isinstance(job.stats, OnlineStats)
    assert job.stats.documents == 3000
    assert job.progress is not None and job.progress.done_docs == 3000
    assert path.stat().st_size < size / 1.5
    assert filled.is_current() and dict(filled.items()) == before
    assert files(path) == [path.name]
    filled["more"] = "1"
    filled.commit()


def test_saves_and_reads_in_the_block(filled: CouchStore, path: Path, gate: Gate) -> None:
    with filled.online_compaction(hook=gate) as job:
        assert gate.reached.wait(60)
        assert not job.done and job.stats is None
        with job.lock:
            filled["new"] = "saved meanwhile"
            filled.delete("0000")
            filled.local_docs["_local/a"] = "local"
            filled.commit()
        assert (filled["new"], filled["0001"]) == (b"saved meanwhile", b"1 0001" * 10)
        gate.opened.set()
    assert filled.is_current()
    with CouchStore(path, "r") as other:
        assert other["new"] == b"saved meanwhile"
        assert "0000" not in other and len(other) == len(filled) == 3000
        assert other.local_docs["_local/a"] == b"local"


def test_the_lock_of_the_caller(filled: CouchStore) -> None:
    lock = threading.Lock()
    held: list[bool] = []
    with filled.online_compaction(lock=lock, publish=lambda source, target: held.append(lock.locked())) as job:
        assert job.lock is lock
    assert held == [True] and not lock.locked()


def test_the_own_lock_may_be_taken_again(filled: CouchStore) -> None:
    with filled.online_compaction() as job, job.lock, job.lock:
        filled["a"] = "A"
        filled.commit()
    assert filled.is_current() and filled["a"] == b"A"


def test_beside_writers(filled: CouchStore, path: Path) -> None:
    """Writers that heed the lock lose nothing, over several compactions."""
    commits = 0
    for _ in range(5):
        with filled.online_compaction(delta_bytes_for_lock=1) as job:
            while not job.done:
                with job.lock:
                    filled[f"{commits % 50}"] = str(commits)
                    filled.commit()
                    commits += 1
        assert filled.is_current()
    with CouchStore(path, "r") as other:
        newest = max(int(other[f"{n}"]) for n in range(50) if f"{n}" in other)
        assert newest == commits - 1
        assert dict(other.items()) == dict(filled.items())


def test_options_are_handed_on(filled: CouchStore) -> None:
    filled.delete("0001")
    filled.commit()
    with filled.online_compaction(
        drop_deletes=True,
        hook=lambda info, body: CompactAction.DROP if info.id == "0002" else None,
        finish=lambda target: target.local_docs.update(added=b"1"),
        memory_budget=1 << 20,
        max_unlocked_rounds=0,
    ) as job:
        pass
    assert job.stats is not None and job.stats.rounds == 0
    assert filled.info().deleted_count == 0 and "0002" not in filled and len(filled) == 2998
    assert filled.local_docs["added"] == b"1"
    unknown: dict[str, Any] = {"targets": "x"}
    with pytest.raises(TypeError, match="targets"):
        with filled.online_compaction(**unknown):
            pass


def test_other_stores_switch_over_first(filled: CouchStore, path: Path) -> None:
    with CouchStore(path, "r") as reader:

        def publish(source: CouchStore, target: CouchStore) -> None:
            reader.reopen()
            assert target.filename == str(path) and not filled.is_current()

        with filled.online_compaction(publish=publish):
            pass
        assert reader.is_current() and filled.is_current()


def test_an_exception_in_the_block_cancels(filled: CouchStore, path: Path, gate: Gate) -> None:
    size = path.stat().st_size
    job = filled.online_compaction(hook=gate)
    with pytest.raises(Stop, match="block"), job:
        assert gate.reached.wait(60)
        gate.opened.set()
        raise Stop("block")
    assert job.done and job.stats is None
    assert filled.is_current() and path.stat().st_size == size
    assert files(path) == [path.name]
    with filled.online_compaction():
        pass


def test_cancelling(filled: CouchStore, path: Path, gate: Gate) -> None:
    size = path.stat().st_size
    with filled.online_compaction(hook=gate) as job:
        job.cancel()
        gate.opened.set()
    assert job.done and job.stats is None
    assert filled.is_current() and path.stat().st_size == size
    # Afterwards it changes nothing.
    with filled.online_compaction() as job:
        pass
    job.cancel()
    assert job.stats is not None


def test_an_interrupt_while_waiting_cancels(filled: CouchStore, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    job = filled.online_compaction(hook=gate)
    wait, waits = job._thread.join, 0

    def join() -> None:
        nonlocal waits
        waits += 1
        if waits == 1:
            raise KeyboardInterrupt
        gate.opened.set()
        wait()

    monkeypatch.setattr(job._thread, "join", join)
    with pytest.raises(KeyboardInterrupt), job:
        pass
    assert job.done and job.stats is None
    assert filled.is_current()


@pytest.mark.parametrize("callback", ["hook", "finish", "publish", "keys"])
def test_exceptions_in_callbacks_come_at_the_end(filled: CouchStore, path: Path, callback: str) -> None:
    def fail(*_: Any) -> Any:
        raise Stop(callback)

    options: dict[str, Any] = {callback: fail}
    ran = False
    with pytest.raises(Stop, match=callback):
        with filled.online_compaction(**options) as job:
            ran = True
    assert ran and job.done and job.stats is None
    assert filled.is_current() and files(path) == [path.name]


def test_that_of_the_block_is_the_one_that_is_raised(filled: CouchStore) -> None:
    def fail(*_: Any) -> Any:
        raise Stop("hook")

    with pytest.raises(Stop, match="block"):
        with filled.online_compaction(hook=fail):
            raise Stop("block")


def test_what_was_not_committed_is_not_lost(filled: CouchStore, path: Path) -> None:
    published: list[Any] = []
    for change in (lambda: filled.save("new", "1"), lambda: filled.local_docs.update(new=b"1")):
        change()
        with pytest.raises(RuntimeError, match="not committed"):
            with filled.online_compaction(publish=lambda *stores: published.append(stores)):
                pass
        assert filled.is_current() and filled.has_changes
        filled.commit()
    assert not published
    assert (filled["new"], filled.local_docs["new"]) == (b"1", b"1")
    with filled.online_compaction():
        pass
    assert (filled["new"], filled.local_docs["new"]) == (b"1", b"1")


def test_a_file_of_two_stores_one_compaction_at_a_time(filled: CouchStore, path: Path, gate: Gate) -> None:
    with filled.online_compaction(hook=gate) as first:
        assert gate.reached.wait(60)
        with pytest.raises(CouchStoreException) as caught:
            with filled.online_compaction():
                pass
        assert caught.value.code == ErrorCode.OPEN_FILE
        gate.opened.set()
    assert first.stats is not None and filled.is_current()


def test_a_block_runs_once(filled: CouchStore) -> None:
    job = filled.online_compaction()
    assert not job.done
    with job:
        pass
    with pytest.raises(RuntimeError):
        with job:
            raise AssertionError("must not be run")
    assert job.stats is not None


def test_closed_stores(filled: CouchStore, path: Path) -> None:
    filled.close()
    with pytest.raises(CouchStoreException) as caught:
        filled.online_compaction()
    assert caught.value.code == ErrorCode.FILE_CLOSED


def test_closing_in_the_block(filled: CouchStore, path: Path, gate: Gate) -> None:
    with pytest.raises(CouchStoreException) as caught:
        with filled.online_compaction(hook=gate):
            assert gate.reached.wait(60)
            filled.close()
            gate.opened.set()
    assert caught.value.code == ErrorCode.FILE_CLOSED
    assert files(path) == [path.name]
    with CouchStore(path, "r") as store:
        assert len(store) == 3000


def test_nothing_is_kept_alive(path: Path, filled: CouchStore) -> None:
    def fail(*_: Any) -> Any:
        raise Stop("hook")

    gc.collect()
    gc.disable()
    try:
        store = CouchStore(path)
        watched = weakref.ref(store)
        with pytest.raises(Stop):
            with store.online_compaction(hook=fail):
                pass
        del store
        gc.collect()
        assert watched() is None
    finally:
        gc.enable()
