# SPDX-License-Identifier: Apache-2.0

"""Python functions that the library calls."""

from __future__ import annotations

from typing import Any, Callable

from .errors import CouchStoreException, ErrorCode, call


class Callbacks:
    """The callbacks of one call. An exception in one of them ends the call, which then raises it."""

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def guard(self, function: Callable[..., Any], failure: int = ErrorCode.CANCEL) -> Callable[..., Any]:
        """The function with its exceptions kept for later; the library gets ``failure`` instead of a result."""

        def guarded(*arguments: Any) -> Any:
            try:
                return function(*arguments)
            except BaseException as error:
                if self.error is None:
                    self.error = error
                return int(failure)

        return guarded

    def call(self, function: Any, *arguments: Any, path: str = "", target: str = "") -> None:
        """As ``errors.call()``; raises what a callback raised, if one did."""
        try:
            call(function, *arguments, path=path, target=target)
        except CouchStoreException:
            if self.error is None:
                raise
        if self.error is not None:
            # The traceback leads back here: it must not keep everything that it mentions alive.
            error, self.error = self.error, None
            try:
                raise error
            finally:
                del error
