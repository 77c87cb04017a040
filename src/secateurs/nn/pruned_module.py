"""The result of `prune_neurons`: a smaller module and how it was found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, Table
from secateurs.core.solution import Status


@dataclass(frozen=True, eq=False)
class PrunedModule:
    """A smaller module and how it was found.

    Attributes
    ----------
    module : nn.Module
        The class and the mode are those of the given module; the layers are narrower.
    kept : dict of str to array of int64
        For each hidden layer the neurons that are left, as numbered in the given module.
    loss_before, loss_after : float
        On the validation rows.
    status : str
        "converged" (a width was chosen), "budget" (the given width was reached) or
        "interrupted".
    history : dict of lists
        The path: "step", "strength" (lambda), "loss" (training), "n_neurons".  Empty for
        `l2_prune_neurons`.
    widths_tried : dict of lists
        "n_neurons", "loss" (validation, after short fine-tuning) of each width compared.
    certificate : Certificate
    """

    module: nn.Module
    kept: dict[str, NDArray[np.int64]]
    loss_before: float
    loss_after: float
    status: Status
    history: dict[str, list[float]]
    widths_tried: dict[str, list[float]]
    certificate: Certificate

    @property
    def widths(self) -> dict[str, int]:
        """Neurons left in each hidden layer."""
        return {name: len(index) for name, index in self.kept.items()}

    def describe(self) -> Description:
        """Describe the result, for a terminal or a program."""
        return Description(
            f"The module has {sum(self.widths.values())} hidden neurons. Its validation loss went "
            f"from {self.loss_before:.4g} to {self.loss_after:.4g}.",
            {
                "kind": type(self).__name__,
                "widths": self.widths,
                "loss_before": self.loss_before,
                "loss_after": self.loss_after,
                "status": self.status,
                "certificate": self.certificate.to_list(),
            },
            (
                Table(
                    ("hidden layer", "neurons"),
                    [(name, str(width)) for name, width in self.widths.items()],
                    numeric=frozenset({"neurons"}),
                ),
            ),
        )
