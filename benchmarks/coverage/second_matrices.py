"""Measurements that do not tell two planted matrices of one rank apart.

Their difference is projected out of random measurements, of which there are plenty: from any
other matrix, each of the two is told apart.  So nothing may be called exact or identified.
"""

from __future__ import annotations

import numpy as np

from benchmarks.coverage.judging import Case, attempt, judge, only, status_check
from benchmarks.coverage.scenario import Generator, Scenario, seed_of
from secateurs import MatrixSensing
from secateurs.core import Check
from secateurs.sensing import PackedDense, pack

SAME = 1e-6  # relative distance below which the fit is one of the two matrices


@judge("two matrices", "status exact", "identification")
def neither_is_the_only_one(_: Check, truth: tuple[MatrixSensing, list[np.ndarray]]) -> bool:
    """The fit is none of the two, but a third matrix, which leaves a residual."""
    model, planted = truth
    found = (model.components_.T * model.signs_) @ model.components_
    return all(np.linalg.norm(found - M) > SAME * np.linalg.norm(M) for M in planted)


def fit_one_of_two(rng: Generator, *, signed: bool, share: float) -> list[Case]:
    """Fit measurements that are equal for two matrices; `share` is the size of the second."""
    d, r = int(rng.integers(5, 15)), int(rng.integers(1, 3))
    dof = r * d - r * (r - 1) // 2
    n = int(rng.uniform(1.3, 5) * dof)
    signs = [rng.choice([-1.0, 1.0], r) if signed else np.ones(r) for _ in range(2)]
    factors = [rng.standard_normal((r, d)), np.sqrt(share) * rng.standard_normal((r, d))]
    planted = [(U.T * s) @ U for U, s in zip(factors, signs, strict=True)]
    A = rng.standard_normal((n, d, d))
    rows, difference = pack(A + A.transpose(0, 2, 1)), pack(planted[0] - planted[1])
    rows -= np.outer(rows @ difference, difference) / (difference @ difference)
    model = MatrixSensing(signed=signed, random_state=seed_of(rng))
    found = attempt(lambda: model.fit(PackedDense(rows), rows @ pack(planted[0])))
    if found is None:
        return [Case("MatrixSensing", "two matrices", ())]
    checks = only(model.certificate_.checks, "identification")
    case = (status_check(model.status_), *checks)
    return [Case("MatrixSensing", "two matrices", case, (model, planted))]


SCENARIOS = [
    Scenario(f"two matrices, {name}", fit_one_of_two, options)
    for name, options in {
        "equal sizes": {"signed": False, "share": 1.0},
        "one of a fifth": {"signed": False, "share": 0.2},
        "signed": {"signed": True, "share": 1.0},
    }.items()
]
