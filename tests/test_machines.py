"""The contract of scikit-learn, and equal answers, on every instruction set and thread count."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
CAPABILITIES = ("default", "avx2", "native")
CONTRACT = "test_scikit_learn_contract"

# One prediction of each estimator for a single row, and for the same row among many others.
ANSWERS = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from secateurs import load
rng = np.random.default_rng(0)
X = rng.standard_normal((257, 30))
found = {}
for path in sys.argv[1:]:
    model = load(path)
    answer = getattr(model, "predict_proba", model.predict)
    found[path] = [answer(X[:1])[0].tolist(), answer(X)[0].tolist(), answer(X[::-1])[-1].tolist()]
print(json.dumps(found))
"""


def environment(capability: str, n_threads: int) -> dict[str, str]:
    values = dict(os.environ, OMP_NUM_THREADS=str(n_threads))
    values.pop("ATEN_CPU_CAPABILITY", None)
    return values if capability == "native" else values | {"ATEN_CPU_CAPABILITY": capability}


def contract(capability: str, n_threads: int, files: list[str], *options: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-k", CONTRACT, *options, *files],
        **{"cwd": ROOT, "env": environment(capability, n_threads)},
        **{"capture_output": True, "text": True, "check": False},
    )
    assert run.returncode == 0, run.stdout[-4000:]


def test_the_contract_holds_on_two_threads_without_wide_instructions():
    contract("default", 2, ["tests/training/test_estimators.py"])


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_contract_holds_everywhere(capability, n_threads):
    folders = ["tests/training", "tests/recovery", "tests/features", "tests/sensing"]
    contract(capability, n_threads, folders, "-m", "slow or not slow")


def test_a_row_has_one_answer(tmp_path):
    """The answer for a row does not depend on its company, threads or instruction set."""
    paths = saved_models(tmp_path)
    seen: dict[str, list[list[float]]] = {str(path): [] for path in paths}
    for capability, n_threads in (("default", 1), ("avx2", 2), ("native", 2)):
        run = subprocess.run(
            [sys.executable, "-c", ANSWERS, *map(str, paths)],
            **{"env": environment(capability, n_threads), "check": True},
            **{"capture_output": True, "text": True},
        )
        for path, answers in json.loads(run.stdout).items():
            seen[path] += answers
    for path, answers in seen.items():
        size = np.abs(answers[0]).max()
        np.testing.assert_allclose(answers, [answers[0]] * len(answers), rtol=0, atol=1e-12 * size)
        assert size > 0, path


def saved_models(folder: Path) -> list[Path]:
    """A fitted model of each estimator that predicts rows."""
    from secateurs import (
        QuadraticRegressor,
        SparseMLPClassifier,
        SparseMLPRegressor,
        SparseMultiIndexClassifier,
        SparseMultiIndexRegressor,
        SparseReLURegressor,
    )

    rng = np.random.default_rng(1)
    X = rng.standard_normal((300, 30))
    y = np.maximum(X[:, 0] + X[:, 1], 0) - np.maximum(X[:, 2], 0)
    models = [
        SparseMLPClassifier(80, (20, 10), max_epochs=3, random_state=0).fit(X, y > 0),
        SparseMLPRegressor(80, max_epochs=3, random_state=0).fit(X, y),
        SparseReLURegressor(8, random_state=0).fit(X, np.maximum(X[:, 0] - X[:, 3], 0)),
        QuadraticRegressor(random_state=0).fit(X, y),
        SparseMultiIndexClassifier(random_state=0).fit(X, y > 0),
        SparseMultiIndexRegressor(random_state=0).fit(X, y),
    ]
    paths = [folder / f"{type(model).__name__}.safetensors" for model in models]
    for model, path in zip(models, paths, strict=True):
        model.save(path)
    return paths
