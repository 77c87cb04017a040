"""Statements of "Greedy Pruning with Group Lasso Provably Generalizes" (arXiv 2303.11453)."""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement

ABSTRACT = "abstract; the numbers and constants of the theorems are unverified"

LEMMAS = "by memory of the proof; constants and numbering are unverified"

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
        claims=("fine-tuning-rate", "noiseless"),
        differs="lambda and beta come from the path; there is no noise",
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
        place="Lemma on the columns at stationary points",
        kind="lemma",
        says="At an approximate second-order stationary point of the penalised loss, columns that "
        "are not small are nearly orthogonal.",
        source=LEMMAS,
        claims=("columns-apart",),
        differs="measured where perturbed gradient descent ends; lambda and beta come from the "
        "path",
    ),
    Statement(
        place="Lemma on the norms at stationary points",
        kind="lemma",
        says="There, every column is either small or large, so that the threshold of the pruning "
        "lies between the two.",
        source=LEMMAS,
        claims=("norms-apart",),
        differs="measured where perturbed gradient descent ends; lambda and beta come from the "
        "path",
    ),
    Statement(
        place="Lemma on the smooth penalty, in use",
        kind="lemma",
        says="R_beta is differentiable with the stated gradient, and it does not grow when the "
        "columns are rotated to the eigenbasis of the matrix.",
        source="formula of the penalty; rotation: derived",
        command="python -m pytest tests/sensing/test_regularisation_path.py",
        result="the gradient equals finite differences, and no rotation raises the penalty.",
    ),
    Statement(
        place="Lemma on perturbed gradient descent, in use",
        kind="lemma",
        says="Perturbed gradient descent leaves strict saddle points and ends at an approximate "
        "second-order stationary point.",
        source="Jin, Ge, Netrapalli, Kakade & Jordan (2017), by memory",
        claims=("saddle-escape",),
        differs="one kind of saddle point: the best fit of a rank that is too small by one",
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
        command="python -m benchmarks.sensing.column_norms",
        result="4 of 500 columns are above .3 of the largest norm with the penalty, and 434 "
        "without (docs/theory/sensing.md).",
        differs="the command has the loss for infinitely many measurements, and the claim "
        "measures samples at d = k = 50",
    ),
    Statement(
        place="Phase retrieval",
        kind="found here",
        says="Phase retrieval is solved near the limit, by message passing.",
        source="measured here",
        claims=("phase-retrieval",),
    ),
)
