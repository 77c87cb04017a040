"""A ticket: a masked random network whose subset sums are the weights of a target network.

    every layer  W x + b  of the target becomes two random layers,  V relu(U x)

    hidden unit r of input j reads only input j:           U masked to u_jr ~ N(0, 1)
    u_jr > 0:  V sees |u_jr| relu(x_j);  u_jr < 0:  V sees |u_jr| relu(-x_j)
    W_ij  ~  sum of a subset of v_ijk |u_jk|,              V masked, v_ijk ~ N(0, s^2)         (1)
    -W_ij ~  the same over the units with u_jr < 0,        where x_j can be negative
    b_i   ~  the same over the units of a constant input of one

The scale s is the largest |weight| of W, or of b.  The weights of a layer form up to three blocks:
"plus", "minus" and "bias", one for each line above.  For a convolution the first layer is 1 x 1,
and V has the kernel of the target.  A ticket holds only the seed of U and V and the masks.  U and
V are drawn again whenever they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from secateurs.core.description import Description, Table, format_bytes
from secateurs.core.parameters import Shown, bad_value
from secateurs.core.short_repr import short_repr
from secateurs.core.thread_pool import StopFlag, run_pieces
from secateurs.tickets.layers import Layer, Target
from secateurs.tickets.subset_sums import MAX_TERMS, unpack_masks

LEAST_EPS = 1e-15  # float64 cannot distinguish weights that are nearer
LEAST_SCALE, MOST_SCALE = 1e-30, 1e30  # beyond them products leave float32
UNITS = 4 * MAX_TERMS  # hidden units of an input; about half of them have either sign
U_STREAM = np.uint64(1 << 31)  # set in the layer number of the streams of U
MINUS = np.uint64(1 << 31)  # set in the input number of the streams of the block "minus"

Masks = Mapping[str, NDArray[np.uint64]]


@dataclass(frozen=True, eq=False)
class Ticket:
    """A masked random network: a random seed and masks.

    Parameters
    ----------
    seed : int
        Random seed of the weights, 0 <= seed < 2^63.
    eps : float
        Tolerance of the search for the masks, in units of the scale of each block.
    scales : tuple of dicts
        For each layer, the largest ``|weight|`` of the target's tensor for its blocks "plus",
        "minus" (the same number) and "bias".  It is the standard deviation of the output weights v.
    layers : tuple of Layer
        Kinds, sizes and settings of the layers of the target, without their weights.
    masks : tuple of dicts
        For each layer, the masks of its blocks "plus", "minus" and "bias" as uint64 [rows *
        inputs].  Bit k stands for the k-th hidden unit of the input and sign.
    """

    __repr__ = short_repr

    seed: int
    eps: float
    scales: tuple[Mapping[str, float], ...]
    layers: tuple[Layer, ...]
    masks: tuple[Masks, ...]

    @property
    def n_weights(self) -> int:
        """Number of masks: weights of the target, where those for relu(-x) count again."""
        return sum(mask.size for masks in self.masks for mask in masks.values())

    @property
    def n_kept(self) -> int:
        """Number of weights of the random network, U and V, that the masks keep."""
        return sum(kept for kept, _ in self.counts().values())

    @property
    def n_random(self) -> int:
        """Number of weights of the dense random network, with units up to the last one used."""
        return sum(total for _, total in self.counts().values())

    @property
    def kept_fraction(self) -> float:
        """Fraction of the random weights that the masks keep."""
        return self.n_kept / self.n_random if self.n_random else 0.0

    @property
    def width_factor(self) -> int:
        """The most hidden units that an input of a target layer needs."""
        return max(self._units(number) for number in range(len(self.layers)))

    def approximation(self, number: int) -> dict[str, NDArray[np.float64]]:
        """Add up the chosen products of a layer.

        V relu(U x) is ``plus @ relu(x) + minus @ relu(-x) + bias``.  Costs up to 48 multiply-adds a
        weight.

        Parameters
        ----------
        number : int
            Number of the layer in `layers`, from 0.

        Returns
        -------
        dict of arrays of float64, shapes [rows, inputs]
            The sums of each block: "plus", "minus" and "bias".  A layer without weights has no
            block.
        """
        return {name: sums for name, (sums, _) in self._sums(number, with_sizes=False).items()}

    def approximation_and_sizes(
        self, number: int
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Add up the chosen products of a layer, and the sizes of these products.

        Parameters
        ----------
        number : int
            Number of the layer in `layers`, from 0.

        Returns
        -------
        dict of pairs of arrays of float64, shapes [rows, inputs]
            For each block the sums of `approximation`, and the sums of the absolute values of the
            same products, which bound the rounding.
        """
        return self._sums(number, with_sizes=True)

    def _sums(
        self, number: int, *, with_sizes: bool
    ) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        result = {}
        for name, (rows, n_inputs) in self.layers[number].blocks().items():
            masks, sums = self.masks[number][name], np.empty(rows * n_inputs)
            sizes = np.empty(sums.size if with_sizes else 0)
            candidates = Candidates(self, number, name, bits_in(masks))
            if not run_pieces(partial(_sum_piece, candidates, masks, sums, sizes), sums.size):
                raise KeyboardInterrupt
            shape = (rows, n_inputs)
            result[name] = sums.reshape(shape), sizes.reshape(shape) if with_sizes else sizes
        return result

    def used(self, number: int, name: str) -> NDArray[np.bool_]:
        """Find the hidden units that some output uses.

        Parameters
        ----------
        number : int
            Number of the layer in `layers`, from 0.
        name : {"plus", "minus", "bias"}
            The block; it has to be one of the layer.

        Returns
        -------
        array of bool, shape [inputs, bits]
            True at (j, k) if a mask of the block has bit k set for input j; `bits` is the number of
            bits up to the highest one of any mask of the block.
        """
        _, n_inputs = self.layers[number].blocks()[name]
        masks = self.masks[number][name].reshape(-1, n_inputs)
        return unpack_masks(np.bitwise_or.reduce(masks, 0), bits_in(masks))

    def counts(self) -> dict[int, tuple[int, int]]:
        """Count the random weights, those of U and of V, of every layer with weights.

        Returns
        -------
        dict of int to (int, int)
            For the number of each layer, how many of its random weights the masks keep, and how
            many the dense random network has.
        """
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

    def describe(self, file_bytes: int | None = None) -> Description:
        """Describe the ticket, for a terminal or a program.

        Parameters
        ----------
        file_bytes : int, optional
            Size of its file; left out by default.

        Returns
        -------
        Description
            The headline, the facts and a table with a row for each layer with weights.
        """
        layers = self._layer_facts()
        size = {} if file_bytes is None else {"file_bytes": file_bytes}
        facts = {
            "kind": "ticket",
            **size,
            "seed": self.seed,
            "eps": self.eps,
            "n_weights": sum(layer["weights"] for layer in layers),
            "width_factor": self.width_factor,
            "kept_fraction": self.kept_fraction,
            "layers": layers,
        }
        headline = (
            f"This ticket has {facts['n_weights']} weights. The search allowed each an error of "
            f"{self.eps:g} times the largest weight of its tensor. The random network has the seed "
            f"{self.seed} and is {self.width_factor} times as wide; the masks keep "
            f"{self.kept_fraction:.2%} of its weights."
        )
        if file_bytes is not None:
            headline += f" The file has {format_bytes(file_bytes)}."
        names = ("layer", "shape", "weights", "terms", "kept")
        rows = [
            (
                f"{layer['number']} ({layer['kind']})",
                layer["shape"],
                str(layer["weights"]),
                f"{layer['terms']:.1f}",
                f"{layer['kept_fraction']:.2%}",
            )
            for layer in layers
        ]
        table = Table(names, rows, numeric=frozenset(names[2:]), most=len(rows))
        note = "The error of the weights can only be measured with the target network."
        return Description(headline, facts, (table,), (note,))

    def _layer_facts(self) -> list[dict[str, Any]]:
        """Return the sizes of every layer with weights."""
        return [
            {
                "number": number,
                "kind": self.layers[number].kind,
                "shape": self.layers[number].shape_text,
                "weights": sum(m.size for name, m in masks.items() if name != "minus"),
                "scales": dict(self.scales[number]),
                "terms": float(
                    np.mean(np.concatenate([np.bitwise_count(m) for m in masks.values()]))
                ),
                "kept_fraction": kept / total if total else 0.0,
            }
            for number, (kept, total) in self.counts().items()
            for masks in [self.masks[number]]
        ]

    def _units(self, number: int) -> int:
        """Return how many units an input has up to the last one used, of any input and sign."""
        last = 0
        for name in self.layers[number].blocks():
            used = self.used(number, name)
            places = hidden_units(self, number, name, used.shape[1])[1][used]
            last = max(last, int(places.max(initial=-1)) + 1)
        return last


