# SPDX-License-Identifier: Apache-2.0

"""Databases."""

from __future__ import annotations

import os
from collections.abc import ItemsView, Iterator, KeysView, Sequence, ValuesView
from ctypes import byref, c_int, c_size_t, c_uint64, c_void_p, create_string_buffer
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, TypeVar, Union, overload

from . import _native, _scan, compaction
from ._callbacks import Callbacks
from ._handle import Handle
from ._native import lib, unsigned
from ._saving import Batch
from ._views import Documents
from .background import OnlineCompaction
from .compaction import CompactHook, Lock, OnlineOptions, OnlineStats, Progress
from .documents import Data, DocumentInfo, as_bytes, find
from .errors import call
from .figures import HeaderInfo, StoreInfo
from .flags import ContentType, Direction, OpenFlag, ReadOption, SaveOption, ScanOption
from .keys import MAX_ID, SAME_KEYS, Keys, SameKeys, checked, native_callback
from .local_docs import LocalDocs, TextLocalDocs

if TYPE_CHECKING:
    from typing_extensions import Unpack

T = TypeVar("T")

PathLike = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Id = Union[Data, DocumentInfo]
"""The id of a document to be saved; a DocumentInfo gives everything but the body."""

_MODES = {
    None: OpenFlag(0),
    "r": OpenFlag.READ_ONLY,
    "c": OpenFlag.CREATE,
    "x": OpenFlag.CREATE | OpenFlag.EXCLUSIVE,
}
_NO_POSITION = 2**64 - 1
_NOT_GIVEN: Any = object()


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

    Reads like a dict: ``store[id]``, ``in``, ``len()``, ``get(id, default)``, ``keys()``, ``values()``, ``items()``.
    But iterating gives a DocumentInfo for each document, and a store is true also if it is empty.

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
        name = native_path(path)
        self._flags: int = _MODES[mode] | unsigned("flags", flags) | (OpenFlag.UNBUFFERED if unbuffered else 0)
        self._keys = checked(keys)
        self._handle = Handle(self._open(name, self._flags), name)

    @classmethod
    def create(cls, path: PathLike, *, flags: int = 0, keys: Keys | None = None) -> CouchStore:
        """Creates a file that must not exist: mode 'x'."""
        return cls(path, "x", flags=flags, keys=keys)

    @classmethod
    def _borrow(cls, pointer: int, name: bytes) -> CouchStore:
        """A store on a handle of the library's, to be closed when the callback that was given it ends."""
        store = cls.__new__(cls)
        store._flags = 0
        store._keys = None
        store._handle = Handle(pointer, name, owned=False)
        return store

    @classmethod
    def _lend(cls, pointer: int, name: bytes, function: Callable[[CouchStore], Any]) -> None:
        """Calls the function with a store on a handle of the library's."""
        store = cls._borrow(pointer, name)
        try:
            function(store)
        finally:
            store.close()

    def _open(self, name: bytes, flags: int) -> int:
        db = c_void_p()
        path = os.fsdecode(name)
        if self._keys is None:
            call(lib.couchstore_open_db, name, flags, byref(db), path=path)
        else:
            callbacks = Callbacks()
            keys = native_callback(self._keys, callbacks)
            arguments = (name, flags, None, keys, None, byref(db))
            callbacks.call(lib.couchstore_open_db_with_key, *arguments, path=path)
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
        self._open_again()

    def _open_again(self, keep_changes: bool = False) -> None:
        flags = self._flags & ~int(OpenFlag.CREATE | OpenFlag.EXCLUSIVE)
        self._handle.replace(lambda: self._open(self._handle.name, flags), keep_changes)

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
        batch = Batch(infos, bodies)
        arguments = (batch.doc_pointers, batch.info_pointers, len(infos), unsigned("options", options))
        self._handle.save(lib.couchstore_save_documents, *arguments)
        sequences = [native.db_seq for native in batch.infos]
        for info, body, sequence in zip(infos, bodies, sequences):
            info._saved(self._handle, self, sequence, info.deleted or body is None)
        return sequences

    def delete(self, id: Id, options: int = 0) -> int:
        """Deletes a document, whether it exists or not: the deletion is recorded. Returns its sequence number."""
        return self.save(id, None, options)

    def commit(self, timestamp: int | None = None) -> None:
        """Makes everything that was saved durable, and visible to whoever opens the file.

        timestamp: stored in the header, in ns since 1970; None: now.
        If a sync failed, the store takes no more writes until the file is opened again.
        """
        if timestamp is None:
            self._handle.commit(lib.couchstore_c_commit)
        else:
            self._handle.commit(lib.couchstore_c_commit_ex, unsigned("timestamp", timestamp), None, None)

    @property
    def has_changes(self) -> bool:
        """Whether something was saved through this store that was neither committed nor discarded."""
        return self._handle.has_changes

    def set_purge_seq(self, sequence: int) -> None:
        """Sets the purge sequence (48 bits) that the next commit stores."""
        self._handle.save(lib.couchstore_set_purge_seq, unsigned("sequence", sequence, 48))

    # ---- Reading

    @overload
    def get(self, id: Data, *, options: int = 0) -> bytes: ...
    @overload
    def get(self, id: Data, default: int) -> bytes: ...
    @overload
    def get(self, id: Data, default: T, options: int | None = None) -> bytes | T: ...
    def get(self, id: Data, default: Any = _NOT_GIVEN, options: int | None = None) -> Any:
        """The body of a document.

        ``get(id, default)`` is ``store[id]``, or the default if there is no such document or it is deleted.
        ``get(id)`` and ``get(id, options)`` are as in couchstore's own module: the body as it is stored, or with
        ReadOption.DECOMPRESS decompressed; KeyError if there is none. A number as second argument is options, unless
        these are given as well.
        """
        if options is None and isinstance(default, int) and not isinstance(default, bool):
            default, options = _NOT_GIVEN, default
        if options is None:
            options = 0 if default is _NOT_GIVEN else ReadOption.DECOMPRESS
        try:
            info = self.get_info(id)
            if info.deleted:
                raise KeyError(id)
            return info.get_contents(options)
        except KeyError:
            if default is _NOT_GIVEN:
                raise
            return default

    def get_info(self, id: Data) -> DocumentInfo:
        """The entry of a document, also of a deleted one. Raises KeyError if there is none."""
        key = as_bytes(id)
        return find(self._handle, self, id, lib.couchstore_docinfo_by_id, key, len(key))

    def get_info_by_sequence(self, sequence: int) -> DocumentInfo:
        """The entry of the document that was last changed with this number. Raises KeyError if there is none."""
        number = unsigned("sequence", sequence)
        return find(self._handle, self, sequence, lib.couchstore_docinfo_by_sequence, number)

    def __getitem__(self, id: Data) -> bytes:
        """The body of a document, decompressed. Raises KeyError if there is none, or it is deleted."""
        return self.get(id, ReadOption.DECOMPRESS)

    def __setitem__(self, id: Id, value: Data | None) -> None:
        self.save(id, value)

    def __delitem__(self, id: Id) -> None:
        """Deletes a document, whether it exists or not."""
        self.delete(id)

    def __contains__(self, id: Id) -> bool:
        """Whether there is a document of this id, or of the id of this entry, that is not deleted."""
        try:
            return not self.get_info(id.key if isinstance(id, DocumentInfo) else id).deleted
        except KeyError:
            return False

    def __len__(self) -> int:
        """Number of documents that are not deleted. Does not go through them."""
        return self._handle.info().doc_count

    def __bool__(self) -> bool:
        """A store is true, also an empty one."""
        return True

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

    def keys(self) -> KeysView[str]:
        """The ids of the documents that are not deleted, in order; a view, as that of a dict."""
        return Documents(self).keys()

    def values(self) -> ValuesView[bytes]:
        """The bodies, decompressed, of the documents that are not deleted, in order of their ids; a view."""
        return Documents(self).values()

    def items(self) -> ItemsView[str, bytes]:
        """Ids and bodies, decompressed, of the documents that are not deleted, in order of ids; a view."""
        return Documents(self).items()

    def all_docs(
        self, start: Data | None = None, end: Data | None = None, options: int = ScanOption.NO_DELETES
    ) -> Iterator[DocumentInfo]:
        """The documents with ids from start to end, both included, in order of ids. None: no bound.

        options: ScanOption values. 0 shows deleted documents, too.
        """
        first = b"" if start is None else as_bytes(start)
        last = None if end is None else as_bytes(end)
        return _scan.documents(self._handle, self._entry, first, last, unsigned("options", options))

    def changes(self, since: int = 0, options: int = 0) -> Iterator[DocumentInfo]:
        """The documents with sequence numbers of at least since, in order of these, deleted ones too.

        options: ScanOption values. Ends at the number that is the highest one at the beginning.
        """
        return _scan.changes(self._handle, self._entry, unsigned("since", since), unsigned("options", options))

    def changes_since(self, since: int, options: int = 0) -> list[DocumentInfo]:
        """As changes(), in a list."""
        return list(self.changes(since, options))

    def changes_count(self, first: int, last: int) -> int:
        """Number of documents with sequence numbers from first to last, both included, deleted ones too."""
        count = c_uint64()
        arguments = (unsigned("first", first), unsigned("last", last), byref(count))
        self._handle.call(lib.couchstore_changes_count, *arguments)
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
        return self._handle.filename

    def info(self) -> StoreInfo:
        """Figures of the store."""
        return StoreInfo(**{**_native.fields(self._handle.info()), "filename": self.filename})

    def header(self) -> HeaderInfo:
        """The header that the store stands on."""
        native = _native.HeaderInfo()
        self._handle.call(lib.couchstore_get_header, byref(native))
        fields = _native.fields(native)
        if fields["previous_header_position"] == _NO_POSITION:
            fields["previous_header_position"] = None
        return HeaderInfo(**fields)

    def rewind(self) -> None:
        """Goes to the header before this one. What was not committed is discarded.

        Raises CouchStoreException if there is none; then the store stays on its header.
        """
        self._handle.move(lib.couchstore_seek, Direction.BACKWARD)

    def fast_forward(self) -> None:
        """Goes to the header behind this one. What was not committed is discarded. Fails as rewind()."""
        self._handle.move(lib.couchstore_seek, Direction.FORWARD)

    def refresh(self) -> None:
        """Goes to the newest header, also to one that others have written. What was not committed is discarded."""
        self._handle.move(lib.couchstore_seek, Direction.END)

    def seek(self, position: int) -> None:
        """Goes to the header at this position in bytes. What was not committed is discarded. Fails as rewind()."""
        self._handle.move(lib.couchstore_seek_offset, unsigned("position", position, 63))

    def is_current(self) -> bool:
        """Whether the name still leads to the file that is open: not after it was removed or replaced."""
        result = c_int()
        self._handle.call(lib.couchstore_is_current, byref(result))
        return bool(result.value)

    @property
    def encryption_key_id(self) -> bytes | None:
        """The id of the key that the file is encrypted with; None: it is not encrypted."""
        buffer = create_string_buffer(MAX_ID)
        length = c_size_t()
        self._handle.call(lib.couchstore_get_encryption_key_id, buffer, MAX_ID, byref(length))
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
        arguments = (drop_deletes, hook, finish, self._chosen_keys(keys), flags)
        compaction.compact(self._handle, native_path(target), self._lend, *arguments)

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
        callbacks = (self._lend, hook, finish, drop_deletes, lock, publish, progress, cancel)
        job = compaction.Online(*callbacks, flags, self._flags)
        limits = compaction.Limits(max_unlocked_rounds, delta_bytes_for_lock, memory_budget)
        name = None if target is None else native_path(target)
        return job.run(self._handle.name, name, self._chosen_keys(keys), limits)

    def online_compaction(
        self,
        *,
        lock: Lock | None = None,
        publish: Callable[[CouchStore, CouchStore], Any] | None = None,
        **options: Unpack[OnlineOptions],
    ) -> OnlineCompaction:
        """Compacts the file in place beside a block of statements; at its end this store is on the new file.

            with store.online_compaction() as job:
                with job.lock:
                    store["a"] = "saved meanwhile"
                    store.commit()

        Entering the block starts compact_online() in a thread. Leaving it waits for the end, and raises what has ended
        the compaction if something has; the store is on the old file then. An exception in the block cancels the
        compaction, and is what is raised; ``job.cancel()`` cancels it without any exception.

        lock: as for compact_online(), to be held by whoever saves, but not when the block is left. None: one of its
            own, a threading.RLock. Either is ``job.lock``.
        publish: as for compact_online(), called before this store goes on with the new file: for other stores on it.
        options: drop_deletes, hook, finish, keys, flags and limits, as for compact_online(). The keys of this store
            must open the result, too.

        What was saved and not committed when the store would switch over is not lost: RuntimeError ends the compaction.
        """
        with self._handle:
            pass  # a closed store is refused at once

        def switch(source: CouchStore, target: CouchStore) -> None:
            self._handle.check_no_changes()
            if publish is not None:
                publish(source, target)
            self._open_again(keep_changes=True)

        def run(lock: Lock, note: Callable[[Progress], None], is_cancelled: Callable[[], bool]) -> OnlineStats:
            return self.compact_online(lock=lock, publish=switch, progress=note, cancel=is_cancelled, **options)

        return OnlineCompaction(run, lock)

    def _chosen_keys(self, keys: Keys | SameKeys | None) -> Keys | None:
        return self._keys if isinstance(keys, SameKeys) else checked(keys)

    def _entry(self, native: _native.DocInfo) -> DocumentInfo:
        return DocumentInfo._copy(native, self._handle, self)

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
