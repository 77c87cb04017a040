"""Schedules of the trainers: learning rate, size of the support, share that is replaced."""

from __future__ import annotations

import math

WARM_UP = 20  # steps over which the learning rate rises
FINAL_RATE = 0.01  # learning rate at the end, as a share of the first
LAST_EXCHANGE = 0.75  # share of the run after which the support stays as it is
AT_BUDGET = 0.6  # share of the run after which the support has the size of the budget
FIRST_EXCHANGE = 0.3  # share of the support that is replaced at the start


def learning_rate_at(step: int, n_steps: int) -> float:
    """Learning rate as a share of its maximum: linear warm-up, then a cosine to `FINAL_RATE`."""
    warm_up = min(1.0, (step + 1) / WARM_UP)
    cosine = 0.5 * (1 + math.cos(math.pi * step / n_steps))
    return warm_up * (FINAL_RATE + (1 - FINAL_RATE) * cosine)


def support_size(
    t: int, n_steps: int, start: int, n_nonzero: int, at_budget: float = AT_BUDGET
) -> int:
    """Number of weights after step t: falls as a cubic from `start` to `n_nonzero`."""
    left = 1 - min(1.0, t / (at_budget * n_steps))
    return n_nonzero + int((start - n_nonzero) * left**3)


def exchange_share(t: int, n_steps: int) -> float:
    """Share of the support replaced at step t: a falling cosine, 0 after `LAST_EXCHANGE`."""
    done = t / (LAST_EXCHANGE * n_steps)
    return 0.0 if done >= 1 else FIRST_EXCHANGE * 0.5 * (1 + math.cos(math.pi * done))
