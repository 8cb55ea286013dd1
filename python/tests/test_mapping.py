# SPDX-License-Identifier: Apache-2.0

"""A store as a collection: counting, looking up, ids, bodies and items."""

from __future__ import annotations

from collections.abc import ItemsView, KeysView, ValuesView
from pathlib import Path
from typing import Any, Callable

import pytest

from couchstore import CouchStore, CouchStoreException, DocumentInfo, ErrorCode, as_bytes


@pytest.fixture
def filled(store: CouchStore) -> CouchStore:
    """a, b, d; c is deleted."""
    store.save_many(list("abcd"), list("ABCD"))
    store.delete("c")
    return store


def test_len_counts_what_is_not_deleted(store: CouchStore) -> None:
    lengths = [len(store)]
    store.save_many([str(n) for n in range(1200)], [""] * 1200)
    lengths.append(len(store))
    store["0"] = "again"
    del store["1"]
    del store["never there"]
    lengths.append(len(store))
    store.local_docs["_local/a"] = "local"
    lengths.append(len(store))
    store.commit()
    store["2000"] = "not committed"
    lengths.append(len(store))
    store.refresh()
    lengths.append(len(store))
    assert lengths == [0, 1200, 1199, 1199, 1200, 1199]
    assert len(store) == len(list(store)) == store.info().doc_count


def test_an_empty_store_is_true(path: Path) -> None:
    store = CouchStore(path, "c")
    assert len(store) == 0
    assert store
    store.close()
    assert store
    with pytest.raises(CouchStoreException) as caught:
        len(store)
    assert caught.value.code == ErrorCode.FILE_CLOSED


def test_in(filled: CouchStore) -> None:
    present: list[Any] = ["a", b"b", bytearray(b"d"), memoryview(b"a"), filled.get_info("a"), DocumentInfo("b")]
    assert [id in filled for id in present] == [True] * 6
    absent: list[Any] = ["c", "", "aa", b"\xff", filled.get_info("c"), DocumentInfo("x")]
    assert [id in filled for id in absent] == [False] * 6
    # What iterating gives is in it.
    assert all(info in filled for info in filled)
    for wrong in (1, None, ("a",)):
        other: Any = wrong
        with pytest.raises(TypeError):
            other in filled  # noqa: B015


def test_get_with_a_default(filled: CouchStore) -> None:
    nothing = object()
    assert filled.get("a", nothing) == filled.get("a", default=nothing) == b"A"
    for missing in ("c", "x", b"\xff"):
        assert filled.get(missing, nothing) is nothing
        assert filled.get(missing, default=nothing) is nothing
        assert filled.get(missing, None) is None
        assert filled.get(missing, b"") == b""
        assert filled.get(missing, "text") == "text"
        no: Any = False
        assert filled.get(missing, no) is False
        # A number as a default needs options beside it.
        assert filled.get(missing, 7, options=0) == 7
        assert filled.get(missing, nothing, CouchStore.DECOMPRESS) is nothing
    wrong: Any = 1.5
    with pytest.raises(TypeError):
        filled.get(wrong, None)


def test_get_without_a_default(filled: CouchStore) -> None:
    for arguments in ((), (0,), (CouchStore.DECOMPRESS,)):
        assert filled.get("a", *arguments) == b"A"
        for missing in ("c", "x"):
            with pytest.raises(KeyError) as caught:
                filled.get(missing, *arguments)
            assert caught.value.args == (missing,)
    with pytest.raises(KeyError):
        filled.get("x", options=CouchStore.DECOMPRESS)


def test_get_with_a_default_decompresses(store: CouchStore) -> None:
    body = b"all the same " * 100
    store.save("a", body, CouchStore.COMPRESS)
    stored = store.get("a")
    assert stored != body
    assert store.get("a", None) == store["a"] == store.get("a", CouchStore.DECOMPRESS) == body
    assert store.get("a", None, 0) == store.get("a", default=None, options=0) == store.get("a", 0) == stored


