# SPDX-License-Identifier: Apache-2.0

"""Local documents."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from ctypes import POINTER, byref
from typing import TYPE_CHECKING, Union

from . import _native, _scan
from ._handle import Handle
from ._lookup import look_up
from ._native import lib
from .documents import Data, as_bytes, as_text

if TYPE_CHECKING:
    from .store import CouchStore


class LocalDocs(MutableMapping[Union[str, bytes], bytes]):
    """The local documents of a store, as a mapping of ids to bodies (bytes).

    They have no sequence number and no history, and a compaction keeps them. Changes become durable with
    ``CouchStore.commit()``. Iterating gives ids as str, in order of their bytes; see ``as_text()``.
    """

    def __init__(self, store: CouchStore) -> None:
        self._store = store
        self._handle: Handle = store._handle

    def __getitem__(self, id: Data) -> bytes:
        """The body. Raises KeyError if there is none."""
        key = as_bytes(id)
        out = POINTER(_native.LocalDoc)()
        with self._handle as db:
            return look_up(
                *(self._handle.filename, id, out, _body_of, lib.couchstore_free_local_document),
                *(lib.couchstore_open_local_document, db, key, len(key), byref(out)),
            )

    def __setitem__(self, id: Data, body: Data | None) -> None:
        """Saves a local document; None removes it."""
        self._save(id, None if body is None else as_bytes(body))

    def __delitem__(self, id: Data) -> None:
        """Removes a local document. That there is none is no error."""
        self._save(id, None)

    def __iter__(self) -> Iterator[str]:
        return (as_text(key) for key, _ in _scan.local_documents(self._handle))

    def __len__(self) -> int:
        """Their number. Reads all of them."""
        return sum(1 for _ in _scan.local_documents(self._handle))

    def clear(self) -> None:
        """Removes all of them."""
        # Not list(self), which asks for the length first.
        for id in list(iter(self)):
            del self[id]

    @property
    def store(self) -> CouchStore:
        """The store that they are in."""
        return self._store

    def _save(self, id: Data, body: bytes | None) -> None:
        key = as_bytes(id)
        doc = _native.LocalDoc(deleted=body is None)
        doc.id.borrow(key)
        doc.json.borrow(body or b"")
        self._handle.save(lib.couchstore_save_local_document, byref(doc))


def _body_of(doc: _native.LocalDoc) -> bytes:
    return doc.json.to_bytes()


class TextLocalDocs(LocalDocs):
    """The same with bodies as str, as programs for couchstore's own module expect them; see ``as_text()``."""

    def __getitem__(self, id: Data) -> str:  # type: ignore[override]
        return as_text(super().__getitem__(id))
