"""Families of problems, methods and metrics; how a cell of a sweep is computed.

A family is a set of functions that work on the same data and results:

    planted = Family("planted_relu", ours=("pursuit",))

    @planted.problem                        # settings -> data; the file names the function
    def planted_relu(*, n: int, d: int, random_state: int) -> PlantedProblem: ...

    @planted.method                         # data and settings -> anything the metrics can read
    def pursuit(problem: PlantedProblem, *, max_rounds: int = 100, random_state: int) -> Fit: ...

    @planted.metric                         # data and result -> one number
    def psnr(problem: PlantedProblem, fit: Fit) -> float: ...

    @planted.certificate("pursuit")         # data and result -> certificate of the method
    def certified(problem: PlantedProblem, fit: Fit, *, random_state: int) -> Certificate: ...

A certificate is for methods whose estimator gives one.  It may use the data that the method saw,
and never the truth or the fresh rows, which are for the metrics.  `truth` names the metric of 0 and
1 with which certificates are compared.

Settings are keyword arguments with type hints; ``Annotated[int, Field(ge=1)]`` restricts one.
Every problem and every method takes `random_state`.  It is not a setting: it comes from the seed of
the cell; a certificate gets the seed of its method.  To add a method, write one such function; to
add a family, write one file in families/ and its line in families/__init__.py.  No other code needs
a change.

A problem can refuse impossible settings before a sweep starts: ``@planted.problem(check=f)``, where
f takes the settings and raises ValueError.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints, overload

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from secateurs.core.certificate import Certificate
from secateurs.core.parameters import bad_value
from secateurs.experiments.sweeps.record import RESERVED

Function = TypeVar("Function", bound=Callable[..., Any])
Number = float | None  # None: does not apply, or not a number
CPU_SECONDS = "cpu_seconds"  # metric of every cell: processor time of its method

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Problem:
    """A function that makes data, and a cheap check of its settings."""

    make: Callable[..., Any]
    check: Callable[..., None] | None = None


@dataclass(frozen=True)
class Result:
    """Result of a cell.

    Attributes
    ----------
    metrics : dict
        None where a metric is not a number.
    certificate : Certificate or None
        None for a method that gives none.
    """

    metrics: Mapping[str, Number]
    certificate: Certificate | None = None


@dataclass(frozen=True)
class Family:
    """Problems, the methods that solve them and the metrics that judge the result.

    Attributes
    ----------
    name : str
    ours : tuple of str
        Methods of this package, which figures show in its colour; the others are peers.
    truth : str or None
        The metric that is 1 where a method found the planted solution, 0 where it did not.
    problems, methods, metrics, certificates : dict
        By name; certificates by the name of their method.  The decorators below fill them.
    """

    name: str
    ours: tuple[str, ...] = ()
    truth: str | None = None
    problems: dict[str, Problem] = field(default_factory=dict)
    methods: dict[str, Callable[..., Any]] = field(default_factory=dict)
    metrics: dict[str, Callable[..., Any]] = field(default_factory=dict)
    certificates: dict[str, Callable[..., Certificate]] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """Name of the module that defines the family."""
        return next(iter(self.problems.values())).make.__module__

    @overload
    def problem(self, make: Function) -> Function: ...
    @overload
    def problem(self, *, check: Callable[..., None]) -> Callable[[Function], Function]: ...
    def problem(
        self, make: Function | None = None, *, check: Callable[..., None] | None = None
    ) -> Function | Callable[[Function], Function]:
        """Register a function from settings to data under its own name."""

        def register(function: Function) -> Function:
            settings_model(function)  # refuses an unusable signature at once
            self.problems[function.__name__] = Problem(function, check)
            return function

        return register if make is None else register(make)

    def method(self, solve: Function, name: str | None = None) -> Function:
        """Register a function from data and settings to a result, under its own name or `name`."""
        settings_model(solve)
        self.methods[name or solve.__name__] = solve
        return solve

    def metric(self, measure: Function) -> Function:
        """Register a function from data and result to a number, under its own name."""
        if measure.__name__ in RESERVED:
            raise TypeError(
                f"a metric cannot be called {measure.__name__}, as a column of every table is"
            )
        self.metrics[measure.__name__] = measure
        return measure

    def certificate(self, *methods: str) -> Callable[[Function], Function]:
        """Register a function from data and result to the certificate of these methods."""
        for method in methods:
            if method not in self.methods:
                raise TypeError(f"no method {method!r} to certify; there are {list(self.methods)}")

        def register(certify: Function) -> Function:
            self.certificates.update(dict.fromkeys(methods, certify))
            return certify

        return register


def settings_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return a strict pydantic model of the keyword settings of a problem or a method.

    Raises
    ------
    TypeError
        A setting has no type hint, or there is no `random_state`.
    """
    inner = getattr(function, "func", function)  # the function inside a functools.partial
    hints = get_type_hints(inner, include_extras=True)
    parameters = inspect.signature(function).parameters
    bound = getattr(function, "keywords", {})
    if "random_state" not in parameters:
        raise TypeError(f"{inner.__name__} takes no random_state; a cell must be reproducible")
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in {"random_state", *bound}:
            continue
        if name not in hints:
            raise TypeError(f"{inner.__name__}: setting {name!r} has no type hint")
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints[name], default)
    return create_model(inner.__name__, __config__=_STRICT, **fields)


def evaluate(family: Family, cell: Mapping[str, Any]) -> Result:
    """Compute one cell: make the problem, run the method, measure, certify.

    Parameters
    ----------
    family : Family
    cell : mapping
        "problem", "problem_settings", "method", "method_settings", "seed".

    Returns
    -------
    Result
        Every metric of the family, and "cpu_seconds", which leaves out the certificate.  All but
        "cpu_seconds" is a pure function of the cell.

    Raises
    ------
    ValueError
        A metric is infinite, or the problem or the method raised it.
    """
    data_seed, method_seed = seeds(cell["seed"])
    problem = family.problems[cell["problem"]].make(
        **cell["problem_settings"], random_state=data_seed
    )
    began = time.process_time()
    result = family.methods[cell["method"]](
        problem, **cell["method_settings"], random_state=method_seed
    )
    cpu = time.process_time() - began
    measured: dict[str, Number] = {CPU_SECONDS: cpu}
    for name, measure in family.metrics.items():
        measured[name] = number(name, measure(problem, result))
    certify = family.certificates.get(cell["method"])
    if certify is None:
        return Result(measured)
    return Result(measured, certify(problem, result, random_state=method_seed))


def number(name: str, value: Number) -> Number:
    """Return a metric as a record keeps it: None for nan; an infinite one is refused."""
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        raise bad_value(f"metric {name}", value, "a finite number or nan")
    return float(value)


def seeds(seed: int) -> tuple[int, int]:
    """Return the seeds of the data and of the method.

    They are unrelated, so that a method does not draw the random numbers of its data.  The data
    have the seed of the cell: ``planted_relu(..., random_state=seed)`` makes them again.
    """
    return seed, int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])
