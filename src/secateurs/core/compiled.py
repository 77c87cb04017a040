"""Compile functions of numbers with numba, and keep the machine code where that is possible.

numba compiles a function at its first call, which takes up to seconds.  It stores the result beside
the source file or in the user's cache directory, and refuses to decorate the function when it
may write to neither.  Such a function is compiled again by every process instead.  numba is large,
and only tickets and the sampler of recovery need it, so that it is an extra.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from importlib.util import find_spec
from typing import Any, TypeVar

from secateurs.core.extras import package

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
        if find_spec("numba") is None:
            return _missing(function)
        njit = package("numba", "kernels", function.__name__).njit
        try:
            machine_code: F = njit(function, cache=True, nogil=True, **options)
        except RuntimeError:  # numba found no directory for its cache
            machine_code = njit(function, nogil=True, **options)
        return machine_code

    return decorate


def _missing(function: F) -> F:
    """Return a function that says at its first call how to install numba."""

    @wraps(function)
    def refuse(*_: Any, **__: Any) -> Any:
        package("numba", "kernels", function.__name__)

    return refuse  # type: ignore[return-value]
