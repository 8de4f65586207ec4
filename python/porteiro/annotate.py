"""`annotate`: the contract for an ONNX file that another tool made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from porteiro.document import (
    Answered,
    Evidence,
    Subject,
    build_document,
    check_path,
    library_versions,
    write_model,
)
from porteiro.errors import DataError, UnsupportedModelError
from porteiro.estimator import class_indices, read_target
from porteiro.metrics import classification_metrics, regression_metrics
from porteiro.predictions import Classes, Predictions, Task
from porteiro.result import Result, result
from porteiro.runtime import OnnxModel, is_label
from porteiro.table import Table, check_same_types, read_table
from porteiro.verify import Tolerance

CLASS_ATTRIBUTES = ("classlabels_int64s", "classlabels_ints", "classlabels_strings")
ROWS_LOOKED_AT = 1000


def annotate(
    onnx_path: str | os.PathLike[str],
    X: Any,
    y: Any = None,
    *,
    path: str | os.PathLike[str] | None = None,
    X_test: Any = None,
    y_test: Any = None,
    task: Task | None = None,
    classes: Sequence[Any] | None = None,
    version: str | None = None,
    labels: Mapping[Any, str] | None = None,
    target: str | None = None,
    example: Mapping[str, Any] | None = None,
    tolerance: Tolerance | None = None,
) -> Result:
    """Writes the contract into an ONNX file, as skl2onnx, onnxmltools, torch.onnx and others make them.

    Predictions in it are the ONNX file's own, as there is no estimator to compare with. The other parameters are
    those of `export`, and:

    Parameters:
        onnx_path: the file to read.
        X: the training rows. Columns go to the inputs by name where every input takes one column and has a
            column's name, else in order.
        y: the training target; what it tells is its name and whether integers are classes or clusters.
        path: the file to write; by default `onnx_path` itself is replaced.
        task: what the outputs are; by default found from them and from the graph.
        classes: the classes in the order of the scores' columns; by default the graph's own, else 0, 1 and so on.
    """
    checked_path = check_path(onnx_path if path is None else path)
    content = Path(onnx_path).read_bytes()
    session = OnnxModel(content)
    graph = onnx.load_model_from_string(content)
    tables = [_read(session, X, "X")] + ([_read(session, X_test, "X_test")] if X_test is not None else [])
    check_same_types(tables[0], tables[-1])
    found_task, found_classes = _look(session, graph, tables[0], y, (task, classes))
    if y is not None and found_task != "raw":
        truth = read_target(y, tables[0], "y", found_task)
        if found_classes is not None:
            class_indices(found_classes, truth, "y")
    if labels is not None and found_classes is None:
        raise DataError(f"labels were given, but the file's task is {found_task}: pass task='classification'")
    answered = [Answered(table, session.predict(table, found_task, found_classes)) for table in tables]
    subject = Subject(
        task=found_task,
        classes=found_classes,
        labels=found_classes.labels(labels) if found_classes is not None else None,
        target=target or (str(y.name) if getattr(y, "name", None) is not None else None),
        version=version,
    )
    answered = [_without_raw_scores(part) for part in answered]
    evidence = Evidence(
        training=answered[0],
        held_out=answered[1] if len(answered) > 1 else None,
        metrics=_metrics(subject, answered, y_test),
        tolerance=(tolerance or Tolerance()).for_predictions(answered[0].predictions, found_task),
        libraries=_libraries(graph),
    )
    document = build_document(subject, evidence, example)
    written = write_model(graph, document, checked_path)
    inputs = ", ".join(f"{node.name} {node.type}" for node in session.inputs[:4])
    return result(
        checked_path, written, document, inputs + (", ..." if len(session.inputs) > 4 else ""), None
    )


def _read(session: OnnxModel, data: Any, argument: str) -> Table:
    """The rows with their columns in the order of the inputs, as the contract wants them."""
    one_each = all(node.width == 1 for node in session.inputs)
    table = read_table(data, argument, [node.name for node in session.inputs] if one_each else None)
    ordered = session.in_input_order(table)
    return replace(table, columns=ordered, frame=table.frame[[column.name for column in ordered]])


def _look(
    session: OnnxModel,
    graph: onnx.ModelProto,
    table: Table,
    y: Any,
    given: tuple[Task | None, Sequence[Any] | None],
) -> tuple[Task, Classes | None]:
    """The task and the classes: the user's, the graph's, or what the outputs of some rows look like."""
    task, classes = given
    outputs = session.outputs_of_some(table, ROWS_LOOKED_AT)
    task = task or ("classification" if classes is not None else _guess_task(graph, outputs, y))
    if task != "classification":
        return task, None
    label = next((output for output in outputs if is_label(output)), None)
    scores = next((output for output in outputs if not is_label(output)), None)
    found = classes if classes is not None else _graph_classes(graph)
    if found is None and isinstance(scores, list):
        found = list(scores[0])
    if found is None and isinstance(scores, np.ndarray):
        found = list(range(scores.reshape(len(scores), -1).shape[1]))
    if found is None and label is not None:
        found = np.unique(label).tolist()
    if found is None:
        raise UnsupportedModelError(
            "the classes can't be told from the file: pass classes=[...] in its own order"
        )
    return task, Classes(found)


def _guess_task(graph: onnx.ModelProto, outputs: list[Any], y: Any) -> Task:
    labels = [output for output in outputs if is_label(output)]
    others = [output for output in outputs if not is_label(output)]
    if labels:
        is_text = labels[0].dtype.kind in "OUSb"
        if (
            is_text
            or _graph_classes(graph) is not None
            or y is not None
            or any(map(_are_probabilities, others))
        ):
            return "classification"
        return "clustering"
    one_number = len(others) == 1 and isinstance(others[0], np.ndarray) and others[0].size == len(others[0])
    return "regression" if one_number else "raw"


def _are_probabilities(output: Any) -> bool:
    if isinstance(output, list):
        return True
    in_range = output.min(initial=0) >= 0 and output.max(initial=0) <= 1 + 1e-5
    return bool(output.ndim == 2 and in_range and np.allclose(output.sum(axis=1), 1, atol=1e-4))


def _graph_classes(graph: onnx.ModelProto) -> list[Any] | None:
    """The class labels that the last classifier (or ZipMap) of the graph carries."""
    found: list[Any] | None = None
    for node in graph.graph.node:
        for attribute in node.attribute:
            if attribute.name in CLASS_ATTRIBUTES and (attribute.ints or attribute.strings):
                found = list(attribute.ints) or [text.decode() for text in attribute.strings]
    return found


def _without_raw_scores(answered: Answered) -> Answered:
    """Scores that aren't probabilities (logits, distances) still choose the class, but aren't recorded as such."""
    scores = answered.predictions.probabilities
    if scores is None or _are_probabilities(scores):
        return answered
    return replace(answered, predictions=Predictions(answered.predictions.values))


def _metrics(subject: Subject, answered: list[Answered], y_test: Any) -> dict[str, float]:
    if y_test is None or subject.task in ("raw", "clustering"):
        return {}
    if len(answered) < 2:
        raise DataError("y_test was given without X_test: pass the held-out rows too")
    predictions = answered[1].predictions
    truth = read_target(y_test, answered[1].table, "y_test", subject.task)
    if subject.classes is None:
        return regression_metrics(truth, predictions.values)
    indices = class_indices(subject.classes, truth, "y_test")
    return classification_metrics(
        indices, predictions.values, predictions.probabilities, len(subject.classes)
    )


def _libraries(graph: onnx.ModelProto) -> dict[str, str]:
    producer = {graph.producer_name: graph.producer_version} if graph.producer_name else {}
    return producer | library_versions("porteiro", "onnx", "numpy", "pandas")
