# SPDX-License-Identifier: Apache-2.0

"""Going through documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from couchstore import CouchStore, CouchStoreException, DocumentInfo, ErrorCode, _scan


@pytest.fixture(params=[1, 2, 3, 7, 500])
def batches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scan, "BATCH", request.param)


@pytest.fixture
def filled(store: CouchStore, batches: None) -> CouchStore:
    """b, c, d, e and f, in order of their sequences f 1, e 2, d 3 (deleted 6), c 4, b 5."""
    store.save_many(list("fedcb"), list("FEDCB"))
    store.delete("d")
    return store


def ids(infos: Iterator[DocumentInfo]) -> str:
    return "".join(info.id for info in infos)


def test_in_order_of_ids(filled: CouchStore) -> None:
    assert ids(iter(filled)) == "bcef"
    assert list(filled.keys()) == list("bcef")
    assert list(filled.items()) == [("b", b"B"), ("c", b"C"), ("e", b"E"), ("f", b"F")]
    assert dict(filled) == {"b": b"B", "c": b"C", "e": b"E", "f": b"F"}


def test_ranges_of_ids(filled: CouchStore) -> None:
    assert ids(filled.all_docs("c")) == "cef"
    assert ids(filled.all_docs("c", "e")) == "ce"
    assert ids(filled.all_docs("bb", "ee")) == "ce"
    assert ids(filled.all_docs(None, "c")) == "bc"
    assert ids(filled.all_docs("", "")) == ""
    assert ids(filled.all_docs("e", "c")) == ""
    assert ids(filled.all_docs(b"\xff")) == ""
    assert ids(filled.all_docs(options=0)) == "bcdef"
    assert ids(filled.all_docs(options=CouchStore.DELETES_ONLY)) == "d"


def test_in_order_of_sequences(filled: CouchStore) -> None:
    assert ids(filled.changes()) == "fecbd"
    assert ids(filled.changes(4)) == "cbd"
    assert ids(filled.changes(6)) == "d"
    assert ids(filled.changes(7)) == ""
    assert ids(filled.changes(2**63)) == ""
    assert ids(filled.changes(0, CouchStore.NO_DELETES)) == "fecb"
    assert ids(filled.changes(0, CouchStore.DELETES_ONLY)) == "d"
    assert [info.id for info in filled.changes_since(5)] == ["b", "d"]


def test_counting_changes(filled: CouchStore) -> None:
    assert filled.changes_count(0, 100) == 5
    assert filled.changes_count(2, 4) == 2
    assert filled.changes_count(4, 2) == 0


def test_functions_are_called(filled: CouchStore) -> None:
    seen: list[str] = []
    filled.for_each_change(4, lambda info: seen.append(info.id))
    assert seen == ["c", "b", "d"]
    seen.clear()
    filled.for_each_doc("c", "e", lambda info: seen.append(info.id))
    assert seen == ["c", "d", "e"]
    seen.clear()
    filled.for_each_doc(None, None, lambda info: seen.append(info.id), CouchStore.NO_DELETES)
    assert seen == ["b", "c", "e", "f"]


class Stop(Exception):
    """Raised by callbacks."""


def test_an_exception_ends_it(filled: CouchStore) -> None:
    seen: list[str] = []

    def stop(info: DocumentInfo) -> None:
        seen.append(info.id)
        raise Stop(info.id)

    with pytest.raises(Stop, match="f"):
        filled.for_each_change(0, stop)
    with pytest.raises(Stop, match="b"):
        filled.for_each_doc(None, None, stop)
    assert seen == ["f", "b"]
    assert filled["b"] == b"B"


def test_the_store_may_be_changed_meanwhile(filled: CouchStore) -> None:
    # What is saved gets new sequence numbers, beyond the end: this comes to an end.
    seen = []
    for info in filled.changes():
        seen.append(info.id)
        if not info.deleted:
            filled.save(info, info.contents * 2)
    assert seen == list("fecbd")
    assert filled.info().last_sequence == 10
    assert filled["f"] == b"FF"
    for info in filled:
        del filled[info.id]
    assert ids(iter(filled)) == ""
    assert filled.info().deleted_count == 5


def test_closing_in_the_middle(store: CouchStore) -> None:
    store.save_many([str(n) for n in range(2000)], [""] * 2000)
    iterator = iter(store)
    next(iterator)
    store.close()
    with pytest.raises(CouchStoreException) as caught:
        list(iterator)
    assert caught.value.code == ErrorCode.FILE_CLOSED


def test_equal_sequences_stay_together(store: CouchStore, batches: None) -> None:
    infos = [DocumentInfo(id, sequence=5) for id in "abcde"] + [DocumentInfo("f", sequence=9)]
    store.save_many(infos, [""] * 6, CouchStore.SEQUENCE_AS_IS)
    assert sorted(ids(store.changes())) == list("abcdef")


def test_long_and_binary_ids(store: CouchStore, batches: None) -> None:
    keys = sorted([b"", b"\0", b"\0\0", b"a", b"a\0", b"\xff" * 4095, b"\xff" * 4094, b"b" * 4095])
    store.save_many(keys, keys)
    assert [info.key for info in store] == keys
    assert [body for _, body in store.items()] == keys


def test_very_large_sequences(store: CouchStore, batches: None) -> None:
    infos = [DocumentInfo("a", sequence=2**48 - 1), DocumentInfo("b", sequence=1)]
    store.save_many(infos, ["A", "B"], CouchStore.SEQUENCE_AS_IS)
    assert ids(store.changes()) == "ba"


def test_many_documents(store: CouchStore) -> None:
    keys = [f"{n:06}" for n in range(20_000)]
    store.save_many(keys, keys)
    assert list(store.keys()) == keys
    assert [info.sequence for info in store.changes()] == list(range(1, 20_001))


def test_two_iterations_at_once(filled: CouchStore) -> None:
    pairs = [(one.id, two.id) for one in filled for two in filled]
    assert pairs == [(one, two) for one in "bcef" for two in "bcef"]


def damage_a_leaf_by_id(path: Path) -> None:
    """Changes a byte of the file such that opening still works, and going through the ids does not."""
    whole = path.read_bytes()
    for place in range(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            with CouchStore(path, "r") as store:
                list(store.changes())
                list(store.all_docs("0000", "0000"))
                try:
                    list(store)
                except CouchStoreException:
                    return
        except CouchStoreException:
            pass
    raise AssertionError("no such byte was found")


def test_damage_is_stepped_over(path: Path) -> None:
    with CouchStore(path, "c") as store:
        keys = [f"{n:04}" for n in range(500)]
        store.save_many(keys, [""] * 500)
        store.commit()
    damage_a_leaf_by_id(path)
    with CouchStore(path, "r") as store:
        found: list[str] = []
        with pytest.raises(CouchStoreException) as caught:
            store.for_each_doc(None, None, lambda info: found.append(info.id), CouchStore.TOLERATE_CORRUPTION)
        assert caught.value.code in (ErrorCode.CHECKSUM_FAIL, ErrorCode.CORRUPT)
        assert 300 < len(found) < 500
        assert found[0] == "0000" and found[-1] == "0499"
