"""What all tests of small programs share."""

from functools import partial

import pytest

from secateurs.tiny.unit_order import shortest_order


@pytest.fixture(autouse=True)
def short_search(monkeypatch):
    """Search the order of hidden units for a few steps only, which saves most of the time."""
    few = partial(shortest_order, n_steps=20)
    monkeypatch.setattr("secateurs.tiny.conversion.shortest_order", few)
