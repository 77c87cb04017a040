"""Hold Ctrl-C back while a network changes, and pass it on to all processes of a group."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from secateurs.core.group import Group


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the end of the block.

    Only the main thread receives Ctrl-C.  In other threads this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[tuple[int, FrameType | None]] = []
    previous = signal.getsignal(signal.SIGINT)
    if not callable(previous):  # Ctrl-C is ignored or handled outside Python
        yield
        return
    signal.signal(signal.SIGINT, lambda number, frame: pending.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if pending:
            previous(*pending[0])


class Stop:
    """Stop all processes of a group at the same step when Ctrl-C reaches one of them.

    As a context it holds Ctrl-C back until `check`.  In a group of one process it does nothing,
    and Ctrl-C takes effect at once.
    """

    def __init__(self, group: Group) -> None:
        self.group, self.asked = group, False
        self._previous: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> Stop:
        if self.group.size > 1 and threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.asked = True

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep a KeyboardInterrupt raised inside the block, such as by a callback, for `check`."""
        try:
            yield
        except KeyboardInterrupt:
            if self.group.size == 1:
                raise
            self.asked = True

    def check(self) -> None:
        """Raise KeyboardInterrupt on every process if one was interrupted; call it once a step."""
        if self.group.size > 1 and float(self.group.sum_(torch.tensor(float(self.asked)))) > 0:
            self.asked = False
            raise KeyboardInterrupt
