"""A representation of results that fits into a few lines: sizes in place of arrays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from secateurs.core.certificate import Certificate
from secateurs.core.visible_text import visible

MOST_ITEMS = 8  # of a list or a mapping
MOST_CHARACTERS, MOST_OF_A_FIELD = 60, 200  # of a text, and of all that is shown of a field


def short_repr(result: Any) -> str:
    """Return the name of the class and its fields, with sizes in place of arrays.

    A dataclass uses it as ``__repr__ = short_repr``.  A status comes first; fields that are empty,
    or that have ``repr=False``, are left out.

    Parameters
    ----------
    result : dataclass

    Returns
    -------
    str
        One line; nothing in it grows with the sizes of the arrays.
    """
    names = [field.name for field in fields(result) if field.repr]
    names.sort(key=lambda name: name != "status")  # the order of the others stays
    shown = [(name, shortened(getattr(result, name))) for name in names]
    texts = [
        f"{name}={text[:MOST_OF_A_FIELD]}{'...' if len(text) > MOST_OF_A_FIELD else ''}"
        for name, text in shown
        if text
    ]
    return f"{type(result).__name__}({', '.join(texts)})"


def shortened(value: Any) -> str:
    """Return a short text for a value; "" for None and for what is empty."""
    if value is None or (isinstance(value, str | tuple | list | Mapping) and not len(value)):
        return ""
    if isinstance(value, str):
        return repr(value if len(value) <= MOST_CHARACTERS else f"{value[:MOST_CHARACTERS]}...")
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if hasattr(value, "shape"):
        return _array(value)
    if isinstance(value, Mapping):
        texts = {key: shortened(each) for key, each in value.items()}
        return _items([f"{visible(str(key))}: {text}" for key, text in texts.items() if text], "{}")
    if isinstance(value, Certificate):
        counts = Counter(check.verdict for check in value.checks)
        return f"<Certificate: {', '.join(f'{n} {verdict}' for verdict, n in counts.items())}>"
    if isinstance(value, tuple | list) and len(value) > MOST_ITEMS:
        return f"<{len(value)} items>"
    if isinstance(value, tuple | list):
        ends = "()" if isinstance(value, tuple) else "[]"
        return _items([shortened(each) or repr(each) for each in value], ends)
    is_short = vars(type(value)).get("__repr__") is short_repr
    return repr(value) if is_short else f"<{type(value).__name__}>"


def _array(array: Any) -> str:
    """Show a single number, or the type and the shape of an array, tensor or data frame."""
    shape = tuple(array.shape)
    if not shape:
        return shortened(array.item())
    sizes = " x ".join(map(str, shape))
    kind = str(getattr(array, "dtype", type(array).__name__)).removeprefix("torch.")
    n_stored = getattr(array, "nnz", None)
    return f"<{kind} {sizes}{'' if n_stored is None else f', {n_stored} stored'}>"


def _items(texts: list[str], ends: str) -> str:
    if not texts:
        return ""
    more = [f"... {len(texts)} in all"] if len(texts) > MOST_ITEMS else []
    return f"{ends[0]}{', '.join([*texts[:MOST_ITEMS], *more])}{ends[1]}"
