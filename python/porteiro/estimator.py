"""A fitted estimator: what it predicts, from which columns, and its answers for a table."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_clusterer, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from porteiro.errors import DataError, UnsupportedModelError
from porteiro.predictions import Classes, Predictions, Task
from porteiro.table import Table, list_names, read_table


@dataclass(frozen=True)
class Fitted:
    """A fitted estimator. `names` are the columns it was fitted with, None if it was fitted on an array."""

    estimator: Any
    task: Task
    names: list[str] | None
    classes: Classes | None
    has_probabilities: bool

    def read(self, data: Any, argument: str) -> Table:
        """Reads rows and checks that they are in the columns and the order that the estimator was fitted with."""
        table = read_table(data, argument, self.names)
        if self.names is not None:
            _check_columns(table, self.names)
        expected = getattr(self.estimator, "n_features_in_", len(table.names))
        if expected != len(table.names):
            raise DataError(
                f"{argument} has {len(table.names)} columns, but the estimator was fitted with {expected}: "
                "pass the same columns as to fit"
            )
        return table

    def predict(self, table: Table) -> Predictions:
        """The estimator's own answers for every row of the table."""
        rows = table.frame if self.names is not None or not table.is_numeric else table.frame.to_numpy()
        with warnings.catch_warnings():
            # LightGBM remarks on column names it made itself when it was fitted on an array.
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            values = np.asarray(self.estimator.predict(rows))
            probabilities = self.estimator.predict_proba(rows) if self.has_probabilities else None
        values = _one_column(values, self.estimator)
        if self.classes is not None:
            values = self.classes.indices(values)
        return Predictions(values, None if probabilities is None else np.asarray(probabilities))


def inspect_estimator(estimator: Any) -> Fitted:
    """Reads what a fitted estimator says of itself; raises UnsupportedModelError or DataError if it can't serve."""
    kind = type(estimator).__name__
    if kind == "Booster":
        raise UnsupportedModelError(
            f"{type(estimator).__module__}.Booster is the native interface: train with the scikit-learn one "
            "(LGBMClassifier, XGBRegressor and so on), or convert it with onnxmltools and call porteiro.annotate"
        )
    if not hasattr(estimator, "predict"):
        raise UnsupportedModelError(
            f"{kind} has no predict: export takes fitted scikit-learn, LightGBM and XGBoost estimators; for a model "
            "of another library save it as ONNX and call porteiro.annotate"
        )
    _check_fitted(estimator)
    task = _task(estimator)
    classes = None
    if task == "classification":
        found = estimator.classes_
        if isinstance(found, list):
            raise UnsupportedModelError(
                f"{kind} predicts several targets at once: train one estimator for each"
            )
        classes = Classes(found)
    return Fitted(
        estimator=estimator,
        task=task,
        names=_fitted_names(estimator),
        classes=classes,
        has_probabilities=task == "classification" and hasattr(estimator, "predict_proba"),
    )


def read_target(y: Any, table: Table, argument: str, task: Task) -> NDArray[Any]:
    """Reads true values of shape (rows,) for the rows of a table."""
    values = np.asarray(y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise DataError(
            f"{argument} has shape {values.shape}: it must be one value a row; train one model per target"
        )
    if len(values) != table.rows:
        raise DataError(f"{argument} has {len(values)} values, but {table.argument} has {table.rows} rows")
    missing = pd.isna(values)
    if missing.any():
        raise DataError(
            f"{argument} has {int(missing.sum())} missing values, first at position {int(np.argmax(missing))}: "
            "drop those rows"
        )
    return values.astype(np.float64) if task == "regression" else values


def class_indices(classes: Classes, y: NDArray[Any], argument: str) -> NDArray[np.intp]:
    """The class index of each true value; raises DataError for a value that the model has no class for."""
    indices = classes.indices(y)
    if (indices < 0).any():
        stranger = y.tolist()[int(np.argmax(indices < 0))]
        raise DataError(
            f"{argument} has {stranger!r}, which is no class of the model: its classes are "
            f"{list_names(classes.values)}; pass the same kind of labels as to fit"
        )
    return indices


def _check_fitted(estimator: Any) -> None:
    kind = type(estimator).__name__
    try:
        check_is_fitted(estimator)
    except NotFittedError as error:
        raise DataError(f"{kind} is not fitted: call fit(X, y) before export") from error
    except TypeError as error:
        raise UnsupportedModelError(f"{kind} is not a scikit-learn estimator: {error}") from error


def _task(estimator: Any) -> Task:
    if is_classifier(estimator):
        return "classification"
    if is_regressor(estimator):
        return "regression"
    if is_clusterer(estimator):
        return "clustering"
    raise UnsupportedModelError(
        f"{type(estimator).__name__} is no classifier, regressor or clusterer: export takes these three; "
        "save another kind as ONNX and call porteiro.annotate"
    )


def _fitted_names(estimator: Any) -> list[str] | None:
    source = estimator
    while isinstance(source, Pipeline) and not hasattr(source, "feature_names_in_"):
        source = source.steps[0][1]
    names = getattr(source, "feature_names_in_", None)
    if names is None or all(name == f"Column_{i}" for i, name in enumerate(names)):
        return None
    return [str(name) for name in names]


def _check_columns(table: Table, expected: list[str]) -> None:
    # LightGBM remembers names with underscores for blanks.
    found = table.names
    if [name.replace(" ", "_") for name in found] == [name.replace(" ", "_") for name in expected]:
        return
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    argument = table.argument
    if missing or extra:
        parts = [f"lacks {list_names(missing)}"] if missing else []
        parts += [f"has {list_names(extra)}, unknown to the estimator"] if extra else []
        raise DataError(
            f"{argument} {' and '.join(parts)}: pass the columns that the estimator was fitted with, "
            f"{list_names(expected)}"
        )
    place = next(i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b)
    raise DataError(
        f"the columns of {argument} are in another order than in fit: column {place} is {found[place]!r}, "
        f"it was {expected[place]!r}; reorder them: {argument} = {argument}[list(estimator.feature_names_in_)]"
    )


def _one_column(values: NDArray[Any], estimator: Any) -> NDArray[Any]:
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 1:
        raise UnsupportedModelError(
            f"{type(estimator).__name__} predicts {values.shape[1]} targets at once: train one estimator for each"
        )
    return values
