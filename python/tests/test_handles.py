# SPDX-License-Identifier: Apache-2.0

"""Opening, closing, and the lives of handles."""

from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path
from typing import Any, Callable

import pytest

from couchstore import CouchStore, CouchStoreException, ErrorCode, OpenFlag


def open_files(path: Path) -> int:
    """How often this process has the file open."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("needs /proc")
    count = 0
    for descriptor in folder.iterdir():
        try:
            count += os.path.samestat(descriptor.stat(), path.stat())
        except FileNotFoundError:
            continue  # the one that lists the folder
    return count


def code_of(function: Callable[..., Any], *arguments: Any, **options: Any) -> int:
    with pytest.raises(CouchStoreException) as caught:
        function(*arguments, **options)
    return caught.value.code


def test_modes(path: Path) -> None:
    for mode in (None, "r"):
        with pytest.raises(CouchStoreException) as caught:
            CouchStore(path, mode)
        assert caught.value.code == ErrorCode.NO_SUCH_FILE
        assert caught.value.os_error == errno.ENOENT
        assert str(caught.value) == f"{path}: no such file (-11): open failed: No such file or directory (os error 2)"
    assert not path.exists()
    with CouchStore(path, "c") as store:
        store["a"] = "1"
        store.commit()
    with CouchStore(path, "c") as store:
        assert store["a"] == b"1"
    with CouchStore(path) as store:
        store["b"] = "2"
        store.commit()
    with CouchStore(path, "r") as store:
        assert store["b"] == b"2"
        assert code_of(store.save, "c", "3") == ErrorCode.WRITE
    with pytest.raises(ValueError, match="unknown mode 'w'"):
        CouchStore(path, "w")


def test_creating(path: Path) -> None:
    with CouchStore.create(path) as store:
        store["a"] = "1"
        store.commit()
    with pytest.raises(CouchStoreException) as caught:
        CouchStore.create(path)
    assert (caught.value.code, caught.value.os_error) == (ErrorCode.OPEN_FILE, errno.EEXIST)
    assert code_of(CouchStore, path, "x") == ErrorCode.OPEN_FILE
    with CouchStore(path, "r") as store:
        assert store["a"] == b"1"


def test_further_flags(path: Path) -> None:
    with CouchStore(path, "c", flags=OpenFlag.LEGACY_CRC) as store:
        assert store.header().version == 11
    assert code_of(CouchStore, path, "c", flags=OpenFlag.READ_ONLY) == ErrorCode.INVALID_ARGUMENTS


@pytest.mark.parametrize("name", ["plain.couch", "mit Umlaut ü.couch", b"bytes.couch", b"\xff\xfe.couch"])
def test_names(tmp_path: Path, name: Any) -> None:
    full = os.path.join(os.fsencode(tmp_path), os.fsencode(name))
    for given in (full, os.fsdecode(full), Path(os.fsdecode(full))):
        with CouchStore(given, "c") as store:
            assert store.filename == os.fsdecode(full)
            store["a"] = "1"
    assert os.path.exists(full)


def test_names_with_a_zero_byte(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="null byte"):
        CouchStore(str(tmp_path / "a\0b"), "c")
    with CouchStore(tmp_path / "a", "c") as store:
        with pytest.raises(ValueError, match="null byte"):
            store.compact(str(tmp_path / "b\0"))
        with pytest.raises(ValueError, match="null byte"):
            store.compact_online(str(tmp_path / "b\0"))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a"]


def test_reasons(path: Path) -> None:
    path.write_text("this is a text")
    with pytest.raises(CouchStoreException) as caught:
        CouchStore(path)
    assert caught.value.reason == "find_header_at_pos: unknown block type:116 pos:0"
    assert str(caught.value) == f"{path}: malformed data in file (-2): {caught.value.reason}"
    path.unlink()
    with CouchStore(path, "c") as store:
        with pytest.raises(CouchStoreException) as caught:
            store.save_many(["a", "b" * 5000, "c"], ["1", "2", "3"])
        assert "document 1 of the batch" in caught.value.reason
        assert "an id of at most 4095 bytes, got 5000" in str(caught.value)
        store.commit()
    with CouchStore(path, "r") as store:
        with pytest.raises(CouchStoreException) as caught:
            store["a"] = "1"
        assert (caught.value.os_error, caught.value.reason) == (
            errno.EBADF,
            f"{path}: cannot be written, it was opened read-only",
        )


def test_absence_has_no_reason(path: Path) -> None:
    with pytest.raises(CouchStoreException) as caught:
        CouchStore(path)
    assert caught.value.reason
    with CouchStore(path, "c") as store:
        with pytest.raises(KeyError) as missing:
            store.get("missing")
        cause = missing.value.__cause__ or missing.value.__context__
        assert cause is None or getattr(cause, "reason", "") == ""


def test_what_is_no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    assert code_of(CouchStore, path) in (ErrorCode.NO_HEADER, ErrorCode.CORRUPT)
    path.write_bytes(b"")
    assert code_of(CouchStore, path, "r") == ErrorCode.NO_HEADER
    assert code_of(CouchStore, path.parent, "c") in (ErrorCode.OPEN_FILE, ErrorCode.READ)
    assert code_of(CouchStore, path / "below", "c") == ErrorCode.OPEN_FILE


def test_after_closing(path: Path) -> None:
    store = CouchStore(path, "c")
    store["a"] = "1"
    info = store.get_info("a")
    local = store.local_docs
    assert not store.closed
    store.close()
    store.close()
    assert store.closed
    assert repr(store) == f"<CouchStore {str(path)!r}, closed>"
    assert store.filename == str(path)
    calls: list[Callable[[], Any]] = [
        lambda: store.save("a", "2"),
        lambda: store.get("a"),
        lambda: store["a"],
        lambda: "a" in store,
        lambda: store.delete("a"),
        lambda: store.get_info_by_sequence(1),
        lambda: list(store),
        lambda: list(store.changes()),
        lambda: store.changes_count(0, 1),
        store.commit,
        store.info,
        store.header,
        store.rewind,
        store.fast_forward,
        store.refresh,
        lambda: store.seek(0),
        store.is_current,
        store.reopen,
        lambda: store.encryption_key_id,
        lambda: store.set_purge_seq(1),
        lambda: store.compact(path.with_suffix(".2")),
        lambda: store.compact_online(),
        info.get_contents,
        lambda: local["a"],
        lambda: local.update(a=b""),
        lambda: len(local),
    ]
    for call in calls:
        assert code_of(call) == ErrorCode.FILE_CLOSED


def test_context_managers_close(path: Path) -> None:
    with CouchStore(path, "c") as store:
        assert open_files(path) == 1
    assert store.closed
    assert open_files(path) == 0
    with pytest.raises(ZeroDivisionError):
        with CouchStore(path) as store:
            1 / 0
    assert open_files(path) == 0


def test_forgotten_stores_are_closed(path: Path) -> None:
    store = CouchStore(path, "c")
    store["a"] = "1"
    info = store.get_info("a")
    watched = weakref.ref(store)
    del store
    gc.collect()
    assert watched() is not None and info.contents == b"1"
    del info
    gc.collect()
    assert watched() is None
    assert open_files(path) == 0


def test_failures_leave_nothing_open(path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"no database" * 1000)
    for _ in range(10):
        code_of(CouchStore, path)
    assert open_files(path) == 0


def test_reopening_leaves_nothing_open(path: Path) -> None:
    with CouchStore(path, "c") as store:
        for _ in range(5):
            store.reopen()
        assert open_files(path) == 1
    assert open_files(path) == 0


def test_a_forked_child_does_not_write(path: Path) -> None:
    store = CouchStore(path, "c")
    store["a"] = "1" * 1000
    size = path.stat().st_size
    child = os.fork()
    if child == 0:
        del store
        gc.collect()
        os._exit(0 if path.stat().st_size == size else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.commit()
    store.close()
    with CouchStore(path, "r") as store:
        assert store["a"] == b"1" * 1000


def test_a_forked_child_has_closed_stores(path: Path) -> None:
    store = CouchStore(path, "c")
    store["a"] = "1" * 1000
    size = path.stat().st_size
    busy, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with store._handle:
            busy.set()
            go_on.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    busy.wait()
    child = os.fork()
    if child == 0:
        # A deadlock would hang the tests.
        signal.alarm(10)
        refused = 0
        for function in (store.commit, store.info, store.reopen):
            try:
                function()
            except CouchStoreException as error:
                refused += error.code == ErrorCode.FILE_CLOSED and "fork" in str(error)
        closed = store.closed
        store.close()
        os._exit(0 if (refused, closed, path.stat().st_size) == (3, True, size) else 1)
    go_on.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
    assert not store.closed
    store.close()


def finish(script: str, path: Path) -> str:
    """Output of a program that opens the file as ``store``, runs the script and ends."""
    begin = f"import atexit, threading\nfrom couchstore import CouchStore\npath = {str(path)!r}\n"
    package = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-X", "faulthandler", "-c", begin + script]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def test_stores_can_be_used_in_functions_of_atexit(path: Path) -> None:
    script = """
