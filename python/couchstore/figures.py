# SPDX-License-Identifier: Apache-2.0

"""Figures of a store and of a header."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoreInfo:
    """Figures of a store, with what was saved and not committed. Sizes and positions in bytes.

    doc_count does not count deleted documents, deleted_count does only these.
    """

    filename: str
    last_sequence: int
    doc_count: int
    deleted_count: int
    space_used: int
    file_size: int
    header_position: int
    purge_seq: int


@dataclass(frozen=True)
class HeaderInfo:
    """The header that a store stands on. Sizes and positions in bytes.

    version: of the format, 11 to 14.
    timestamp: of the commit, ns since 1970; 0 before version 13.
    previous_header_position: None if it is not known.
    """

    version: int
    timestamp: int
    update_seq: int
    purge_seq: int
    header_position: int
    doc_count: int
    deleted_count: int
    space_used: int
    file_size: int
    previous_header_position: int | None
