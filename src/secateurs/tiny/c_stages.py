"""The first stage of a network that reads images, in C."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from secateurs.tiny import c_templates
from secateurs.tiny.c_text import array_lines
from secateurs.tiny.filters import LEAST_CODE, Filters
from secateurs.tiny.inputs import Stage
from secateurs.tiny.pooling import Pooling


def function(stage: Stage, words: dict[str, str]) -> str:
    """Return the function that computes the inputs of the network from an image."""
    if isinstance(stage, Pooling):
        return _pool_function(stage, words)
    return _filter_function(stage, words)


def declaration(stage: Stage, words: dict[str, str]) -> str:
    """Return the lines of the header about the image."""
    return (
        f"#define {words['NAME']}_PIXELS {stage.n_pixels}\n\n"
        f"/* Compute the inputs from an image of {stage.height} x {stage.width} bytes, in rows:\n"
        f" * {stage.about}. */\n"
        f"void {words['name']}_{stage.name}(const uint8_t pixels[], uint8_t x[]);\n\n"
    )


def _pool_function(pooling: Pooling, words: dict[str, str]) -> str:
    f, width = pooling.factor, pooling.width
    sizes = {
        "rows": pooling.height // f,
        "columns": width // f,
        "n": pooling.n_features,
        "width": width,
        "next": width + 1,
        "f": f,
        "band": f * width,
        "skip": width - f,
        "shift": pooling.shift,
        "half": 1 << pooling.shift >> 1,
    }
    small = f == 2 and max(pooling.height, width) < 256
    template = c_templates.POOL_OF_TWO if small else c_templates.POOL
    return template.format(**words, **sizes)


def _filter_function(filters: Filters, words: dict[str, str]) -> str:
    size, window, width = filters.size, filters.window, filters.width
    packed = packed_codes(filters)
    sizes = {
        "n_filters": len(filters.codes),
        "n_bytes": len(packed),
        "codes": array_lines(packed.tolist()),
        "biases": array_lines(filters.biases.tolist()),
        "taps": size**2,
        "positions": window**2,
        "size": size,
        "window": window,
        "rows": filters.n_rows,
        "columns": filters.n_columns,
        "next_square": width - size,
        "next_window": width - window,
        "next_row": window * (width - filters.n_columns),
        "one": 1 << filters.shift,
        "shift": filters.shift,
        "index_t": "uint_fast8_t" if max(filters.height, width) < 256 else "uint_fast16_t",
    }
    return c_templates.FILTER.format(**words, **sizes)


def packed_codes(filters: Filters) -> NDArray[np.uint8]:
    """Return the codes, two in a byte, the first one in the lower half."""
    halves = (filters.codes.ravel() - LEAST_CODE).astype(np.uint8)
    if len(halves) % 2:
        halves = np.append(halves, np.uint8(0))
    return (halves[::2] + 16 * halves[1::2]).astype(np.uint8)
