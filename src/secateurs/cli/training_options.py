"""Options of `fit` and `path`: the widths of a network, and the time and processes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cyclopts import Parameter

from secateurs.cli import recipe
from secateurs.core.parameters import bad_value, check_real, is_integer

MOST_JOBS = 1 << 16


@Parameter(name="*")
@dataclass(frozen=True)
class TrainingOptions:
    """How a network is trained.

    Attributes
    ----------
    hidden
        Widths of the hidden layers, such as 50 or 300,100; or auto.
    epochs
        Passes over the training rows; by default chosen from their number.
    effort
        Time to spend, in units of the default; try 3 and 10.
    max_seconds
        Choose the effort so that the fit takes about so many seconds.
    jobs
        Processes for a fit that trains several times, as with an effort of 10 and few weights;
        -1 is one for each core.  The result does not depend on it.  By default -1, and 1 with
        --compare.
    """

    hidden: str = "50"
    epochs: int | None = None
    effort: float = 1.0
    max_seconds: float | None = None
    jobs: int | None = None

    def chosen(self) -> dict[str, bool]:
        """Return which options the user gave, by their names."""
        default = vars(TrainingOptions())
        names = {name: f"--{name.replace('_', '-')}" for name in default}
        return {names[name]: vars(self)[name] != value for name, value in default.items()}

    def settings(self, seed: int, nonzeros: int | str, *, compared: bool = False) -> dict[str, Any]:
        """Check the options, and return the parameters of the estimator."""
        recipe.check_options(seed=seed, epochs=self.epochs)
        check_real("--effort", self.effort, above=0)
        if self.max_seconds is not None:
            check_real("--max-seconds", self.max_seconds, above=0)
        auto = self.hidden == "auto"
        return {
            "n_nonzero": nonzeros,
            "hidden_layer_sizes": "auto" if auto else recipe.integers("--hidden", self.hidden),
            "max_epochs": "auto" if self.epochs is None else self.epochs,
            "random_state": seed,
            "effort": self.effort,
            "max_seconds": self.max_seconds,
            "n_jobs": self._jobs(compared),
        }

    def _jobs(self, compared: bool) -> int:
        if self.jobs is None:
            return 1 if compared else -1
        if not self.jobs or not is_integer(self.jobs, -MOST_JOBS, MOST_JOBS):
            expected = "a number of processes such as 4, or -1 for one on each core"
            raise bad_value("--jobs", self.jobs, expected)
        if compared and self.jobs != 1:
            expected = "1 with --compare, which compares the seconds of one process"
            raise bad_value("--jobs", self.jobs, expected, "leave one of the two options out")
        return self.jobs


DEFAULT_TRAINING = TrainingOptions()
