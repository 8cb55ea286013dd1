"""libcouchstore for Python: documents in an append-only file.

with CouchStore("my.couch", "c") as store:
    store["greeting"] = "hello"
    store.commit()
"""

from .compaction import CompactHook, OnlineStats, Progress
from .documents import Data, DocumentInfo, SizedBuf, as_bytes, as_text
from .errors import (
    CouchStoreException,
    CouchStoreFileNotFoundError,
    CouchStoreMemoryError,
    CouchStoreOSError,
    ErrorCode,
)
from .flags import CompactAction, CompactFlag, ContentType, OpenFlag, ReadOption, SaveOption, ScanOption
from .keys import SAME_KEYS, EncryptionKey, KeyDerivation, KeyFunction, Keys
from .local_docs import LocalDocs, TextLocalDocs
from .store import CouchStore, HeaderInfo, StoreInfo

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
