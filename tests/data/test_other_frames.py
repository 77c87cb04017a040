"""Frames of other libraries, and pipelines of skrub, give what pandas gives."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from skrub import TableVectorizer

from secateurs import QuadraticRegressor, SparseMLPRegressor, SparseMultiIndexRegressor

ESTIMATORS = [
    SparseMLPRegressor(20, max_epochs=5, random_state=0),
    SparseMultiIndexRegressor(random_state=0),
    QuadraticRegressor(random_state=0),
]


@pytest.fixture(scope="module")
def table():
    rng, n = np.random.default_rng(0), 200
    frame = pd.DataFrame(
        {
            "number": rng.standard_normal(n),
            "whole": rng.integers(0, 5, n),
            "word": rng.choice(["x", "y", "z"], n),
            "day": pd.date_range("2020-01-01", periods=n),
            "flag": rng.random(n) > 0.5,
        }
    )
    y = 2 * frame["number"] + (frame["word"] == "x") + 0.1 * rng.standard_normal(n)
    frame.loc[3, "number"] = np.nan
    return frame, y.to_numpy()


@pytest.mark.parametrize("model", ESTIMATORS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("convert", [pl.from_pandas, pa.Table.from_pandas], ids=["polars", "arrow"])
def test_other_frames_give_the_same_model(table, model, convert):
    frame, y = table
    wanted = clone(model).fit(frame, y).predict(frame)
    fitted = clone(model).fit(convert(frame), y)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(fitted.predict(convert(frame)), wanted)
    np.testing.assert_array_equal(fitted.predict(frame), wanted)


@pytest.mark.parametrize("convert", [pl.from_pandas, lambda frame: frame], ids=["polars", "pandas"])
def test_a_pipeline_of_skrub_works(table, convert):
    frame, y = table
    pipeline = make_pipeline(TableVectorizer(), clone(ESTIMATORS[0]))
    assert pipeline.fit(convert(frame), y).score(convert(frame), y) > 0.8
