__all__ = [
    "Filters",
    "IntegerNetwork",
    "bits_figure",
    "bytes_figure",
    "distorted_copies",
    "fit_bytes",
    "learn_filters",
    "quantize",
    "round_weights",
]

from .distortion import distorted_copies
from .figures import bits_figure, bytes_figure
from .filters import Filters
from .integer_network import IntegerNetwork
from .learned_filters import learn_filters
from .quantization import quantize, round_weights
from .search import fit_bytes
