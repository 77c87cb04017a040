"""The few columns, out of very many, that a target depends on."""

import lazy_loader

# A name is imported when it is first used, which keeps the start-up short.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
