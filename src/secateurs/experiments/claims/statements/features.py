"""Statements of "Pruning is Optimal for Learning Sparse Features" (arXiv 2406.08658)."""

from __future__ import annotations

from secateurs.experiments.claims.statement import Statement

PRINTED = "the printed paper, PMLR 247:4787-4861; it has no experiments and no figures"

STATEMENTS = (
    Statement(
        place="Algorithm 1",
        kind="algorithm",
        says="Pruning of the inputs by even and odd gradients at probes beside an extra Gaussian "
        "column keeps at most 3 M columns, without knowing the information exponent.",
        source=PRINTED,
        claims=("printed-pruning",),
        differs="the probe at which the odd support is taken is open in print; it is that of the "
        "extra column here",
    ),
    Statement(
        place="Algorithm 2",
        kind="algorithm",
        says="One plain gradient step on the kept columns, new biases, and ridge regression of the "
        "second layer learn a function of one direction.",
        source=PRINTED,
        claims=("printed-network",),
        differs="step sizes, the number of steps and the start of the second layer at 0 are "
        "choices made here",
    ),
    Statement(
        place="Algorithm 2+",
        kind="algorithm",
        says="For several directions the linear part is taken away before the step and added back "
        "to the output.",
        source=PRINTED,
        claims=("printed-network",),
        differs="as Algorithm 2",
    ),
    Statement(
        place="Theorem 2",
        kind="theorem",
        says="Correlational statistical queries need n of order d^(min(alpha, 1/2) k) for "
        "functions whose sparsity is of order d^alpha.",
        source=PRINTED,
        missing="a bound over all algorithms of a class cannot be measured; "
        "secateurs.features.sample_sizes has its formula",
        obtainable=False,
    ),
    Statement(
        place="Theorem 4",
        kind="theorem",
        says="For one direction, n of order d^(alpha k*) rows are enough, with an excess risk of "
        "order 1/m + sqrt(M/n).",
        source=PRINTED,
        claims=("excess-risk-slope", "printed-network", "exponent-given"),
        differs="hard sparsity with M = 4 or 8; the slope is that of k* = 1, and it is an upper "
        "bound that the measurement may undercut",
    ),
    Statement(
        place="Theorem 5",
        kind="theorem",
        says="For several directions with information exponent 2, n of order d^(2 alpha) rows are "
        "enough.",
        source=PRINTED,
        claims=("printed-network",),
        differs="two directions and one sparsity",
        missing="the dependence of n on alpha",
    ),
    Statement(
        place="Lemma 34",
        kind="lemma",
        says="Under soft sparsity, to lose at most the mass e needs n of order "
        "R_q^(2k/(2-q)) (1/e)^(k(1+kq/(2-q))) rows, up to logarithms.",
        source=PRINTED,
        missing="no claim measures the mass that is lost",
    ),
    Statement(
        place="Section 6, first counterexample",
        kind="theorem",
        says="Without the extra column the informative term and another one can cancel.",
        source=PRINTED,
        claims=("extra-column-needed",),
        differs="the biases are 0, where the cancellation is exact",
    ),
    Statement(
        place="Section 6, second counterexample",
        kind="theorem",
        says="Without the split into even and odd gradients a linear part can invert the ranking.",
        source=PRINTED,
        claims=("split-needed",),
    ),
    Statement(
        place="Comparison with unpruned networks",
        kind="theorem",
        says="Methods that do not depend on the basis need a number of rows that grows with a "
        "power of d: d^k for one large step, at least d^(k/2) for any.",
        source=PRINTED,
        claims=("unpruned-needs-more", "spectral-needs-more"),
        differs="two numbers of columns and one of rows, so the exponent itself is not measured",
    ),
    Statement(
        place="Dependence on d",
        kind="theorem",
        says="With pruning, d enters the number of rows by its logarithm only.",
        source=PRINTED,
        claims=("pruned-few-rows", "logarithm-of-d"),
        differs="the method of this package, which is not given exponent and sparsity",
    ),
    Statement(
        place="Support and noise",
        kind="found here",
        says="The relevant columns are kept with few others, and in noise no signal is reported.",
        source="measured here",
        claims=("columns-found", "nothing-found-in-noise"),
    ),
)
