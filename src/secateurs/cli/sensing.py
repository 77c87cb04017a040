"""Low rank without choosing the rank: matrices from measurements, interactions in a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from secateurs.cli import recipe
from secateurs.cli.terminal import progress
from secateurs.data.datasets import load_dataset, split
from secateurs.sensing.estimator import MatrixSensing
from secateurs.sensing.measurements import load_measurements
from secateurs.sensing.quadratic_estimator import QuadraticRegressor


def sense(
    measurements: str,
    /,
    *,
    components: str = "auto",
    signed: recipe.Flag = False,
    intercept: recipe.Flag = False,
    criterion: str = "certificate",
    seed: recipe.Seed = 0,
    output: recipe.ModelFile = None,
    plot: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Find the low-rank matrix behind linear measurements, and its rank.

    Parameters
    ----------
    measurements
        An .npz archive of y and one of: A (matrices), X (measurements x.Mx), rows, columns and d
        (entries), paulis (texts such as XIZY).
    components
        The rank; or auto.
    signed
        Allow negative eigenvalues.
    intercept
        Also fit a constant.
    criterion
        When to stop: certificate (the residual looks like noise) or bic.
    plot
        Draw the components and the path to this file (.png, .pdf, .svg).
    """
    recipe.check_options(output, plot=plot, inputs=[measurements], seed=seed)
    rank = recipe.integer_or_auto("--components", components)
    operator, y, kind = load_measurements(measurements)
    model = MatrixSensing(
        rank, signed=signed, fit_intercept=intercept, criterion=criterion, random_state=seed
    )
    with progress(quiet=json, counted="rank") as bar:
        model.fit(operator, y, progress=bar("sensing"))
    r2 = model.score(operator, y)
    description = recipe.describe_fit(
        model,
        f"{measurements}: R² is {r2:.6f} on these {len(y)} {kind}.",
        measurements=kind,
        n=len(y),
        r2=r2,
    )
    return recipe.finish(
        description,
        json=json,
        status=model.status_,
        files=[(output, model.save), (plot, recipe.drawing("sensing:components_figure", model))],
    )


def interactions(
    data: str,
    /,
    *,
    target: recipe.Target = None,
    dialect: recipe.TableDialect = recipe.DEFAULT_DIALECT,
    roles: recipe.TableRoles = recipe.DEFAULT_ROLES,
    components: str = "auto",
    seed: recipe.Seed = 0,
    top: recipe.Top = 15,
    output: recipe.ModelFile = None,
    plot: Path | None = None,
    json: recipe.Json = False,
) -> int:
    """Find which pairs of columns act together: y = b + w.x + a few squares (u.x)^2.

    Parameters
    ----------
    data
        A built-in name (diabetes, ...), a table (.csv, .parquet) or an .npz archive.
    components
        Number of squares; or auto.
    plot
        Draw the strongest pairs to this file (.png, .pdf, .svg).
    """
    recipe.check_options(output, plot=plot, inputs=[data], seed=seed, top=top)
    rank = recipe.integer_or_auto("--components", components)
    options = dialect.options(roles)
    loaded = load_dataset(data, target=target, task="regression", options=options)
    dataset = split(loaded, recipe.TEST_SHARE, random_state=seed)
    X_test, y_test = dataset.X_test, dataset.y_test
    assert y_test is not None
    model = QuadraticRegressor(rank, random_state=seed)
    linear = QuadraticRegressor(0, random_state=seed)
    with progress(quiet=json, counted="squares") as bar:
        rows = recipe.row_options(dataset, model)
        model.fit(dataset.X, dataset.y, progress=bar("interactions"), **rows)
        linear.fit(dataset.X, dataset.y, **rows)
    r2, linear_r2 = model.score(X_test, y_test), linear.score(X_test, y_test)
    description = recipe.describe_fit(
        model,
        f"{dataset.name}: R² is {r2:.3f} on {len(y_test)} test rows; that of a linear function is "
        f"{linear_r2:.3f}.",
        data=dataset,
        n_test=len(y_test),
        test_r2=r2,
        linear_test_r2=linear_r2,
        interactions=[pair._asdict() for pair in model.interactions_[:top]],
    )
    tables = tuple(replace(table, rows=table.rows[:top], most=top) for table in description.tables)
    draw = recipe.drawing("sensing:interactions_figure", model, top)
    return recipe.finish(
        replace(description, tables=tables),
        json=json,
        status=model.status_,
        files=[(output, model.save), (plot, draw)],
    )
