"""Compare the time of a training step with that of its bare kernels, and with m * d.

    python -m benchmarks.training.kernels

The bare kernels ("floor") are torch's CSR product (both layers), transposed product (upper layer),
sampled product (both layers) and element-wise Adam, each called alone on existing arrays.  Other
processes share the caches, so the fastest tenth of the calls counts, not the median.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from secateurs.sparse.compact import CompactNetwork
from secateurs.training.adam import BETA1, BETA2, EPSILON, SupportAdam
from secateurs.training.columns import COPY_ROWS
from secateurs.training.growth import best_absent
from secateurs.training.initial import random_support
from secateurs.training.moments import Scaling
from secateurs.training.prune_regrow import LOSS_EVERY, gradient_on_support
from secateurs.training.training_data import Rows, TrainingData

REPEATS = 400
QUIET = 0.1  # the tenth of the calls that other processes disturbed least


def milliseconds(function: Callable[[], object], repeats: int = REPEATS) -> float:
    for _ in range(10):
        function()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * float(np.quantile(times, QUIET))


def setting(d: int, m: int, s: int, n: int = 4000) -> tuple[TrainingData, CompactNetwork]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d), dtype=np.float32)
    data = TrainingData(X, rng.integers(0, 10, n), Scaling(None, np.ones(d)), 10)
    generator = torch.Generator().manual_seed(0)
    network = random_support((d, m, 10), s, np.ones(d), generator)
    return data, CompactNetwork.from_network(network)


def bare_kernels(net: CompactNetwork, data: TrainingData, batch: int) -> float:
    first, second = net.matrices
    H0 = data.inputs(torch.arange(batch), net.units[0])
    H1 = net.forward(H0)[1]
    Z1, Z2 = torch.empty_like(H1), torch.empty(10, batch)
    D1, D2 = torch.randn_like(H1), torch.randn(10, batch)
    m, v, w, g = (torch.rand(net.nnz) for _ in range(4))

    def adam() -> None:
        m.lerp_(g, 1 - BETA1)
        v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
        w.addcdiv_(m, v.sqrt().add_(EPSILON), value=-1e-9)

    return sum(
        milliseconds(kernel)
        for kernel in (
            lambda: first.product(H0, Z1),
            lambda: second.product(H1, Z2),
            lambda: second.transpose_product(D2),
            lambda: first.sampled_product(D1, H0),
            lambda: second.sampled_product(D2, H1),
            adam,
        )
    )


def load(data: TrainingData, net: CompactNetwork, rows: Rows) -> None:
    data.inputs(rows, net.units[0])
    data.targets(rows)


def update(net: CompactNetwork, adam: SupportAdam, piece: int) -> None:
    adam.update(piece, net.gradients[piece])


def step(
    net: CompactNetwork, adam: SupportAdam, inputs: torch.Tensor, targets: torch.Tensor
) -> None:
    adam.begin_step(1.0)
    use = partial(update, net, adam)
    gradient_on_support(net, inputs, targets, use, wanted=adam.since % LOSS_EVERY == 0)


def main() -> None:
    torch.set_num_threads(1)
    print("One thread, ms of processor time in the tenth of the calls that were disturbed least.")
    print("'step' is gradient and Adam on a loaded batch; 'loading' reads it from the copy of many")
    print("rows, and 'gathering' from fewer rows, which are not copied.")
    print(
        f"{'d':>6}{'m':>7}{'s':>8}{'batch':>6}{'floor':>8}{'step':>8}{'ratio':>7}{'loading':>9}"
        f"{'gathering':>11}"
    )
    for d, m, s, batch in (
        (784, 50, 1_000, 500),
        (784, 1000, 10_000, 500),
        (4096, 4096, 100_000, 128),
    ):
        data, net = setting(d, m, s)
        adam = SupportAdam(net, 1e-9)
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(data.n, (batch,), generator=generator)
        floor = bare_kernels(net, data, batch)
        gathering = milliseconds(lambda: load(data, net, rows))
        copied, _ = setting(d, 1, 100, n=COPY_ROWS + 1)
        loading = milliseconds(partial(load, copied, net, slice(1, 1 + batch)))
        ready = data.inputs(rows, net.units[0]), data.targets(rows)
        rest = milliseconds(lambda: step(net, adam, *ready))
        print(
            f"{d:>6}{m:>7}{s:>8}{batch:>6}{floor:>8.3f}{rest:>8.3f}{rest / floor:>7.2f}"
            f"{loading:>9.3f}{gathering:>11.3f}"
        )
    print("\nStep and scoring pass as the dense layer grows, s = 4,000, batch 128:")
    for d, m in ((1000, 1000), (8000, 8000), (32_000, 32_000)):
        data, net = setting(d, m, 4_000, n=1000)
        adam = SupportAdam(net, 1e-9)
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(data.n, (128,), generator=generator)

        score = milliseconds(lambda: best_absent(net, data, torch.arange(512), 1000), repeats=3)
        loading = milliseconds(lambda: load(data, net, rows))
        ready = data.inputs(rows, net.units[0]), data.targets(rows)
        rest = milliseconds(lambda: step(net, adam, *ready))
        live = [len(u) for u in net.units[:-1]]
        print(
            f"m*d = {m * d:>13,}: step {rest:.3f}, loading {loading:.3f}, scoring pass {score:.0f} "
            f"(live inputs and hidden units {live})"
        )


if __name__ == "__main__":
    main()
