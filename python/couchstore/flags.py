# SPDX-License-Identifier: Apache-2.0

"""Options and flags: the values of ``couch_common.h`` and ``couch_db.h``."""

from __future__ import annotations

from enum import IntEnum, IntFlag


class OpenFlag(IntFlag):
    """How a file is opened (``COUCHSTORE_OPEN_*``)."""

    CREATE = 1
    READ_ONLY = 2
    LEGACY_CRC = 4
    UNBUFFERED = 8
    EXCLUSIVE = 16
    NO_COMMIT_AT_CREATE = 32
    WRITE_VALIDATION = 0x40000000
    RECOVERY_MODE = 0x1000000000
    WITHOUT_STALE_CHECK = 0x4000000000000000


class SaveOption(IntFlag):
    """How documents are saved."""

    COMPRESS = 1
    """Compress the bodies of documents whose entry says ``compressed``."""
    SEQUENCE_AS_IS = 2
    """Keep the sequence numbers of the entries instead of giving new ones."""


class ReadOption(IntFlag):
    """How a body is read."""

    DECOMPRESS = 1
    """Decompress a compressed body; others are not affected."""


class ScanOption(IntFlag):
    """Which documents are shown."""

    DELETES_ONLY = 2
    NO_DELETES = 4
    TOLERATE_CORRUPTION = 8
    """Step over damage; the error is raised when everything readable was shown."""


class CompactFlag(IntFlag):
    """How a file is compacted (``COUCHSTORE_COMPACT_*``)."""

    DROP_DELETES = 1
    UPGRADE = 2
    UNBUFFERED = 4
    RECOVERY_MODE = 8


class CompactAction(IntEnum):
    """What a compaction hook decides about a document."""

    KEEP = 0
    DROP = 1
    NEED_BODY = 2
    """Ask again, with the body."""


class ContentType(IntEnum):
    """What a body is. The library stores it and draws no conclusion."""

    JSON = 0
    INVALID_JSON = 1
    INVALID_JSON_KEY = 2
    NON_JSON = 3
    """Not checked."""


class Direction(IntEnum):
    """Which way to go from header to header."""

    FORWARD = 0
    BACKWARD = 1
    END = 2
