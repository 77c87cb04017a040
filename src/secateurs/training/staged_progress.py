"""Progress of a fit that trains several networks, counted in the steps of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from secateurs.core.solution import Progress, ProgressCallback


@dataclass
class Stages:
    """The runs of a fit that are left, in units of the next one.

    Parameters
    ----------
    progress : callable or None
        Called with steps that never fall, and with the steps that all runs are expected to take.
    n_left : float
        Expected number of runs; a run that takes several times as long counts so often.
    done : int
        Steps of the runs that have ended.
    """

    progress: ProgressCallback | None
    n_left: float = 1.0
    done: int = 0

    def run(self, length: float = 1.0, *, last: bool = False) -> ProgressCallback | None:
        """Return the callback of the next run, which counts as `length` runs."""
        progress = self.progress
        if progress is None:
            return None
        share = 1.0 if last else max(1.0, self.n_left / length)
        self.n_left = max(0.0, self.n_left - length)
        before = self.done

        def tell(state: Progress) -> None:
            self.done = before + state.step
            n_steps = before + round(share * state.n_steps)
            progress(replace(state, step=self.done, n_steps=n_steps))

        return tell
