# SPDX-License-Identifier: Apache-2.0

"""Encrypted files that are kept with the tests: read, or refused by a library without encryption."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from couchstore import CouchStore, CouchStoreException, EncryptionKey, ErrorCode

KEPT = Path(__file__).resolve().parents[2] / "tests" / "data"
KEY = EncryptionKey(b"kept", b"K" * 32)
WITHOUT = "COUCHSTORE_WITHOUT_ENCRYPTION" in os.environ


@pytest.mark.parametrize("name", ["encrypted-wrapped.couch", "encrypted-derived.couch"])
def test_files(path: Path, name: str) -> None:
    shutil.copy(KEPT / name, path)
    if WITHOUT:
        for keys in (None, KEY):
            with pytest.raises(CouchStoreException) as caught:
                CouchStore(path, "r", keys=keys)
            assert caught.value.code == ErrorCode.NOT_SUPPORTED
    else:
        with CouchStore(path, "r", keys=KEY) as store:
            assert store["a"] == b"first" and store.encryption_key_id == b"kept"


@pytest.mark.skipif(not WITHOUT, reason="the library has encryption")
def test_new_files(path: Path) -> None:
    with pytest.raises(CouchStoreException) as caught:
        CouchStore(path, "c", keys=KEY)
    assert caught.value.code == ErrorCode.NOT_SUPPORTED
    assert not path.exists()
    with CouchStore(path, "c", keys=lambda key_id: None) as store:
        store["a"] = b"plain"
        store.commit()
        assert store["a"] == b"plain" and store.encryption_key_id is None
