# SPDX-License-Identifier: Apache-2.0

"""Saving and reading documents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from couchstore import CouchStore, CouchStoreException, DocumentInfo, ErrorCode, as_bytes, as_text

IDS = ["plain", "", "Grüße, 世界 \U0001f600", b"\x00zero\x00", bytes(range(256)), b"\xff\xfe", "x" * 4095]
BODIES: list[Any] = ["text", "ü", b"", b"\x00", bytes(range(256)) * 1000, bytearray(b"array"), memoryview(b"view")]


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("body", BODIES)
def test_what_was_saved_is_read(store: CouchStore, id: str | bytes, body: Any) -> None:
    sequence = store.save(id, body)
    assert store.get(id) == as_bytes(body)
    assert store[id] == as_bytes(body)
    info = store.get_info(id)
    assert (info.key, info.sequence, info.deleted) == (as_bytes(id), sequence, False)
    assert as_bytes(info.id) == info.key
    assert info.contents == info.get_contents() == as_bytes(body)


def test_ids_as_text_lose_nothing() -> None:
    for data in [b"\xff\x00\x80", "ü".encode(), bytes(range(256)), b""]:
        assert as_bytes(as_text(data)) == data
    assert as_text("ü".encode()) == "ü"


def test_an_id_from_an_entry_finds_the_document(store: CouchStore) -> None:
    store[b"\xff\xfe"] = "odd"
    (info,) = store
    assert store[info.id] == b"odd"


@pytest.mark.parametrize("value", [1, 1.5, ["a"], object()])
def test_other_types_are_refused(store: CouchStore, value: Any) -> None:
    with pytest.raises(TypeError):
        store.save("id", value)
    with pytest.raises(TypeError):
        store.save(value, "body")
    with pytest.raises(TypeError):
        store.get(value)
    assert store.info().doc_count == 0


def test_sequences_count_up(store: CouchStore) -> None:
    assert store.save("a", "1") == 1
    assert store.save("b", "1") == 2
    assert store.save("a", "2") == 3
    assert store.get_info_by_sequence(3).id == "a"
    with pytest.raises(KeyError):
        store.get_info_by_sequence(1)


def test_many_at_once(store: CouchStore) -> None:
    ids = [f"doc{n:05}" for n in range(3000)]
    assert store.save_many(ids, [id * 3 for id in ids]) == list(range(1, 3001))
    assert store["doc01234"] == b"doc01234" * 3
    assert store.save_many([], []) == []
    with pytest.raises(ValueError, match="2 ids for 1 values"):
        store.save_many(["a", "b"], ["1"])


def test_the_last_of_equal_ids_counts(store: CouchStore) -> None:
    assert store.save_many(["a", "a"], ["1", "2"]) == [1, 2]
    assert store["a"] == b"2"
    assert store.info().doc_count == 1


def test_all_of_an_entry_is_stored(store: CouchStore) -> None:
    info = DocumentInfo("id", rev_sequence=7, rev_meta=b"\x00meta\xff", content_type=DocumentInfo.INVALID_JSON)
    assert store.save(info, "body") == 1
    assert info.sequence == 1
    read = store.get_info("id")
    assert (read.rev_sequence, read.rev_meta, read.content_type) == (7, b"\x00meta\xff", 1)
    assert (read.compressed, read.deleted) == (False, False)
    assert 4 <= read.physical_size < 30
    # Entries that were read can be saved with changes.
    read.rev_sequence += 1
    assert store.save(read, "longer body") == 2
    assert read.contents == b"longer body"
    assert store.get_info("id").rev_sequence == 8


def test_numbers_of_48_bits(store: CouchStore) -> None:
    store.save(DocumentInfo("id", rev_sequence=2**48 - 1), "")
    assert store.get_info("id").rev_sequence == 2**48 - 1


def test_contents_need_a_store() -> None:
    with pytest.raises(ValueError, match="does not come from a store"):
        DocumentInfo("id").get_contents()


def test_sequences_of_the_caller(store: CouchStore) -> None:
    infos = [DocumentInfo("a", sequence=50), DocumentInfo("b", sequence=40)]
    assert store.save_many(infos, ["A", "B"], CouchStore.SEQUENCE_AS_IS) == [50, 40]
    assert [info.id for info in store.changes()] == ["b", "a"]
    assert store.save("c", "C") == 51


def test_compression(store: CouchStore) -> None:
    body = b"all the same " * 1000
    store.save("small", body, CouchStore.COMPRESS)
    store.save("large", body)
    small, large = store.get_info("small"), store.get_info("large")
    assert small.compressed and not large.compressed
    assert small.physical_size < 2000 < large.physical_size
    assert store.get("small") == small.get_contents() != body
    assert store.get("small", CouchStore.DECOMPRESS) == store["small"] == small.contents == body
    assert store.get("large", CouchStore.DECOMPRESS) == body
    # The entry decides, if there is one.
    store.save(DocumentInfo("entry"), body, CouchStore.COMPRESS)
    assert store.get("entry") == body
    store.save(DocumentInfo("entry", compressed=True), body, CouchStore.COMPRESS)
    assert store.get("entry") != body == store["entry"]
    # Stored bytes can be copied as they are.
    store.save(DocumentInfo("copy", compressed=True), small.get_contents())
    assert store["copy"] == body


def test_deleting(store: CouchStore) -> None:
    store["a"] = "1"
    store["b"] = "1"
    del store["a"]
    assert store.save("b", None) == 4
    assert store.delete("never there") == 5
    for id in ["a", "b", "never there"]:
        assert id not in store
        assert store.get_info(id).deleted
        for read in (store.get, store.__getitem__):
            with pytest.raises(KeyError) as caught:
                read(id)
            assert caught.value.args == (id,)
        with pytest.raises(KeyError):
            store.get_info(id).get_contents()
    assert (store.info().doc_count, store.info().deleted_count) == (0, 3)
    store["a"] = "back"
    assert store["a"] == b"back"
    assert not store.get_info("a").deleted


def test_a_deleted_document_may_have_a_body(store: CouchStore) -> None:
    store.save(DocumentInfo("id", deleted=True), "last words")
    assert "id" not in store
    with pytest.raises(KeyError):
        store.get("id")
    assert store.get_info("id").contents == b"last words"


def test_deleting_through_an_entry(store: CouchStore) -> None:
    store["id"] = "1"
    info = store.get_info("id")
    info.rev_meta = b"why"
    store.save(info, None)
    assert info.deleted
    assert store.get_info("id").rev_meta == b"why"


def test_what_is_not_there(store: CouchStore) -> None:
    for read in (store.get, store.get_info, store.__getitem__):
        with pytest.raises(KeyError) as caught:
            read("missing")
        assert caught.value.args == ("missing",)
    assert "missing" not in store


def test_a_batch_that_fails_changes_nothing(store: CouchStore) -> None:
    store["a"] = "1"
    info = DocumentInfo("b")
    with pytest.raises(CouchStoreException) as caught:
        store.save_many([info, "x" * 4096], ["B", "X"])
    assert caught.value.code == ErrorCode.INVALID_ARGUMENTS
    assert [info.id for info in store] == ["a"]
    assert info.sequence == 0


def test_nothing_lasts_without_a_commit(path: Path) -> None:
    with CouchStore(path, "c") as store:
        store["a"] = "1"
        store.commit()
        store["b"] = "1"
        with CouchStore(path, "r") as other:
            assert [info.id for info in other] == ["a"]
    with CouchStore(path) as store:
        assert [info.id for info in store] == ["a"]
