"""Databases."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from ctypes import POINTER, addressof, byref, c_int, c_size_t, c_uint64, c_void_p, create_string_buffer, sizeof
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Union

from . import _native, _scan, compaction
from ._callbacks import Callbacks
from ._handle import Handle
from ._native import lib, unsigned
from .compaction import CompactHook, Lock, OnlineStats, Progress
from .documents import Data, DocumentInfo, as_bytes
from .errors import CouchStoreException, ErrorCode, call
from .flags import ContentType, Direction, OpenFlag, ReadOption, SaveOption, ScanOption
from .keys import SAME_KEYS, Keys, SameKeys, native_callback
from .local_docs import LocalDocs, TextLocalDocs

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Id = Union[Data, DocumentInfo]
"""The id of a document to be saved; a DocumentInfo gives everything but the body."""

_MODES = {
    None: OpenFlag(0),
    "r": OpenFlag.READ_ONLY,
    "c": OpenFlag.CREATE,
    "x": OpenFlag.CREATE | OpenFlag.EXCLUSIVE,
}
_MAX_KEY_ID = 255
_NO_POSITION = 2**64 - 1


@dataclass(frozen=True)
class StoreInfo:
    """Figures of a store, with what was saved and not committed. Sizes and positions in bytes.

    doc_count does not count deleted documents, deleted_count does only these.
    """

    filename: str
    last_sequence: int
    doc_count: int
    deleted_count: int
    space_used: int
    file_size: int
    header_position: int
    purge_seq: int


@dataclass(frozen=True)
class HeaderInfo:
    """The header that a store stands on. Sizes and positions in bytes.

    version: of the format, 11 to 14.
    timestamp: of the commit, ns since 1970; 0 before version 13.
    previous_header_position: None if it is not known.
    """

    version: int
    timestamp: int
    update_seq: int
    purge_seq: int
    header_position: int
    doc_count: int
    deleted_count: int
    space_used: int
    file_size: int
    previous_header_position: int | None


def native_path(path: PathLike) -> bytes:
    """The name for the library. Raises ValueError if it holds a zero byte."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError("embedded null byte")
    return name


