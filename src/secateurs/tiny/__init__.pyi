__all__ = [
    "IntegerNetwork",
    "quantize",
]

from .integer_network import IntegerNetwork
from .quantize import quantize
