# SPDX-License-Identifier: Apache-2.0

"""Keys of encrypted files."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Any, Callable, Optional, Union

from . import _native
from ._callbacks import Callbacks


MAX_ID = 255
"""Longest id of a key, in bytes."""

KEY_SIZE = 32
"""Bytes of a key."""


class KeyDerivation(IntEnum):
    """How the key of a new file follows from the given key."""

    WRAPPED = 0
    """The file has a random key, stored encrypted with the given one."""
    DERIVED = 1
    """The file's key is derived from the given one."""


@dataclass(frozen=True)
class EncryptionKey:
    """A key for AES-256-GCM. Raises TypeError or ValueError if it cannot be one.

    id: 1 to 255 bytes, stored in the file as they are.
    key: 32 bytes; not shown by repr().
    derivation: counts for new files only.
    """

    id: bytes
    key: bytes = field(repr=False)
    derivation: KeyDerivation = KeyDerivation.WRAPPED

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("key", self.key)):
            if not isinstance(value, bytes):
                raise TypeError(f"{name} must be bytes, not {type(value).__name__}")
        if not 1 <= len(self.id) <= MAX_ID:
            raise ValueError(f"id must have 1 to {MAX_ID} bytes, not {len(self.id)}")
        if len(self.key) != KEY_SIZE:
            raise ValueError(f"key must have {KEY_SIZE} bytes, not {len(self.key)}")
        object.__setattr__(self, "derivation", KeyDerivation(self.derivation))


KeyFunction = Callable[[bytes], Optional[EncryptionKey]]
"""Gives the key with an id; for the empty id the key for a new file. None: there is none."""

Keys = Union[EncryptionKey, KeyFunction]
"""One key for everything, or a function that finds keys."""


class SameKeys(Enum):
    """Type of SAME_KEYS."""

    SAME_KEYS = "same keys"


SAME_KEYS = SameKeys.SAME_KEYS
"""Stands for the keys that a store was opened with."""


def checked(keys: Keys | None) -> Keys | None:
    """The keys, unless they can be none: then TypeError."""
    if keys is None or isinstance(keys, EncryptionKey) or callable(keys):
        return keys
    raise TypeError(f"keys must be an EncryptionKey, a function or None, not {type(keys).__name__}")


def find(keys: Keys, key_id: bytes) -> EncryptionKey | None:
    """The key with this id, or the key for a new file if the id is empty."""
    if isinstance(keys, EncryptionKey):
        return keys if key_id in (b"", keys.id) else None
    return keys(key_id)


def native_callback(keys: Keys | None, callbacks: Callbacks) -> Any:
    """The callback for the library. What it gives stays good as long as the callback."""
    if keys is None:
        return _native.KEY_CALLBACK()
    chosen = keys
    given: list[EncryptionKey] = []

    def find_key(_: Any, id_address: int | None, id_size: int, out: Any) -> int:
        key = find(chosen, ctypes.string_at(id_address, id_size) if id_address and id_size else b"")
        if key is None:
            return 0
        if not isinstance(key, EncryptionKey):
            raise TypeError(f"keys must return an EncryptionKey or None, not {type(key).__name__}")
        given[:] = [key]
        out.contents.id.borrow(key.id)
        out.contents.key.borrow(key.key)
        out.contents.derivation = key.derivation
        return 1

    return _native.KEY_CALLBACK(callbacks.guard(find_key, failure=-1))
