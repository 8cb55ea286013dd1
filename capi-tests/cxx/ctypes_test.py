# SPDX-License-Identifier: Apache-2.0
#
# Calls the exported C symbols as Python's ctypes does: couchstore_commit() with one argument, counts of 32 bits,
# local documents freed by couchstore_free_document().
#
# usage: ctypes_test.py LIBRARY FOLDER

import ctypes
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint, c_uint8, c_uint64, c_void_p, string_at

lib = ctypes.CDLL(sys.argv[1])
path = os.path.join(sys.argv[2], "ctypes.couch").encode()
CREATE, RDONLY, EXCL, LEGACY = 1, 2, 16, 4


class SizedBuf(ctypes.Structure):
    _fields_ = [("buf", c_void_p), ("size", c_size_t)]

    @classmethod
    def of(cls, data):
        return cls(ctypes.cast(c_char_p(data), c_void_p), len(data))

    def bytes(self):
        return string_at(self.buf, self.size)


class Doc(ctypes.Structure):
    _fields_ = [("id", SizedBuf), ("data", SizedBuf)]


class DocInfo(ctypes.Structure):
    _fields_ = [("id", SizedBuf), ("db_seq", c_uint64), ("rev_seq", c_uint64), ("rev_meta", SizedBuf),
                ("deleted", c_int), ("content_meta", c_uint8), ("bp", c_uint64), ("size", c_size_t)]


class LocalDoc(ctypes.Structure):
    _fields_ = [("id", SizedBuf), ("json", SizedBuf), ("deleted", c_int)]


def check(expected, actual, what):
    if expected != actual:
        sys.exit("%s: expected %r, got %r" % (what, expected, actual))


db = c_void_p()
lib.couchstore_strerror.restype = c_char_p
lib.couchstore_encode_periodic_sync_flags.restype = c_uint64
for size, flags in ((1, 0x1000000), (1024, 0x1000000), (1025, 0x2000000), (4096, 0x3000000), (2**50, 0x1f000000)):
    check(flags, lib.couchstore_encode_periodic_sync_flags(c_uint64(size)), "periodic sync of %d" % size)
check(b"document not found", lib.couchstore_strerror(-5), "strerror")
check(-10, lib.couchstore_open_db(path, c_uint64(EXCL), byref(db)), "EXCL alone")
check(-10, lib.couchstore_open_db(path, c_uint64(RDONLY | CREATE), byref(db)), "RDONLY and CREATE")
check(0, lib.couchstore_open_db(path, c_uint64(CREATE), byref(db)), "create")
other = c_void_p()
check(-1, lib.couchstore_open_db(path, c_uint64(CREATE | EXCL), byref(other)), "EXCL on an existing file")
check(-10, lib.couchstore_open_db(path, c_uint64(LEGACY), byref(other)), "legacy checksums in a new file")

count = 3
docs = [Doc(SizedBuf.of(b"id%d" % i), SizedBuf.of(b"body%d" % i)) for i in range(count)]
infos = [DocInfo(id=doc.id) for doc in docs]
doc_array = (POINTER(Doc) * count)(*[ctypes.pointer(doc) for doc in docs])
info_array = (POINTER(DocInfo) * count)(*[ctypes.pointer(info) for info in infos])
check(0, lib.couchstore_save_documents(db, doc_array, info_array, c_uint(count), c_uint64(0)), "save")
check([1, 2, 3], [info.db_seq for info in infos], "sequence numbers")
local = LocalDoc(SizedBuf.of(b"_local/x"), SizedBuf.of(b"{}"), 0)
check(0, lib.couchstore_save_local_document(db, byref(local)), "save local")
check(0, lib.couchstore_commit(db), "commit with one argument")

seen = []
callback = ctypes.CFUNCTYPE(c_int, c_void_p, POINTER(DocInfo), c_void_p)
on_doc = callback(lambda _db, info, _ctx: seen.append(info.contents.id.bytes()) or 0)
check(0, lib.couchstore_changes_since(db, c_uint64(0), c_uint64(0), on_doc, None), "changes")
ids = (SizedBuf * 2)(SizedBuf.of(b"id2"), SizedBuf.of(b"id1"))
check(0, lib.couchstore_docinfos_by_id(db, ids, c_uint(2), c_uint64(0), on_doc, None), "by id")
check([b"id0", b"id1", b"id2", b"id1", b"id2"], seen, "documents")

doc = POINTER(Doc)()
check(0, lib.couchstore_open_document(db, b"id1", c_size_t(3), byref(doc), c_uint64(0)), "open document")
check(b"body1", doc.contents.data.bytes(), "body")
lib.couchstore_free_document(doc)
found = POINTER(LocalDoc)()
check(0, lib.couchstore_open_local_document(db, b"_local/x", c_size_t(8), byref(found)), "open local")
check(b"{}", found.contents.json.bytes(), "local body")
lib.couchstore_free_document(found)
number = c_uint64()
check(0, lib.couchstore_changes_count(db, c_uint64(0), c_uint64(9), byref(number)), "count")
check(3, number.value, "number of changes")

check(-10, lib.couchstore_free_db(db), "free before close")
check(0, lib.couchstore_close_file(db), "close")
check(0, lib.couchstore_close_file(db), "close again")
check(0, lib.couchstore_free_db(db), "free")
print("ok")
