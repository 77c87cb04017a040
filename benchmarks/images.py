"""How well few weights draw an image: hard thresholding, then Gauss-Newton.

    python benchmarks/images.py [--images 3]

Digits (8 x 8, scaled up to 28 x 28), random Fourier features of the pixel coordinates
(d = 1500, sigma = 2), m = 50 neurons; PSNR in dB, CPU seconds on one thread.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from secateurs.solvers.gauss_newton import gauss_newton
from secateurs.solvers.iht import iht

Array = NDArray[np.floating]


def fourier_features(side: int, d: int, sigma: float, seed: int) -> Array:
    rng = np.random.default_rng(seed)
    axis = np.arange(side)  # whole pixels, as in the paper: nearly random features
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    phase = 2 * np.pi * points @ (sigma * rng.standard_normal((d // 2, 2))).T
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)


def psnr(y: Array, prediction: Array) -> float:
    return float(-10 * np.log10(np.mean((y - prediction) ** 2) + 1e-300) + 20 * np.log10(y.max()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits = load_digits().images / 16.0
    X = fourier_features(arguments.side, 1500, 2.0, seed=0)
    print("| image | s | IHT dB | IHT s | + Gauss-Newton dB | s | status |\n" + 7 * "|---" + "|")
    for image in range(arguments.images):
        grown = zoom(digits[image], arguments.side / 8, order=1)
        y = np.clip(grown, 0, 1).ravel()
        for s in (100, 500, 1000):
            start = time.process_time()
            first = iht(X, y, s, 50, n_steps=arguments.steps, random_state=image)
            middle = time.process_time()
            last = gauss_newton(X, y, first.value)
            end = time.process_time()
            print(
                f"| {image} | {s} | {psnr(y, first.value.predict(X)):.1f} | {middle - start:.2f} "
                f"| {psnr(y, last.value.predict(X)):.1f} | {end - middle:.2f} | {last.status} |",
                flush=True,
            )