def test_other_failures_are_not_the_default(filled: CouchStore) -> None:
    filled.close()
    with pytest.raises(CouchStoreException) as caught:
        filled.get("a", None)
    assert caught.value.code == ErrorCode.FILE_CLOSED


def test_ids(filled: CouchStore) -> None:
    ids = filled.keys()
    assert (len(ids), list(ids), list(ids)) == (3, ["a", "b", "d"], ["a", "b", "d"])
    others: list[Any] = ["c", 1, None, ("a",)]
    assert "a" in ids and not any(other in ids for other in others)
    assert ids == {"a", "b", "d"} and ids != {"a", "b", "c"}
    assert ids & {"a", "c"} == {"a"} and ids | {"c"} == {"a", "b", "c", "d"} and ids - {"a"} == {"b", "d"}
    assert ids.isdisjoint({"x"}) and ids <= {"a", "b", "c", "d"}
    assert isinstance(ids, KeysView) and filled.filename in repr(ids)


def test_bodies(filled: CouchStore) -> None:
    bodies = filled.values()
    assert (len(bodies), list(bodies), list(bodies)) == (3, [b"A", b"B", b"D"], [b"A", b"B", b"D"])
    text: Any = "B"
    assert b"B" in bodies and b"C" not in bodies and text not in bodies
    assert isinstance(bodies, ValuesView)


def test_items(filled: CouchStore) -> None:
    items = filled.items()
    expected = [("a", b"A"), ("b", b"B"), ("d", b"D")]
    assert (len(items), list(items), list(items)) == (3, expected, expected)
    assert items == set(expected) and dict(items) == dict(filled) == dict(expected)
    others: list[Any] = [("a", b"B"), ("a", "A"), ("c", b"C"), ("x", b""), (1, b"A"), (["a"], b"A")]
    assert ("a", b"A") in items and not any(other in items for other in others)
    assert isinstance(items, ItemsView)


def test_items_and_bodies_are_decompressed(store: CouchStore) -> None:
    store.save("a", b"same " * 100, CouchStore.COMPRESS)
    assert store.get("a") != b"same " * 100
    assert list(store.values()) == [b"same " * 100]
    assert list(store.items()) == [("a", b"same " * 100)]
    assert ("a", b"same " * 100) in store.items()


def test_views_change_with_the_store(filled: CouchStore) -> None:
    ids, bodies, items = filled.keys(), filled.values(), filled.items()
    filled["e"] = "E"
    del filled["a"]
    assert list(ids) == ["b", "d", "e"]
    assert list(bodies) == [b"B", b"D", b"E"]
    assert list(items) == [("b", b"B"), ("d", b"D"), ("e", b"E")]
    filled.close()
    for view in (ids, bodies, items):
        with pytest.raises(CouchStoreException):
            list(view)


def test_what_is_deleted_meanwhile_has_no_body(store: CouchStore, path: Path) -> None:
    store.save_many(list("abc"), list("ABC"))
    store.commit()
    bodies = iter(store.values())
    assert next(bodies) == b"A"
    del store["b"]
    store.commit()
    store.reopen()
    assert list(bodies) == [b"C"]


def test_ids_that_are_no_text(store: CouchStore) -> None:
    store[b"\xff\xfe"] = "odd"
    assert [as_bytes(id) for id in store.keys()] == [b"\xff\xfe"]
    assert dict(store) == {"\udcff\udcfe": b"odd"}


def test_has_changes(store: CouchStore) -> None:
    assert not store.has_changes
    changes: list[Callable[[], Any]] = [
        lambda: store.save("a", "A"),
        lambda: store.delete("a"),
        lambda: store.local_docs.update(a=b"local"),
        lambda: store.set_purge_seq(5),
    ]
    for change in changes:
        change()
        assert store.has_changes
        store.commit()
        assert not store.has_changes
    store["b"] = "B"
    store.rewind()
    assert not store.has_changes
    with pytest.raises(CouchStoreException):
        store["x" * 5000] = ""
    assert not store.has_changes