class CouchStore:
    """An open database file.

    Ids and bodies may be given as bytes or as str, which is encoded with UTF-8; bodies come back as bytes. Nothing is
    durable, or visible to others, before ``commit()``; closing does not commit. In a forked child a store is closed.

    Any number of stores may be open on one file, one of them writing. Each sees the state of the header that it
    stands on until it is moved (``refresh``, ``rewind``, ``seek``) or commits. Calls from several threads on one store
    wait for each other. The interpreter's lock is not held during a call.

    Failures raise CouchStoreException; a closed store does so with ErrorCode.FILE_CLOSED.
    """

    CREATE = OpenFlag.CREATE
    RDONLY = OpenFlag.READ_ONLY
    COMPRESS = COMPRESS_DOC_BODIES = SaveOption.COMPRESS
    SEQUENCE_AS_IS = SaveOption.SEQUENCE_AS_IS
    DECOMPRESS = DECOMPRESS_DOC_BODIES = ReadOption.DECOMPRESS
    DELETES_ONLY = ScanOption.DELETES_ONLY
    NO_DELETES = ScanOption.NO_DELETES
    TOLERATE_CORRUPTION = ScanOption.TOLERATE_CORRUPTION
    IS_JSON = ContentType.JSON
    INVALID_JSON = ContentType.INVALID_JSON
    INVALID_JSON_KEY = ContentType.INVALID_JSON_KEY
    NON_JSON = ContentType.NON_JSON

    # ---- Opening and closing

    def __init__(
        self,
        path: PathLike,
        mode: str | None = None,
        *,
        flags: int = 0,
        keys: Keys | None = None,
        unbuffered: bool = False,
    ) -> None:
        """Opens a file.

        mode: None: an existing file, for reading and writing; 'r': an existing file, for reading only; 'c': it is
            created if it does not exist; 'x': it is created and must not exist. A file is created complete and
            durable, or not at all.
        flags: further OpenFlag values.
        keys: for encrypted files: the key, or a function that finds keys. A file that is created is encrypted with
            the key given for the empty id. Kept as long as the store, for compacting.
        unbuffered: as OpenFlag.UNBUFFERED in flags.
        """
        if mode not in _MODES:
            raise ValueError(f"unknown mode {mode!r}: expected None, 'r', 'c' or 'x'")
        self._name = native_path(path)
        self._flags: int = _MODES[mode] | unsigned("flags", flags) | (OpenFlag.UNBUFFERED if unbuffered else 0)
        self._keys = keys
        self._handle = Handle(self._open(self._flags))

    @classmethod
    def create(cls, path: PathLike, *, flags: int = 0, keys: Keys | None = None) -> CouchStore:
        """Creates a file that must not exist: mode 'x'."""
        return cls(path, "x", flags=flags, keys=keys)

    @classmethod
    def _borrow(cls, pointer: int, name: bytes) -> CouchStore:
        """A store on a handle of the library's, to be closed when the callback that was given it ends."""
        store = cls.__new__(cls)
        store._name = name
        store._flags = 0
        store._keys = None
        store._handle = Handle(pointer, owned=False)
        return store

    def _open(self, flags: int) -> int:
        db = c_void_p()
        if self._keys is None:
            call(lib.couchstore_open_db, self._name, flags, byref(db), what=self.filename)
        else:
            callbacks = Callbacks()
            keys = native_callback(self._keys, callbacks)
            arguments = (self._name, flags, None, keys, None, byref(db))
            callbacks.call(lib.couchstore_open_db_with_key, *arguments, what=self.filename)
        assert db.value is not None
        return db.value

    def close(self) -> None:
        """Closes the file; the second time nothing happens. What was not committed is lost.

        Raises CouchStoreException if closing failed (the store is closed all the same), RuntimeError in a callback of
        a call on this store.
        """
        self._handle.close()

    @property
    def closed(self) -> bool:
        """Whether the store was closed."""
        return self._handle.is_closed

    def reopen(self) -> None:
        """Opens the file that has the name now, for example after a compaction has replaced it.

        What was not committed is lost. After a failure the store is as it was.
        """
        flags = self._flags & ~int(OpenFlag.CREATE | OpenFlag.EXCLUSIVE)
        self._handle.replace(lambda: self._open(flags))

    def __enter__(self) -> CouchStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<CouchStore {self.filename!r}{', closed' if self.closed else ''}>"

    # ---- Saving

    def save(self, id: Id, value: Data | None, options: int = 0) -> int:
        """Saves a document, or deletes it if the value is None. Returns the sequence number.

        id: the id, or a DocumentInfo with everything but the body; its sequence is set. With ``deleted`` set and a
            value, a deleted document with a body is saved.
        options: SaveOption values. With COMPRESS the body is compressed, if there is no DocumentInfo or it says so.
        """
        return self.save_many([id], [value], options)[0]

    def save_many(self, ids: Sequence[Id], values: Sequence[Data | None], options: int = 0) -> list[int]:
        """Saves documents as save() does, all or none of them. Returns their sequence numbers.

        If an id comes twice its last document counts.
        """
        if len(ids) != len(values):
            raise ValueError(f"{len(ids)} ids for {len(values)} values")
        compress = bool(options & SaveOption.COMPRESS)
        infos = [id if isinstance(id, DocumentInfo) else DocumentInfo(id, compressed=compress) for id in ids]
        bodies = [None if value is None else as_bytes(value) for value in values]
        batch = _Batch(infos, bodies)
        with self._handle as db:
            arguments = (db, batch.doc_pointers, batch.info_pointers, len(infos), unsigned("options", options))
            self._handle.has_changes = True
            call(lib.couchstore_save_documents, *arguments, what=self.filename)
        sequences = [native.db_seq for native in batch.infos]
        for info, body, sequence in zip(infos, bodies, sequences):
            info._saved(self, sequence, info.deleted or body is None)
        return sequences

    def delete(self, id: Id, options: int = 0) -> int:
        """Deletes a document, whether it exists or not: the deletion is recorded. Returns its sequence number."""
        return self.save(id, None, options)

    def commit(self, timestamp: int | None = None) -> None:
        """Makes everything that was saved durable, and visible to whoever opens the file.

        timestamp: stored in the header, in ns since 1970; None: now.
        If a sync failed, the store takes no more writes until the file is opened again.
        """
        with self._handle as db:
            if timestamp is None:
                call(lib.couchstore_c_commit, db, what=self.filename)
            else:
                time = unsigned("timestamp", timestamp)
                call(lib.couchstore_c_commit_ex, db, time, None, None, what=self.filename)
            self._handle.has_changes = False

    def set_purge_seq(self, sequence: int) -> None:
        """Sets the purge sequence (48 bits) that the next commit stores."""
        with self._handle as db:
            call(lib.couchstore_set_purge_seq, db, unsigned("sequence", sequence, 48), what=self.filename)

    # ---- Reading

    def get(self, id: Data, options: int = 0) -> bytes:
        """The body of a document. Raises KeyError if there is none, or it is deleted.

        options: ReadOption.DECOMPRESS, or 0 for the body as it is stored.
        """
        info = self.get_info(id)
        if info.deleted:
            raise KeyError(id)
        return info.get_contents(options)

    def get_info(self, id: Data) -> DocumentInfo:
        """The entry of a document, also of a deleted one. Raises KeyError if there is none."""
        key = as_bytes(id)
        return self._find(id, lib.couchstore_docinfo_by_id, key, len(key))

    def get_info_by_sequence(self, sequence: int) -> DocumentInfo:
        """The entry of the document that was last changed with this number. Raises KeyError if there is none."""
        return self._find(sequence, lib.couchstore_docinfo_by_sequence, unsigned("sequence", sequence))

    def __getitem__(self, id: Data) -> bytes:
        """The body of a document, decompressed. Raises KeyError if there is none, or it is deleted."""
        return self.get(id, ReadOption.DECOMPRESS)

    def __setitem__(self, id: Id, value: Data | None) -> None:
        self.save(id, value)

    def __delitem__(self, id: Id) -> None:
        """Deletes a document, whether it exists or not."""
        self.delete(id)

    def __contains__(self, id: Data) -> bool:
        """Whether there is a document of this id that is not deleted."""
        try:
            return not self.get_info(id).deleted
        except KeyError:
            return False

    @property
    def local_docs(self) -> LocalDocs:
        """The local documents."""
        return LocalDocs(self)

    # ---- Going through documents
    #
    # All of these read some hundred entries at a time. While they run the store may be used, and changed; documents
    # that are changed meanwhile may be left out.

    def __iter__(self) -> Iterator[DocumentInfo]:
        """The documents that are not deleted, in order of ids."""
        return self.all_docs()

    def keys(self) -> Iterator[str]:
        """The ids of the documents that are not deleted, in order."""
        return (info.id for info in self)

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Ids and bodies, decompressed, of the documents that are not deleted, in order of ids."""
        for info in self:
            try:
                body = info.contents
            except KeyError:
                continue  # deleted before the store was opened again
            yield info.id, body

    def all_docs(
        self, start: Data | None = None, end: Data | None = None, options: int = ScanOption.NO_DELETES
    ) -> Iterator[DocumentInfo]:
        """The documents with ids from start to end, both included, in order of ids. None: no bound.

        options: ScanOption values. 0 shows deleted documents, too.
        """
        first = b"" if start is None else as_bytes(start)
        return _scan.documents(self, first, None if end is None else as_bytes(end), unsigned("options", options))

    def changes(self, since: int = 0, options: int = 0) -> Iterator[DocumentInfo]:
        """The documents with sequence numbers of at least since, in order of these, deleted ones too.

        options: ScanOption values. Ends at the number that is the highest one at the beginning.
        """
        return _scan.changes(self, unsigned("since", since), unsigned("options", options))

    def changes_since(self, since: int, options: int = 0) -> list[DocumentInfo]:
        """As changes(), in a list."""
        return list(self.changes(since, options))

    def changes_count(self, first: int, last: int) -> int:
        """Number of documents with sequence numbers from first to last, both included, deleted ones too."""
        count = c_uint64()
        with self._handle as db:
            arguments = (db, unsigned("first", first), unsigned("last", last), byref(count))
            call(lib.couchstore_changes_count, *arguments, what=self.filename)
        return count.value

    def for_each_change(self, since: int, function: Callable[[DocumentInfo], Any], options: int = 0) -> None:
        """Calls the function with each element of changes(). Its result is ignored; an exception ends it."""
        for info in self.changes(since, options):
            function(info)

    def for_each_doc(
        self,
        start: Data | None,
        end: Data | None,
        function: Callable[[DocumentInfo], Any],
        options: int = 0,
    ) -> None:
        """Calls the function with each element of all_docs(), by default with deleted documents, too."""
        for info in self.all_docs(start, end, options):
            function(info)

    # ---- Headers

    @property
    def filename(self) -> str:
        """The name of the file, as it was given."""
        return os.fsdecode(self._name)

    def info(self) -> StoreInfo:
        """Figures of the store."""
        native = _native.DbInfo()
        with self._handle as db:
            call(lib.couchstore_db_info, db, byref(native), what=self.filename)
        return StoreInfo(**{**_native.fields(native), "filename": self.filename})

    def header(self) -> HeaderInfo:
        """The header that the store stands on."""
        native = _native.HeaderInfo()
        with self._handle as db:
            call(lib.couchstore_get_header, db, byref(native), what=self.filename)
        fields = _native.fields(native)
        if fields["previous_header_position"] == _NO_POSITION:
            fields["previous_header_position"] = None
        return HeaderInfo(**fields)

    def rewind(self) -> None:
        """Goes to the header before this one. What was not committed is discarded.

        Raises CouchStoreException if there is none; then the store stays on its header.
        """
        self._seek(Direction.BACKWARD)

    def fast_forward(self) -> None:
        """Goes to the header behind this one. What was not committed is discarded. Fails as rewind()."""
        self._seek(Direction.FORWARD)

    def refresh(self) -> None:
        """Goes to the newest header, also to one that others have written. What was not committed is discarded."""
        self._seek(Direction.END)

    def seek(self, position: int) -> None:
        """Goes to the header at this position in bytes. What was not committed is discarded. Fails as rewind()."""
        with self._handle as db:
            self._handle.discard_changes()
            call(lib.couchstore_seek_offset, db, unsigned("position", position, 63), what=self.filename)

    def is_current(self) -> bool:
        """Whether the name still leads to the file that is open: not after it was removed or replaced."""
        result = c_int()
        with self._handle as db:
            call(lib.couchstore_is_current, db, byref(result), what=self.filename)
        return bool(result.value)

    @property
    def encryption_key_id(self) -> bytes | None:
        """The id of the key that the file is encrypted with; None: it is not encrypted."""
        buffer = create_string_buffer(_MAX_KEY_ID)
        length = c_size_t()
        with self._handle as db:
            arguments = (db, buffer, _MAX_KEY_ID, byref(length))
            call(lib.couchstore_get_encryption_key_id, *arguments, what=self.filename)
        return buffer.raw[: length.value] or None

    # ---- Compacting

    def compact(
        self,
        target: PathLike,
        *,
        drop_deletes: bool = False,
        hook: CompactHook | None = None,
        finish: Callable[[CouchStore], Any] | None = None,
        keys: Keys | SameKeys | None = SAME_KEYS,
        flags: int = 0,
    ) -> None:
        """Copies the state of the store, with what was not committed, to a new file.

        What other stores commit to the file meanwhile is not seen. After a failure there is no target.

        target: must not exist.
        drop_deletes: leaves out deleted documents; the hook is not asked about them.
        hook: called with each DocumentInfo and None; decides with a CompactAction, NEED_BODY to be called again with
            the body as it is stored. None as the result keeps the document.
        finish: called with the target before it is committed: the time to add to it. The store that it gets is closed
            when it returns.
        keys: for the target, which is encrypted with the key given for the empty id; None: it is not encrypted. By
            default the keys that this store was opened with.
        flags: further CompactFlag values.

        An exception in a callback ends the compaction and is raised.
        """
        compaction.compact(self, native_path(target), drop_deletes, hook, finish, self._chosen_keys(keys), flags)

    def compact_online(
        self,
        target: PathLike | None = None,
        *,
        lock: Lock | None = None,
        publish: Callable[[CouchStore, CouchStore], Any] | None = None,
        progress: Callable[[Progress], Any] | None = None,
        cancel: Callable[[], bool] | None = None,
        drop_deletes: bool = False,
        hook: CompactHook | None = None,
        finish: Callable[[CouchStore], Any] | None = None,
        keys: Keys | SameKeys | None = SAME_KEYS,
        flags: int = 0,
        max_unlocked_rounds: int | None = None,
        delta_bytes_for_lock: int | None = None,
        memory_budget: int | None = None,
    ) -> OnlineStats:
        """Compacts the file of this store, by its name, while others save to it, also through this store.

        The result has everything that was committed until the end. This store stays on the old file: if that is
        replaced, go on with ``reopen()``. After a failure the names are as they were and nothing of the result is
        left. Only one such compaction of a file runs at a time; another one fails with OPEN_FILE, os_error EBUSY.

        target: name of the result, which must not exist. None: the result takes the place of the file.
        lock: a context manager (for example a threading.Lock) that whoever saves to the file holds while saving and
            committing. Taken at the end, and for short times before if saving is faster than copying. None: nobody
            saves.
        publish: called under the lock with the source and the target as soon as the target is durable under its final
            name: the time to switch over. The stores that it gets are closed when it returns.
        progress: called now and then while copying and catching up, also under the lock.
        cancel: asked as often; True ends the compaction with ErrorCode.CANCEL.
        drop_deletes, hook, finish, flags: as for compact(). What is committed meanwhile is kept without asking.
        keys: for this file and the result.
        max_unlocked_rounds: of catching up without the lock; None: 10.
        delta_bytes_for_lock: growth of the file from which on to take the lock, at least 1; None: 1 MiB.
        memory_budget: for sorting, in bytes, at least 1; None: 48 MiB.

        An exception in a callback ends the compaction, undoes everything, and is raised. Only when leaving the lock
        fails the result stays.
        """
        with self._handle:
            pass  # a closed store cannot be compacted
        job = compaction.Online(hook, finish, drop_deletes, lock, publish, progress, cancel, flags, self._flags)
        limits = compaction.Limits(max_unlocked_rounds, delta_bytes_for_lock, memory_budget)
        return job.run(self._name, None if target is None else native_path(target), self._chosen_keys(keys), limits)

    def _chosen_keys(self, keys: Keys | SameKeys | None) -> Keys | None:
        return self._keys if isinstance(keys, SameKeys) else keys

    # ---- Inside

    def _seek(self, direction: Direction) -> None:
        with self._handle as db:
            self._handle.discard_changes()
            call(lib.couchstore_seek, db, direction, what=self.filename)

    def _find(self, key: Any, function: Any, *arguments: Any) -> DocumentInfo:
        found = POINTER(_native.DocInfo)()
        with self._handle as db:
            try:
                call(function, db, *arguments, byref(found), what=self.filename)
            except CouchStoreException as error:
                raise _as_key_error(error, key) from None
            try:
                return DocumentInfo._copy(found.contents, self)
            finally:
                lib.couchstore_free_docinfo(found)

    def _read_body(self, info: DocumentInfo, options: int) -> bytes:
        native = _native.DocInfo()
        keep: list[bytes] = []
        found = POINTER(_native.Doc)()
        with self._handle as db:
            if info._position is None or info._generation != self._handle.generation:
                info = self.get_info(info.key)
            info._fill(native, keep)
            try:
                arguments = (db, byref(native), byref(found), unsigned("options", options))
                call(lib.couchstore_open_doc_with_docinfo, *arguments, what=self.filename)
            except CouchStoreException as error:
                raise _as_key_error(error, info.id) from None
            try:
                return found.contents.data.to_bytes()
            finally:
                lib.couchstore_free_document(found)

    # ---- Names of the older module

    def saveMultiple(self, ids: Sequence[Id], values: Sequence[Data | None], options: int = 0) -> list[int]:
        """As save_many(), but an empty value deletes as None does."""
        return self.save_many(ids, [value or None for value in values], options)

    @property
    def localDocs(self) -> TextLocalDocs:
        """The local documents, with bodies as str."""
        return TextLocalDocs(self)

    @property
    def path(self) -> str:
        """As filename."""
        return self.filename

    rewindHeader = rewind
    getInfo = get_info
    getInfoBySequence = get_info_by_sequence
    getDbInfo = info
    changesSince = changes_since
    changesCount = changes_count
    forEachChange = for_each_change
    forEachDoc = for_each_doc


def _as_key_error(error: CouchStoreException, key: Any) -> Exception:
    return KeyError(key) if error.code == ErrorCode.DOC_NOT_FOUND else error


class _Batch:
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
