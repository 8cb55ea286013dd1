# SPDX-License-Identifier: Apache-2.0

"""The library: how it is found, and that its structs are those of the headers."""

from __future__ import annotations

import ctypes
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Callable

import pytest

import couchstore
from couchstore import CouchStore, CouchStoreException, DocumentInfo, ErrorCode, _native

PACKAGE = Path(couchstore.__file__).resolve().parent
PROJECT = PACKAGE.parents[1]
HEADERS = PROJECT / "include"

STRUCTS = {
    "sized_buf": _native.SizedBuf,
    "Doc": _native.Doc,
    "DocInfo": _native.DocInfo,
    "LocalDoc": _native.LocalDoc,
    "DbInfo": _native.DbInfo,
    "couchstore_header_info": _native.HeaderInfo,
    "couchstore_encryption_key": _native.EncryptionKey,
    "couchstore_online_compact_options": _native.OnlineCompactOptions,
    "couchstore_online_compact_stats": _native.OnlineCompactStats,
}


def run(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python script that can import the package, in an environment with these changes."""
    changed = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **environment}
    # Not in the working directory, which Python would import from first.
    return subprocess.run([sys.executable, "-c", script], env=changed, cwd="/", capture_output=True, text=True)


def test_layouts_are_those_of_the_headers(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not HEADERS.exists():
        pytest.skip("needs a C compiler and the headers")
    lines = []
    expected = []
    for name, struct in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof({name}));')
        expected.append(f"{name} {ctypes.sizeof(struct)}")
        for field in struct._fields_:
            lines.append(f'printf("{name}.{field[0]} %zu\\n", offsetof({name}, {field[0]}));')
            expected.append(f"{name}.{field[0]} {getattr(struct, field[0]).offset}")
    source = tmp_path / "layouts.c"
    source.write_text(
        "#include <libcouchstore/couch_db.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n"
    )
    # The inline functions of the header refer to the library; what is not called need not be there.
    command = [compiler, "-O2", "-I", str(HEADERS), str(source), "-o", str(tmp_path / "layouts")]
    subprocess.run(command, check=True)
    output = subprocess.run([str(tmp_path / "layouts")], check=True, capture_output=True, text=True).stdout
    assert output.splitlines() == expected


def test_codes_are_those_of_the_header() -> None:
    if not HEADERS.exists():
        pytest.skip("needs the headers")
    text = (HEADERS / "libcouchstore" / "error.h").read_text()
    codes = {name: int(value) for name, value in re.findall(r"COUCHSTORE_ERROR_(\w+) = (-\d+)", text)}
    del codes["SCAN_ABORTED"]  # an older name of SCAN_CANCELLED
    assert codes == {code.name: code.value for code in ErrorCode}


def test_texts_of_errors() -> None:
    assert str(CouchStoreException(-5)) == "document not found (-5)"
    assert str(CouchStoreException(-1, "name", 17)) == "name: error opening file (-1): File exists"
    reason = "name: no header at offset 4096, expected one"
    told = CouchStoreException(-6, "name", 0, reason)
    assert str(told) == "name: no header in non-empty file (-6): no header at offset 4096, expected one"
    assert str(CouchStoreException(-6, "", 0, reason)) == f"no header in non-empty file (-6): {reason}"
    assert str(CouchStoreException(-6, "other", 0, reason)) == f"other: no header in non-empty file (-6): {reason}"
    copy = pickle.loads(pickle.dumps(told))
    assert (copy.code, copy.what, copy.os_error, copy.reason) == (-6, "name", 0, reason)
    error = CouchStoreException(-12345)
    assert error.code == -12345 and "unknown" in str(error)
    assert CouchStoreException(-5).code is ErrorCode.DOC_NOT_FOUND


def test_the_variable_names_the_library() -> None:
    result = run("import couchstore", COUCHSTORE_LIBRARY="/nowhere/libcouchstore.so")
    assert result.returncode != 0
    assert "ImportError: libcouchstore was not found" in result.stderr
    assert "COUCHSTORE_LIBRARY" in result.stderr and "/nowhere/libcouchstore.so" in result.stderr


def test_another_library_is_refused() -> None:
    result = run("import couchstore", COUCHSTORE_LIBRARY="libc.so.6")
    assert result.returncode != 0
    assert "ImportError: libc.so.6 has no function couchstore_" in result.stderr


def test_beside_the_package_and_then_the_linker(tmp_path: Path) -> None:
    copy = tmp_path / "couchstore"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("libcouchstore.*"))
    library = Path(_native.lib._name).resolve()
    if not library.exists():
        pytest.skip("the library was not loaded from a path")
    script = "from couchstore import _native; print(_native.lib._name)"
    environment = {"PYTHONPATH": str(tmp_path), "COUCHSTORE_LIBRARY": ""}
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "libcouchstore.so").symlink_to(library)
    result = run(script, LD_LIBRARY_PATH=str(tmp_path / "lib"), **environment)
    assert (result.returncode, result.stdout.strip()) == (0, "libcouchstore.so")
    (copy / "libcouchstore.so").symlink_to(library)
    result = run(script, **environment)
    assert (result.returncode, result.stdout.strip()) == (0, str(copy / "libcouchstore.so"))


def test_a_long_range_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_native, "_MAX_INT", 3)
    data = b"\0longer\0"
    buffer = _native.SizedBuf()
    buffer.borrow(data)
    assert buffer.to_bytes() == data



def test_figures_do_not_point_into_the_library(store: CouchStore) -> None:
    # The name belongs to the handle, which another thread may have closed when it is looked at.
    native = _native.DbInfo()
    with store._handle as db:
        assert _native.lib.couchstore_db_info(db, ctypes.byref(native)) == 0
    assert isinstance(_native.fields(native)["filename"], int)


def test_numbers_are_not_cut_off(store: CouchStore, tmp_path: Path) -> None:
    store.save("a", "A")
    calls: list[tuple[str, int, Callable[[int], object]]] = [
        ("sequence", 64, store.get_info_by_sequence),
        ("since", 64, store.changes),
        ("first", 64, lambda number: store.changes_count(number, 1)),
        ("last", 64, lambda number: store.changes_count(0, number)),
        ("timestamp", 64, store.commit),
        ("sequence", 48, store.set_purge_seq),
        ("position", 63, store.seek),
        ("rev_sequence", 48, lambda number: store.save(DocumentInfo("b", rev_sequence=number), "B")),
        ("sequence", 48, lambda number: store.save(DocumentInfo("b", sequence=number), "B", store.SEQUENCE_AS_IS)),
        ("options", 64, lambda number: store.save("b", "B", number)),
        ("options", 64, lambda number: store.get("a", options=number)),
        ("options", 64, lambda number: store.changes(0, number)),
        ("options", 64, lambda number: store.all_docs(options=number)),
        ("flags", 64, lambda number: CouchStore(tmp_path / "b", "c", flags=number)),
        ("flags", 64, lambda number: store.compact(tmp_path / "b", flags=number)),
        ("flags", 64, lambda number: store.compact_online(tmp_path / "b", flags=number)),
        ("max_unlocked_rounds", 31, lambda number: store.compact_online(tmp_path / "b", max_unlocked_rounds=number)),
        ("delta_bytes_for_lock", 64, lambda number: store.compact_online(tmp_path / "b", delta_bytes_for_lock=number)),
        ("memory_budget", 64, lambda number: store.compact_online(tmp_path / "b", memory_budget=number)),
    ]
    for name, bits, function in calls:
        for number in (-1, 1 << bits, (1 << 64) + 1):
            with pytest.raises(ValueError, match=name):
                function(number)
        with pytest.raises(TypeError):
            function(1.5)  # type: ignore[arg-type]
    assert [info.id for info in store] == ["a"]
    assert not (tmp_path / "b").exists()
    assert store.info().purge_seq == 0 and store.header().header_position == 0


def test_numbers_of_an_entry_are_not_cut_off(store: CouchStore) -> None:
    info = DocumentInfo("a")
    info.content_meta = 256
    with pytest.raises(ValueError, match="content_meta must be from 0 to 255, not 256"):
        store.save(info, "A")
    with pytest.raises(ValueError, match="ContentType"):
        DocumentInfo("a", content_type=4)