class Candidates:
    """The candidates |u| v of one block (1), drawn a piece at a time.

    Parameters
    ----------
    ticket : Ticket
    number : int
        The layer.
    name : str
        The block.
    n_terms : int
        Candidates of a weight.
    """

    def __init__(self, ticket: Ticket, number: int, name: str, n_terms: int) -> None:
        layer = ticket.layers[number]
        self.stream = np.uint64(ticket.seed), np.uint64(number), side_of(layer, name)
        self.scale = ticket.scales[number][name]
        self.n_inputs = layer.blocks()[name][1]
        self.inner = np.abs(hidden_units(ticket, number, name, n_terms)[0])

    def __call__(self, piece: slice) -> NDArray[np.float64]:
        """Return the candidates of these weights, [weights, n_terms]."""
        # numba is imported at the first use, because it takes long
        from secateurs.tickets.random_stream import products  # noqa: PLC0415

        drawn = np.empty((piece.stop - piece.start, self.inner.shape[1]))
        products(*self.stream, piece.start, self.inner, self.scale, self.n_inputs, drawn)
        return drawn


def _sum_piece(
    candidates: Candidates,
    masks: NDArray[np.uint64],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    piece: slice,
    stop: StopFlag,
) -> int:
    from secateurs.tickets.subset_sum_kernels import masked_sums  # noqa: PLC0415

    if not stop[0]:
        terms = candidates(piece)
        masked_sums(terms, masks[piece], sums[piece])
        if sizes.size:
            masked_sums(np.abs(terms), masks[piece], sizes[piece])
    return 0


