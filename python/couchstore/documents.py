# SPDX-License-Identifier: Apache-2.0

"""Documents as Python values."""

from __future__ import annotations

from ctypes import POINTER, byref
from typing import TYPE_CHECKING, Any, Generic, TypeVar, Union, overload

from . import _native
from ._handle import Handle
from ._lookup import look_up
from ._native import lib, unsigned
from .flags import ContentType, ReadOption

if TYPE_CHECKING:
    from .store import CouchStore

Data = Union[str, bytes, bytearray, memoryview]
"""What is accepted for bytes: a str is encoded with UTF-8."""

T = TypeVar("T")

_COMPRESSED = 128
_TYPE_MASK = 3
_NUMBER_BITS = 48
"""Of sequence numbers in a file."""


def as_bytes(data: Data) -> bytes:
    """The bytes to be stored; undoes as_text()."""
    if isinstance(data, str):
        return data.encode("utf-8", "surrogateescape")
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data)
    raise TypeError(f"expected str or bytes, got {type(data).__name__}")


def as_text(data: bytes) -> str:
    """The bytes as text. What is no UTF-8 becomes lone surrogates, so that nothing is lost."""
    return data.decode("utf-8", "surrogateescape")


class SizedBuf(bytes):
    """Bytes, as couchstore's own module hands out ``revMeta``."""

    def __new__(cls, data: Data | None = None) -> SizedBuf:
        return super().__new__(cls, b"" if data is None else as_bytes(data))

    def get_bytes(self) -> bytes:
        """The bytes themselves."""
        return bytes(self)

    @property
    def size(self) -> int:
        """Their number."""
        return len(self)


