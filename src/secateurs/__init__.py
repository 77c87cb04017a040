"""Sparse neural networks with guarantees."""

__version__ = "0.1.0"
