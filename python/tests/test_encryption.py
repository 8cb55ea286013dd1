# SPDX-License-Identifier: Apache-2.0

"""Encrypted files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from couchstore import CouchStore, CouchStoreException, EncryptionKey, ErrorCode, KeyDerivation

pytestmark = pytest.mark.skipif(
    "COUCHSTORE_WITHOUT_ENCRYPTION" in os.environ, reason="the library was built without encryption"
)

FIRST = EncryptionKey(b"first", b"1" * 32)
SECOND = EncryptionKey(b"second", b"2" * 32, KeyDerivation.DERIVED)
SECRET = b"nobody is to know this " * 10


def code_of(path: Path, keys: Any) -> int:
    with pytest.raises(CouchStoreException) as caught:
        with CouchStore(path, "r", keys=keys) as store:
            list(store.items())
    return caught.value.code


@pytest.fixture
def encrypted(path: Path) -> CouchStore:
    store = CouchStore(path, "c", keys=FIRST)
    store["secret id"] = SECRET
    store.commit()
    return store


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_with_one_key(path: Path, key: EncryptionKey) -> None:
    with CouchStore(path, "c", keys=key) as store:
        assert store.encryption_key_id == key.id
        store["secret id"] = SECRET
        store.commit()
    data = path.read_bytes()
    assert b"nobody" not in data and b"secret id" not in data and key.id in data
    with CouchStore(path, "r", keys=key) as store:
        assert store["secret id"] == SECRET


def test_with_other_keys(encrypted: CouchStore, path: Path) -> None:
    encrypted.close()
    assert code_of(path, None) == ErrorCode.NO_ENCRYPTION_KEY
    assert code_of(path, SECOND) == ErrorCode.NO_ENCRYPTION_KEY
    assert code_of(path, EncryptionKey(b"first", b"?" * 32)) == ErrorCode.DECRYPT


def test_a_function_finds_keys(path: Path) -> None:
    asked: list[bytes] = []

    def find(key_id: bytes) -> EncryptionKey | None:
        asked.append(key_id)
        return {b"": FIRST, b"first": FIRST}.get(key_id)

    with CouchStore(path, "c", keys=find) as store:
        store.commit()
    with CouchStore(path, keys=find):
        pass
    assert asked == [b"", b"first"]
    assert code_of(path, lambda key_id: None) == ErrorCode.NO_ENCRYPTION_KEY


def test_no_key_for_a_new_file(path: Path) -> None:
    with CouchStore(path, "c", keys=lambda key_id: None) as store:
        assert store.encryption_key_id is None


class Stop(Exception):
    """Raised by callbacks."""


def test_exceptions_of_the_function(encrypted: CouchStore, path: Path, tmp_path: Path) -> None:
    def fail(key_id: bytes) -> EncryptionKey:
        raise Stop(key_id.decode())

    with pytest.raises(Stop, match="first"):
        CouchStore(path, keys=fail)
    with pytest.raises(Stop):
        CouchStore(tmp_path / "new", "c", keys=fail)
    with pytest.raises(TypeError):
        CouchStore(tmp_path / "new", "c", keys=lambda key_id: EncryptionKey("text", b"1" * 32))  # type: ignore[arg-type]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("online", [False, True])
def test_compacting_keeps_the_key(encrypted: CouchStore, tmp_path: Path, online: bool) -> None:
    target = tmp_path / "target"
    if online:
        encrypted.compact_online(target)
    else:
        encrypted.compact(target)
    with CouchStore(target, "r", keys=FIRST) as copy:
        assert copy.encryption_key_id == b"first"
        assert copy["secret id"] == SECRET


def test_compacting_changes_the_key(encrypted: CouchStore, tmp_path: Path) -> None:
    encrypted.compact(tmp_path / "second", keys=SECOND)
    with CouchStore(tmp_path / "second", "r", keys=SECOND) as copy:
        assert copy.encryption_key_id == b"second"
        assert copy["secret id"] == SECRET
    encrypted.compact(tmp_path / "plain", keys=None)
    with CouchStore(tmp_path / "plain", "r") as copy:
        assert copy.encryption_key_id is None
        assert copy["secret id"] == SECRET


def test_compacting_online_changes_the_key(encrypted: CouchStore, path: Path) -> None:
    encrypted.compact_online(keys=lambda key_id: FIRST if key_id == b"first" else SECOND)
    with CouchStore(path, "r", keys=SECOND) as copy:
        assert copy["secret id"] == SECRET


def test_reopening(encrypted: CouchStore) -> None:
    encrypted.compact_online(publish=lambda source, target: encrypted.reopen())
    assert encrypted.is_current()
    assert encrypted["secret id"] == SECRET
    encrypted.close()


def test_other_results_of_the_function_are_refused(path: Path) -> None:
    with pytest.raises(TypeError, match="EncryptionKey or None, not str"):
        CouchStore(path, "c", keys=lambda key_id: "text")  # type: ignore[arg-type]
    assert not path.exists()


def test_the_function_cannot_close_the_store_that_is_opened_again(path: Path) -> None:
    stores: list[CouchStore] = []

    def find(key_id: bytes) -> EncryptionKey:
        for store in stores:
            store.close()
        return FIRST

    with CouchStore(path, "c", keys=find) as store:
        store["a"] = "1"
        store.commit()
        stores.append(store)
        with pytest.raises(RuntimeError, match="cannot close the store"):
            store.reopen()
        assert store["a"] == b"1"
