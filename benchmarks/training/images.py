"""Fit images with few weights, by hard thresholding, Gauss-Newton and exchanges.

    python -m benchmarks.training.images [--images 5] [--npz FILE]

The images are the digits of scikit-learn (8 x 8), or the array "x_test" of an npz file (MNIST:
28 x 28).  The inputs are random Fourier features of the pixel coordinates in [-1, 1]^2 (d = 1500,
sigma = 2), with m = 50 neurons in float64.  The table has the PSNR in dB after each part (at most
350), and processor seconds on one thread.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from secateurs.recovery.planted import image_function
from secateurs.recovery.thresholding.exchange import exchange
from secateurs.recovery.thresholding.gauss_newton import gauss_newton
from secateurs.recovery.thresholding.iht import iht

Array = NDArray[np.floating]
GOALS = {100: 45, 500: 150, 1000: 150}  # dB


def psnr(y: Array, prediction: Array) -> float:
    error = np.mean((y - prediction) ** 2)
    return float(min(350.0, 20 * np.log10(y.max()) - 10 * np.log10(error + 1e-300)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--npz")
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.npz is None:
        pictures = load_digits().images / 16.0
    else:
        with np.load(arguments.npz) as archive:
            pictures = archive["x_test"] / 255.0
    print("| image | s | IHT | + Gauss-Newton | + exchanges | CPU s: IHT, G-N, exchanges |")
    print(6 * "|---" + "|")
    reached = dict.fromkeys(GOALS, 0), dict.fromkeys(GOALS, 0)
    for image in range(arguments.images):
        problem = image_function(pictures[image], 1500, 2.0, random_state=0)
        X, y = problem.X, problem.y
        for s, goal in GOALS.items():
            clock = [time.process_time()]
            fits = [iht(X, y, s, 50, n_steps=arguments.steps)]
            clock.append(time.process_time())
            fits.append(gauss_newton(X, y, fits[-1].value))
            clock.append(time.process_time())
            moved = exchange(X, y, fits[-1].value, s)
            fits.append(gauss_newton(X, y, moved.value))
            clock.append(time.process_time())
            decibels = [psnr(y, fit.value.predict(X)) for fit in fits]
            assert all(fit.value.n_nonzero <= s for fit in fits)
            for part in (0, 1):
                reached[part][s] += decibels[part + 1] >= goal
            seconds = ", ".join(f"{b:.2f}" for b in np.diff(clock))
            print(
                f"| {image} | {s} | " + " | ".join(f"{v:.1f}" for v in decibels) + f" | {seconds} |"
            )
    for part, name in enumerate(("Gauss-Newton", "exchanges")):
        print(f"after {name}: images that reach {GOALS} dB: {reached[part]} of {arguments.images}")
