"""Compile functions of numbers with numba, and keep the machine code where that is possible.

numba compiles a function at its first call, which takes up to seconds.  It stores the result beside
the source file or in the user's cache directory, and refuses to decorate the function when it
may write to neither.  Such a function is compiled again by every process instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[F], F]:
    """Return a decorator that compiles a function, without the interpreter lock.

    Parameters
    ----------
    **options
        Further options of `numba.njit`.

    Notes
    -----
    The stored machine code of a function is renewed when its source file changes, but not when
    a function of another file that it calls does.  Compiled functions should therefore only call
    compiled functions of their own file.
    """

    def decorate(function: F) -> F:
        try:
            machine_code: F = njit(function, cache=True, nogil=True, **options)
        except RuntimeError:  # numba found no directory for its cache
            machine_code = njit(function, nogil=True, **options)
        return machine_code

    return decorate