class _Alias(Generic[T]):
    """Another name for an attribute."""

    def __init__(self, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> _Alias[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object, owner: type) -> Any:
        return self if instance is None else getattr(instance, self._name)

    def __set__(self, instance: object, value: T) -> None:
        setattr(instance, self._name, value)


class DocumentInfo:
    """Everything about a document but its body: what the index has of it. Copies; nothing is to be freed.

    Made by a store when it reads, or by the caller for ``CouchStore.save()``.

    key: the id as bytes. Documents are sorted by it, byte by byte.
    sequence: number of the change; set by the library when the document is saved.
    rev_sequence, rev_meta: number (48 bits) and bytes that belong to the user.
    deleted: whether the document is deleted. It may have a body all the same.
    content_meta: flags; see content_type and compressed.
    physical_size: bytes that the body takes in the file.
    """

    IS_JSON = ContentType.JSON
    INVALID_JSON = ContentType.INVALID_JSON
    INVALID_JSON_KEY = ContentType.INVALID_JSON_KEY
    NON_JSON = ContentType.NON_JSON

    __slots__ = (
        *("key", "sequence", "rev_sequence", "rev_meta", "deleted", "content_meta", "physical_size"),
        *("_store", "_handle", "_position", "_generation"),
    )

    revSequence = _Alias[int]("rev_sequence")
    contentType = _Alias[int]("content_type")
    physSize = _Alias[int]("physical_size")

    def __init__(
        self,
        id: Data,
        *,
        rev_sequence: int = 0,
        rev_meta: Data = b"",
        deleted: bool = False,
        content_type: int = ContentType.NON_JSON,
        compressed: bool = False,
        sequence: int = 0,
    ) -> None:
        self.key = as_bytes(id)
        self.sequence = sequence
        self.rev_sequence = rev_sequence
        self.rev_meta: bytes = SizedBuf(rev_meta)
        self.deleted = deleted
        self.content_meta = 0
        self.content_type = content_type
        self.compressed = compressed
        self.physical_size = 0
        self._store: CouchStore | None = None
        self._handle: Handle | None = None
        # Of the body, in the store's file of this generation. None: not known, it is found by the id.
        self._position: int | None = None
        self._generation = 0

    @property
    def revMeta(self) -> SizedBuf:
        """rev_meta, as programs for couchstore's own module expect it."""
        return SizedBuf(self.rev_meta)

    @revMeta.setter
    def revMeta(self, value: Data) -> None:
        self.rev_meta = as_bytes(value)

    @property
    def store(self) -> CouchStore | None:
        """Where it was read from, or saved."""
        return self._store

    def dump(self) -> None:
        """Prints everything but the body."""
        print(f"Doc seq: {self.sequence}")
        print(f"     id: {self.id}")
        print(f"     rev: {self.rev_sequence}")
        print(f"     rev_meta: {self.rev_meta.hex()}")
        print(f"     content_meta: {self.content_meta:#04x}")
        print(f"     size (on disk): {self.physical_size}")
        if self.deleted:
            print("     doc deleted")

    @property
    def id(self) -> str:
        """The id as text; see as_text()."""
        return as_text(self.key)

    @property
    def content_type(self) -> int:
        """A ContentType."""
        return self.content_meta & _TYPE_MASK

    @content_type.setter
    def content_type(self, value: int) -> None:
        self.content_meta = self.content_meta & ~_TYPE_MASK | ContentType(value)

    @property
    def compressed(self) -> bool:
        """Whether the body is stored compressed; for saving with COMPRESS: whether it is to be."""
        return bool(self.content_meta & _COMPRESSED)

    @compressed.setter
    def compressed(self, value: bool) -> None:
        self.content_meta = self.content_meta & ~_COMPRESSED | (_COMPRESSED if value else 0)

    def get_contents(self, options: int = 0) -> bytes:
        """The body, as it is stored or with ReadOption.DECOMPRESS.

        After this entry was saved, or the store was opened again or has discarded what was not committed, it is the
        body that the document has now.
        Raises KeyError if there is none, ValueError if this entry was neither read from a store nor saved.
        """
        if self._handle is None:
            raise ValueError(f"{self!r} does not come from a store")
        with self._handle as db:
            if self._position is None or self._generation != self._handle.generation:
                info = find(self._handle, self._store, self.id, lib.couchstore_docinfo_by_id, self.key, len(self.key))
                return info.get_contents(options)
            native = _native.DocInfo()
            keep: list[bytes] = []
            self._fill(native, keep)
            out = POINTER(_native.Doc)()
            return look_up(
                *(self._handle.filename, self.id, out, _body_of, lib.couchstore_free_document),
                *(lib.couchstore_open_doc_with_docinfo, db, byref(native), byref(out), unsigned("options", options)),
            )

    getContents = get_contents

    @property
    def contents(self) -> bytes:
        """The body, decompressed. Raises as get_contents()."""
        return self.get_contents(ReadOption.DECOMPRESS)

    def __repr__(self) -> str:
        state = ", deleted" if self.deleted else ""
        return f"<DocumentInfo {self.id!r}, sequence {self.sequence}{state}>"

    def _fill(self, native: _native.DocInfo, keep: list[bytes]) -> None:
        """Fills in the struct, which points to bytes that are added to ``keep``."""
        key, rev_meta = as_bytes(self.key), as_bytes(self.rev_meta)
        keep += (key, rev_meta)
        native.id.borrow(key)
        native.rev_meta.borrow(rev_meta)
        native.db_seq = unsigned("sequence", self.sequence, _NUMBER_BITS)
        native.rev_seq = unsigned("rev_sequence", self.rev_sequence, _NUMBER_BITS)
        native.deleted = bool(self.deleted)
        native.content_meta = unsigned("content_meta", self.content_meta, 8)
        native.bp = self._position or 0
        native.physical_size = unsigned("physical_size", self.physical_size)

    @classmethod
    def _copy(
        cls, native: _native.DocInfo, handle: Handle | None = None, store: CouchStore | None = None
    ) -> DocumentInfo:
        """What the struct says. ``handle`` is where bodies are read from, ``store`` whose handle that is."""
        info = cls.__new__(cls)
        info.key = native.id.to_bytes()
        info.sequence = native.db_seq
        info.rev_sequence = native.rev_seq
        info.rev_meta = SizedBuf(native.rev_meta.to_bytes())
        info.deleted = bool(native.deleted)
        info.content_meta = native.content_meta
        info.physical_size = native.physical_size
        info._store = store
        info._handle = handle
        info._position = native.bp
        info._generation = 0 if handle is None else handle.generation
        return info

    def _saved(self, handle: Handle, store: CouchStore, sequence: int, deleted: bool) -> None:
        self.sequence = sequence
        self.deleted = deleted
        self._store = store
        self._handle = handle
        self._position = None


def _body_of(doc: _native.Doc) -> bytes:
    return doc.data.to_bytes()


def find(handle: Handle, store: CouchStore | None, key: Any, function: Any, *arguments: Any) -> DocumentInfo:
    """The entry that a function of the library finds with these arguments. Raises KeyError with the key otherwise."""
    out = POINTER(_native.DocInfo)()
    with handle as db:
        return look_up(
            *(handle.filename, key, out, lambda native: DocumentInfo._copy(native, handle, store)),
            *(lib.couchstore_free_docinfo, function, db, *arguments, byref(out)),
        )
