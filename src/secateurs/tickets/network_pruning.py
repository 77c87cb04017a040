"""A trained network out of a random one by masks alone: the strong lottery ticket, for real.

    every layer  W x + b  of the target becomes two random layers,  V relu(U x)

    hidden unit r of input j reads only input j:           U masked to u_jr ~ N(0, 1)
    u_jr > 0:  V sees |u_jr| relu(x_j);  u_jr < 0:  V sees |u_jr| relu(-x_j)
    W_ij  ~  sum of a subset of v_ijk |u_jk|,              V masked, v_ijk ~ N(0, s^2)         (1)
    -W_ij ~  the same over the units with u_jr < 0,        where x_j can be negative
    b_i   ~  the same over the units of a constant input of one

The scale s is the largest |weight| of W, or of b, and every weight is to be met within eps s: as
in the literature, where targets are in [-1, 1].  A relu network that is written differently, one
layer times c and the next one over c, then keeps its masks; with an absolute error it would not.

For a convolution the first layer is 1 x 1 and V has the target's kernel.  The ticket is the seed
of U and V and the masks; U and V are made again whenever they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.solution import Progress, ProgressCallback, Solution
from secateurs.core.thread_pool import Stop, run_pieces
from secateurs.tickets.layers import Layer, Target, read_module
from secateurs.tickets.subset_sums import MAX_TERMS, unpack_masks

LEAST_EPS = 1e-15  # float64 tells no nearer weights apart
LEAST_SCALE, MOST_SCALE = 1e-30, 1e30  # beyond them products leave float32; zeros have the least
ROUNDING = 1 - 1e-12  # so that error / scale <= eps, not only error <= eps scale
UNITS = 4 * MAX_TERMS  # hidden units of an input; half of them have either sign
U_STREAM = np.uint64(1 << 31)  # streams are (layer, output, input): these bits set tell them apart
MINUS = np.uint64(1 << 31)

Masks = Mapping[str, NDArray[np.uint64]]


@dataclass(frozen=True, eq=False)
class Ticket:
    """A masked random network: seed and masks.

    Attributes
    ----------
    seed : int
        Of the random weights, 0 <= seed < 2^63.
    eps : float
        Tolerance the masks were looked for with, in units of the scale of each block.
    scales : tuple of dicts
        For each layer, the largest ``|weight|`` of the target's tensor for its blocks "plus",
        "minus" (the same) and "bias": the standard deviation of their output weights v.
    layers : tuple of Layer
    masks : tuple of dicts
        For each layer, the masks of its blocks "plus", "minus" and "bias" as uint64 [rows *
        inputs]: bit k is the k-th hidden unit of the input and sign.
    """

    seed: int
    eps: float
    scales: tuple[Mapping[str, float], ...]
    layers: tuple[Layer, ...]
    masks: tuple[Masks, ...]

    @property
    def n_weights(self) -> int:
        """Masks there are: weights of the target, those for relu(-x) counted again."""
        return sum(mask.size for masks in self.masks for mask in masks.values())

    @property
    def n_kept(self) -> int:
        """Weights of the random network that stay, of U and of V."""
        return sum(kept for kept, _ in self.counts().values())

    @property
    def n_random(self) -> int:
        """Weights of the random network: dense U and V, of units up to the last one used."""
        return sum(total for _, total in self.counts().values())

    @property
    def width_factor(self) -> int:
        """Hidden units of the random network for each input of a target layer, at most."""
        return max(self._units(number) for number in range(len(self.layers)))

    def approximation(self, number: int) -> dict[str, NDArray[np.float64]]:
        """What the masks of a layer add up to: its blocks, float64 [rows, inputs].

        O(48) flops a weight.  V relu(U x) is ``plus @ relu(x) + minus @ relu(-x) + bias``.
        """
        from secateurs.tickets.subset_sum_kernels import masked_sums

        layer, result = self.layers[number], {}
        for name, (rows, n_inputs) in layer.blocks().items():
            masks, out = self.masks[number][name], np.empty(rows * n_inputs)
            scale = self.scales[number][name]
            draw = _Candidates(self.seed, scale, number, layer, name, bits_in(masks))

            def work(
                piece: slice,
                stop: Stop,
                draw: _Candidates = draw,
                masks: NDArray[np.uint64] = masks,
                out: NDArray[np.float64] = out,
            ) -> int:
                if not stop[0]:
                    masked_sums(draw(piece), masks[piece], out[piece])
                return 0

            if not run_pieces(work, out.size):
                raise KeyboardInterrupt
            result[name] = out.reshape(rows, n_inputs)
        return result

    def _units(self, number: int) -> int:
        """Units of an input up to the last one used, of any input and sign."""
        layer, last = self.layers[number], 0
        for name in layer.blocks():
            used = self.used(number, name)
            places = hidden_units(self.seed, number, layer, name, used.shape[1])[1][used]
            last = max(last, int(places.max(initial=-1)) + 1)
        return last

    def used(self, number: int, name: str) -> NDArray[np.bool_]:
        """Which units of each input some output uses, [inputs, bits]."""
        _, n_inputs = self.layers[number].blocks()[name]
        masks = self.masks[number][name].reshape(-1, n_inputs)
        return unpack_masks(np.bitwise_or.reduce(masks, 0), bits_in(masks))

    def counts(self) -> dict[int, tuple[int, int]]:
        """Weights of U and V that stay, and weights there are, of every layer with weights."""
        result = {}
        for number, layer in enumerate(self.layers):
            if not layer.blocks():
                continue
            kept = sum(
                int(np.bitwise_count(mask).sum()) + int(self.used(number, name).sum())
                for name, mask in self.masks[number].items()
            )
            n_inputs = layer.n_in + layer.bias
            hidden = self._units(number) * n_inputs
            result[number] = kept, hidden * (n_inputs + layer.n_out * layer.taps)
        return result


class _Candidates:
    """Candidates |u| v of one block, drawn a piece at a time (1)."""

    def __init__(
        self, seed: int, scale: float, number: int, layer: Layer, name: str, n_terms: int
    ) -> None:
        self.key, self.stream = np.uint64(seed), np.uint64(number)
        self.side = side_of(layer, name)
        self.n_inputs = layer.blocks()[name][1]
        self.n_terms = n_terms
        self.inner = np.abs(hidden_units(seed, number, layer, name, n_terms)[0])
        self.scale = scale

    def __call__(self, piece: slice) -> NDArray[np.float64]:
        from secateurs.tickets.random_stream import products

        out = np.empty((piece.stop - piece.start, self.n_terms))
        products(
            self.key, self.stream, self.side, piece.start, self.inner, self.scale,
            self.n_inputs, out,
        )  # fmt: skip
        return out


def side_of(layer: Layer, name: str) -> np.uint64:
    """What tells the streams of a block from those of the others: see `products`."""
    return {"plus": np.uint64(0), "minus": MINUS, "bias": np.uint64(layer.n_in)}[name]


def hidden_units(
    seed: int, number: int, layer: Layer, name: str, n_terms: int
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Weights u of the first units of a block's sign, and their numbers r; [inputs, n_terms].

    0 and -1 after the last one of an input (of 192 units about 96 have either sign).
    """
    from secateurs.tickets.random_stream import normals

    first, n_inputs = (layer.n_in, 1) if name == "bias" else (0, layer.n_in)
    u, r = np.zeros((n_inputs, n_terms), np.float32), np.full((n_inputs, n_terms), -1, np.int16)
    drawn, words = np.empty(UNITS, np.float32), np.empty(UNITS, np.uint64)
    stream = np.uint64(number) | U_STREAM
    for j in range(n_inputs):
        normals(np.uint64(seed), stream, np.uint64(first + j), np.uint64(0), words, drawn)
        units = np.nonzero(drawn < 0 if name == "minus" else drawn > 0)[0][:n_terms]
        u[j, : len(units)], r[j, : len(units)] = drawn[units], units
    return u, r


