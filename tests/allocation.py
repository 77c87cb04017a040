"""What a function allocates; see `secateurs.experiments.allocation`."""

from secateurs.experiments.allocation import Allocation, measure

__all__ = ["Allocation", "measure"]
