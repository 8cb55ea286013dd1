# SPDX-License-Identifier: Apache-2.0

"""libcouchstore for Python: documents in an append-only file.

with CouchStore("my.couch", "c") as store:
    store["greeting"] = "hello"
    store.commit()
"""

from .background import OnlineCompaction
from .compaction import CompactHook, OnlineStats, Progress
from .documents import Data, DocumentInfo, SizedBuf, as_bytes, as_text
from .errors import (
    CouchStoreException,
    CouchStoreFileNotFoundError,
    CouchStoreMemoryError,
    CouchStoreOSError,
    ErrorCode,
)
from .figures import HeaderInfo, StoreInfo
from .flags import CompactAction, CompactFlag, ContentType, OpenFlag, ReadOption, SaveOption, ScanOption
from .keys import SAME_KEYS, EncryptionKey, KeyDerivation, KeyFunction, Keys
from .local_docs import LocalDocs, TextLocalDocs
from .store import CouchStore

__all__ = [
    "SAME_KEYS",
    "CompactAction",
    "CompactFlag",
    "CompactHook",
    "ContentType",
    "CouchStore",
    "CouchStoreException",
    "CouchStoreFileNotFoundError",
    "CouchStoreMemoryError",
    "CouchStoreOSError",
    "Data",
    "DocumentInfo",
    "EncryptionKey",
    "ErrorCode",
    "HeaderInfo",
    "KeyDerivation",
    "KeyFunction",
    "Keys",
    "LocalDocs",
    "OnlineCompaction",
    "OnlineStats",
    "OpenFlag",
    "Progress",
    "ReadOption",
    "SaveOption",
    "ScanOption",
    "SizedBuf",
    "StoreInfo",
    "TextLocalDocs",
    "as_bytes",
    "as_text",
]