def output_weights(ticket: Ticket, number: int, name: str) -> NDArray[np.float32]:
    """Weights v of a block under its masks, [rows, inputs, bits]."""
    layer, masks = ticket.layers[number], ticket.masks[number][name]
    n_terms = bits_in(masks)
    scale = ticket.scales[number][name]
    draw = _Candidates(ticket.seed, scale, number, layer, name, n_terms)
    draw.inner = np.ones_like(draw.inner)
    v = draw(slice(0, masks.size)).astype(np.float32) * unpack_masks(masks, n_terms)
    return v.reshape(-1, draw.n_inputs, n_terms)


def bits_in(masks: NDArray[np.uint64]) -> int:
    """Bits up to the highest one of any mask, at least 1."""
    return max(int(np.bitwise_or.reduce(masks, axis=None, initial=np.uint64(0))).bit_length(), 1)


def prune_network(
    module: nn.Module,
    eps: float,
    random_state: int | None = None,
    *,
    nonnegative_inputs: bool = False,
    max_terms: int = 40,
    radius: float = 1.0,
    input_shape: tuple[int, int, int] | None = None,
    n_threads: int | None = None,
    progress: ProgressCallback | None = None,
) -> Solution[Ticket]:
    """Find a trained network inside a random one, by masks alone.

    Parameters
    ----------
    module : nn.Module
        Linear and Conv2d layers, ReLU, Flatten and pooling, in `nn.Sequential`.
    eps : float
        Largest error of a weight, in units of the largest ``|weight|`` of its tensor (the weight or
        the bias of a layer), below 1.
    random_state : int or None
        The seed of the random network; None draws one.
    nonnegative_inputs : bool
        The inputs are >= 0 (pixels): one subset sum for each weight of the first layer, not two.
        The error bound then says nothing about inputs with a negative entry.
    max_terms : int
        Candidates for a weight at most, up to 48.
    radius : float
        Largest l2 norm of an input, for the error bound.
    input_shape : (channels, height, width), optional
        Of the inputs; only needed for the error bound when a convolution has a bias, compared
        with the layers whenever it is given.
    n_threads : int, optional
        Those of torch by default; the ticket is the same for any number.
    progress : callable, optional
        Called with a `Progress` of the weights done; its loss is the share outside eps so far.

    Returns
    -------
    Solution of Ticket
        Status "converged" (every weight within eps), "budget" (some are not: see `n_outside`)
        or "interrupted" (masks of the weights not done are empty).  ``measured`` is the
        `TicketReport` of `verify_ticket` as a dict, with `mean_terms`, the candidates looked
        at for a weight on average.

    Raises
    ------
    TypeError
        With the name of a layer for which no error bound holds.
    ValueError
        On settings or weights that cannot be used, and an `input_shape` that does not fit.

    Notes
    -----
    About log2(1 / eps) + 1 candidates and 2^(half of them) steps for each weight: at 1e-3
    about 600,000 weights a second and thread, drawing and verification included
    (benchmarks/tickets/network.py).  This is no compression: a quantiser of as many bits is nearer
    (benchmarks/tickets/compression.py).
    Source: Pensia et al. (2020); for convolutions da Cunha, Natale & Viennot (2022).
    """
    from secateurs.tickets.verify import positions, verify_ticket

    _check_settings(eps, random_state, max_terms)
    target = read_module(module, nonnegative_inputs)
    positions(target.layers, input_shape)  # refused here, not after the search
    drawn = np.random.default_rng().integers(2**63) if random_state is None else random_state
    seed = int(drawn)
    goals = [block_targets(target, number) for number in range(len(target.layers))]
    masks: list[dict[str, NDArray[np.uint64]]] = [
        {name: np.zeros(goal.size, np.uint64) for name, goal in of_layer.items()}
        for of_layer in goals
    ]
    scales = tuple({name: scale_of(goal) for name, goal in of_layer.items()} for of_layer in goals)
    ticket = Ticket(seed, float(eps), scales, target.layers, tuple(masks))
    total = sum(goal.size for of_layer in goals for goal in of_layer.values())
    note = _Note(total, progress)
    finished, looked_at = True, 0
    for number, of_layer in enumerate(goals):
        for name, goal in of_layer.items():
            scale = scales[number][name]
            draw = _Candidates(seed, scale, number, target.layers[number], name, max_terms)
            n_used = np.zeros(goal.size, np.int64)
            within = eps * scale * ROUNDING
            work = partial(_solve_piece, draw, goal.ravel(), within, masks[number][name], n_used)
            finished = finished and run_pieces(
                work, goal.size, n_threads=n_threads, progress=note.block
            )
            note.finish(goal.size)
            looked_at += int(n_used.sum())
    report = verify_ticket(ticket, module, radius=radius, input_shape=input_shape)
    status = "interrupted" if not finished else "budget" if report.n_outside else "converged"
    measured = {**asdict(report), "mean_terms": looked_at / total}
    return Solution(ticket, status, {}, measured)


