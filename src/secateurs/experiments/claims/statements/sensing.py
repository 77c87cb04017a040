"""Statements of "Greedy Pruning with Group Lasso Provably Generalizes" (arXiv 2303.11453)."""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement

ABSTRACT = "abstract; the numbers and constants of the theorems are unverified"

STATEMENTS = (
    Statement(
        place="Theorem on greedy pruning",
        kind="theorem",
        says="At an approximate second-order stationary point of the penalised loss, pruning all "
        "columns below an explicit norm leaves exactly r columns that are close to the truth.",
        source=ABSTRACT,
        claims=("exact-rank", "pipeline"),
        differs="the first claim reaches the point by a path that adds columns; lambda and beta "
        "come from that path",
    ),
    Statement(
        place="Theorem on fine-tuning, rate",
        kind="theorem",
        says="Gradient descent from the pruned columns converges to its limit at a linear rate.",
        source=ABSTRACT,
        claims=("noiseless",),
        differs="the end of the descent is measured, to rounding, and not its rate",
        missing="the rate itself",
    ),
    Statement(
        place="Theorem on fine-tuning, error",
        kind="theorem",
        says="The error of the limit is of order sigma sqrt(r d / n), as if the rank were known.",
        source=ABSTRACT,
        claims=("error-rate",),
    ),
    Statement(
        place="Theorem on the failure without a penalty",
        kind="theorem",
        says="Without the penalty many columns have norms comparable to the largest, so greedy "
        "pruning fails.",
        source=ABSTRACT,
        claims=("no-regulariser-fails", "greedy-pruning-loses"),
        differs="gradient descent on samples, and not gradient flow; the factors were measured",
    ),
    Statement(
        place="Algorithm, perturbed gradient descent",
        kind="algorithm",
        says="Perturbed gradient descent on the smooth penalty, pruning at 2 sqrt(beta), and "
        "fine-tuning find r columns.",
        source=ABSTRACT,
        claims=("pipeline",),
        differs="lambda and beta come from the path",
    ),
    Statement(
        place="Extension to quadratic networks",
        kind="theorem",
        says="The same holds for two-layer networks with quadratic activation: measurements x x^T.",
        source=ABSTRACT,
        claims=("exact-rank", "noiseless"),
        differs="half of the parts of the claims have measurements x x^T",
    ),
    Statement(
        place="Lemma on restricted isometry, in use",
        kind="lemma",
        says="Gaussian measurements have a small restricted isometry constant from n of order r d.",
        source=ABSTRACT,
        missing="the constant is NP-hard to compute",
        obtainable=False,
    ),
    Statement(
        place="Figure 1",
        kind="figure",
        says="Share of the columns above x times the largest norm, and histogram of the norms, "
        "with and without the penalty, d = k = 500, r = 4.",
        source="description of the figure",
        claims=("no-regulariser-fails",),
        command="python docs/figures.py sensing_norms",
        result="the picture of docs/sensing.md.",
        differs="d = k = 50, r = 2",
        missing="the paper's size",
    ),
    Statement(
        place="Phase retrieval",
        kind="found here",
        says="The path solves phase retrieval.",
        source="measured here",
        claims=("phase-retrieval",),
    ),
)
