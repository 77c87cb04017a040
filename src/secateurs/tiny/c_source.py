"""The program in C: integers only, C99 and C++11, without allocation and without global state."""

from __future__ import annotations

import re

from secateurs.core.parameters import bad_value
from secateurs.core.version import __version__
from secateurs.tiny import c_inputs, c_templates
from secateurs.tiny.arithmetic import IntegerArithmetic
from secateurs.tiny.c_text import array_lines, c_comment
from secateurs.tiny.filters import Filters
from secateurs.tiny.footprint import flash_bytes, ram_bytes
from secateurs.tiny.inputs import PixelInputs, TableInputs
from secateurs.tiny.integer_layer import BIAS_BITS
from secateurs.tiny.outputs import NumberOutputs
from secateurs.tiny.worst_case import INT32, INT64

SMALL_POSITIONS = 1 << 16  # positions and bits that 16 bits can count
KEYWORDS = frozenset(
    """auto break case char const continue default do double else enum extern float for goto if
    inline int long register restrict return short signed sizeof static struct switch typedef
    union unsigned void volatile while alignas alignof and asm bool catch class compl concept
    constexpr decltype delete explicit export false friend mutable namespace new noexcept not
    nullptr operator or private protected public requires template this throw true try typeid
    typename using virtual main""".split()  # noqa: SIM905
)


