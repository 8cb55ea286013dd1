# SPDX-License-Identifier: Apache-2.0

"""Finding one thing: the library makes a pointer point to it, and wants it back."""

from __future__ import annotations

from typing import Any, Callable, TypeVar

from .errors import CouchStoreException, ErrorCode, call

T = TypeVar("T")


def look_up(
    path: str,
    key: Any,
    out: Any,
    copy: Callable[[Any], T],
    free: Any,
    function: Any,
    *arguments: Any,
) -> T:
    """Calls a function of the library that finds something, and gives a copy of it. The handle is entered meanwhile.

    path: for the other errors.
    key: for the KeyError that is raised if there is no such thing.
    out: the pointer to what is found; one of the arguments refers to it.
    copy: is given the struct; nothing of that may be kept.
    free: the function of the library that takes the struct back.
    """
    try:
        call(function, *arguments, path=path)
    except CouchStoreException as error:
        if error.code == ErrorCode.DOC_NOT_FOUND:
            raise KeyError(key) from None
        raise
    try:
        return copy(out.contents)
    finally:
        free(out)