def block_targets(target: Target, number: int) -> dict[str, NDArray[np.float64]]:
    """What the subset sums of each block of a layer should come to."""
    layer, W, b = target.layers[number], target.weights[number], target.biases[number]
    result = {}
    for name in layer.blocks():
        if name == "bias":
            assert b is not None
            result[name] = b[:, None]
        else:
            assert W is not None
            result[name] = layer.rows(W if name == "plus" else -W)
    return result


def scale_of(goal: NDArray[np.float64]) -> float:
    """Largest |weight| of a block of the target, at least `LEAST_SCALE`."""
    largest = float(np.abs(goal).max())
    if largest >= MOST_SCALE:
        raise ValueError(f"module: got a weight of size {largest:.3g}, expected < {MOST_SCALE:g}")
    return max(largest, LEAST_SCALE)


def _solve_piece(
    draw: _Candidates,
    goal: NDArray[np.float64],
    within: float,
    masks: NDArray[np.uint64],
    n_used: NDArray[np.int64],
    piece: slice,
    stop: Stop,
) -> int:
    from secateurs.tickets.subset_sum_kernels import solve

    targets = goal[piece].copy()
    errors = np.abs(targets)
    solve(draw(piece), targets, within, False, stop, masks[piece], errors, n_used[piece])
    return int((errors > within).sum())


