"""The proof that an ONNX file answers as the estimator it was made from, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from porteiro.errors import Disagreement, UnsupportedModelError
from porteiro.predictions import UNKNOWN_CLASS, Classes, Predictions, Task, class_text
from porteiro.table import Table


@dataclass(frozen=True)
class Tolerance:
    """Numbers agree where abs(a - b) <= absolute + relative * abs(b), b the estimator's. Classes must be equal."""

    absolute: float = 1e-5
    relative: float = 1e-4

    def __str__(self) -> str:
        return f"abs(onnx - estimator) <= {self.absolute:.3g} + {self.relative:.3g} * abs(estimator)"

    def for_predictions(self, predictions: Predictions, task: Task) -> Tolerance:
        """The tolerance in the target's own unit: a regression's `absolute` is a share of the answers' spread."""
        if task != "regression":
            return self
        spread = float(np.std(predictions.values)) or float(np.max(np.abs(predictions.values))) or 1.0
        return Tolerance(self.absolute * spread, self.relative)

    def agrees(self, answered: NDArray[Any], expected: NDArray[Any]) -> NDArray[np.bool_]:
        """True where numbers agree; NaN agrees with NaN only."""
        close = np.abs(answered - expected) <= self.absolute + self.relative * np.abs(expected)
        agreeing: NDArray[np.bool_] = close | (np.isnan(answered) & np.isnan(expected))
        return agreeing


@dataclass(frozen=True)
class Agreement:
    """What the proof saw: how many rows, and the largest difference of a number or a probability."""

    rows: int
    largest_difference: float


def compare(
    table: Table,
    task: Task,
    classes: Classes | None,
    pair: tuple[Predictions, Predictions],
    tolerance: Tolerance,
) -> tuple[Agreement, list[Disagreement]]:
    """Compares (estimator's, ONNX file's) answers for a table; returns every row on which they differ."""
    expected, answered = pair
    if task == "regression":
        same = tolerance.agrees(answered.values, expected.values)
        difference = np.abs(answered.values - expected.values)
    else:
        same = answered.values == expected.values
        difference = np.zeros(1)
    if expected.probabilities is not None and answered.probabilities is not None:
        if expected.probabilities.shape != answered.probabilities.shape:
            raise UnsupportedModelError(
                f"the ONNX file gives probabilities of shape {answered.probabilities.shape}, the estimator of shape "
                f"{expected.probabilities.shape}: its converter is wrong for this estimator, use another"
            )
        same &= tolerance.agrees(answered.probabilities, expected.probabilities).all(axis=1)
        difference = np.abs(answered.probabilities - expected.probabilities)
    wrong = [
        Disagreement(
            table.argument,
            table.index_label(row),
            _show(expected, row, classes),
            _show(answered, row, classes),
        )
        for row in np.flatnonzero(~same).tolist()
    ]
    return Agreement(
        table.rows, float(np.nanmax(difference)) if not np.isnan(difference).all() else 0.0
    ), wrong


def _show(predictions: Predictions, row: int, classes: Classes | None) -> object:
    value = predictions.values[row]
    if classes is None:
        return value.item()
    text = class_text(classes.values[value]) if value != UNKNOWN_CLASS else "a class that it has not"
    if predictions.probabilities is None:
        return text
    return f"{text} {np.array2string(predictions.probabilities[row], precision=9, separator=', ')}"
