#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# One version everywhere: what is built and packaged tells that of Cargo.toml.
#
# Environment: CMAKE_BUILD_DIR (default: build), configured, with the tools built if they are to be asked; PYTHON.
set -eu
cd "$(dirname "$0")/.."

build=${CMAKE_BUILD_DIR:-build}
python=${PYTHON:-python3}
version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
result=0

# same WHAT FOUND: one place more that must have the version.
same() {
    if [ "$2" != "$version" ]; then
        echo "$1 has the version '$2', Cargo.toml $version"
        result=1
    fi
}

packages=$(cargo metadata --locked --no-deps --format-version 1 |
    "$python" -c 'import json, sys
for package in json.load(sys.stdin)["packages"]:
    print(package["name"], package["version"])
    for dependency in package["dependencies"]:
        # Those within the repository that are published have a version beside the path.
        if dependency.get("path") and package["publish"] is None:
            print(package["name"] + "->" + dependency["name"], dependency["req"].lstrip("^"))')
for name in couchstore couchstore-tools "couchstore-tools->couchstore"; do
    same "$name" "$(echo "$packages" | sed -n "s/^$name //p")"
done
for lock in Cargo.lock fuzz/Cargo.lock bench-compare/Cargo.lock; do
    same "$lock" "$(sed -n '/^name = "couchstore"$/{n;s/^version = "\(.*\)"/\1/p}' "$lock")"
done
same "CMake" "$(sed -n 's/^CMAKE_PROJECT_VERSION:.*=//p' "$build/CMakeCache.txt")"
for file in couchstore couchstore-static; do
    same "$file.pc" "$(sed -n 's/^Version: //p' "$build/$file.pc")"
done
same "the CMake package" "$(sed -n 's/^set(PACKAGE_VERSION "\(.*\)")/\1/p' "$build/CouchstoreConfigVersion.cmake")"
if [ -x "$build/rust/tools/couch" ]; then
    same "couch" "$("$build/rust/tools/couch" --version | sed 's/^couch //')"
fi
# Without setuptools: what setup.py is told is what it hands on.
same "the Python package" "$(cd python && "$python" -B - <<'END'
import sys
import types

told = {}
setuptools = types.ModuleType("setuptools")
setuptools.Distribution = object
setuptools.setup = lambda **given: told.update(given)
command = types.ModuleType("setuptools.command.bdist_wheel")
command.bdist_wheel = object
sys.modules.update({"setuptools": setuptools, "setuptools.command.bdist_wheel": command})
with open("setup.py", encoding="utf-8") as file:
    exec(compile(file.read(), "setup.py", "exec"), {"__file__": "setup.py", "__name__": "setup"})
print(told["version"])
END
)"
same "CHANGELOG.md" "$(sed -n 's/^## \[\([0-9.]*\)\].*/\1/p' CHANGELOG.md | head -n 1)"
exit $result
