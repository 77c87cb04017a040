"""The meaning of "auto": steps, batches, regularisation and widths from the data.

All numbers were chosen on held-out rows of training data (docs/theory/training.md).
"""

from __future__ import annotations

import math
from typing import Any

import torch

from secateurs.core.parameters import bad_value
from secateurs.core.schedules import AT_BUDGET

EPOCHS = 30
MIN_STEPS, MAX_STEPS = 2000, 8000
MIN_BATCH, MAX_BATCH = 32, 500
EXCHANGES = 72  # changes of the support in a short run, at least 10 steps apart
SHORTEST_INTERVAL, LONGEST_INTERVAL = 25, 100  # steps between changes in a long run
PLACES_A_STEP = 2400  # places of weights for each of these steps
SMALL_TABLE = 16_000  # rows up to which input noise regularises better than weight decay
NOISE, NOISE_ROWS = 0.4, 1000  # the noise, and the rows from which on it becomes smaller
WEIGHT_DECAY = 0.3
LEARNING_RATE, SMALL_TABLE_RATE = 2e-2, 3e-2
FASTEST_RATE, RATE_OF_ONE = 6e-2, 0.8  # the rate is 0.8 over the weights for an output, up to .06
FEW_WEIGHTS, EARLY_AT_BUDGET = 25, 0.4  # weights for an output for which the support shrinks early
SCORE_BATCHES = 4
MAX_BATCH_ENTRIES = 1 << 26  # entries of the inputs of a batch


def is_auto(value: Any) -> bool:
    """Tell whether a parameter has the value "auto"."""
    return isinstance(value, str) and value == "auto"


def chosen(value: Any, auto: float) -> float:
    """Return the value of a parameter, or the default if it is "auto"."""
    return auto if is_auto(value) else float(value)


def run_length(
    n: int, d: int, batch_size: int | str, epochs: int | str, length: float = 1.0
) -> tuple[int, int]:
    """Return the rows of a batch and the number of steps, which is multiplied by `length`."""
    batch = auto_batch_size(n, d) if is_auto(batch_size) else min(int(batch_size), n)
    n_steps = auto_steps(n, batch) if is_auto(epochs) else int(epochs) * -(-n // batch)
    return batch, max(1, int(n_steps * length + 1e-9))


def auto_batch_size(n: int, d: int) -> int:
    """Return a sixth of the rows, within [32, 500]; fewer where rows are very long."""
    size = min(MAX_BATCH, max(MIN_BATCH, n // 6))
    return max(1, min(size, n, max(MIN_BATCH, MAX_BATCH_ENTRIES // max(1, d))))


def auto_steps(n: int, batch_size: int) -> int:
    """Return the steps of 30 epochs, but at least 2000 and at most 8000."""
    return min(MAX_STEPS, max(MIN_STEPS, EPOCHS * n // batch_size))


def exchange_interval(n_steps: int, places: int, length: float = 1.0) -> int:
    """Return the steps between changes of the support, in a run of `length` times `n_steps`.

    A change scores all `places` where a weight can be, so large networks change less often.
    """
    most = min(LONGEST_INTERVAL, max(SHORTEST_INTERVAL, places // PLACES_A_STEP))
    usual = min(most, max(10, n_steps // EXCHANGES))
    if length < 1:
        return max(10, round(usual * length))
    return round(usual * length)


def score_batches(length: float) -> int:
    """Return the batches on which absent weights are scored; long runs afford better scores."""
    return SCORE_BATCHES * max(1, min(4, round(length)))


def auto_noise(n: int) -> float:
    """Return the standard deviation of the input noise, in units of the scaled inputs."""
    return NOISE * min(1.0, math.sqrt(NOISE_ROWS / n)) if n <= SMALL_TABLE else 0.0


def auto_weight_decay(n: int) -> float:
    """Return the decoupled weight decay; small tables have input noise instead."""
    return 0.0 if n <= SMALL_TABLE else WEIGHT_DECAY


def auto_learning_rate(n: int, share: float) -> float:
    """Return the largest learning rate of `prune_regrow`; `share` is the weights for an output.

    Few weights have to move further, and to take over from weights that were dropped.
    """
    if n <= SMALL_TABLE:
        return SMALL_TABLE_RATE
    return min(FASTEST_RATE, max(LEARNING_RATE, RATE_OF_ONE / share))


def auto_at_budget(n: int, share: float) -> float:
    """Return the share of a run after which the support has the size of the budget.

    With few weights for an output it pays to look longer for the best ones.
    """
    return EARLY_AT_BUDGET if n > SMALL_TABLE and share <= FEW_WEIGHTS else AT_BUDGET


def auto_widths(n_nonzero: int, n_outputs: int) -> list[int]:
    """Return the widths of one hidden layer to compare for a budget."""
    base = min(500.0, max(8.0, n_nonzero / 20))
    widths = {max(2, min(n_outputs, 10), round(base * factor)) for factor in (0.5, 1, 2, 4)}
    return sorted(widths)


def auto_device(device: str) -> torch.device:
    """Return a torch device; "auto" is a CUDA device where there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise bad_value("device", device, f"a torch device or 'auto' ({error})") from error
