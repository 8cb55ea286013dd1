# SPDX-License-Identifier: Apache-2.0

"""Saving documents: what the library is given."""

from __future__ import annotations

from ctypes import addressof, c_void_p, sizeof
from typing import Any

from . import _native
from .documents import DocumentInfo


class Batch:
    """The arguments of couchstore_save_documents(), and all that they point to."""

    def __init__(self, infos: list[DocumentInfo], bodies: list[bytes | None]) -> None:
        count = len(infos)
        self._keep: list[bytes] = []
        self.infos = (_native.DocInfo * count)()
        self._docs = (_native.Doc * count)()
        for info, native in zip(infos, self.infos):
            info._fill(native, self._keep)
        self.info_pointers = _pointers(self.infos)
        self.doc_pointers = _pointers(self._docs)
        for index, body in enumerate(bodies):
            if body is None:
                self.doc_pointers[index] = None
            else:
                self._keep.append(body)
                self._docs[index].data.borrow(body)


def _pointers(structs: Any) -> Any:
    """An array of pointers to the elements of an array."""
    first, step = addressof(structs), sizeof(structs._type_)
    return (c_void_p * len(structs))(*range(first, first + step * len(structs), step))
