"""Statements of "Structured vs. Unstructured Pruning: An Exponential Gap" (arXiv 2603.02234)."""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement

ABSTRACTS = "abstracts of versions 1 to 3 and a summary; the numbers of the theorems are unverified"

STATEMENTS = (
    Statement(
        place="Lower bound for neurons, version 3",
        kind="theorem",
        says="To approximate a ReLU neuron within eps by removing neurons, a random network needs "
        "Omega(1 / eps) neurons.",
        source=ABSTRACTS,
        claims=("neurons-polynomial", "lower-bound"),
        differs="the constant .272 at probability 1/2 was derived here",
    ),
    Statement(
        place="Lemma on breakpoints, in use",
        kind="lemma",
        says="On a plane through the target, a sum of neurons whose kinks are all further away "
        "than an angle is linear there, and so is far from the target.",
        source=ABSTRACTS,
        claims=("lower-bound",),
    ),
    Statement(
        place="Upper bound for weights",
        kind="theorem",
        says="By removing weights, O(d log(1 / eps)) neurons are enough (versions 1 and 2), "
        "O(log(1 / eps)) at fixed d (version 3).",
        source=ABSTRACTS,
        claims=("weights-logarithmic",),
        differs="the outer function is a relu (form B), where the upper bound is proved",
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
        place="Figures",
        kind="figure",
        says="No figure of the paper is known here.",
        source=ABSTRACTS,
        missing="the text is not at hand",
        obtainable=False,
    ),
    Statement(
        place="Counterexample of form B",
        kind="found here",
        says="Under form B four neurons can equal a target that the bound of form A excludes.",
        source="derived here",
        claims=("form-b-exact",),
    ),
)
