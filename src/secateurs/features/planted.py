"""Planted multi-index problems: a polynomial of a few sparse directions of many inputs.

    y = f(V x) + noise,   V [r, d] with orthonormal rows, f a polynomial in Hermite form

Source: the model is that of Vural & Erdogdu (COLT 2024); how V and the inputs are drawn is an
addition.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from secateurs.core.parameters import (
    bad_value,
    check_choice,
    check_counts,
    check_integer,
    check_real,
)
from secateurs.features.ranks import FloatArray

Term = tuple[float, tuple[int, ...]]  # a coefficient, and the degree in each index

N_TEST = 2000  # test rows
INPUTS = ("gaussian", "t5", "exponential", "ar", "binary", "uniform")
CORRELATION = 0.5  # of neighbouring columns of "ar" inputs
STEEPEST = 50.0  # largest decay exponent of soft directions
BISECTIONS = 100  # for that exponent
FACTOR = re.compile(r"(?P<number>-?\d+(\.\d*)?)|he(?P<degree>\d)(\(z(?P<of>\d)\))?|z(?P<plain>\d)")


@dataclass(frozen=True, eq=False)
class MultiIndexProblem:
    """Inputs and targets with known directions."""

    X: FloatArray  # [n, d]
    y: FloatArray  # with noise, [n]
    directions: sparse.csr_array[np.float64]  # V, with orthonormal rows, [r, d]
    X_test: FloatArray  # test rows
    y_test: FloatArray  # without noise
    link: str

    @property
    def support(self) -> NDArray[np.int64]:
        """Columns with a nonzero in some direction, increasing."""
        return np.unique(self.directions.indices).astype(np.int64)


def planted_multi_index(
    n: int,
    d: int,
    r: int,
    link: str,
    *,
    sparsity: float,
    q: float = 0.0,
    inputs: str = "gaussian",
    noise: float = 0.2,
    spread: float = 0.0,
    n_test: int = N_TEST,
    random_state: int | None = None,
) -> MultiIndexProblem:
    """Draw data from a polynomial of `r` sparse directions.

    Parameters
    ----------
    n, d, r : int
        Rows, columns and directions.
    link : str
        Terms joined by "+", with factors joined by "*".  ``he3`` or ``he3(z1)`` is the normalised
        Hermite polynomial he_k / sqrt(k!) of an index, ``z2`` is an index and ``0.5`` a number.
        Examples: "he2+he3", "he2(z1)+z1*z2", "z1*z2*z3".  With "null", y is pure noise.
    sparsity : float
        With q = 0 the number M of columns that matter; with q > 0 the soft sparsity
        R_q = sum_j ||V_j||^q, from r to about r (d/r)^(1 - q/2).
    q : float
        In [0, 2).  Above 0 all d coordinates are nonzero: ``|v_j|`` is proportional to rank^-a,
        and the exponent a is chosen to give R_q.
    inputs : {"gaussian", "t5", "exponential", "ar", "binary", "uniform"}
        Distribution of a column, with mean 0 and variance 1.  "ar": Gaussian, where columns at
        distance t have correlation .5^t; "binary": -1 or 1.
    noise : float
        Standard deviation of the noise on y, in units of the standard deviation of y.
    spread : float
        In [0, 1).  With q = 0, magnitudes are drawn from [1 - spread, 1 + spread] and normalised;
        with spread = 0 they are equal.  Signs are random.
    n_test : int
        Number of test rows.
    random_state : int, optional
        Random seed; without one every call draws another problem.

    Returns
    -------
    MultiIndexProblem
        Training rows with noise, test rows without, the directions and the columns that matter.

    Raises
    ------
    ValueError
        A number is out of range, or the link cannot be read or uses more than r indices.

    Notes
    -----
    O((n + n_test) d) time and memory.  Directions have disjoint supports of nearly equal size.  So
    ``z1*z2`` has no diagonal: E[y x_j^2] shows it in no single column.
    """
    check_counts(n=n, d=d, r=r, n_test=n_test)
    terms = parse_link(link, r)
    check_choice("inputs", inputs, INPUTS)
    check_real("noise", noise, least=0)
    check_real("spread", spread, least=0, below=1)
    check_real("q", q, least=0, below=2)
    rng = np.random.default_rng(random_state)
    V = _directions(d, r, sparsity, q, spread, rng)
    X, X_test = (_inputs(rows, d, inputs, rng) for rows in (n, n_test))
    y, y_test = (_output(terms, np.asarray(Z @ V.T)) for Z in (X, X_test))
    scale = 1.0 if not terms else float(noise) * (float(y.std()) or 1.0)
    y = y + scale * rng.standard_normal(n)
    return MultiIndexProblem(X, y, V, X_test, y_test, link)


def parse_link(link: str, r: int) -> list[Term]:
    """Return the terms of a link: a coefficient, and the Hermite degree in each of r indices."""
    if link == "null":
        return []
    terms: list[Term] = []
    for text in link.replace(" ", "").split("+"):
        coefficient, degrees = 1.0, [0] * r
        for factor in text.split("*"):
            found = FACTOR.fullmatch(factor)
            if found is None:
                raise bad_value("link", factor, "factors such as he2, he2(z1), z1 or a number")
            if found["number"]:
                coefficient *= float(found["number"])
                continue
            index = int(found["of"] or found["plain"] or 1)
            if not 1 <= index <= r:
                raise bad_value("link", f"z{index}", f"indices from z1 to z{r}", "increase r")
            if degrees[index - 1]:
                raise bad_value("link", text, f"z{index} once in a product", f"use he2(z{index})")
            degrees[index - 1] = int(found["degree"] or 1)
        terms.append((coefficient, tuple(degrees)))
    return terms


def normalised_hermite(z: FloatArray, degree: int) -> FloatArray:
    """Return he_k(z) / sqrt(k!); these are orthonormal for a standard normal z."""
    before, now = np.zeros_like(z), np.ones_like(z)
    for k in range(degree):
        before, now = now, z * now - k * before
    return now / math.sqrt(math.factorial(degree))


def _output(terms: list[Term], Z: FloatArray) -> FloatArray:
    y = np.zeros(len(Z))
    for coefficient, degrees in terms:
        product = np.full(len(Z), coefficient)
        for index, degree in enumerate(degrees):
            if degree:
                product *= normalised_hermite(Z[:, index], degree)
        y += product
    return y


def _directions(
    d: int, r: int, sparsity: Any, q: float, spread: float, rng: np.random.Generator
) -> sparse.csr_array[np.float64]:
    """Draw orthonormal rows on disjoint supports, with random signs and places."""
    check_real("sparsity", sparsity)
    if q == 0.0:
        check_integer("sparsity", int(sparsity) if sparsity == int(sparsity) else sparsity, r, d)
        sizes = [len(part) for part in np.array_split(np.arange(int(sparsity)), r)]
        magnitudes = [rng.uniform(1 - spread, 1 + spread, size) for size in sizes]
    else:
        sizes = [len(part) for part in np.array_split(np.arange(d), r)]
        magnitudes = _soft(sizes, float(sparsity), q)
    places = np.split(rng.permutation(d)[: sum(sizes)], np.cumsum(sizes)[:-1])
    rows = np.repeat(np.arange(r), sizes)
    signs = rng.choice([-1.0, 1.0], sum(sizes))
    values = np.concatenate([m / np.linalg.norm(m) for m in magnitudes]) * signs
    return sparse.csr_array((values, (rows, np.concatenate(places))), shape=(r, d))


def _soft(sizes: list[int], radius: float, q: float) -> list[FloatArray]:
    """Return magnitudes rank^-a of unit norm with sum of q-th powers R_q; bisection finds a."""

    def powers(a: float) -> list[FloatArray]:
        raw = [np.arange(1.0, size + 1.0) ** -a for size in sizes]
        return [m / np.linalg.norm(m) for m in raw]

    def total(a: float) -> float:
        return sum(float((m**q).sum()) for m in powers(a))

    steep, flat = STEEPEST, 0.0
    if not total(steep) <= radius <= total(flat):
        bounds = f"from {total(steep):.4g} to {total(flat):.4g}"
        problem = f"q = {q:g}, {len(sizes)} directions and {sum(sizes)} columns"
        raise bad_value("sparsity", radius, f"R_q {bounds} for {problem}")
    for _ in range(BISECTIONS):
        middle = (steep + flat) / 2
        steep, flat = (middle, flat) if total(middle) <= radius else (steep, middle)
    return powers(steep)


def _inputs(n: int, d: int, kind: str, rng: np.random.Generator) -> FloatArray:
    """Draw columns with mean 0 and variance 1."""
    if kind == "t5":
        return rng.standard_t(5, (n, d)) / math.sqrt(5 / 3)
    if kind == "exponential":
        return rng.standard_exponential((n, d)) - 1.0
    if kind == "binary":
        return rng.choice([-1.0, 1.0], (n, d))
    if kind == "uniform":
        return rng.uniform(-math.sqrt(3.0), math.sqrt(3.0), (n, d))
    X = rng.standard_normal((n, d))
    if kind == "ar":
        for j in range(1, d):
            X[:, j] = CORRELATION * X[:, j - 1] + math.sqrt(1 - CORRELATION**2) * X[:, j]
    return X
