"""A sparse matrix for training, with three products that cost O(nnz).

Activations are stored *features first*, ``H[n_in, B]`` for a batch of B rows, so that every
nonzero reads and writes contiguous runs of length B.  The three products are

    Z    = W @ H                      forward                        (1)
    D_in = W^T @ D                    backward to the inputs         (2)
    g_ij = sum_b D[i, b] H[j, b]      gradient, on the support only  (3)

Each costs 2 * nnz * B flops and none of them forms a dense ``[n_out, n_in]`` array.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import torch
from torch import Tensor

BLOCK = 1 << 16  # nonzeros of rows that are handled together, unless one row has more
_CSR_DEVICES = ("cpu", "cuda")  # torch has CSR kernels here; other devices use gathers
_GATHER_ELEMENTS = 1 << 22  # elements that the gather form handles together


def _csr_tensor(crow: Tensor, col: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        # torch says once per process that CSR is in beta, which does not concern the user
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(crow, col, values, shape, check_invariants=False)


class SparseMatrix:
    """CSR matrix with a fixed support and values that may change in place.

    Parameters
    ----------
    crow : Tensor of int32, shape [n_out + 1]
        Start of each row in `col` and `values`.
    col : Tensor of int32, shape [nnz]
        Column of each nonzero, increasing within a row.
    values : Tensor, shape [nnz]
        Stored by reference, so that an optimiser can update it in place.
    shape : (int, int)
        ``(n_out, n_in)``.
    grad : Tensor, shape [nnz], optional
        `sampled_product` writes here; allocated at the first use by default.
    backend : {"auto", "csr", "gather"}
        "csr" uses torch's sparse kernels; "gather" runs on any device but is slower.

    Notes
    -----
    Memory: 8 bytes for each nonzero and 4 for each row.  The first call of `transpose_product`
    stores the order of the transpose, which adds 8 bytes for each nonzero and 8 for each column.
    """

    def __init__(
        self,
        crow: Tensor,
        col: Tensor,
        values: Tensor,
        shape: tuple[int, int],
        *,
        grad: Tensor | None = None,
        backend: str = "auto",
    ) -> None:
        if backend == "auto":
            backend = "csr" if values.device.type in _CSR_DEVICES else "gather"
        self.crow, self.col, self.values, self.shape = crow, col, values, shape
        self.backend = backend
        self._grad = grad
        self._csr: Tensor | None = None
        self._grad_csr: Tensor | None = None
        self._transpose: _Transpose | None = None

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return self.values.numel()

    @property
    def grad(self) -> Tensor:
        """Gradient on the support, in the order of `values`."""
        if self._grad is None:
            self._grad = torch.zeros_like(self.values)
        return self._grad

    def rows_of(self, where: slice) -> Tensor:
        """Return the rows of some nonzeros.

        Parameters
        ----------
        where : slice
            Positions in `values`; start and stop are given, and the step is 1.

        Returns
        -------
        Tensor of int64, shape [stop - start]
            The row of each of these nonzeros.
        """
        index = torch.arange(where.start, where.stop, device=self.crow.device, dtype=torch.int32)
        return torch.searchsorted(self.crow, index, right=True) - 1

    def product(self, H: Tensor, out: Tensor | None = None) -> Tensor:
        """Return ``W @ H``; equation (1).

        Parameters
        ----------
        H : Tensor, shape [n_in, B], contiguous
            Activations, one column for each row of the batch.
        out : Tensor, shape [n_out, B], optional
            Where to write the product; allocated by default.

        Returns
        -------
        Tensor, shape [n_out, B]
            The product, which is `out` if that is given.
        """
        if out is None:
            out = torch.empty(self.shape[0], H.shape[1], dtype=H.dtype, device=H.device)
        if self.backend == "csr":
            if self._csr is None:
                self._csr = _csr_tensor(self.crow, self.col, self.values, self.shape)
            if not torch.backends.mkl.is_available():  # type: ignore[no-untyped-call]
                out.zero_()  # torch 2.6 without MKL adds 0 * out, and out may hold NaN
            return torch.addmm(out, self._csr, H, beta=0, out=out)
        out.zero_()
        for piece in self._pieces(H.shape[1]):
            terms = self.values[piece, None] * H[self.col[piece].long()]
            out.index_add_(0, self.rows_of(piece), terms)
        return out

    def transpose_product(self, D: Tensor) -> Tensor:
        """Return ``W^T @ D``; equation (2).

        Parameters
        ----------
        D : Tensor, shape [n_out, B], contiguous
            Gradients of the outputs, one column for each row of the batch.

        Returns
        -------
        Tensor, shape [n_in, B]
            Gradients of the inputs.
        """
        if self._transpose is None:
            self._transpose = _Transpose(self)
        return self._transpose.product(D)

    def sampled_product(self, D: Tensor, H: Tensor) -> Tensor:
        """Write ``D @ H^T`` on the support to `grad`; equation (3).

        Parameters
        ----------
        D : Tensor, shape [n_out, B]
            Gradients of the outputs.
        H : Tensor, shape [n_in, B]
            Activations.

        Returns
        -------
        Tensor, shape [nnz]
            `grad` itself: one entry for each nonzero, in the order of `values`.
        """
        if self.backend == "csr":
            if self._grad_csr is None:
                self._grad_csr = _csr_tensor(self.crow, self.col, self.grad, self.shape)
            torch.sparse.sampled_addmm(self._grad_csr, D, H.t(), beta=0.0, out=self._grad_csr)
            return self.grad
        for piece in self._pieces(H.shape[1]):
            pair = D[self.rows_of(piece)] * H[self.col[piece].long()]
            self.grad[piece] = pair.sum(1)
        return self.grad

    def _pieces(self, batch: int) -> list[slice]:
        step = max(1, _GATHER_ELEMENTS // max(1, batch))
        cuts = [*range(0, self.nnz, step), self.nnz]
        return [slice(a, b) for a, b in pairwise(cuts)]


class _Transpose:
    """The transpose of a matrix whose values may change; it is multiplied in blocks of rows.

    It stores the position of each nonzero in the matrix, and its column.  The values of one block
    at a time are copied.
    """

    def __init__(self, matrix: SparseMatrix) -> None:
        self._values, self._shape = matrix.values, (matrix.shape[1], matrix.shape[0])
        # a stable sort by column leaves the rows increasing within each column
        order = torch.argsort(matrix.col, stable=True)
        crow = torch.zeros(self._shape[0] + 1, dtype=torch.int32, device=order.device)
        torch.cumsum(torch.bincount(matrix.col, minlength=self._shape[0]), 0, out=crow[1:])
        col = matrix.rows_of(slice(0, matrix.nnz)).int()[order]
        order = order.int()
        blocks = row_blocks(crow)
        largest = max(where.stop - where.start for _, where in blocks)
        values = matrix.values.new_empty(largest)
        self._blocks = [
            (
                rows,
                order[where],
                part_of(crow, col, values[: where.stop - where.start], rows, where, self._shape[1]),
            )
            for rows, where in blocks
        ]
        for *_, block in self._blocks:
            block.backend = matrix.backend

    def product(self, D: Tensor) -> Tensor:
        out = torch.empty(self._shape[0], D.shape[1], dtype=D.dtype, device=D.device)
        for rows, order, block in self._blocks:
            torch.index_select(self._values, 0, order, out=block.values)
            block.product(D, out=out if len(self._blocks) == 1 else out[rows])
        return out


def row_blocks(crow: Tensor) -> list[tuple[slice, slice]]:
    """Cut the rows of a CSR matrix into blocks of at most 65,536 nonzeros, or of one row.

    Parameters
    ----------
    crow : Tensor of int32, shape [n_out + 1]

    Returns
    -------
    list of (slice, slice)
        Rows and nonzeros of each block; at least one block.
    """
    starts, n_rows = crow.cpu().numpy(), crow.numel() - 1
    blocks: list[tuple[slice, slice]] = []
    first = 0
    while first < n_rows or not blocks:
        last = int(starts.searchsorted(starts[first] + BLOCK, side="right")) - 1
        last = min(n_rows, max(first + 1, last))
        blocks.append((slice(first, last), slice(int(starts[first]), int(starts[last]))))
        first = last
    return blocks


def part_of(
    crow: Tensor,
    col: Tensor,
    values: Tensor,
    rows: slice,
    where: slice,
    n_in: int,
    *,
    grad: Tensor | None = None,
) -> SparseMatrix:
    """Return a block of rows of a CSR matrix.

    Parameters
    ----------
    crow, col : Tensor of int32
        Those of the whole matrix.
    values : Tensor, shape [nonzeros of the block]
    rows, where : slice
        A block of `row_blocks`.
    n_in : int
    grad : Tensor, optional
        As in `SparseMatrix`, for the block.
    """
    starts = crow[rows.start : rows.stop + 1] - where.start
    return SparseMatrix(starts, col[where], values, (rows.stop - rows.start, n_in), grad=grad)


class _SparseLinearFunction(torch.autograd.Function):
    """Autograd through `SparseMatrix`, with the weight gradient on the support only."""

    @staticmethod
    def forward(ctx, values, H, matrix):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(values, H)
        ctx.matrix = matrix
        return _with_values(matrix, values).product(H)

    @staticmethod
    def backward(ctx, D):  # type: ignore[no-untyped-def]
        values, H = ctx.saved_tensors
        matrix = _with_values(ctx.matrix, values)
        D = D.contiguous()
        grad_values = matrix.sampled_product(D, H) if ctx.needs_input_grad[0] else None
        grad_H = matrix.transpose_product(D) if ctx.needs_input_grad[1] else None
        return grad_values, grad_H, None


def _with_values(matrix: SparseMatrix, values: Tensor) -> SparseMatrix:
    return SparseMatrix(
        matrix.crow, matrix.col, values.detach(), matrix.shape, backend=matrix.backend
    )


def sparse_linear(values: Tensor, H: Tensor, matrix: SparseMatrix) -> Tensor:
    """Compute ``W @ H`` so that torch can differentiate it.

    Plain autograd through a CSR tensor forms the dense gradient of the weights; this function
    computes it on the support only.

    Parameters
    ----------
    values : Tensor, shape [nnz]
        The values to train, in the order of ``matrix.col``.
    H : Tensor, shape [n_in, B], contiguous
        Activations, one column for each row of the batch.
    matrix : SparseMatrix
        Its support is used, and its own values are ignored.

    Returns
    -------
    Tensor, shape [n_out, B]
        Costs 2 * nnz * B flops, and 4 * nnz * B in the backward pass.
    """
    result: Tensor = _SparseLinearFunction.apply(values, H, matrix)  # type: ignore[no-untyped-call]
    return result
