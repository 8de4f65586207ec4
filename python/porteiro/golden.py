"""Golden rows: the few that prove, wherever the file is served, that it still answers as it did here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from porteiro.predictions import Classes, Predictions, Task
from porteiro.table import Table
from porteiro.verify import Tolerance

GOLDEN_ROWS = 32
ROWS_WITH_MISSING = 4
# A row this close to a tie may fall to the other side by another processor's rounding: it proves nothing.
NEAR_TIE = 1e-3


def golden(
    table: Table, predictions: Predictions, task: Task, classes: Classes | None, tolerance: Tolerance
) -> dict[str, Any]:
    """The `golden` part of the document: diverse rows, every predicted class among them."""
    chosen = choose_rows(table, predictions, task)
    section: dict[str, Any] = {
        "rows": [table.json_row(row) for row in chosen],
        "predictions": [json_prediction(predictions.values[row], task, classes) for row in chosen],
    }
    if predictions.probabilities is not None:
        section["probabilities"] = [[float(p) for p in predictions.probabilities[row]] for row in chosen]
    section["tolerance"] = {"absolute": tolerance.absolute, "relative": tolerance.relative}
    return section


def json_prediction(value: Any, task: Task, classes: Classes | None) -> float | int | str | bool:
    """A prediction as the document writes it: a class, a cluster's number or a number."""
    if task == "classification" and classes is not None:
        return classes.values[int(value)]
    return int(value) if task == "clustering" else float(value)


def choose_rows(table: Table, predictions: Predictions, task: Task) -> list[int]:
    """Positions of up to GOLDEN_ROWS rows, more if there are more classes: spread over each class's sure and unsure
    rows, or over the range of a number, and a few with missing values."""
    order = _by_size_or_sureness(predictions, task)
    groups = [order]
    if task != "regression":
        groups = [order[predictions.values[order] == value] for value in np.unique(predictions.values)]
    quota = max(1, GOLDEN_ROWS // len(groups))
    chosen = [int(row) for group in groups for row in _spread(group, quota)]
    with_missing = np.flatnonzero(table.any_missing())
    chosen += [int(row) for row in _spread(with_missing, ROWS_WITH_MISSING)]
    rest = np.setdiff1d(order, chosen)
    chosen += [int(row) for row in _spread(rest, max(0, GOLDEN_ROWS - len(set(chosen))))]
    return sorted(set(chosen))


def _by_size_or_sureness(predictions: Predictions, task: Task) -> NDArray[np.intp]:
    if task == "regression" or predictions.probabilities is None or predictions.probabilities.shape[1] < 2:
        return np.argsort(predictions.values, kind="stable")
    ranked = np.sort(predictions.probabilities, axis=1)
    margin = ranked[:, -1] - ranked[:, -2]
    order: NDArray[np.intp] = np.argsort(margin, kind="stable")
    clear = order[margin[order] >= NEAR_TIE]
    # A class that only near ties have is better shown by one of them than not at all.
    shown = np.unique(predictions.values[clear])
    return np.concatenate(
        [clear, order[(margin[order] < NEAR_TIE) & ~np.isin(predictions.values[order], shown)]]
    )


def _spread(rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most `count` of the rows at even distances, the first and the last among them."""
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(int)] if count else rows[:0]
