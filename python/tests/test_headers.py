# SPDX-License-Identifier: Apache-2.0

"""Headers: committing, and going from one to another."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Callable

import pytest

from couchstore import CouchStore, CouchStoreException, ErrorCode


def fill(store: CouchStore) -> list[int]:
    """Three commits, with 1, 2 and 3 documents. Their positions."""
    positions = []
    for id in "abc":
        store[id] = id.upper()
        store.commit(timestamp=ord(id))
        positions.append(store.header().header_position)
    return positions


def ids(store: CouchStore) -> str:
    return "".join(store.keys())


def test_figures(store: CouchStore, path: Path) -> None:
    positions = fill(store)
    del store["a"]
    store.set_purge_seq(1)
    store.commit()
    info, header = store.info(), store.header()
    assert info.filename == store.filename == str(path)
    assert (info.last_sequence, info.doc_count, info.deleted_count, info.purge_seq) == (4, 2, 1, 1)
    assert info.header_position == header.header_position > positions[-1]
    assert info.file_size == header.file_size == path.stat().st_size
    assert 0 < info.space_used == header.space_used < info.file_size
    assert (header.version, header.update_seq, header.purge_seq) == (14, 4, 1)
    assert (header.doc_count, header.deleted_count) == (2, 1)
    assert header.previous_header_position == positions[-1]
    assert abs(header.timestamp - time.time_ns()) < 60 * 10**9


def test_the_first_header_has_none_before(store: CouchStore) -> None:
    assert store.header().previous_header_position is None


def test_going_back_and_forth(store: CouchStore) -> None:
    fill(store)
    assert ids(store) == "abc"
    store.rewind()
    assert ids(store) == "ab"
    store.rewind()
    assert ids(store) == "a"
    assert store.header().timestamp == ord("a")
    store.fast_forward()
    assert ids(store) == "ab"
    store.refresh()
    assert ids(store) == "abc"


def test_beyond_the_ends(store: CouchStore) -> None:
    with pytest.raises(CouchStoreException):
        store.rewind()
    with pytest.raises(CouchStoreException) as caught:
        store.fast_forward()
    assert caught.value.code == ErrorCode.NO_HEADER
    store["still"] = "usable"
    store.commit()
    store.rewind()
    assert ids(store) == ""


def test_seeking(store: CouchStore) -> None:
    positions = fill(store)
    store.seek(positions[0])
    assert ids(store) == "a"
    store.seek(positions[2])
    assert ids(store) == "abc"
    for position, code in [(1, ErrorCode.INVALID_ARGUMENTS), (4096 * 1000, ErrorCode.NO_HEADER)]:
        with pytest.raises(CouchStoreException) as caught:
            store.seek(position)
        assert caught.value.code == code
    assert ids(store) == "abc"


def test_moving_discards_what_was_not_committed(store: CouchStore) -> None:
    fill(store)
    store["d"] = "D"
    store.refresh()
    assert ids(store) == "abc"


def test_a_branch_of_history(store: CouchStore, path: Path) -> None:
    fill(store)
    store.rewind()
    store["x"] = "X"
    store.commit()
    with CouchStore(path, "r") as other:
        assert ids(other) == "abx"


def test_others_see_commits_when_they_look(store: CouchStore, path: Path) -> None:
    with CouchStore(path, "r") as reader:
        fill(store)
        assert ids(reader) == ""
        reader.refresh()
        assert ids(reader) == "abc"


def test_whether_the_file_is_current(store: CouchStore, path: Path) -> None:
    fill(store)
    assert store.is_current()
    path.rename(path.with_suffix(".old"))
    assert not store.is_current()
    with CouchStore(path, "c") as other:
        other["new"] = ""
        other.commit()
    assert ids(store) == "abc"
    store.reopen()
    assert store.is_current()
    assert ids(store) == "new"


def test_entries_outlive_reopening(store: CouchStore, path: Path) -> None:
    """Their positions are those of the old file, where another one may have anything."""
    store.save_many(list("abc"), ["A" * 50, "B" * 50, "C" * 50])
    store.commit()
    infos = list(store)
    items = iter(store.items())
    assert next(items) == ("a", b"A" * 50)
    path.unlink()
    with CouchStore(path, "c") as other:
        other.save_many(list("cba"), ["c" * 50, "b" * 50, "a" * 50])
        other.delete("b")
        other.commit()
    store.reopen()
    assert infos[0].contents == b"a" * 50
    assert infos[2].contents == b"c" * 50
    with pytest.raises(KeyError):
        infos[1].get_contents()
    assert list(items) == [("c", b"c" * 50)]


def test_reopening_what_is_gone(store: CouchStore, path: Path) -> None:
    fill(store)
    path.unlink()
    with pytest.raises(CouchStoreException) as caught:
        store.reopen()
    assert caught.value.code == ErrorCode.NO_SUCH_FILE
    assert not path.exists()
    assert ids(store) == "abc"


@pytest.mark.parametrize("move", [CouchStore.refresh, CouchStore.fast_forward])
def test_entries_of_what_was_discarded(store: CouchStore, move: Callable[[CouchStore], None]) -> None:
    """Their bodies were where later ones are."""
    store["old"] = "OLD"
    store.commit()
    old = store.get_info("old")
    store["discarded"] = "first"
    store["changed"] = "first"
    discarded, changed = store.get_info("discarded"), store.get_info("changed")
    with contextlib.suppress(CouchStoreException):
        move(store)
    store["changed"] = "other"
    store["more"] = "other"
    with pytest.raises(KeyError):
        discarded.get_contents()
    assert changed.contents == b"other"
    assert old.contents == b"OLD"


def test_entries_of_another_header_keep_their_bodies(store: CouchStore) -> None:
    for body in ("first", "second"):
        store["a"] = body
        store.commit()
    second = store.get_info("a")
    store.rewind()
    assert (second.contents, store["a"]) == (b"second", b"first")
