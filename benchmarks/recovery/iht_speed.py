"""Compare a step of hard thresholding with the matrix product that it cannot avoid.

    python -m benchmarks.recovery.iht_speed            # the two settings, n = 50,000, float32

The first part prints the CPU time, on one thread, of the gradient and of a whole step.  Both are
divided by the time of one matrix product over the same neurons: all m in the first fitting step,
those with weights later.  The second part prints the PSNR of the textbook version and of `iht`
after some numbers of steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from tests.reference.planted import planted, psnr
from tests.reference.textbook_iht import textbook_iht, textbook_predict

from secateurs.recovery.thresholding.gates import Chunks, FixedGates, KeyedWeights, OwnGates
from secateurs.recovery.thresholding.iht import iht
from secateurs.recovery.thresholding.steps import (
    Iterate,
    gradient,
    residual_of,
    thresholding_step,
)
from secateurs.sparse.stack import Generators


def best_of(f: Callable[[], object], repeats: int = 3) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        f()
        times.append(time.process_time() - start)
    return min(times)


def speed(n: int, d: int, m: int, s: int, seed: int = 0) -> None:
    X, _, y = planted(n, d, m, s, seed=seed)
    X32, y32 = torch.from_numpy(X).float(), torch.from_numpy(y).float()
    data = Chunks.of(X32, y32, max(m, s))
    fixed = FixedGates(data, Generators(m, d, seed))
    empty = KeyedWeights(torch.empty(0, dtype=torch.int64), torch.empty(0), d)
    now = Iterate(empty, fixed)
    residual, _ = residual_of(data, now)
    now = Iterate(thresholding_step(data, now, residual, s, 1), fixed)
    for kind in ("fixed gates", "own gates"):
        n_live = len(now.gates.neurons())
        D = torch.randn(n_live, n)
        bare = best_of(lambda D=D: D @ X32, 5)
        del D
        residual, _ = residual_of(data, now)

        def gradient_part(now: Iterate = now) -> None:
            gradient(data, now, residual_of(data, now)[0], s)

        def whole(now: Iterate = now) -> None:
            thresholding_step(data, now, residual_of(data, now)[0], s, 1)

        part, step = best_of(gradient_part), best_of(whole)
        print(
            f"(m, s) = ({m}, {s}), {kind}, {n_live} neurons in use: product {bare:.4f} s, "
            f"gradient part {part / bare:.2f}x, whole step {step / bare:.2f}x"
        )
        w = thresholding_step(data, now, residual, s, 1)
        for _ in range(2):  # reach a typical support
            now = Iterate(w, OwnGates(data, w))
            w = thresholding_step(data, now, residual_of(data, now)[0], s, 1)
        now = Iterate(w, OwnGates(data, w))


def accuracy(n: int, d: int, m: int, s: int, steps: tuple[int, ...], seed: int = 0) -> None:
    X, _, y = planted(n, d, m, s, seed=seed)
    H = np.random.default_rng(seed + 1).standard_normal((m, d))
    for kind in (np.float32, np.float64):
        start = time.process_time()
        Xk, yk = X.astype(kind), y.astype(kind)
        oracle = textbook_iht(Xk, yk, s, H, max(steps), sequential=True)
        slow = time.process_time() - start
        start = time.process_time()
        ours = iht(Xk, yk, s, m, n_kept=s, generators=H, n_steps=max(steps))
        fast = time.process_time() - start
        for t in steps:
            # from the second step on the gates are those of the weights
            theirs = psnr(y, textbook_predict(X, oracle[t - 1].astype(float)))
            rms = ours.history["loss"][t - 1] * np.linalg.norm(y) / np.sqrt(n)
            mine = 20 * np.log10(np.abs(y).max() / rms)
            print(
                f"(m, s) = ({m}, {s}), n = {n}, {kind.__name__}, {t} steps: textbook "
                f"{theirs:.4f} dB, ours {mine:.4f} dB, difference {mine - theirs:+.1e}"
            )
        print(f"    CPU {slow:.1f} s against {fast:.2f} s: {slow / fast:.0f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--part", choices=("speed", "accuracy", "both"), default="both")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part != "accuracy":
        speed(arguments.n, 100, 100, 100)
        speed(arguments.n, 100, 1000, 1000)
    if arguments.part != "speed":
        accuracy(arguments.n, 100, 100, 100, (2, 6, 15))
        accuracy(arguments.n // 5, 100, 200, 200, (2, 6, 15))
