# SPDX-License-Identifier: Apache-2.0

"""Ids and bodies of a store as a mapping, for views like those of a dict."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .store import CouchStore


class Documents(Mapping[str, bytes]):
    """The documents of a store that are not deleted, in order of ids: bodies, decompressed, by id."""

    def __init__(self, store: CouchStore) -> None:
        self.store = store

    def __getitem__(self, id: Any) -> bytes:
        if not isinstance(id, (str, bytes, bytearray, memoryview)):
            raise KeyError(id)
        return self.store[id]

    def __contains__(self, id: object) -> bool:
        # Not by reading the body.
        return isinstance(id, (str, bytes, bytearray, memoryview)) and id in self.store

    def __iter__(self) -> Iterator[str]:
        return (info.id for info in self.store)

    def __len__(self) -> int:
        return len(self.store)

    def values(self) -> ValuesView[bytes]:
        return _Bodies(self)

    def items(self) -> ItemsView[str, bytes]:
        return _Items(self)

    def __repr__(self) -> str:
        return f"<documents of {self.store!r}>"


class _Items(ItemsView[str, bytes]):
    """Finds bodies by where they are, not by their ids."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self._store = documents.store

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        for info in self._store:
            try:
                body = info.contents
            except KeyError:
                continue  # deleted before the store was opened again
            yield info.id, body


class _Bodies(ValuesView[bytes]):
    """As _Items."""

    def __init__(self, documents: Documents) -> None:
        super().__init__(documents)
        self._items = documents.items()

    def __contains__(self, body: object) -> bool:
        return any(body == present for present in self)

    def __iter__(self) -> Iterator[bytes]:
        return (body for _, body in self._items)