class _Note:
    """Progress of all blocks out of that of each."""

    def __init__(self, total: int, progress: ProgressCallback | None) -> None:
        self.total, self.progress = total, progress
        self.before = 0
        self.failed_before = self.failed = 0.0

    def block(self, p: Progress) -> None:
        self.failed = self.failed_before + p.loss * p.step
        done = self.before + p.step
        if self.progress is not None:
            self.progress(Progress(done, self.total, self.failed / done, done))

    def finish(self, size: int) -> None:
        self.before, self.failed_before = self.before + size, self.failed


def _check_settings(eps: float, random_state: int | None, max_terms: int) -> None:
    if not LEAST_EPS < eps < 1:
        raise ValueError(
            f"eps: got {eps!r}, expected more than {LEAST_EPS:g} and less than 1; it is in units "
            "of the largest weight of each tensor"
        )
    if not (isinstance(max_terms, int | np.integer) and 1 <= max_terms <= MAX_TERMS):
        raise ValueError(f"max_terms: got {max_terms!r}, expected an integer in 1..{MAX_TERMS}")
    if random_state is not None and not (
        isinstance(random_state, int | np.integer) and 0 <= random_state < 2**63
    ):
        raise ValueError(f"random_state: got {random_state!r}, expected None or 0 <= int < 2^63")
