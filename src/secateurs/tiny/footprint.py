"""Bytes of flash and RAM of the program in C, without a compiler.

The stream of bits is counted.  The code is a sum of parts that were measured with
arm-none-eabi-gcc 12.2 at -Os for a Cortex-M0 (`tests/tiny/test_targets.py` compares the sums with
the compiler where there is one).  Other compilers and processors differ by some tens of bytes.
"""

from __future__ import annotations

from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.bit_stream import stream_bits
from secateurs.tiny.inputs import NumberFeature, PixelInputs, Stage, TableInputs
from secateurs.tiny.outputs import ClassOutputs
from secateurs.tiny.pooling import Pooling
from secateurs.tiny.worst_case import INT32

ONE_LAYER, TWO_LAYERS, EACH_LAYER = 164, 270, 26
BIASED_ONE, BIASED = 26, 50
CLASSES = 44
POOL = 66
FILTER = 232
WIDE = 232  # sums of 64 bits, and their product
NUMBERS, EACH_NUMBER = 84, 8
CATEGORIES, EACH_CATEGORY, WIDE_CATEGORY = 72, 5, 8
SCALED, EACH_OUTPUT = 156, 42
FRAMES, WIDE_FRAMES = 152, 176  # bytes of stack of the functions, beside the sums


def flash_bytes(network: IntegerArithmetic) -> int:
    """Return bytes of data and code on a Cortex-M0."""
    return -(-stream_bits(network.layers) // 8) + code_bytes(network)


def code_bytes(network: IntegerArithmetic) -> int:
    """Return bytes of code alone."""
    n_layers = len(network.layers)
    biased = any(bool(layer.is_bias.any()) for layer in network.layers)
    if n_layers == 1:
        total = ONE_LAYER + (BIASED_ONE if biased else 0)
    else:
        total = TWO_LAYERS + EACH_LAYER * (n_layers - 2) + (BIASED if biased else 0)
    total += WIDE if max(network.worst_sums_) >= INT32 else 0
    if isinstance(network.outputs, ClassOutputs):
        total += CLASSES
    else:
        total += SCALED + EACH_OUTPUT * len(network.outputs.parts)
    return total + _input_bytes(network.inputs)


def _input_bytes(inputs: PixelInputs | TableInputs) -> int:
    if isinstance(inputs, PixelInputs):
        return _stage_bytes(inputs.stage)
    numbers = sum(isinstance(part, NumberFeature) for part in inputs.parts)
    categories = [part for part in inputs.parts if not isinstance(part, NumberFeature)]
    large = any(max(part.source, part.code) > 255 for part in categories)
    total = NUMBERS + EACH_NUMBER * numbers if numbers else 0
    each = WIDE_CATEGORY if large else EACH_CATEGORY
    return total + (CATEGORIES + each * len(categories) if categories else 0)


def _stage_bytes(stage: Stage | None) -> int:
    if stage is None:
        return 0
    if isinstance(stage, Pooling):
        return POOL
    return filter_bytes(*stage.codes.shape[:2])


def filter_bytes(n_filters: int, size: int) -> int:
    """Return the bytes of filters, with their code."""
    return FILTER + -(-n_filters * size**2 // 2) + n_filters


def ram_bytes(network: IntegerArithmetic) -> int:
    """Return bytes of stack: the inputs of the network, all sums, and the frames of functions."""
    is_wide = max(network.worst_sums_) >= INT32
    sums = sum(layer.n_out for layer in network.layers)
    frames = WIDE_FRAMES if is_wide else FRAMES
    return network.inputs.n_features + (8 if is_wide else 4) * sums + frames
