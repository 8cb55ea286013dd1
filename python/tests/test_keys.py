# SPDX-License-Identifier: Apache-2.0

"""Keys of encrypted files: what can be one. No file is read or written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Callable

import pytest

from couchstore import CouchStore, EncryptionKey, KeyDerivation

SECRET = b"1" * 32


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"^key must have 32 bytes, not {size}$") as caught:
        EncryptionKey(b"id", b"s" * size)
    assert "ss" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 256, 1000])
def test_an_id_has_1_to_255_bytes(size: int) -> None:
    with pytest.raises(ValueError, match=f"^id must have 1 to 255 bytes, not {size}$"):
        EncryptionKey(b"i" * size, SECRET)


def test_ids_at_the_limits() -> None:
    assert [len(EncryptionKey(b"i" * size, SECRET).id) for size in (1, 255)] == [1, 255]


@pytest.mark.parametrize(
    "change", [{"id": "text"}, {"id": None}, {"key": "1" * 32}, {"key": bytearray(32)}, {"key": None}]
)
def test_other_types_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="^(id|key) must be bytes, not ") as caught:
        EncryptionKey(**{"id": b"id", "key": SECRET, **change})
    assert "111" not in str(caught.value)


def test_ways_to_derive() -> None:
    plain: Any = 1
    assert EncryptionKey(b"id", SECRET).derivation is KeyDerivation.WRAPPED
    assert EncryptionKey(b"id", SECRET, plain).derivation is KeyDerivation.DERIVED
    for wrong in (2, -1, 1 << 32, "DERIVED", None):
        unknown: Any = wrong
        with pytest.raises(ValueError, match="KeyDerivation"):
            EncryptionKey(b"id", SECRET, unknown)


def test_changed_copies_are_checked_too() -> None:
    key = EncryptionKey(b"id", SECRET)
    assert dataclasses.replace(key, id=b"other").id == b"other"
    with pytest.raises(ValueError, match="32 bytes"):
        dataclasses.replace(key, key=b"short")
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.key = b"short"  # type: ignore[misc]


def test_keys_are_not_shown() -> None:
    shown = repr(EncryptionKey(b"first", SECRET))
    assert "111" not in shown
    assert "first" in shown


@pytest.mark.parametrize("keys", ["text", b"1" * 32, 7, {b"id": SECRET}])
def test_what_is_neither_key_nor_function(store: CouchStore, tmp_path: Path, keys: Any) -> None:
    target = tmp_path / "target"
    calls: list[Callable[[], object]] = [
        lambda: CouchStore(target, "c", keys=keys),
        lambda: CouchStore.create(target, keys=keys),
        lambda: store.compact(target, keys=keys),
        lambda: store.compact_online(target, keys=keys),
    ]
    for call in calls:
        with pytest.raises(
            TypeError, match=f"^keys must be an EncryptionKey, a function or None, not {type(keys).__name__}"
        ):
            call()
    assert not target.exists()
