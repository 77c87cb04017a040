"""Packages that only some tasks need: the extras of `pip install 'secateurs[EXTRA]'`."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class MissingExtraError(ModuleNotFoundError):
    """A package of an extra is not installed."""


def package(name: str, extra: str, task: str) -> Any:
    """Import a package of an extra.

    Parameters
    ----------
    name : str
        Name of the module.
    extra : str
        The extra of secateurs that installs it.
    task : str
        What the user wants, such as "report".

    Returns
    -------
    module
        The imported module.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:  # the package itself lacks something
            raise
        raise MissingExtraError(
            f"{task}: got no package {error.name!r}; expected it for this task; "
            f"run pip install 'secateurs[{extra}]'"
        ) from error
