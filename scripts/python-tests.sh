#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# The tests of the Python package, and its types if mypy is there.
#
#   scripts/python-tests.sh [LIBRARY]    the shared library to test (default: build/libcouchstore.so)
#
# Uses the python3 that is found, if it has pytest. Otherwise an environment of its own is made in the folder of the
# build, with pytest and mypy from PyPI, and used again the next time.
#
# Environment: CMAKE_BUILD_DIR (default: build); PYTHON, the interpreter (default: python3);
# COUCHSTORE_WITHOUT_ENCRYPTION, set if the library was built without encryption.
set -eu
called_from=$PWD
cd "$(dirname "$0")/.."

build=${CMAKE_BUILD_DIR:-build}
library=$build/libcouchstore.so
case ${1:-} in
    '') ;;
    /*) library=$1 ;;
    *) library=$called_from/$1 ;;
esac
python=${PYTHON:-python3}
venv=$build/python-venv
# Nothing is to be left beside the sources.
export PYTHONDONTWRITEBYTECODE=1

if [ ! -e "$library" ]; then
    echo "$library is missing: make build" >&2
    exit 2
fi
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    echo "Python 3.9 or newer is needed." >&2
    exit 2
fi

has_pytest() {
    "$1" -c 'import pytest' >/dev/null 2>&1
}

# Makes the environment; says why not, if it cannot.
make_venv() {
    echo "Installing pytest and mypy in $venv"
    "$python" -m venv --clear "$venv" &&
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 2 --timeout 20 \
            'pytest>=7,<10' 'mypy>=1.8,<3' 'setuptools>=61' wheel
}

# Whether the environment was made with the interpreter that is wanted now.
is_same_python() {
    what='import sys; print(sys.version_info, sys.base_prefix)'
    [ "$("$1" -c "$what" 2>/dev/null)" = "$("$python" -c "$what")" ]
}

if is_same_python "$venv/bin/python" && has_pytest "$venv/bin/python"; then
    python=$venv/bin/python
elif ! has_pytest "$python"; then
    if ! make_venv; then
        rm -rf "$venv"
        echo "pytest is missing. Install what Debian calls python3-pytest, or python3-venv and have a network." >&2
        exit 2
    fi
    python=$venv/bin/python
fi

if "$python" -c 'import mypy' >/dev/null 2>&1; then
    "$python" -m mypy --config-file python/pyproject.toml --cache-dir "$build/mypy-cache" \
        python/couchstore python/tests
else
    echo "mypy is missing: the types are not checked"
fi
COUCHSTORE_LIBRARY=$library "$python" -m pytest -q -rs python/tests
