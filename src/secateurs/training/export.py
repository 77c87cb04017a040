"""Export a sparse network as the smallest dense torch module, or as an ONNX file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from secateurs.core.atomic_write import write_atomically
from secateurs.core.extras import package
from secateurs.core.output_files import check_output
from secateurs.sparse.network import SparseNetwork
from secateurs.training.fitted_network import FittedNetwork

AGREEMENT = 1e-4  # largest relative difference between the two forms
N_COMPARED = 64  # random inputs on which the two forms are compared


class SelectColumns(nn.Module):
    """Select columns of the input, ``x[:, columns]``."""

    columns: Tensor

    def __init__(self, columns: NDArray[np.int64]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.from_numpy(columns.astype(np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x[:, columns]`` for `x` of shape [n, d]."""
        return torch.index_select(x, 1, self.columns)


def dense_module(fitted: FittedNetwork) -> nn.Sequential:
    """Return dense layers over the live units that compute the same outputs.

    Unused inputs and dead units are removed.  Units that do not depend on the input are folded
    into the biases.  The scaling of inputs and outputs is folded into weights and biases.

    Returns
    -------
    nn.Sequential
        ``SelectColumns, Linear, ReLU, ..., Linear`` in float32; maps [n, d] to [n, k].

    Raises
    ------
    RuntimeError
        The module and the sparse network differ on random inputs by more than rounding.
    """
    u = len(fitted.columns)
    shift = np.zeros(u) if fitted.shift is None else fitted.shift
    scale = np.broadcast_to(fitted.scale, u)
    weights, biases = _fold_constants(fitted.network, fitted.columns)
    # fold in float64, so that each number is rounded only once
    weights[0] = weights[0] * scale
    biases[0] = biases[0] - weights[0] @ shift
    weights[-1] = weights[-1] * fitted.out_scale[:, None]
    biases[-1] = biases[-1] * fitted.out_scale + fitted.out_shift
    layers: list[nn.Module] = [SelectColumns(fitted.columns), _linear(weights[0], biases[0])]
    for W, b in zip(weights[1:], biases[1:], strict=True):
        layers += [nn.ReLU(), _linear(W, b)]
    module = nn.Sequential(*layers).eval()
    # compare both forms on typical inputs, stored as CSR so that memory does not grow with d
    size = np.divide(1.0, scale, out=np.zeros(u), where=scale != 0)
    typical = np.random.default_rng(0).standard_normal((N_COMPARED, u)) * size + shift
    x = typical.astype(np.float32)
    starts = np.arange(N_COMPARED + 1) * u
    shape = (N_COMPARED, fitted.network.widths[0])
    rows = sparse.csr_array((x.ravel(), np.tile(fitted.columns, N_COMPARED), starts), shape=shape)
    check_agreement(module[1:], torch.from_numpy(x), torch.from_numpy(fitted.outputs(rows)))
    return module


def _linear(weight: NDArray[np.float64], bias: NDArray[np.float64]) -> nn.Linear:
    """Return a layer with these weights, without drawing global random numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns about an empty layer
        layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))
    layer.bias = nn.Parameter(torch.tensor(bias, dtype=torch.float32))
    return layer


def _fold_constants(
    network: SparseNetwork, columns: NDArray[np.int64]
) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Return float64 weights and biases over the units that depend on the input."""
    constant: dict[int, float] = {}  # value of each unit that does not depend on the input
    n_layers = len(network.keys)
    kept = columns
    weights, biases = [], []
    for layer in range(n_layers):
        rows, cols = network.entries(layer)
        values = network.values[layer].astype(np.float64)
        n_in, n_out = network.widths[layer], network.widths[layer + 1]
        varies = np.isin(cols, kept)
        last = layer == n_layers - 1
        out = np.arange(n_out) if last else np.unique(rows[varies])
        fixed_input = np.array(
            [1.0 if c == n_in else constant.get(int(c), 0.0) for c in cols[~varies]]
        )
        offset: dict[int, float] = {}
        for row, term in zip(rows[~varies].tolist(), values[~varies] * fixed_input, strict=True):
            offset[row] = offset.get(row, 0.0) + float(term)
        W = np.zeros((len(out), len(kept)))
        W[np.searchsorted(out, rows[varies]), np.searchsorted(kept, cols[varies])] = values[varies]
        weights.append(W)
        biases.append(np.array([offset.get(int(row), 0.0) for row in out]))
        alive = set(out.tolist())
        constant = {row: max(value, 0.0) for row, value in offset.items() if row not in alive}
        kept = out
    return weights, biases


def check_agreement(module: nn.Module, x: Tensor, expected: Tensor) -> None:
    """Raise RuntimeError if the outputs of a module differ from those expected.

    The largest allowed difference is `AGREEMENT` times the largest output.
    """
    with torch.no_grad():
        got = module(x)
    size = float(expected.abs().max()) if expected.numel() else 0.0
    error = float((got - expected).abs().max()) if expected.numel() else 0.0
    if not error <= AGREEMENT * max(size, 1e-6):
        raise RuntimeError(
            f"the dense module differs from the sparse network by {error:.3g} "
            f"(outputs up to {size:.3g}); the weights span too many orders of magnitude"
        )


def write_onnx(module: nn.Module, n_features: int, path: str | Path) -> None:
    """Write a module as an ONNX file with inputs "X" [n, d] and outputs "output" [n, k].

    Raises
    ------
    MissingExtraError
        The extra is not installed: ``pip install secateurs[onnx]``.
    ValueError
        The path cannot be written, or a file is there that is no ONNX file.
    """
    check_output(path, "onnx")
    package("onnxscript", "onnx", "ONNX export")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter uses deprecated functions
        program = torch.onnx.export(
            module,
            (torch.zeros(2, n_features),),
            input_names=["X"],
            output_names=["output"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    write_atomically(path, program.model_proto.SerializeToString())
