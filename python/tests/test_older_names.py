# SPDX-License-Identifier: Apache-2.0

"""The names of couchstore's own Python module."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path
from typing import Any

import pytest

from couchstore import (
    CouchStore,
    CouchStoreException,
    CouchStoreOSError,
    DocumentInfo,
    ErrorCode,
    LocalDocs,
    SizedBuf,
)
from couchstore.errors import exception


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
    assert store.localDocs["_local/x"] == "local"
    assert store.localDocs.get("_local/none") is None
    assert store.local_docs["_local/x"] == b"local"
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


def test_empty_values_delete(path: Path) -> None:
    with CouchStore(path, "c") as store:
        store.saveMultiple(["a", "b", "c"], ["1", "2", "3"])
        assert store.saveMultiple(["a", "b"], ["", b""]) == [4, 5]
        assert [store.getInfo(id).deleted for id in "abc"] == [True, True, False]
        # The newer name keeps empty bodies.
        store.save_many(["a"], [""])
        assert store["a"] == b""


def test_revision_metadata_are_sized_buffers(path: Path) -> None:
    meta = SizedBuf(b"\x00\xff")
    assert (meta.get_bytes(), meta.size, type(meta.get_bytes())) == (b"\x00\xff", 2, bytes)
    assert (SizedBuf("text"), SizedBuf(None)) == (b"text", b"")
    with CouchStore(path, "c") as store:
        info = DocumentInfo("a")
        info.revMeta = meta
        store.save(info, "1")
        found = store.getInfo("a")
        assert found.revMeta.get_bytes() == found.rev_meta == b"\x00\xff"
        assert isinstance(found.rev_meta, SizedBuf)
        info.revMeta = "plain"
        assert info.revMeta.get_bytes() == b"plain"


def test_documents_and_stores_know_each_other(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with CouchStore(str(path), "c", unbuffered=True) as store:
        assert (store.path, store.filename) == (str(path), str(path))
        assert DocumentInfo("a").store is None
        store.save(DocumentInfo("a", rev_meta=b"\x01", rev_sequence=7), "1")
        info = store.getInfo("a")
        assert info.store is store and store.localDocs.store is store
        info.dump()
        shown = capsys.readouterr().out
        for line in ("Doc seq: 1", "id: a", "rev: 7", "rev_meta: 01", "content_meta: 0x03"):
            assert line in shown
        store.commit()
        store.save("b", "2")
        store.commit()
        store.rewindHeader()
        assert store.getDbInfo().doc_count == 1


def test_failures_are_exceptions_of_python_as_well(path: Path) -> None:
    with pytest.raises(OSError) as caught:
        CouchStore(str(path), "r")
    error = caught.value
    assert isinstance(error, CouchStoreException) and isinstance(error, FileNotFoundError)
    assert (error.code, error.errno, error.filename) == (ErrorCode.NO_SUCH_FILE, errno.ENOENT, str(path))
    assert error.filename2 is None
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.code, copy.errno, str(copy)) == (type(error), error.code, error.errno, str(error))
    with pytest.raises(CouchStoreOSError) as refused:
        CouchStore("/dev/null/nothing", "c")
    assert refused.value.errno == errno.ENOTDIR
    no_memory = exception(ErrorCode.ALLOC_FAIL, "f")
    assert isinstance(no_memory, MemoryError) and str(no_memory) == "f: failed to allocate buffer (-3)"
    assert not isinstance(exception(ErrorCode.CORRUPT), OSError)


def test_constants() -> None:
    assert (CouchStore.COMPRESS, CouchStore.COMPRESS_DOC_BODIES, CouchStore.SEQUENCE_AS_IS) == (1, 1, 2)
    assert (CouchStore.DECOMPRESS, CouchStore.DECOMPRESS_DOC_BODIES) == (1, 1)
    assert (CouchStore.DELETES_ONLY, CouchStore.NO_DELETES, CouchStore.TOLERATE_CORRUPTION) == (2, 4, 8)
    for owner in (CouchStore, DocumentInfo):
        assert (owner.IS_JSON, owner.INVALID_JSON, owner.INVALID_JSON_KEY, owner.NON_JSON) == (0, 1, 2, 3)
