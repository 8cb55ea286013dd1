# SPDX-License-Identifier: Apache-2.0

"""Local documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from couchstore import CouchStore, CouchStoreException, ErrorCode, _scan
from couchstore._handle import Handle


def test_saving_and_reading(store: CouchStore) -> None:
    local = store.local_docs
    local["_local/a"] = "body"
    local[b"\xff\x00"] = b"\x00\x01"
    local["empty"] = ""
    assert local["_local/a"] == b"body"
    assert local[b"\xff\x00"] == local["\udcff\x00"] == b"\x00\x01"
    assert local["empty"] == b""
    local["_local/a"] = "other"
    assert local["_local/a"] == b"other"


def test_as_a_mapping(store: CouchStore) -> None:
    local = store.local_docs
    assert not local
    local.update({"b": b"2", "a": b"1"})
    assert list(local) == ["a", "b"]
    assert dict(local) == {"a": b"1", "b": b"2"}
    assert list(local.items()) == [("a", b"1"), ("b", b"2")]
    assert len(local) == 2
    assert "a" in local and "c" not in local
    assert local.get("c") is None
    assert local.get("c", b"default") == b"default"
    assert local.pop("a") == b"1"
    local.clear()
    assert len(local) == 0


def test_removing(store: CouchStore) -> None:
    store.local_docs.update({"a": b"1", "b": b"2"})
    del store.local_docs["a"]
    store.local_docs["b"] = None
    for id in "ab":
        with pytest.raises(KeyError) as caught:
            store.local_docs[id]
        assert caught.value.args == (id,)
    del store.local_docs["never there"]


@pytest.mark.parametrize("batch", [1, 2, 3, 500])
def test_many(store: CouchStore, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    monkeypatch.setattr(_scan, "BATCH", batch)
    keys = sorted([b"", b"\0", b"a", b"a\0", b"b", b"\xff" * 4095])
    for key in keys:
        store.local_docs[key] = key
    assert [key for key, _ in _scan.local_documents(store._handle)] == keys
    assert len(store.local_docs) == 6


def test_they_are_apart_from_documents(store: CouchStore) -> None:
    store.local_docs["id"] = "local"
    assert "id" not in store
    store["id"] = "document"
    assert store.local_docs["id"] == b"local"
    assert [info.id for info in store] == ["id"]
    assert store.info().last_sequence == 1


def test_they_last_with_a_commit(path: Path) -> None:
    with CouchStore(path, "c") as store:
        store.local_docs["a"] = "1"
        store.commit()
        store.local_docs["a"] = "2"
    with CouchStore(path, "r") as store:
        assert store.local_docs["a"] == b"1"
        with pytest.raises(CouchStoreException) as caught:
            store.local_docs["a"] = "3"
        assert caught.value.code == ErrorCode.WRITE
        local = store.local_docs
    with pytest.raises(CouchStoreException):
        local["a"]


def test_errors(store: CouchStore) -> None:
    with pytest.raises(CouchStoreException) as caught:
        store.local_docs["x" * 4096] = ""
    assert caught.value.code == ErrorCode.INVALID_ARGUMENTS
    with pytest.raises(TypeError):
        store.local_docs["a"] = 5  # type: ignore[assignment]


def test_clearing_many(store: CouchStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.local_docs.update({f"{n:04}": b"" for n in range(1001)})
    scan, scans = _scan.local_documents, 0

    def count(handle: Handle) -> Iterator[tuple[bytes, bytes]]:
        nonlocal scans
        scans += 1
        return scan(handle)

    monkeypatch.setattr(_scan, "local_documents", count)
    store.local_docs.clear()
    assert scans == 1
    assert not store.local_docs
