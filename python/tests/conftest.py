# SPDX-License-Identifier: Apache-2.0

"""The package is tested from its sources; COUCHSTORE_LIBRARY says which library.

COUCHSTORE_WITHOUT_ENCRYPTION, if it is set, says that the library was built without encryption.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
library = os.environ.get("COUCHSTORE_LIBRARY", "")
if os.path.exists(library):
    # Some tests start programs in other folders.
    os.environ["COUCHSTORE_LIBRARY"] = os.path.abspath(library)

from couchstore import CouchStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.couch"


@pytest.fixture
def store(path: Path) -> Iterator[CouchStore]:
    with CouchStore(path, "c") as store:
        yield store
