"""The names of couchstore's own Python module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from couchstore import CouchStore, CouchStoreException, DocumentInfo, LocalDocs


def test_a_program_of_old(path: Path) -> None:
    store = CouchStore(str(path), "c")
    info = DocumentInfo("first")
    info.revSequence = 3
    info.revMeta = b"meta"
    info.contentType = DocumentInfo.IS_JSON
    assert store.save(info, '{"a": 1}') == 1
    assert store.saveMultiple(["second", "third"], ["2", "3"]) == [2, 3]
    store["fourth"] = "4"
    del store["second"]
    store.localDocs["_local/x"] = "local"
    store.commit()

    assert store.get("first") == store["first"] == b'{"a": 1}'
    with pytest.raises(KeyError):
        store.get("second")
    info = store.getInfo("first")
    assert (info.id, info.sequence, info.deleted) == ("first", 1, False)
    assert (info.revSequence, info.revMeta, info.contentType) == (3, b"meta", DocumentInfo.IS_JSON)
    assert info.physSize >= 8
    assert info.getContents() == b'{"a": 1}'
    assert store.getInfoBySequence(5).deleted
    with pytest.raises(KeyError):
        store.getInfo("missing")

    assert [info.id for info in store.changesSince(2)] == ["third", "fourth", "second"]
    seen: list[Any] = []
    store.forEachChange(0, lambda info: seen.append(info.sequence))
    assert seen == [1, 3, 4, 5]
    seen.clear()
    store.forEachDoc("first", "second", lambda info: seen.append(info.id))
    assert seen == ["first", "fourth", "second"]
    assert store.changesCount(0, 10) == 4

    assert isinstance(store.localDocs, LocalDocs)
    assert store.localDocs["_local/x"] == b"local"
    del store.localDocs["_local/x"]
    with pytest.raises(KeyError):
        store.localDocs["_local/x"]

    assert store.getDbInfo().doc_count == 3
    store["lost"] = "x"
    store.rewind()
    assert store.getDbInfo().doc_count == 0
    store.close()
    with pytest.raises(CouchStoreException):
        CouchStore(str(path) + ".missing", "r")


def test_constants() -> None:
    assert (CouchStore.COMPRESS, CouchStore.COMPRESS_DOC_BODIES, CouchStore.SEQUENCE_AS_IS) == (1, 1, 2)
    assert (CouchStore.DECOMPRESS, CouchStore.DECOMPRESS_DOC_BODIES) == (1, 1)
    assert (CouchStore.DELETES_ONLY, CouchStore.NO_DELETES, CouchStore.TOLERATE_CORRUPTION) == (2, 4, 8)
    for owner in (CouchStore, DocumentInfo):
        assert (owner.IS_JSON, owner.INVALID_JSON, owner.INVALID_JSON_KEY, owner.NON_JSON) == (0, 1, 2, 3)
