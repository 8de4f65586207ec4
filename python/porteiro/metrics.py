"""Metrics on held-out rows, by scikit-learn's own functions and terms."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics as sk


def classification_metrics(
    truth: NDArray[np.intp], predicted: NDArray[np.intp], probabilities: NDArray[Any] | None, n_classes: int
) -> dict[str, float]:
    """Metrics of class indices (0 to `n_classes` - 1) and probabilities of shape (rows, `n_classes`).

    Precision, recall and F1 are of the second class where there are two (scikit-learn's positive class), else
    the macro average. What the rows don't define (ROC AUC of a single class) is left out.
    """
    averaging: dict[str, Any] = {"average": "binary" if n_classes == 2 else "macro", "zero_division": 0}
    if n_classes != 2:
        averaging["labels"] = list(range(n_classes))
    with warnings.catch_warnings():
        # A class that no held-out row has is the rows' business, not a mistake.
        warnings.simplefilter("ignore")
        found = {
            "accuracy": sk.accuracy_score(truth, predicted),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, predicted),
            "precision": sk.precision_score(truth, predicted, **averaging),
            "recall": sk.recall_score(truth, predicted, **averaging),
            "f1": sk.f1_score(truth, predicted, **averaging),
        }
        if probabilities is not None:
            # float32 sums of a forest's votes reach 1.0000001, which scikit-learn refuses.
            found["log_loss"] = sk.log_loss(
                truth, np.clip(probabilities, 0.0, 1.0), labels=list(range(n_classes))
            )
            if len(np.unique(truth)) == n_classes:
                found["roc_auc"] = _roc_auc(truth, probabilities, n_classes)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def _roc_auc(truth: NDArray[np.intp], probabilities: NDArray[Any], n_classes: int) -> float:
    if n_classes == 2:
        return float(sk.roc_auc_score(truth, probabilities[:, 1]))
    # Rows of float32 probabilities miss a sum of 1 by more than roc_auc_score forgives.
    normalised = probabilities / probabilities.sum(axis=1, keepdims=True)
    return float(sk.roc_auc_score(truth, normalised, multi_class="ovr", average="macro"))


def regression_metrics(truth: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
    """MAE, RMSE, R2 and MAPE of two arrays of numbers of the same length.

    MAPE is left out where a true value is 0, R2 where there is one row: neither is defined there.
    """
    found = {
        "mae": sk.mean_absolute_error(truth, predicted),
        "rmse": sk.root_mean_squared_error(truth, predicted),
    }
    if len(truth) > 1:
        found["r2"] = sk.r2_score(truth, predicted)
    if np.all(truth != 0):
        found["mape"] = sk.mean_absolute_percentage_error(truth, predicted)
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}
