# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml cannot say: the version, which is that of the library, and wheels that contain the library."""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import Distribution, setup

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent
CONTAINS_LIBRARY = (HERE / "couchstore" / "libcouchstore.so").exists()


def version() -> str:
    """From the Cargo.toml of the repository; in an archive of the sources of this package alone, from PKG-INFO."""
    for file, pattern in ((HERE.parent / "Cargo.toml", r'^version *= *"(.*)"'), (HERE / "PKG-INFO", r"^Version: (.*)")):
        found = re.search(pattern, file.read_text(encoding="utf-8"), re.MULTILINE) if file.exists() else None
        if found:
            return found[1]
    raise SystemExit("couchstore: the version is in the Cargo.toml of the folder above, which is missing")


class Package(Distribution):
    """With the library it is for one platform."""

    def has_ext_modules(self) -> bool:
        return CONTAINS_LIBRARY


class Wheel(bdist_wheel):
    """For any Python 3 nevertheless: the library knows nothing of Python."""

    def get_tag(self) -> tuple[str, str, str]:
        python, abi, platform = super().get_tag()
        return ("py3", "none", platform) if CONTAINS_LIBRARY else (python, abi, platform)


setup(version=version(), distclass=Package, cmdclass={"bdist_wheel": Wheel})
