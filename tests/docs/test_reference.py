"""The reference: it lists every public name, and the docstrings that it shows are complete."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from numpydoc.docscrape import get_doc_object
from numpydoc.validate import validate

PAGES = Path(__file__).parents[2] / "docs/reference"
WINGS = ("core", "data", "sparse", "training", "recovery", "features", "sensing", "tickets", "nn")
WINGS += ("tiny",)

# findings that the docstrings here do not follow
ALLOWED = {
    "GL01",  # the summary stands on the first line, beside the quotes
    "ES01",  # a summary that says everything needs no further text
    "SA01",  # the pages of the site, not the docstrings, say what belongs together
    "EX01",  # the guides and the README have the examples
}
# An override takes and returns what the method of the base class does, which describes it once.
IN_THE_BASE = {"PR01", "RT01"}


def listed(page: Path) -> Iterator[str]:
    """Yield the names on a page of the reference, with their modules."""
    module = ""
    for line in page.read_text(encoding="utf-8").splitlines():
        if found := re.fullmatch(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif module and (found := re.fullmatch(r"   ([A-Za-z_][\w.]*)", line)):
            yield f"{module}.{found[1]}"


def resolved(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


NAMES = {wing: list(listed(PAGES / f"{wing}.md")) for wing in WINGS}
ALL_NAMES = [path for names in NAMES.values() for path in names]


def test_each_name_is_listed_once():
    assert len(set(ALL_NAMES)) == len(ALL_NAMES)


@pytest.mark.parametrize("wing", WINGS)
def test_a_page_lists_the_public_names_of_its_wing_and_only_names_that_exist(wing):
    for path in NAMES[wing]:
        assert resolved(path) is not None, path
    module = import_module(f"secateurs.{wing}")
    public = {f"secateurs.{wing}.{name}" for name in module.__all__ if name != "__version__"}
    assert public <= set(NAMES[wing])


def test_every_public_name_of_the_package_is_listed_under_its_wing():
    package = import_module("secateurs")
    for name in set(package.__all__) - {"__version__"}:
        homes = [path for path in ALL_NAMES if path.endswith(f".{name}")]
        assert any(resolved(path) is getattr(package, name) for path in homes), name


def documented(path: str) -> Iterator[tuple[str, Any, set[str]]]:
    """Yield an object and, for a class, its public members; with the findings to pass over."""
    thing = resolved(path)
    if not callable(thing):
        return  # numpydoc would read the docstring of the type of a constant
    yield path, thing, ALLOWED
    if not isinstance(thing, type):
        return
    own = [base for base in thing.__mro__ if base.__module__.startswith("secateurs.")]
    for name in dict.fromkeys(name for base in own for name in vars(base)):
        member = inspect.getattr_static(thing, name)
        is_method = callable(member) or isinstance(member, property | classmethod | staticmethod)
        if name.startswith("_") or not is_method:
            continue
        first, *overridden = (base for base in own if name in vars(base))
        allowed = ALLOWED | IN_THE_BASE if overridden else ALLOWED
        yield f"{path}.{name}", getattr(first, name), allowed
        for base in overridden[-1:]:
            yield f"{base.__qualname__}.{name}", getattr(base, name), ALLOWED


@pytest.mark.parametrize("wing", WINGS)
def test_numpydoc_accepts_the_docstrings_of_a_wing(wing):
    faults = [
        f"{name}: {code} {text}"
        for path in NAMES[wing]
        for name, thing, allowed in documented(path)
        for code, text in validate(get_doc_object(thing))["errors"]
        if code not in allowed
    ]
    assert not faults, "\n".join(faults)
