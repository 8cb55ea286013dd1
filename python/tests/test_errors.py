# SPDX-License-Identifier: Apache-2.0

"""What exceptions tell."""

from __future__ import annotations

import errno
import os
import pickle
from pathlib import Path
from typing import Callable

import pytest

from couchstore import CouchStore, CouchStoreException, CouchStoreOSError, ErrorCode
from couchstore.errors import exception, strerror


def test_a_file_that_is_missing(path: Path) -> None:
    with pytest.raises(CouchStoreException) as caught:
        CouchStore(path, "r")
    error = caught.value
    assert (error.code, error.name) == (ErrorCode.NO_SUCH_FILE, "COUCHSTORE_ERROR_NO_SUCH_FILE")
    assert error.path == error.what == str(path)
    assert error.target == ""
    assert error.errno == error.os_error == errno.ENOENT
    assert error.message == "open failed: No such file or directory (os error 2)"
    assert error.reason == f"{path}: {error.message}"


def test_damage(path: Path) -> None:
    path.write_text("this is a text")
    with pytest.raises(CouchStoreException) as caught:
        CouchStore(path)
    error = caught.value
    assert (error.name, error.path, error.errno, error.os_error) == ("COUCHSTORE_ERROR_CORRUPT", str(path), None, 0)
    assert error.message == error.reason == "find_header_at_pos: unknown block type:116 pos:0"


def test_messages_do_not_repeat_the_path(path: Path) -> None:
    CouchStore(path, "c").close()
    with CouchStore(path, "r") as store, pytest.raises(CouchStoreException) as caught:
        store["a"] = "1"
    error = caught.value
    assert error.reason == f"{path}: cannot be written, it was opened read-only"
    assert error.message == "cannot be written, it was opened read-only"
    assert str(error) == f"{path}: {strerror(error.code)} ({int(error.code)}): {error.message}"


def test_every_method_tells_the_path(path: Path) -> None:
    store = CouchStore(path, "c")
    local, infos = store.local_docs, store.all_docs()
    store.close()
    calls: list[Callable[[], object]] = [
        *(store.commit, store.info, store.header, store.rewind, store.refresh, store.is_current, store.reopen),
        *(lambda: store.save("a", ""), lambda: store.get("a"), lambda: len(store), lambda: store.set_purge_seq(1)),
        *(lambda: local["a"], lambda: local.clear(), lambda: list(infos), lambda: store.compact_online()),
        *(lambda: store.online_compaction(), lambda: store.compact(path.with_suffix(".2"))),
    ]
    for call in calls:
        with pytest.raises(CouchStoreException) as caught:
            call()
        error = caught.value
        assert (error.name, error.path, error.target) == ("COUCHSTORE_ERROR_FILE_CLOSED", str(path), "")


@pytest.mark.parametrize("online", [False, True])
def test_compactions_tell_both_paths(store: CouchStore, path: Path, tmp_path: Path, online: bool) -> None:
    target = tmp_path / "target"
    target.touch()
    with pytest.raises(CouchStoreOSError) as caught:
        (store.compact_online if online else store.compact)(target)
    error = caught.value
    assert (error.path, error.target, error.what) == (str(path), str(target), f"{path} -> {target}")
    assert (error.filename, error.filename2, error.errno) == (str(path), str(target), errno.EEXIST)
    assert str(error).startswith(f"{path} -> {target}: error opening file (-1): ")


@pytest.mark.parametrize(
    "error",
    [
        exception(ErrorCode.CORRUPT, "f", 0, "f: why"),
        exception(ErrorCode.OPEN_FILE, "f", errno.EEXIST, "f: why", "g"),
        exception(ErrorCode.NO_SUCH_FILE, "f"),
        exception(ErrorCode.ALLOC_FAIL, "f"),
        exception(-12345),
    ],
)
def test_copies_are_the_same(error: CouchStoreException) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    for name in ("code", "name", "path", "target", "what", "errno", "os_error", "reason", "message", "args"):
        assert getattr(copy, name) == getattr(error, name), name
    assert str(copy) == str(error)
    assert getattr(copy, "filename2", None) == getattr(error, "filename2", None)


def test_names_and_messages_without_a_reason() -> None:
    callback = CouchStoreException(-12345)
    assert (callback.name, callback.path, callback.errno) == ("", "", None)
    assert callback.message == strerror(-12345)
    assert exception(ErrorCode.READ, "f", errno.EIO).message == os.strerror(errno.EIO)
    assert exception(ErrorCode.CANCEL, "f").message == strerror(ErrorCode.CANCEL)
    assert [exception(code).name for code in ErrorCode] == [f"COUCHSTORE_ERROR_{code.name}" for code in ErrorCode]
