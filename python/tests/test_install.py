# SPDX-License-Identifier: Apache-2.0

"""Installing the package with pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1]


def missing_tool() -> str:
    """What keeps pip from installing without a network; empty if nothing does."""
    versions = {distribution.metadata["Name"]: distribution.version for distribution in distributions()}
    for name in ("pip", "setuptools"):
        if name not in versions:
            return f"this Python has no {name}"
    setuptools = int(versions["setuptools"].split(".")[0])
    if setuptools < 61:
        return f"setuptools {setuptools} cannot build the package: 61 or newer is needed"
    if setuptools < 71 and "wheel" not in versions:
        return f"setuptools {setuptools} needs wheel to build the package"
    return ""


@pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())
def test_pip_install(tmp_path: Path) -> None:
    # A copy: setuptools leaves files beside the sources.
    sources, target = tmp_path / "repository" / "python", tmp_path / "site"
    shutil.copytree(PACKAGE, sources, ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info"))
    shutil.copy(PACKAGE.parent / "Cargo.toml", sources.parent)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    options = ["--disable-pip-version-check", "--target", str(target), str(sources)]
    pip = subprocess.run(command + options, capture_output=True, text=True)
    assert pip.returncode == 0, pip.stdout + pip.stderr

    installed = {path.name for path in (target / "couchstore").iterdir()}
    assert {path.name for path in (PACKAGE / "couchstore").glob("*.py")} | {"py.typed"} <= installed
    script = (
        "import couchstore, importlib.metadata, sys\n"
        "with couchstore.CouchStore(sys.argv[1], 'c') as store:\n"
        "    store['a'] = 'installed'\n"
        "    store.commit()\n"
        "    print(couchstore.__file__, importlib.metadata.version('couchstore'), store['a'].decode())\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(target)}
    command = [sys.executable, "-c", script, str(tmp_path / "test.couch")]
    result = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    version = re.search(r'^version *= *"(.*)"', (PACKAGE.parent / "Cargo.toml").read_text(), re.MULTILINE)
    assert version
    assert result.stdout.split() == [str(target / "couchstore" / "__init__.py"), version[1], "installed"]
