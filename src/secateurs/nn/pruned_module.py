"""A smaller module and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from secateurs.core.certificate import Certificate
from secateurs.core.description import Description, Table
from secateurs.core.short_repr import short_repr
from secateurs.core.solution import Status
from secateurs.nn.pruned_file import save_pruned


@dataclass(frozen=True, eq=False)
class PrunedModule:
    """A smaller module and how it was found.

    Parameters
    ----------
    module : nn.Module
        In the mode (training or eval) of the given module.
    kept : dict of str to array of int64
        For each group the channels that are left, as numbered in the given module.
    certificate : Certificate
        Its first check is the equality with the silenced module.
    form : {"class", "graph"}
        The module's own class with smaller tensors, or the exported graph.
    flops : (float, float)
        On the example inputs, before and after.
    n_parameters : (int, int)
        Before and after.
    loss_before, loss_after : float, optional
        On the validation rows, if there were any.
    status : str
        "converged" (a width was chosen), "budget" (the given size was reached) or
        "interrupted".
    history : dict of lists
        The path of a group lasso: "step", "strength" (lambda), "loss" (training), "n_neurons".
    widths_tried : dict of lists
        What was compared to choose a width.
    changes : tuple
        (submodule, attribute, value) for each attribute that followed the widths.
    plan : Plan
        The plan of the wide module, which `save` needs.
    """

    __repr__ = short_repr

    module: nn.Module
    kept: dict[str, NDArray[np.int64]]
    certificate: Certificate
    form: str = "class"
    flops: tuple[float, float] = (0.0, 0.0)
    n_parameters: tuple[int, int] = (0, 0)
    loss_before: float | None = None
    loss_after: float | None = None
    status: Status = "budget"
    history: Mapping[str, list[float]] = field(default_factory=dict)
    widths_tried: Mapping[str, list[float]] = field(default_factory=dict)
    changes: tuple[tuple[str, str, Any], ...] = field(default=(), repr=False)
    plan: Any = field(default=None, repr=False)

    @property
    def widths(self) -> dict[str, int]:
        """Channels left in each group."""
        return {name: len(index) for name, index in self.kept.items()}

    def save(self, path: str | Path) -> None:
        """Write tensors and JSON to a safetensors file, without pickle.

        Parameters
        ----------
        path : str or Path
            `load_pruned` reads it into a fresh module of the original class.
        """
        save_pruned(path, self.module, self.plan, self.kept, self.form, self.changes)

    def describe(self) -> Description:
        """Describe the result, for a terminal or a program.

        Returns
        -------
        Description
            The headline, the facts with the certificate, and a table with the width of each group.
        """
        losses = (
            f" Its validation loss went from {self.loss_before:.4g} to {self.loss_after:.4g}."
            if self.loss_before is not None and self.loss_after is not None
            else ""
        )
        before, after = self.n_parameters
        size = (
            f" {after:,} of {before:,} parameters and {self.flops[1] / self.flops[0]:.1%} of the "
            "FLOPs are left."
            if before and self.flops[0]
            else ""
        )
        return Description(
            f"The module has {sum(self.widths.values()):,} channels in its groups.{size}{losses}",
            {
                "kind": type(self).__name__,
                "form": self.form,
                "widths": self.widths,
                "flops": list(self.flops),
                "parameters": list(self.n_parameters),
                "loss_before": self.loss_before,
                "loss_after": self.loss_after,
                "status": self.status,
                "certificate": self.certificate.to_list(),
            },
            (
                Table(
                    ("group", "channels"),
                    [(name, str(width)) for name, width in self.widths.items()],
                    numeric=frozenset({"channels"}),
                ),
            ),
        )
