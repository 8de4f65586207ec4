"""`export`: an estimator to an ONNX file, written only if it answers as the estimator does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from porteiro.convert import InputForm, convert, input_forms
from porteiro.document import (
    Answered,
    Evidence,
    Subject,
    build_document,
    check_path,
    library_versions,
    write_model,
)
from porteiro.errors import DataError, Disagreement, DisagreementError, UnsupportedModelError
from porteiro.estimator import Fitted, class_indices, inspect_estimator, read_target
from porteiro.metrics import classification_metrics, regression_metrics
from porteiro.result import Result, result
from porteiro.runtime import OnnxModel
from porteiro.table import check_same_types
from porteiro.verify import Agreement, Tolerance, compare

ROWS_NAMED = 10


def export(
    estimator: Any,
    X: Any,
    y: Any = None,
    *,
    path: str | os.PathLike[str],
    X_test: Any = None,
    y_test: Any = None,
    version: str | None = None,
    labels: Mapping[Any, str] | None = None,
    target: str | None = None,
    example: Mapping[str, Any] | None = None,
    tolerance: Tolerance | None = None,
) -> Result:
    """Converts a fitted estimator to an ONNX file with its contract, and proves that it answers alike.

    Parameters:
        estimator: a fitted scikit-learn, LightGBM or XGBoost classifier, regressor or clusterer, or a Pipeline.
        X: the training rows, a DataFrame (its columns name the features) or an array of shape (rows, features),
            whose features are then called f0, f1 and so on. Drift will be measured against them.
        y: the training target, shape (rows,); None for clustering.
        path: the file to write, which ends in .onnx; its name is the model's.
        X_test, y_test: held-out rows and target. Metrics, the example and the golden rows come from them.
        version: the version's name; by default the first 8 hex digits of the file's SHA-256.
        labels: class to the text that clients read, {0: "bom", 1: "ruim"}.
        target: the predicted column's name; by default y's, if it has one.
        example: one row by feature name, shown to clients; by default the first held-out row that lacks no value.
        tolerance: how far numbers may differ; by default 1e-5 (of a regression's spread) plus 1e-4 of the value.

    Every row given is run through the ONNX file. Float inputs are tried first, then double ones. If no form
    agrees on every row, nothing is written and DisagreementError names the rows. Other refusals are DataError and
    UnsupportedModelError; all are ValueError.
    """
    checked_path = check_path(path)
    fitted = inspect_estimator(estimator)
    training = fitted.read(X, "X")
    if y is not None:
        truth = read_target(y, training, "y", fitted.task)
        if fitted.classes is not None:
            class_indices(fitted.classes, truth, "y")
    tables = [training] + ([fitted.read(X_test, "X_test")] if X_test is not None else [])
    check_same_types(training, tables[-1])
    answered = [Answered(table, fitted.predict(table)) for table in tables]
    subject = Subject(
        task=fitted.task,
        classes=fitted.classes,
        labels=_labels(fitted, labels),
        target=target or (str(y.name) if getattr(y, "name", None) is not None else None),
        version=version,
    )
    metrics = _metrics(fitted, answered, y_test)
    proof = _prove(
        fitted, answered, (tolerance or Tolerance()).for_predictions(answered[0].predictions, fitted.task)
    )
    evidence = Evidence(
        training=answered[0],
        held_out=answered[1] if len(answered) > 1 else None,
        metrics=metrics,
        tolerance=proof.tolerance,
        libraries=_libraries(estimator),
    )
    document = build_document(subject, evidence, example)
    content = write_model(proof.model, document, checked_path)
    return result(checked_path, content, document, str(proof.form), proof.agreement)


@dataclass(frozen=True)
class _Proof:
    """The first form of the model that agreed with the estimator on every row."""

    model: onnx.ModelProto
    form: InputForm
    agreement: Agreement
    tolerance: Tolerance


def _prove(fitted: Fitted, answered: list[Answered], tolerance: Tolerance) -> _Proof:
    tried: list[str] = []
    first_error: UnsupportedModelError | None = None
    fewest: list[Disagreement] | None = None
    for form in input_forms(fitted, answered[0].table):
        if fewest is not None and not form.one_tensor and answered[0].table.is_numeric:
            break  # The same graph behind other inputs would disagree on the same rows.
        try:
            model = convert(fitted, [part.table for part in answered], form)
            agreement, wrong = _compare_all(fitted, model, answered, tolerance)
        except UnsupportedModelError as error:
            first_error = first_error or error
            tried.append(f"{form}: not convertible")
            continue
        if not wrong:
            return _Proof(model, form, agreement, tolerance)
        tried.append(f"{form}: {len(wrong)} of {agreement.rows} rows")
        if fewest is None or len(wrong) < len(fewest):
            fewest = wrong
    if fewest is None:
        raise first_error or UnsupportedModelError("no input form fits these columns")
    raise _disagreement(fewest, tried, tolerance, sum(part.table.rows for part in answered))


def _compare_all(
    fitted: Fitted, model: onnx.ModelProto, answered: list[Answered], tolerance: Tolerance
) -> tuple[Agreement, list[Disagreement]]:
    session = OnnxModel(model.SerializeToString())
    rows, largest, wrong = 0, 0.0, []
    for part in answered:
        own = session.predict(part.table, fitted.task, fitted.classes)
        agreement, differing = compare(
            part.table, fitted.task, fitted.classes, (part.predictions, own), tolerance
        )
        rows, largest = rows + agreement.rows, max(largest, agreement.largest_difference)
        wrong += differing
    return Agreement(rows, largest), wrong


def _disagreement(
    wrong: list[Disagreement], tried: list[str], tolerance: Tolerance, rows: int
) -> DisagreementError:
    shown = "\n".join(f"  {one}" for one in wrong[:ROWS_NAMED])
    more = (
        f"\n  and {len(wrong) - ROWS_NAMED} more (see the error's `disagreements`)"
        if len(wrong) > ROWS_NAMED
        else ""
    )
    return DisagreementError(
        "the ONNX file does not answer as the estimator, so nothing was written. Classes must be equal and numbers "
        f"within {tolerance}. Tried {'; '.join(tried)}. Rows that differ:\n{shown}{more}\n"
        f"{_advice(wrong, rows)}",
        wrong,
    )


def _advice(wrong: list[Disagreement], rows: int) -> str:
    if len(wrong) > rows // 10:
        return (
            "So many rows mean that the converter of skl2onnx or onnxmltools has this estimator or an option of it "
            "wrong: use another estimator, or convert it by other means and call porteiro.annotate."
        )
    return (
        "What helps: scale the features so that float32 holds them, round them to the digits that matter, or use "
        "another estimator; tolerance=porteiro.Tolerance(absolute, relative) if such a difference is harmless."
    )


def _metrics(fitted: Fitted, answered: list[Answered], y_test: Any) -> dict[str, float]:
    if y_test is None:
        return {}
    if len(answered) < 2:
        raise DataError("y_test was given without X_test: pass the held-out rows too")
    table, predictions = answered[1].table, answered[1].predictions
    truth = read_target(y_test, table, "y_test", fitted.task)
    if fitted.task == "classification" and fitted.classes is not None:
        indices = class_indices(fitted.classes, truth, "y_test")
        return classification_metrics(
            indices, predictions.values, predictions.probabilities, len(fitted.classes)
        )
    return regression_metrics(truth, predictions.values) if fitted.task == "regression" else {}


def _labels(fitted: Fitted, labels: Mapping[Any, str] | None) -> dict[str, str] | None:
    if labels is not None and fitted.classes is None:
        raise DataError(
            f"labels were given, but {type(fitted.estimator).__name__} is no classifier: leave them out"
        )
    return fitted.classes.labels(labels) if fitted.classes is not None else None


def _libraries(estimator: Any) -> dict[str, str]:
    steps = [step for _, step in getattr(estimator, "steps", [])] or [estimator]
    boosters = {type(step).__module__.split(".")[0] for step in steps} & {"lightgbm", "xgboost"}
    return library_versions(
        "porteiro", "scikit-learn", *sorted(boosters), "skl2onnx", "onnx", "numpy", "pandas"
    )
