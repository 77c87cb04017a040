"""Statements of "Structured vs. Unstructured Pruning: An Exponential Gap" (arXiv 2603.02234)."""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement

ABSTRACTS = "abstracts of versions 1 to 3 and a summary; the numbers of the theorems are unverified"

PAGE = "derived here: docs/theory/latitude.md"
CHECKS = "python -m benchmarks.tickets.theorem"
HOLD = "no instance violates it, and each lemma has a line of its own (docs/theory/latitude.md)."

STATEMENTS = (
    Statement(
        place="Lower bound for neurons, version 3",
        kind="theorem",
        says="To approximate a ReLU neuron within eps by removing neurons, a random network needs "
        "Omega(1 / eps) neurons.",
        source=ABSTRACTS,
        claims=("neurons-polynomial", "lower-bound"),
        differs="the constant, .272 / eps at probability 1/2, was derived here",
    ),
    Statement(
        place="Lower bound for neurons, versions 1 and 2",
        kind="theorem",
        says="It needs Omega(d / eps) neurons; version 3 does not state this any more.",
        source=ABSTRACTS,
        claims=("dimension-aware-width", "neurons-polynomial-3", "neurons-polynomial-4"),
        differs="the exponent d - 1 that is proved here implies it for d >= 3 and small eps; for "
        "eps that is not small no bound proportional to d is proved or measured",
    ),
    Statement(
        place="Lemma on breakpoints, in use",
        kind="lemma",
        says="On a plane through the target, a sum of neurons whose kinks are all further away "
        "than an angle is linear there, and so is far from the target.",
        source=ABSTRACTS,
        claims=("lower-bound",),
        differs="the plane is searched for, so that the angle is large",
    ),
    Statement(
        place="Upper bound for weights",
        kind="theorem",
        says="By removing weights, O(d log(1 / eps)) neurons are enough (versions 1 and 2), "
        "O(log(1 / eps)) at fixed d (version 3).",
        source=ABSTRACTS,
        claims=("weights-logarithmic",),
        differs="the outer function is a relu (form B), where the upper bound is proved; targets "
        "are drawn uniformly from the sphere",
    ),
    Statement(
        place="Lemma on random subset sums, in use",
        kind="lemma",
        says="O(log(1 / eps)) random numbers have a subset sum within eps of any target in "
        "[-1, 1] (Lueker 1998; Pensia et al. 2020).",
        source="the cited papers",
        claims=("subset-sum", "honest-errors"),
    ),
    Statement(
        place="Exponential gap",
        kind="theorem",
        says="Pruning neurons needs exponentially more neurons than pruning weights, in 1 / eps.",
        source=ABSTRACTS,
        claims=("exponential-gap",),
        command="python docs/figures.py tickets_gap",
        result="the picture of docs/theory/tickets.md.",
        differs="the two bounds are for the two forms in which they are proved",
    ),
    Statement(
        place="Figures",
        kind="figure",
        says="No figure of the paper is known here.",
        source=ABSTRACTS,
        missing="the text is not at hand",
        obtainable=False,
    ),
    Statement(
        place="Theorem 1 of this package",
        kind="found here",
        says="The error is at least kappa_d sin(delta*), where delta* is the angle from the target "
        "to the nearest of the lines through the neurons (form A).",
        source=PAGE,
        claims=("dimension-aware-bound",),
        command=CHECKS,
        result=HOLD,
    ),
    Statement(
        place="Theorem 2 of this package",
        kind="found here",
        says="A random network needs more than ln 2 ((kappa_d / eps)^(d-1) - 1) neurons for "
        "probability 1/2.",
        source=PAGE,
        claims=("dimension-aware-width",),
        command=CHECKS,
        result=HOLD,
    ),
    Statement(
        place="Proposition 3 of this package",
        kind="found here",
        says="With free output weights the exponent d - 1 cannot be improved.",
        source=PAGE,
        claims=("free-output-weights",),
        command=CHECKS,
        result=HOLD,
    ),
    Statement(
        place="Counterexample of form B",
        kind="found here",
        says="Under form B four neurons can equal a target that the bound of form A excludes.",
        source="derived here",
        claims=("form-b-exact",),
    ),
    Statement(
        place="Lower bound for weights",
        kind="found here",
        says="The width that weight pruning must have is proved for targets drawn uniformly from "
        "the sphere; it is false for an axis.",
        source="derived here: 2^(masks) functions against the cap that each can serve",
        claims=("uniform-targets",),
    ),
)
