"""Checks of arguments: what is accepted, and one grammar of messages for what is not."""

import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs.core.parameters import (
    MAX_SHOWN,
    bad_value,
    check_choice,
    check_counts,
    check_integer,
    check_real,
)

GRAMMAR = re.compile(r"^[\w.]+: got .+; expected .+$", re.DOTALL)
anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())
)


@given(anything, st.integers(-3, 3))
def test_an_integer_is_returned_or_refused_by_name(value, least):
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and value >= least:
        assert check_integer("n", value, least) == value
    else:
        with pytest.raises(ValueError, match=GRAMMAR):
            check_integer("n", value, least)


@given(anything)
def test_a_real_number_is_within_its_bounds_or_refused(value):
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if real and math.isfinite(value) and 0 < value <= 1:
        assert check_real("share", value, above=0, most=1) == value
    else:
        with pytest.raises(
            ValueError, match=r"^share: got .*; expected a finite number > 0 and <= 1$"
        ):
            check_real("share", value, above=0, most=1)


def test_numpy_numbers_are_numbers_and_numpy_booleans_are_not():
    assert check_integer("n", np.int64(3)) == 3
    assert check_real("x", np.float32(0.5)) == 0.5
    for check in (check_integer, check_real):
        with pytest.raises(ValueError, match="got"):
            check("x", np.bool_(True))


def test_bounds_and_alternatives_are_named():
    with pytest.raises(ValueError, match=r"^k: got 9; expected an integer from 1 to 4 or 'auto'$"):
        check_integer("k", 9, 1, 4, otherwise="'auto'")
    with pytest.raises(ValueError, match=r"^kind: got 'x'; expected 'a', 'b' or 'c'$"):
        check_choice("kind", "x", ("a", "b", "c"))
    with pytest.raises(ValueError, match=r"^kind: got 3; expected 'a'$"):
        check_choice("kind", 3, ("a",))
    with pytest.raises(ValueError, match=r"^d: got 0"):
        check_counts(n=2, d=0)
    assert check_choice("kind", "b", ("a", "b")) == "b"


def test_a_long_value_is_cut():
    message = str(bad_value("x", "y" * 10_000, "less", "shorten it"))
    assert len(message) < MAX_SHOWN + 60
    assert message.endswith("; expected less; shorten it")
