# SPDX-License-Identifier: Apache-2.0

"""The modules of the package: each knows only those before it."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import couchstore

PACKAGE = Path(couchstore.__file__).resolve().parent


def is_for_annotations(node: ast.AST) -> bool:
    """Whether this is ``if TYPE_CHECKING:``."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imported(node: ast.AST) -> set[str]:
    """The modules of the package that a part of a module imports when it runs, in functions too."""
    if is_for_annotations(node):
        return set()
    found: set[str] = set()
    if isinstance(node, ast.ImportFrom) and node.level == 1:
        found = {node.module} if node.module else {alias.name for alias in node.names}
    assert not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] != "couchstore"
    return found.union(*(imported(child) for child in ast.iter_child_nodes(node)))


def imports_of(sources: dict[str, str]) -> dict[str, set[str]]:
    return {name: imported(ast.parse(text)) for name, text in sources.items()}


def test_no_modules_import_each_other() -> None:
    modules = imports_of({path.stem: path.read_text() for path in PACKAGE.glob("*.py")})
    order = list(TopologicalSorter(modules).static_order())
    assert set(order) == set(modules)
    assert (order[-1], order[-2]) == ("__init__", "store")


def test_only_the_store_uses_its_inside() -> None:
    """Types of annotations may be those of later modules, whose private names are not to be used."""
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
                owner = ast.unparse(node.value)
                assert owner not in ("store", "self._store") or (path.stem, node.attr) in [
                    # A store is made without opening a file.
                    ("store", "_flags"),
                    ("store", "_keys"),
                    ("store", "_handle"),
                    # What all parts of a store share.
                    ("local_docs", "_handle"),
                ], f"{path.name}:{node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("text", ["from . import b", "from .b import c", "def f():\n    from .b import c"])
def test_circles_are_found(text: str) -> None:
    with pytest.raises(CycleError):
        list(TopologicalSorter(imports_of({"a": text, "b": "from .a import d"})).static_order())


def test_types_of_annotations_make_no_circle() -> None:
    text = "if TYPE_CHECKING:\n    from .b import c\nelse:\n    pass"
    assert imports_of({"a": text, "b": "from .a import d"}) == {"a": set(), "b": {"a"}}