def side_of(layer: Layer, name: str) -> np.uint64:
    """Return the number that separates the streams of a block from the others: see `products`."""
    return {"plus": np.uint64(0), "minus": MINUS, "bias": np.uint64(layer.n_in)}[name]


def hidden_units(
    ticket: Ticket, number: int, name: str, n_terms: int
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Return weights u and numbers r of the first units of a block's sign, [inputs, n_terms].

    They are 0 and -1 after the last unit of an input: of 192 units about 96 have either sign.
    """
    from secateurs.tickets.random_stream import normals  # noqa: PLC0415

    layer = ticket.layers[number]
    first, n_inputs = (layer.n_in, 1) if name == "bias" else (0, layer.n_in)
    u, r = np.zeros((n_inputs, n_terms), np.float32), np.full((n_inputs, n_terms), -1, np.int16)
    drawn, words = np.empty(UNITS, np.float32), np.empty(UNITS, np.uint64)
    key, stream = np.uint64(ticket.seed), np.uint64(number) | U_STREAM
    for j in range(n_inputs):
        normals(key, stream, np.uint64(first + j), np.uint64(0), words, drawn)
        units = np.nonzero(drawn < 0 if name == "minus" else drawn > 0)[0][:n_terms]
        u[j, : len(units)], r[j, : len(units)] = drawn[units], units
    return u, r


def output_weights(ticket: Ticket, number: int, name: str) -> NDArray[np.float32]:
    """Return the weights v of a block under its masks, [rows, inputs, bits]."""
    masks = ticket.masks[number][name]
    n_terms = bits_in(masks)
    draw = Candidates(ticket, number, name, n_terms)
    draw.inner = np.ones_like(draw.inner)
    v = draw(slice(0, masks.size)).astype(np.float32) * unpack_masks(masks, n_terms)
    return v.reshape(-1, draw.n_inputs, n_terms)


def bits_in(masks: NDArray[np.uint64]) -> int:
    """Return the number of bits up to the highest one of any mask, at least 1."""
    return max(int(np.bitwise_or.reduce(masks, axis=None, initial=np.uint64(0))).bit_length(), 1)


def block_targets(target: Target, number: int) -> dict[str, NDArray[np.float64]]:
    """Return the numbers that the subset sums of each block of a layer approximate."""
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
    """Return the largest |weight| of a block of the target, at least `LEAST_SCALE`."""
    largest = float(np.abs(goal).max())
    if largest >= MOST_SCALE:
        raise bad_value("module", Shown(f"a weight of size {largest:.3g}"), f"< {MOST_SCALE:g}")
    return max(largest, LEAST_SCALE)
