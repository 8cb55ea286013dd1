# SPDX-License-Identifier: Apache-2.0

"""The examples of README.md."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest

import couchstore

README = Path(__file__).resolve().parents[1] / "README.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


# That of the whole project, in the same way.
ROOT_README = README.parents[1] / "README.md"


def run(example: str, **names: Any) -> None:
    exec(compile(example, str(README), "exec"), {**vars(couchstore), **names})


def test_all_are_tested() -> None:
    assert ["from couchstore" in EXAMPLES[0], "compact" in EXAMPLES[1], "keys" in EXAMPLES[2]] == [True] * 3
    assert len(EXAMPLES) == 3


def test_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run(EXAMPLES[0].replace('"a" in store, len(store)', 'print("a" in store, len(store))'))
    assert capsys.readouterr().out == "True 3\na 2 b'1'\nb 3 b'2'\ngreeting 1 b'hello'\n"


@pytest.mark.skipif(not ROOT_README.exists(), reason="the package alone")
def test_that_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"^```python\n(.*?)^```$", ROOT_README.read_text(), re.MULTILINE | re.DOTALL)
    run(example)
    assert capsys.readouterr().out == "b'hello'\n"


def test_compacting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with couchstore.CouchStore("my.couch", "c") as store:
        store["a"] = "A"
        store.commit()
        run(EXAMPLES[1], store=store, threading=threading, event=threading.Event())
        assert store.is_current() and dict(store) == {"a": b"A", "b": b"saved meanwhile"}
    with couchstore.CouchStore("copy.couch", "r") as copy:
        assert dict(copy) == {"a": b"A"}
    assert "1 of 1" in capsys.readouterr().out


@pytest.mark.skipif("COUCHSTORE_WITHOUT_ENCRYPTION" in os.environ, reason="the library was built without encryption")
def test_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    other = couchstore.EncryptionKey(b"key-2", b"2" * 32)
    run(EXAMPLES[2], secret_of_32_bytes=b"1" * 32, other_key=other)
    with couchstore.CouchStore("rekeyed.couch", "r", keys=other) as store:
        assert (store.encryption_key_id, dict(store)) == (b"key-2", {"greeting": b"hello"})
