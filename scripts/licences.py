#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The licences of the packages that become part of the libraries and of the tools.

  scripts/licences.py check    whether THIRD-PARTY-LICENSES and packaging/copyright list what Cargo.lock has (quick)
  scripts/licences.py write    makes both anew, with cargo-about (cargo install --locked --features cli cargo-about)
  scripts/licences.py same     whether "write" would make the same; "not done" where there is no cargo-about

Environment: CARGO (default: cargo).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ROOT / "THIRD-PARTY-LICENSES"
COPYRIGHT = ROOT / "packaging" / "copyright"
CARGO = os.environ.get("CARGO", "cargo")
# What the libraries and tools are built for; other systems have packages that these do not have.
TARGETS = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
OWN = ("couchstore", "couchstore-tools")

TEXTS_HEAD = """\
couchstore-rs is licensed under the Apache License 2.0 (LICENSE). Its libraries and tools contain compiled code of the
packages below, each under the licence that its text below gives. Those that have a choice are used under the
first that about.toml accepts.

Rust's standard library is contained, too (MIT or Apache-2.0; its parts and their licences are in the file
share/doc/rust/COPYRIGHT-library.html of each Rust toolchain), and, where it was found when the C++ part of the library
was compiled, code of the headers of nlohmann/json (Copyright (c) Niels Lohmann, MIT: the text is among those below).

Made with "make licences". Do not edit.
"""

COPYRIGHT_HEAD = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: couchstore-rs
Comment: The libraries (the static one is nothing but an archive of it) and the tools contain compiled code of the
 packages that are listed after "*" by name and version. The texts of their licences, with the holders of rights, are in
 THIRD-PARTY-LICENSES in this folder.
 .
 Made with "make licences". Do not edit.

Files: *
Copyright: 2026 the authors of couchstore-rs
License: Apache-2.0

Files: rust-std/*
Copyright: the Rust Project contributors
License: MIT or Apache-2.0

Files: nlohmann-json/*
Copyright: Niels Lohmann
License: MIT
"""

COPYRIGHT_END = """\
License: Apache-2.0
 On Debian systems the text of the Apache License, Version 2.0, is in /usr/share/common-licenses/Apache-2.0.
"""


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout


def used() -> dict[tuple[str, str], str]:
    """The licence of each package that is linked into what is built here, by name and version."""
    found: dict[tuple[str, str], str] = {}
    packages = [word for name in OWN for word in ("-p", name)]
    for target in TARGETS:
        options = ("--locked", "-e", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}|{l}", "--target", target)
        for line in run(CARGO, "tree", *packages, *options).splitlines():
            match = re.match(r"(\S+) v(\S+?)(?: \(.*\))?\|(.*?)(?: \(\*\))?$", line)
            if match and match[1] not in OWN:
                found[match[1], match[2]] = match[3].replace("/", " OR ")
    return dict(sorted(found.items()))


def listed(file: Path, pattern: str) -> set[tuple[str, str]]:
    if not file.exists():
        return set()
    return {(match[1], match[2]) for match in re.finditer(pattern, file.read_text(encoding="utf-8"), re.MULTILINE)}


def check() -> None:
    wanted = set(used())
    for file, pattern in ((TEXTS, r"^  (\S+) (\d\S*)$"), (COPYRIGHT, r"^Files: ([a-z]\S*)-(\d\S*)/\*$")):
        found = listed(file, pattern)
        if found != wanted:
            for name, version in sorted(wanted - found):
                print(f"{file.relative_to(ROOT)} lacks {name} {version}")
            for name, version in sorted(found - wanted):
                print(f"{file.relative_to(ROOT)} has {name} {version}, which is not used")
            sys.exit("The lists of licences are stale: make licences")


def about() -> dict[str, Any]:
    options = ("-m", "tools/Cargo.toml", "-c", "about.toml", "--fail", "--format", "json")
    # What the lock file has must be there: without the network nothing is looked for elsewhere, so results are the same.
    run(CARGO, "fetch", "--locked")
    result: dict[str, Any] = json.loads(run(CARGO, "about", "generate", "--frozen", *options))
    return result


def texts(packages: dict[tuple[str, str], str], licences: list[dict[str, Any]]) -> str:
    """All texts, each once, under the names of the packages that it is for."""
    users: dict[str, set[tuple[str, str]]] = {}
    for licence in licences:
        names = {(user["crate"]["name"], user["crate"]["version"]) for user in licence["used_by"]}
        # The same words in other lines are the same text.
        key = " ".join(licence["text"].split())
        if names & set(packages):
            users.setdefault(key, set()).update(names & set(packages))
    pretty = {" ".join(licence["text"].split()): licence["text"] for licence in reversed(licences)}
    missing = set(packages) - {name for names in users.values() for name in names}
    if missing:
        sys.exit(f"no text for {sorted(missing)}")
    parts = [TEXTS_HEAD]
    for key, names in sorted(users.items(), key=lambda item: sorted(item[1])):
        lines = "\n".join(f"  {name} {version}" for name, version in sorted(names))
        text = "\n".join(line.rstrip() for line in pretty[key].strip("\n").splitlines())
        parts.append(f"{'=' * 100}\n{lines}\n\n{textwrap.dedent(text)}\n")
    return "\n".join(parts)


def copyright_file(packages: dict[tuple[str, str], str], crates: list[dict[str, Any]]) -> str:
    authors = {(crate["package"]["name"], crate["package"]["version"]): crate["package"]["authors"] for crate in crates}
    parts = [COPYRIGHT_HEAD]
    for (name, version), licence in packages.items():
        holders = ", ".join(re.sub(r" *<.*?>", "", author) for author in authors.get((name, version), []))
        parts.append(
            f"Files: {name}-{version}/*\nCopyright: {holders or f'the authors of {name}'}\n"
            f"License: {re.sub(r' (AND|OR) ', lambda word: word[0].lower(), licence)}\n"
        )
    return "\n".join([*parts, COPYRIGHT_END])


def made() -> dict[Path, str]:
    packages = used()
    found = about()
    return {TEXTS: texts(packages, found["licenses"]), COPYRIGHT: copyright_file(packages, found["crates"])}


def write() -> None:
    for file, content in made().items():
        file.write_text(content, encoding="utf-8")


def same() -> None:
    if subprocess.run([CARGO, "about", "--version"], cwd=ROOT, capture_output=True, check=False).returncode != 0:
        print("not done: cargo-about is missing (cargo install --locked --features cli cargo-about)")
        sys.exit(77)
    for file, content in made().items():
        if not file.exists() or file.read_text(encoding="utf-8") != content:
            sys.exit(f"{file.relative_to(ROOT)} is stale: make licences")


if __name__ == "__main__":
    actions = {"check": check, "write": write, "same": same}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]]()
