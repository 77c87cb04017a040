"""Sparse ReLU networks recovered from data, exactly where that is possible."""

import lazy_loader

# A name is imported when it is first used, so that importing the package stays fast.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
