"""Mixed-integer programmes with named groups of variables, solved by HiGHS.

The signs of neurons use the variables sigma in [-1, 1], b and split (both 0 or 1), with
sigma_j = 2 b_j - 1 unless split_j.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import optimize, sparse

from secateurs.recovery.fitted_rows import FloatArray, IntArray

MILP_SECONDS = 20.0
INFEASIBLE = 2  # status of scipy.optimize.milp

Numbers = FloatArray | IntArray | float  # one number for each row or variable, or one for all


class Programme:
    """Minimise a linear cost under linear constraints; some variables are integers.

    `infeasible` says after `solve` whether the constraints were shown to contradict each other.
    """

    def __init__(self) -> None:
        self.infeasible = False
        self._sizes: dict[str, int] = {}
        self._columns: list[tuple[FloatArray, ...]] = []  # low, high, cost, is integer
        self._constraints: list[optimize.LinearConstraint] = []

    def variables(
        self,
        name: str,
        size: int,
        *,
        low: Numbers = 0.0,
        high: Numbers = 1.0,
        cost: Numbers = 0.0,
        integer: bool = False,
    ) -> None:
        """Add a group of `size` variables."""
        self._sizes[name] = size
        kinds = (low, high, cost, integer)
        self._columns.append(tuple(np.full(size, kind, dtype=float) for kind in kinds))

    def constrain(self, low: Numbers, high: Numbers, **factors: Any) -> None:
        """Require low <= sum of factor @ variables <= high; `factors` are matrices by group."""
        height = next(iter(factors.values())).shape[0]
        if height:
            parts = [
                sparse.csr_array(factors.get(name, sparse.csr_array((height, size))))
                for name, size in self._sizes.items()
            ]
            A = sparse.hstack(parts, format="csr")
            self._constraints.append(optimize.LinearConstraint(A, low, high))

    def sign_variables(self, counts: IntArray) -> None:
        """Add sigma, b and split of neurons; to split neuron j costs its `counts[j]` weights."""
        p = len(counts)
        self.variables("sigma", p, low=-1.0)
        self.variables("b", p, integer=True)
        self.variables("split", p, cost=counts, integer=True)

    def link_signs(self) -> None:
        """Require sigma_j = 2 b_j - 1 unless split_j."""
        one = sparse.eye_array(self._sizes["sigma"])
        self.constrain(-np.inf, -1.0, sigma=one, b=-2 * one, split=-2 * one)
        self.constrain(-1.0, np.inf, sigma=one, b=-2 * one, split=2 * one)

    def solve(self, most_nodes: int | None = None) -> dict[str, FloatArray] | None:
        """Return the variables by group, or None without a solution within the limits.

        The limit is a time, or `most_nodes` of the search, which does not depend on the machine.
        """
        limit: Any = {"time_limit": MILP_SECONDS}
        if most_nodes is not None:
            limit = {"node_limit": most_nodes}
        columns = zip(*self._columns, strict=True)
        low, high, cost, integer = (np.concatenate(column) for column in columns)
        result = optimize.milp(
            c=cost,
            constraints=self._constraints,
            bounds=optimize.Bounds(low, high),
            integrality=integer,
            options=limit,
        )
        self.infeasible = result.status == INFEASIBLE
        if result.x is None:
            return None
        ends = np.cumsum(list(self._sizes.values()))[:-1]
        return dict(zip(self._sizes, np.split(np.asarray(result.x), ends), strict=True))


def chosen_signs(solution: dict[str, FloatArray]) -> FloatArray:
    """Return the signs of a solution, exactly +-1 except for split neurons."""
    sign = np.where(solution["b"] > 0.5, 1.0, -1.0)
    return np.where(solution["split"] > 0.5, solution["sigma"], sign)
