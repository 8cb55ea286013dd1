# SPDX-License-Identifier: Apache-2.0

"""Compaction of a store at rest."""

from __future__ import annotations

import errno
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from couchstore import (
    CompactAction,
    CompactFlag,
    CouchStore,
    CouchStoreException,
    DocumentInfo,
    ErrorCode,
    OpenFlag,
)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target.couch"


@pytest.fixture
def filled(store: CouchStore) -> CouchStore:
    """100 documents, saved in many commits; those with odd numbers are deleted."""
    for n in range(100):
        store.save(DocumentInfo(f"{n:03}", rev_meta=f"meta {n}"), f"body {n}" * 20)
        store.commit()
    for n in range(1, 100, 2):
        store.delete(f"{n:03}")
    store.save("empty", "")
    store.local_docs["_local/a"] = "local"
    store.commit(timestamp=77)
    return store


class Stop(Exception):
    """Raised by callbacks."""


def content(store: CouchStore) -> list[tuple[Any, ...]]:
    infos = store.all_docs(options=0)
    return [
        (info.id, info.sequence, info.rev_meta, info.deleted, None if info.deleted else info.contents) for info in infos
    ]


def test_everything_is_copied(filled: CouchStore, target: Path) -> None:
    filled.compact(target)
    with CouchStore(target, "r") as copy:
        assert content(copy) == content(filled)
        assert copy.local_docs["_local/a"] == b"local"
        assert copy.header().timestamp == 77
        assert copy.info().last_sequence == filled.info().last_sequence
        assert copy.info().file_size < filled.info().file_size / 5


def test_without_deleted_documents(filled: CouchStore, target: Path) -> None:
    filled.compact(target, drop_deletes=True)
    with CouchStore(target, "r") as copy:
        assert copy.info().deleted_count == 0
        assert list(copy.items()) == list(filled.items())


def test_what_was_not_committed_is_copied(filled: CouchStore, target: Path) -> None:
    filled["new"] = "1"
    filled.compact(target)
    with CouchStore(target, "r") as copy:
        assert copy["new"] == b"1"


def test_an_existing_target_is_left_alone(filled: CouchStore, target: Path) -> None:
    target.write_bytes(b"precious")
    with pytest.raises(CouchStoreException) as caught:
        filled.compact(target)
    assert (caught.value.code, caught.value.os_error) == (ErrorCode.OPEN_FILE, errno.EEXIST)
    assert str(target) in str(caught.value)
    assert target.read_bytes() == b"precious"


def test_a_hook_decides(filled: CouchStore, target: Path) -> None:
    calls: list[tuple[str, bytes | None]] = []

    def hook(info: DocumentInfo, body: bytes | None) -> CompactAction | None:
        calls.append((info.id, body))
        if info.id == "empty":
            return CompactAction.NEED_BODY if body is None else CompactAction.KEEP
        if info.id == "000":
            return CompactAction.DROP
        if info.id == "002" and body is None:
            return CompactAction.NEED_BODY
        if info.id == "002":
            assert body == b"body 2" * 20 and info.rev_meta == b"meta 2"
            return CompactAction.DROP
        return None

    filled.compact(target, hook=hook)
    assert calls[:3] == [("000", None), ("002", None), ("002", b"body 2" * 20)]
    assert calls[-2:] == [("empty", None), ("empty", b"")]
    assert len(calls) == 103
    with CouchStore(target, "r") as copy:
        assert content(copy) == [row for row in content(filled) if row[0] not in ("000", "002")]


def test_a_hook_beside_drop_deletes(filled: CouchStore, target: Path) -> None:
    seen = []

    def hook(info: DocumentInfo, body: bytes | None) -> CompactAction:
        seen.append(info.deleted)
        return CompactAction.KEEP

    filled.compact(target, hook=hook, drop_deletes=True)
    assert seen == [False] * 51
    with CouchStore(target, "r") as copy:
        assert copy.info().deleted_count == 0


def test_finishing_the_target(filled: CouchStore, target: Path) -> None:
    kept: list[CouchStore] = []

    def finish(store: CouchStore) -> None:
        assert store.filename == str(target)
        store.local_docs["_local/added"] = "1"
        store.set_purge_seq(55)
        kept.append(store)

    filled.compact(target, finish=finish, drop_deletes=True)
    with CouchStore(target, "r") as copy:
        assert copy.local_docs["_local/added"] == b"1"
        assert copy.info().purge_seq == 55
        assert copy.info().deleted_count == 0
        assert list(copy.items()) == list(filled.items())
    with pytest.raises(CouchStoreException) as caught:
        kept[0].info()
    assert caught.value.code == ErrorCode.FILE_CLOSED


@pytest.mark.parametrize("callback", ["hook", "finish", "keys"])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit])
def test_exceptions_end_it(
    filled: CouchStore, target: Path, tmp_path: Path, callback: str, error: type[BaseException]
) -> None:
    def fail(*_: Any) -> Any:
        raise error("why")

    options: dict[str, Any] = {callback: fail}
    with pytest.raises(error, match="why"):
        filled.compact(target, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["test.couch"]
    assert filled["000"] == b"body 0" * 20
    filled.compact(target)


@pytest.mark.parametrize("result", [True, False, 0, 1, "keep"])
def test_other_results_of_a_hook_are_refused(filled: CouchStore, target: Path, result: Any) -> None:
    with pytest.raises(TypeError, match="CompactAction"):
        filled.compact(target, hook=lambda info, body: result)
    assert not target.exists()


def test_asking_for_the_body_again_and_again(filled: CouchStore, target: Path) -> None:
    with pytest.raises(CouchStoreException) as caught:
        filled.compact(target, hook=lambda info, body: CompactAction.NEED_BODY)
    assert caught.value.code == ErrorCode.INVALID_ARGUMENTS
    assert not target.exists()


def test_callbacks_cannot_close_the_store(filled: CouchStore, target: Path) -> None:
    def hook(info: DocumentInfo, body: bytes | None) -> None:
        assert filled[info.id] if not info.deleted else True
        filled.close()

    with pytest.raises(RuntimeError, match="cannot close the store"):
        filled.compact(target, hook=hook)
    with pytest.raises(RuntimeError, match="cannot close the store"):
        filled.compact(target, finish=lambda store: filled.reopen())
    assert not filled.closed
    assert filled["000"]


def test_upgrading(path: Path, target: Path) -> None:
    with CouchStore(path, "c", flags=OpenFlag.LEGACY_CRC) as store:
        store["a"] = "1"
        store.compact(target)
        store.compact(target.with_suffix(".2"), flags=CompactFlag.UPGRADE)
    with CouchStore(target, "r") as copy:
        assert copy.header().version == 11
    with CouchStore(target.with_suffix(".2"), "r") as copy:
        assert copy.header().version == 14
        assert copy["a"] == b"1"


def test_an_exception_keeps_nothing_alive(store: CouchStore, target: Path) -> None:
    store["a"] = "1"

    class Mark:
        pass

    def hook(info: DocumentInfo, body: bytes | None) -> None:
        mark = Mark()
        marks.append(weakref.ref(mark))
        raise Stop("why")

    marks: list[weakref.ref[Mark]] = []
    gc.collect()
    gc.disable()
    try:
        try:
            store.compact(target, hook=hook)
        except Stop:
            pass
        assert [mark() for mark in marks] == [None]
    finally:
        gc.enable()