def check_name(name: str) -> str:
    """Return a prefix for public names in C, or raise ValueError."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", name) or name.lower() in KEYWORDS:
        expected = "a name in C: a letter, then at most 40 letters, digits and underscores"
        raise bad_value("name", name, expected)
    return name


def c_files(network: IntegerArithmetic, name: str) -> tuple[str, str]:
    """Return the texts of NAME.c and NAME.h; the same network gives the same texts.

    Raises
    ------
    ValueError
        The name is no name in C, or a sum can pass 2^63.
    """
    check_name(name)
    worst = max(network.worst_sums_)
    if worst >= INT64:
        do = "use fewer bits, fewer layers or fewer weights"
        raise bad_value("model", f"sums up to {worst:.3g}", "sums below 2^63", do)
    sizes = _Sizes(network, name)
    return _source(network, sizes), _header(network, sizes)


class _Sizes:
    """Words and numbers that the templates need."""

    def __init__(self, network: IntegerArithmetic, name: str) -> None:
        layers = network.layers
        self.name, self.upper = name, name.upper()
        self.sum_type = "int32_t" if max(network.worst_sums_) < INT32 else "int64_t"
        is_pixels = isinstance(network.inputs, PixelInputs)
        self.input_type = "uint8_t" if is_pixels else "int8_t"
        self.has_bias = any(bool(layer.is_bias.any()) for layer in layers)
        positions = [
            layer.n_out * (layer.n_in + 2) + (1 << order + 1)
            for layer, order in zip(layers, network.stream_orders_, strict=True)
        ]
        small = max(*positions, 8 * len(network.stream_)) < SMALL_POSITIONS
        self.position_type = "uint_fast16_t" if small else "uint_fast32_t"

    def words(self) -> dict[str, str]:
        """Return the replacements that all templates share."""
        return {
            "name": self.name,
            "NAME": self.upper,
            "sum_t": self.sum_type,
            "input_t": self.input_type,
            "pos_t": self.position_type,
        }


def _source(network: IntegerArithmetic, sizes: _Sizes) -> str:
    words = sizes.words()
    stream = array_lines(network.stream_ or b"\0")
    inputs = network.inputs
    has_arrays = isinstance(inputs, TableInputs) or isinstance(inputs.stage, Filters)
    top = {
        "about": _about(network),
        "n": max(len(network.stream_), 1),
        "avr": c_templates.AVR_READ if has_arrays else "",
        "others": c_templates.READ if has_arrays else "",
    }
    parts = [
        c_templates.TOP.format(**words, **top),
        f"{stream}}};\n\n",
        c_templates.BITS.format(**words),
        _layer_function(network, sizes),
        _scores_function(network, sizes),
        _predict_function(network, sizes),
        c_inputs.function(network.inputs, words),
        c_inputs.labels(network.outputs, words),
        c_inputs.test_program(network, words),
    ]
    return "".join(parts)


def _layer_function(network: IntegerArithmetic, sizes: _Sizes) -> str:
    deep = len(network.layers) > 1
    bits = network.bits_
    words = {
        **sizes.words(),
        "hidden": f", const {sizes.sum_type} *h" if deep else "",
        "value": "x ? x[c] : h[c] > 0 ? h[c] : 0" if deep else "x[c]",
        "bits": bits,
        "top": (1 << bits) - 1,
        "bias_bits": BIAS_BITS,
    }
    template = c_templates.BIASED_LAYER if sizes.has_bias else c_templates.LAYER
    return template.format(**words)


def _scores_function(network: IntegerArithmetic, sizes: _Sizes) -> str:
    layers, orders = network.layers, network.stream_orders_
    deep = len(layers) > 1
    lines = []
    for i, layer in enumerate(layers[:-1]):
        lines.append(f"    {sizes.sum_type} h{i + 1}[{layer.n_out}];")
    lines.append(f"    {sizes.position_type} at = 0;")
    for i, (layer, order) in enumerate(zip(layers, orders, strict=True)):
        source = ("x, 0" if i == 0 else f"0, h{i}") if deep else "x"
        out = "scores" if i == len(layers) - 1 else f"h{i + 1}"
        bias = f", {layer.n_in}, {layer.shift}" if sizes.has_bias else ""
        n = len(layer.codes)
        lines.append(f"    layer(&at, {source}, {out}, {layer.n_out}, {n}, {order}{bias});")
    return c_templates.SCORES.format(**sizes.words(), body="\n".join(lines))


def _predict_function(network: IntegerArithmetic, sizes: _Sizes) -> str:
    words, k = sizes.words(), network.layers[-1].n_out
    if not isinstance(network.outputs, NumberOutputs):
        return c_templates.PREDICT_CLASS.format(**words, k=k)
    lines = [
        f"    y[{i}] = (int32_t)(scaled(scores[{i}], {part.multiplier}UL, {part.shift}) "
        f"{'-' if part.base < 0 else '+'} INT64_C({abs(part.base)}));"
        for i, part in enumerate(network.outputs.parts)
    ]
    half = network.outputs.parts[0].half
    body = "\n".join(lines)
    return c_templates.PREDICT_NUMBERS.format(**words, k=k, half=half, body=body)


def _about(network: IntegerArithmetic) -> str:
    """Return the lines of the comment that states what the program is and what it costs."""
    widths = [network.layers[0].n_in, *(layer.n_out for layer in network.layers)]
    shape = "-".join(str(width) for width in widths)
    worst = ", ".join(str(worst) for worst in network.worst_sums_)
    lines = [
        f"Sparse network {shape}, {network.n_nonzero_} weights of {network.bits_} bits.",
        f"Flash: {len(network.stream_)} bytes of data, {flash_bytes(network)} with all code"
        " (Cortex-M0, -Os).",
        f"RAM: {ram_bytes(network)} bytes of stack with the inputs; no global variables.",
        f"Largest |sum| of each layer over all inputs: {worst}.",
    ]
    lines += [
        f"Certificate: {check.name} {check.verdict}." for check in network.certificate_.checks
    ]
    return "\n".join(f" * {c_comment(line)}" for line in lines)


def _header(network: IntegerArithmetic, sizes: _Sizes) -> str:
    inputs, outputs = network.inputs, network.outputs
    words = sizes.words()
    numbers = isinstance(outputs, NumberOutputs)
    raw = c_inputs.declaration(inputs, words)
    predict = c_templates.NUMBERS_DECLARED if numbers else c_templates.CLASS_DECLARED
    return c_templates.HEADER.format(
        **words,
        about=_about(network),
        version=__version__,
        n_inputs=inputs.n_features,
        n_outputs=network.layers[-1].n_out,
        raw=raw,
        predict=predict.format(**words, units=c_inputs.output_units(outputs)),
        labels=c_inputs.labels_declaration(outputs, words),
    )
