"""Random networks and matrices for property tests."""

import itertools

import numpy as np
import torch

from secateurs.sparse.network import SparseNetwork


def random_network(rng, widths, density=0.4):
    keys, values = [], []
    for n_in, n_out in itertools.pairwise(widths):
        total = (n_in + 1) * n_out
        key = np.flatnonzero(rng.random(total) < density).astype(np.int64)
        keys.append(key)
        values.append(rng.standard_normal(len(key)).astype(np.float32))
    return SparseNetwork(tuple(widths), keys, values)


def random_csr(rng, n_out, n_in, density=0.3, dtype=torch.float32):
    mask = rng.random((n_out, n_in)) < density
    rows, cols = np.nonzero(mask)
    crow = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    values = torch.tensor(rng.standard_normal(len(rows)), dtype=dtype)
    dense = torch.zeros(n_out, n_in, dtype=dtype)
    dense[rows, cols] = values
    crow_t = torch.tensor(crow, dtype=torch.int32)
    return crow_t, torch.tensor(cols, dtype=torch.int32), values, dense
