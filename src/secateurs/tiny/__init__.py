"""Fitted networks on microcontrollers: integers, a kilobyte of flash, and a proof of equality."""

import lazy_loader

# A name is imported when it is first used, which makes the start of programs faster.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
