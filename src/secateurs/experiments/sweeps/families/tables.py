"""The data sets of scikit-learn: every trainer with the same budget of weights."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field
from sklearn.exceptions import ConvergenceWarning

from secateurs.core.certificate import Certificate
from secateurs.data.checked_dataset import Dataset
from secateurs.data.datasets import load_dataset, split
from secateurs.experiments.sweeps.registry import Family
from secateurs.training.comparison import Estimator
from secateurs.training.estimators import SparseMLPClassifier, SparseMLPRegressor
from secateurs.training.trainers import TRAINERS

Count = Annotated[int, Field(ge=1)]

tables = Family("table", ours=("prune_regrow",))


@dataclass(frozen=True, eq=False)
class Task:
    """Training rows, test rows, and a budget."""

    data: Dataset
    n_nonzero: int
    hidden: int


@tables.problem
def table(
    *,
    dataset: Literal["digits", "breast_cancer", "wine", "diabetes"],
    n_nonzero: Count,
    hidden: Count = 50,
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2,
    random_state: int,
) -> Task:
    """Split a data set at random; networks have one hidden layer."""
    return Task(
        split(load_dataset(dataset), test_share, random_state=random_state), n_nonzero, hidden
    )


def train(
    task: Task, *, trainer: str, max_epochs: Count | Literal["auto"] = "auto", random_state: int
) -> Estimator:
    """Fit the estimator of the task's kind with any trainer."""
    kind: Any = SparseMLPClassifier if task.data.task == "classification" else SparseMLPRegressor
    model: Estimator = kind(task.n_nonzero, (task.hidden,), max_epochs, random_state=random_state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit_with(task.data.X, task.data.y, TRAINERS[trainer])
    return model


for _name in TRAINERS:
    tables.method(partial(train, trainer=_name), _name)


@tables.certificate(*TRAINERS)
def certificate(_: Task, model: Estimator, *, random_state: int) -> Certificate:
    """Return the certificate of the estimator; see `secateurs.core.generalization`."""
    del random_state  # nothing is drawn
    return model.certificate_


@tables.metric
def score(task: Task, model: Estimator) -> float:
    """Accuracy or coefficient of determination on the test rows."""
    return float(model.score(task.data.X_test, task.data.y_test))


@tables.metric
def n_nonzero(_: Task, model: Estimator) -> float:
    """Number of weights, biases included."""
    return model.n_nonzero_
