"""Measurements of the features paper's own algorithms, which `claims.features` judges."""

from __future__ import annotations

import numpy as np
import pandas as pd

from secateurs.features import planted_multi_index, published_network, published_pruning


def printed_pruning(link: str, n: int, d: int, sparsity: int, seed: int) -> dict[str, float]:
    """Run Algorithm 1: recall, columns kept, and 1 if all relevant of at most 3 M are kept."""
    p = planted_multi_index(n, d, 1, link, sparsity=sparsity, n_test=1, random_state=seed)
    kept = published_pruning(p.X, p.y, sparsity, random_state=seed).support
    recall = float(np.isin(p.support, kept).mean())
    good = recall == 1.0 and len(kept) <= 3 * sparsity
    return {"recall": recall, "columns": float(len(kept)), "found": float(good)}


def printed_network(
    link: str, n: int, d: int, r: int, sparsity: int, width: int, seed: int, noise: float = 0.2
) -> dict[str, float]:
    """Run Algorithm 2, or 2+ for r > 1: excess risk on clean fresh rows over the variance of y."""
    p = planted_multi_index(n, d, r, link, sparsity=sparsity, noise=noise, random_state=seed)
    fit = published_network(
        p.X, p.y, sparsity, several_indices=r > 1, width=width, random_state=seed
    ).value
    risk = float(np.mean((fit.predict(p.X_test) - p.y_test) ** 2) / p.y_test.var())
    return {"risk": risk, "solved": float(risk < 0.1)}


def risk_slope(frame: pd.DataFrame) -> float:
    """Return the slope of the logarithm of the mean risk against that of the rows."""
    mean = frame.groupby("n")["risk"].mean()
    return float(np.polyfit(np.log(mean.index.to_numpy(dtype=float)), np.log(mean), 1)[0])


def gap(frame: pd.DataFrame) -> float:
    """Return the mean of "with" less that of "without"."""
    return float((frame["with"] - frame["without"]).mean())
