"""Sparse neural networks with guarantees."""

import lazy_loader

# A name is imported when it is first used, so that a start does not pay for what it does not need.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
