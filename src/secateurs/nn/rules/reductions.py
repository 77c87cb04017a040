"""Operations along axes: sums, maxima, softmax, sorting, pooling."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from secateurs.nn.axes import Axes, fixed
from secateurs.nn.rules.call import Call, Rule, short_name

SUMS = ("sum", "linalg_vector_norm", "norm", "nansum")  # terms that are zero change nothing
KEEP_ZERO = (*SUMS, "mean", "amax", "amin", "max", "min", "var", "std", "prod", "median")
LOSE_ZERO = ("argmax", "argmin", "any", "all", "var_mean", "logsumexp", "mode", "count_nonzero")
ALONG = (
    "_softmax", "_log_softmax", "_safe_softmax", "cumsum", "cumprod", "sort", "topk",
    "logcumsumexp", "argsort",
)  # fmt: skip
SPATIAL = (
    "max_pool", "avg_pool", "adaptive_", "_adaptive_", "upsample_", "_upsample_", "grid_sampler",
    "mkldnn_max_pool", "fractional_max_pool",
)  # fmt: skip


def reduce(call: Call) -> list[Axes]:
    """Fix the axes that are reduced, unless their silenced terms do not count."""
    walk, x = call.walk, call.axes(0)
    name = short_name(call.operation)
    place = 2 if name in ("linalg_vector_norm", "norm") else 1
    dims = _dims(call.argument(place, "dim"), len(x))
    for d in dims:
        if name in SUMS and x[d].zero and _adds_zeros(call, name):
            walk.summed.append(x[d].slots)
        else:
            walk.fix([x[d]], f"{name} runs along it")
    keeps = name in KEEP_ZERO

    def kept(n_axes: int) -> Axes:
        out = []
        for d, axis in enumerate(x):
            if d not in dims:
                out.append(replace(axis, zero=axis.zero and keeps))
            elif n_axes == len(x):
                out += fixed([1])
        return out

    return [kept(t.ndim) for t in call.outputs]


def _adds_zeros(call: Call, name: str) -> bool:
    if name in ("linalg_vector_norm", "norm"):
        order = call.argument(1, "ord" if name != "norm" else "p", 2)
        return isinstance(order, int | float) and 0 < order < float("inf")
    return True


def _dims(given: object, n: int) -> set[int]:
    if given is None or given == []:
        return set(range(n))
    dims: Iterable[int] = [given] if isinstance(given, int) else given  # type: ignore[assignment]
    return {d % n for d in dims} if n else set()


def along(call: Call) -> list[Axes]:
    """Fix the axis along which values are compared or summed up."""
    x, name = call.axes(0), short_name(call.operation)
    d = call.argument(2 if name == "topk" else 1, "dim", -1)
    if not isinstance(d, int) or isinstance(d, bool):
        raise TypeError
    d %= len(x)
    call.walk.fix([x[d]], f"{name.lstrip('_')} runs along it")
    keeps = name in ("cumsum", "sort", "topk")

    def out(shape: Iterable[int]) -> Axes:
        return [
            fixed([n])[0] if i == d else replace(x[i], zero=x[i].zero and keeps)
            for i, n in enumerate(shape)
        ]

    return [out(t.shape) for t in call.outputs]


def spatial(call: Call) -> list[Axes]:
    """Pooling and resizing: each channel by itself; the axes of space are fixed."""
    x, name = call.axes(0), short_name(call.operation)
    out = call.outputs[0]
    n_space = next((k for k in (1, 2, 3) if f"{k}d" in name), 0) or out.ndim - 2
    if "grid" in name:
        n_space = out.ndim - 2
    call.walk.fix(x[-n_space:], "pooling or resizing moves along it")
    for i in range(1, len(call.args)):
        axes = call.optional(i)
        if axes is not None:
            call.walk.fix(axes, f"{name} reads it")
    return [[*x[:-n_space], *fixed(t.shape[-n_space:])] for t in call.outputs]


def transform(call: Call) -> list[Axes]:
    """Fix the axes that a Fourier transform mixes; it keeps zeros along the others."""
    x = call.axes(0)
    dims = _dims(call.args[1], len(x))
    call.walk.fix([x[d] for d in dims], "a Fourier transform runs along it")
    shape = call.outputs[0].shape
    return [[fixed([shape[d]])[0] if d in dims else axis for d, axis in enumerate(x)]]


def distance(call: Call) -> list[Axes]:
    """Rule of cdist: it sums over the last axis, to which equal zeros add nothing."""
    walk, a, b = call.walk, call.axes(0), call.axes(1)
    walk.slots.unite_axes(a[-1].slots, b[-1].slots)
    if a[-1].zero and b[-1].zero and 0 < call.args[2] < float("inf"):
        walk.summed.append(a[-1].slots)
    else:
        walk.fix([a[-1]], "a distance runs along it")
    lead = walk.broadcast([a[:-2], b[:-2]], tuple(call.outputs[0].shape[:-2]))
    return [[replace(axis, zero=False) for axis in (*lead, a[-2], b[-2])]]


RULES: dict[str, Rule] = {
    **dict.fromkeys(("_fft_r2c", "_fft_c2r", "_fft_c2c"), transform),
    "_cdist_forward": distance,
    **dict.fromkeys((*KEEP_ZERO, *LOSE_ZERO), reduce),
    **dict.fromkeys(ALONG, along),
}
