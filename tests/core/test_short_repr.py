"""What an interpreter shows of a result: sizes instead of arrays."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateurs import planted_relu
from secateurs.core import Certificate, Check, History, Solution
from secateurs.core.short_repr import short_repr, shortened

WINGS = ("core", "data", "sparse", "training", "recovery", "features", "sensing", "tickets", "nn")
ARRAYS = ("Array", "NDArray", "Tensor", "csr_array", "DataFrame", "Module", "Mask", "History")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: (
        st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=9), inner, max_size=30)
    ),
    max_leaves=40,
)


@dataclasses.dataclass(frozen=True)
class Anything:
    value: object
    status: str = "converged"

    __repr__ = short_repr


@given(values)
def test_anything_is_shown_in_one_short_line(value):
    text = repr(Anything(value))
    assert text.startswith("Anything(status='converged'")
    assert len(text) < 300
    assert "\n" not in text


def test_nothing_that_is_shown_grows_with_the_size_of_an_array():
    lengths = set()
    for n in (100, 999):
        history = History("step", "loss")
        for step in range(n):
            history.record(step=step, loss=0.1)
        matrix = np.random.default_rng(0).random((n, n))
        certificate = Certificate((Check("a", "b", "holds", None, None, "c"),))
        shown = repr(Solution(matrix, "exact", history, {"error": 0.25, "by": certificate}))
        assert f"value=<float64 {n} x {n}>" in shown
        assert "error: 0.25" in shown
        assert "1 holds" in shown
        lengths.add(len(shown))
    assert lengths == {len(shown)}
    assert len(repr(planted_relu(50, 10, 3, 6, random_state=0))) < 300
    assert shortened(np.float64(0.5)) == "0.5"


@pytest.mark.parametrize("wing", [*WINGS, "tiny"])
def test_every_public_result_with_arrays_has_a_short_repr(wing):
    module = import_module(f"secateurs.{wing}")
    for name in module.__all__:
        public = getattr(module, name)
        if not inspect.isclass(public) or not dataclasses.is_dataclass(public):
            continue
        kinds = " ".join(str(each.type) for each in dataclasses.fields(public))
        if any(array in kinds for array in ARRAYS):
            assert public.__repr__ is short_repr, f"{wing}.{name}"