def save():
    store["a"] = "saved at the end"
    store.commit()
    print(store.closed)
atexit.register(save)  # before the first store is opened, so it runs late
store = CouchStore(path, "c")
"""
    assert finish(script, path) == "False\n"
    with CouchStore(path, "r") as store:
        assert store["a"] == b"saved at the end"


def test_the_process_may_end_while_a_thread_uses_a_store(path: Path) -> None:
    script = """
inside, ending = threading.Event(), threading.Event()
def end():
    ending.set()
    thread.join()
atexit.register(end)
store = CouchStore(path, "c")
store.save_many([str(n) for n in range(5000)], ["body"] * 5000)
def hook(info, body):
    inside.set()
    ending.wait()
def work():
    store.compact(path + ".target", hook=hook)
    print(store.info().doc_count)
thread = threading.Thread(target=work, daemon=True)
thread.start()
inside.wait()
"""
    assert finish(script, path) == "5000\n"


def test_objects_in_a_cycle_can_use_their_store_when_collected(path: Path) -> None:
    script = """
import gc
class Cache:
    def __init__(self):
        self.cycle = self
        self.store = CouchStore(path, "c")
    def __del__(self):
        self.store["a"] = "saved by __del__"
        self.store.commit()
        self.store.close()
        print(self.store.closed)
Cache()
gc.collect()
"""
    assert finish(script, path) == "True\n"
    with CouchStore(path, "r") as store:
        assert store["a"] == b"saved by __del__"


def test_threads_wait_for_each_other(path: Path) -> None:
    failures: list[BaseException] = []

    def work(store: CouchStore, name: str) -> None:
        try:
            for n in range(200):
                store[f"{name}{n}"] = name * 10
                assert store[f"{name}{n}"] == name.encode() * 10
                if n % 20 == 0:
                    store.commit()
                    list(store.changes(n))
        except BaseException as error:
            failures.append(error)

    with CouchStore(path, "c") as store:
        threads = [threading.Thread(target=work, args=(store, name)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert store.info().doc_count == 800
        assert store.changes_count(0, 2**40) == 800


def test_closing_while_others_work(path: Path) -> None:
    with CouchStore(path, "c") as store:
        store.save_many([str(n) for n in range(1000)], [""] * 1000)
        codes: list[int] = []

        def work() -> None:
            try:
                while True:
                    list(store)
            except CouchStoreException as error:
                codes.append(error.code)

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        store.close()
        for thread in threads:
            thread.join()
    assert codes == [ErrorCode.FILE_CLOSED] * 3
