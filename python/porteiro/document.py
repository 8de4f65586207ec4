"""The contract's document: built from rows and answers, written into the ONNX file's metadata."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd

from porteiro.errors import DataError
from porteiro.golden import golden
from porteiro.predictions import Classes, Predictions, Task, class_text
from porteiro.statistics import category_statistics, number_statistics
from porteiro.table import MAX_CATEGORIES, Column, Table, list_names
from porteiro.verify import Tolerance

METADATA_KEY = "porteiro"


@dataclass(frozen=True)
class Subject:
    """What the model predicts, and how clients read it."""

    task: Task
    classes: Classes | None
    labels: dict[str, str] | None
    target: str | None
    version: str | None


@dataclass(frozen=True)
class Answered:
    """Rows with the model's own answers for them."""

    table: Table
    predictions: Predictions


@dataclass(frozen=True)
class Evidence:
    """What is known of the model's work: training rows, rows it did not see, and how well it did on those."""

    training: Answered
    held_out: Answered | None
    metrics: dict[str, float]
    tolerance: Tolerance
    libraries: dict[str, str]


def build_document(subject: Subject, evidence: Evidence, example: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole document, format 1, as plain JSON values; fields that have nothing to say are left out."""
    tables = [evidence.training.table] + ([evidence.held_out.table] if evidence.held_out else [])
    proof = evidence.held_out or evidence.training
    trained: dict[str, Any] = {
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "rows": tables[0].rows,
        "held_out_rows": evidence.held_out.table.rows if evidence.held_out else None,
        "metrics": evidence.metrics or None,
        "libraries": evidence.libraries,
    }
    document: dict[str, Any] = {
        "format": 1,
        "task": subject.task,
        "version": subject.version,
        "target": subject.target,
        "features": [_feature(columns) for columns in zip(*(table.columns for table in tables), strict=True)],
        "classes": subject.classes.values if subject.classes else None,
        "labels": subject.labels,
        "example": _example(proof.table, example),
        "trained": _without_none(trained),
        "reference": _reference(subject, evidence.training),
    }
    if subject.task != "raw":
        document["golden"] = golden(
            proof.table, proof.predictions, subject.task, subject.classes, evidence.tolerance
        )
    return _without_none(document)


def write_model(model: onnx.ModelProto, document: dict[str, Any], path: Path) -> bytes:
    """Writes the document into the model and the model to `path`, whole or not at all; returns the content."""
    kept = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    model.metadata_props.add(key=METADATA_KEY, value=text)
    content: bytes = model.SerializeToString()
    path.parent.mkdir(parents=True, exist_ok=True)
    # A gateway may be watching the folder: the name appears only when the file is complete.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return content


def check_path(path: str | os.PathLike[str]) -> Path:
    """The path to write to; raises DataError if it isn't the name of an ONNX file."""
    checked = Path(path)
    if checked.suffix != ".onnx" or checked.is_dir():
        raise DataError(f"path is {str(path)!r}: it must name a file that ends in .onnx, as models/wine.onnx")
    return checked


def library_versions(*names: str) -> dict[str, str]:
    """The installed version of each distribution that is installed."""
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _feature(columns: tuple[Column, ...]) -> dict[str, Any]:
    """One feature, from its training column and, if there are, its held-out one."""
    training = columns[0]
    # Whole numbers in training and others in the held-out rows are floats.
    kind = "float" if any(column.type == "float" for column in columns) else training.type
    feature: dict[str, Any] = {
        "name": training.name,
        "type": kind,
        # Missing values that only held-out rows have were predicted too, so clients may send them.
        "nullable": any(bool(column.missing.any()) for column in columns),
    }
    if training.type == "string":
        categories = sorted(set(training.texts()) - {None}, key=str)
        return feature | ({"categories": categories} if len(categories) <= MAX_CATEGORIES else {})
    present = training.original[~training.missing]
    if training.type != "bool" and len(present):
        number = int if kind == "int" else float
        feature |= {"min": number(present.min()), "max": number(present.max())}
    return feature


def _reference(subject: Subject, training: Answered) -> dict[str, Any]:
    features = {
        column.name: number_statistics(column.values)
        if column.type in ("float", "int")
        else category_statistics(column.texts())
        for column in training.table.columns
    }
    reference: dict[str, Any] = {"rows": training.table.rows, "features": features}
    predictions = training.predictions
    if subject.task == "raw":
        return reference
    if subject.task == "regression":
        reference["prediction"] = number_statistics(predictions.values)
        return reference
    names = subject.classes.values if subject.classes else None
    reference["prediction"] = category_statistics(
        class_text(names[value] if names else int(value)) for value in predictions.values
    )
    if predictions.probabilities is not None:
        columns = np.asarray(predictions.probabilities).T
        reference["prediction"]["probabilities"] = [number_statistics(column) for column in columns]
    return reference


def _example(table: Table, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The user's row, checked, else the first row that lacks no value."""
    if given is None:
        complete = np.flatnonzero(~table.any_missing())
        row = table.json_row(int(complete[0]) if len(complete) else 0)
        return dict(zip(table.names, row, strict=True))
    missing, extra = set(table.names) - set(given), set(given) - set(table.names)
    if missing or extra:
        raise DataError(
            "example must have each feature once: "
            + "; ".join(
                f"{word} {list_names(sorted(map(str, names)))}"
                for word, names in (("it lacks", missing), ("it has", extra))
                if names
            )
        )
    return {column.name: _example_value(column, given[column.name]) for column in table.columns}


def _example_value(column: Column, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if pd.isna(value):
        return None
    legal = {"float": (int, float), "int": (int,), "bool": (bool,), "string": (str,)}[column.type]
    if not isinstance(value, legal) or (isinstance(value, bool) and column.type != "bool"):
        raise DataError(f"example has {value!r} for {column.name!r}, which is of type {column.type}")
    return value


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
