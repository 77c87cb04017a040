"""Learn the filters of a first stage, by training a small convolutional network.

    x = relu(b + max over each window of conv(image, w))                                  (1)
    outputs = A relu(B x + c) + d                                                          (2)
    all steps: AdamW on the loss of (2); from the middle on, w is rounded to its codes     (3)
    the filters are kept, and (2) is thrown away                                           (4)

A sparse network is fitted on the features of (4) then.  Source: derived; rounding in (3) with the
straight-through estimator is Bengio, Leonard & Courville (2013), arXiv 1308.3432.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d, cross_entropy, max_pool2d

from secateurs.core.driver import Iterations
from secateurs.core.losses import check_finite
from secateurs.core.parameters import Shown, bad_value, check_integer, check_real
from secateurs.core.schedules import learning_rate_at
from secateurs.core.solution import ProgressCallback
from secateurs.core.threads import threads_for
from secateurs.tiny.distortion import distorted
from secateurs.tiny.filters import (
    BIASES,
    LEAST_CODE,
    MOST_CODE,
    MOST_FILTERS,
    MOST_SIZE,
    MOST_WINDOW,
    Filters,
    filter_size,
    windows_for,
)
from secateurs.tiny.pixels import as_pixels

HIDDEN = 64  # units of the layer (2)
BATCH, RATE, DECAY = 128, 5e-3, 1e-2
LEAST_STEPS = 1500
ROUNDED = 0.5  # share of the steps after which weights are rounded
SEEN = 2000  # rows from which the shift is taken
HIGH = 0.999  # quantile of the features that still fits into a byte


def learn_filters(
    X: Any,
    y: Any,
    image_shape: tuple[int, int],
    n_filters: int = 8,
    *,
    size: int | None = None,
    window: int | None = None,
    epochs: int = 12,
    least_steps: int = LEAST_STEPS,
    distort: float = 0.0,
    random_state: int = 0,
    progress: ProgressCallback | None = None,
) -> Filters:
    """Learn filters that all positions of an image share.

    Fit a sparse network on ``filters(X)`` then, and give the filters to `secateurs.tiny.quantize`;
    `secateurs.tiny.fit_bytes` does all of it.

    Parameters
    ----------
    X : array [n, height * width]
        Training rows: whole numbers from 0 to 255.
    y : array [n] or [n, k]
        Classes; or numbers to predict, which have to be floating-point numbers.
    image_shape : tuple of int
        (height, width).
    n_filters : int
        Each takes about ``size^2 / 2`` bytes, and adds the number of windows to the inputs of the
        network, which are bytes of RAM.
    size : int, optional
        Side of a filter in pixels; by default 5 for images of 16 pixels or more, and 3 below.
    window : int, optional
        Side of a window in positions; by default 4 or 2.
    epochs : int
        Passes over the rows, but at least `least_steps` steps of 128 rows.
    least_steps : int
        The fewest steps, for small tables.
    distort : float
        Images are shifted by up to so many pixels in every step, and rotated by up to 8 times as
        many degrees.
    random_state : int
        Seed of the first weights, the batches and the distortion.
    progress : callable, optional
        Called with a `Progress` every 50 steps.

    Returns
    -------
    Filters
        After Ctrl-C these are the filters so far.

    Raises
    ------
    ValueError
        The rows are no such images, or a parameter makes no sense.

    Notes
    -----
    A step costs O(batch * n_filters * size^2 * height * width).  Source: derived.
    """
    shape = _shape(image_shape, n_filters, size, window)
    pixels = as_pixels(X, shape.n_pixels)
    check_integer("epochs", epochs)
    check_integer("least_steps", least_steps)
    check_real("distort", distort, least=0.0)
    targets, n_outputs = _targets(y, len(pixels))
    source = torch.Generator().manual_seed(random_state)
    network = _Network(shape, n_outputs, max(1, int(pixels.max(initial=0))), source)
    n_steps = max(least_steps, epochs * len(pixels) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters, lr=RATE, weight_decay=DECAY, fused=True)
    images = torch.from_numpy(pixels)
    work = shape.codes.size * shape.n_pixels * BATCH
    with threads_for(work), Iterations(n_steps, progress) as run:
        for step, picked in zip(run, _batches(len(pixels), source), strict=False):
            x = images[picked]
            if distort:
                x = distorted(x, shape.height, shape.width, distort, source)
            for group in optimizer.param_groups:
                group["lr"] = RATE * learning_rate_at(step - 1, n_steps)
            loss = network.loss(x, targets[picked], rounded=step > ROUNDED * n_steps)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % 50 == 0 or step == n_steps:
                value = check_finite(float(loss.detach()), step)
                run.record(loss=value, n_nonzero=shape.codes.size + n_filters)
    seen = np.random.default_rng(random_state).permutation(len(pixels))[:SEEN]
    return network.filters(images[np.sort(seen)])


def _shape(
    image_shape: tuple[int, int], n_filters: int, size: int | None, window: int | None
) -> Filters:
    """Check the sizes, and return filters of zeros that have them."""
    sides = tuple(image_shape)
    if len(sides) != 2:
        raise bad_value("image_shape", image_shape, "(height, width)")
    height, width = (check_integer("image_shape", side) for side in sides)
    size = filter_size(sides) if size is None else check_integer("size", size, 1, MOST_SIZE)
    if window is None:
        window = next(iter(windows_for(sides)), 1)
    check_integer("window", window, 1, MOST_WINDOW)
    count = check_integer("n_filters", n_filters, 1, MOST_FILTERS)
    zeros = np.zeros((count, size, size), dtype=np.int64)
    return Filters(height, width, window, zeros, zeros[:, 0, 0], 0)


def _targets(y: Any, n: int) -> tuple[Tensor, int]:
    """Return class numbers, or scaled numbers [n, k], and the number of outputs."""
    values = np.asarray(y)
    if len(values) != n:
        raise bad_value("y", Shown(f"{len(values)} targets"), f"one for each of the {n} images")
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise bad_value("y", Shown("infinite or missing numbers"), "finite ones")
        columns = values.reshape(n, -1).astype(np.float64)
        scale = columns.std(axis=0)
        scaled = (columns - columns.mean(axis=0)) / np.where(scale > 0, scale, 1.0)
        return torch.from_numpy(scaled.astype(np.float32)), columns.shape[1]
    classes, numbers = np.unique(values, return_inverse=True)
    return torch.from_numpy(numbers.astype(np.int64)), len(classes)


def _batches(n: int, source: torch.Generator) -> Iterator[Tensor]:
    batch = min(BATCH, n)
    while True:
        order = torch.randperm(n, generator=source)
        for start in range(0, n - batch + 1, batch):
            yield order[start : start + batch]


class _Network:
    """The weights of (1) and (2)."""

    def __init__(
        self, shape: Filters, n_outputs: int, brightest: int, source: torch.Generator
    ) -> None:
        self.shape, self.brightest = shape, brightest
        k, size, d = len(shape.codes), shape.size, shape.n_features

        def normal(*sizes: int, fan: int) -> Tensor:
            values = torch.randn(sizes, generator=source) * math.sqrt(2 / fan)
            return values.requires_grad_()

        self.w = normal(k, 1, size, size, fan=size**2)
        self.b = torch.zeros(k, requires_grad=True)
        self.B, self.c = normal(HIDDEN, d, fan=d), torch.zeros(HIDDEN, requires_grad=True)
        self.A = normal(n_outputs, HIDDEN, fan=HIDDEN)
        self.d = torch.zeros(n_outputs, requires_grad=True)
        self.parameters = [self.w, self.b, self.B, self.c, self.A, self.d]

    @property
    def step(self) -> float:
        """What one unit of a code is worth."""
        return max(float(self.w.detach().abs().max()) / (MOST_CODE + 0.5), 1e-12)

    def features(self, x: Tensor, *, rounded: bool) -> Tensor:
        """Compute (1) for pixels [b, height * width]."""
        w = self.w
        if rounded:
            nearest = (w.detach() / self.step).round().clamp(LEAST_CODE, MOST_CODE) * self.step
            w = w + (nearest - w.detach())
        image = x.to(torch.float32).div(self.brightest)
        image = image.reshape(-1, 1, self.shape.height, self.shape.width)
        largest = max_pool2d(conv2d(image, w), self.shape.window)
        return torch.relu(largest + self.b[:, None, None]).flatten(1)

    def loss(self, x: Tensor, targets: Tensor, *, rounded: bool) -> Tensor:
        """Return the mean loss of (2)."""
        hidden = torch.relu(self.features(x, rounded=rounded) @ self.B.T + self.c)
        outputs = hidden @ self.A.T + self.d
        if targets.ndim == 1:
            return cross_entropy(outputs, targets)
        return 0.5 * (outputs - targets).square().sum(1).mean()

    def filters(self, images: Tensor) -> Filters:
        """Round the filters; the shift lets nearly all features of the images fit into a byte."""
        step = self.step
        codes = (self.w.detach() / step).round().clamp(LEAST_CODE, MOST_CODE)
        with torch.no_grad():
            high = float(np.quantile(self.features(images, rounded=True).numpy(), HIGH))
        units = high * self.brightest / step  # the same in sums of codes times pixels
        shift = max(0, math.ceil(math.log2(max(units, 1.0) / 255)))
        unit = step / self.brightest * 2**shift
        biases = np.rint(self.b.detach().numpy() / unit).clip(-BIASES, BIASES)
        return Filters(
            self.shape.height, self.shape.width, self.shape.window,
            codes[:, 0].numpy().astype(np.int64), biases.astype(np.int64), shift,
        )  # fmt: skip
