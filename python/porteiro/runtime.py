"""ONNX files run by ONNX Runtime over a table, their outputs read as predictions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tqdm import tqdm

from porteiro.errors import DataError, UnsupportedModelError
from porteiro.predictions import Classes, Predictions, Task
from porteiro.table import Column, Table

ROWS_A_RUN = 4096
NUMPY_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
INTEGER_TYPES = ("tensor(int64)", "tensor(int32)", "tensor(bool)")


@dataclass(frozen=True)
class Input:
    """One input of the graph: it takes `width` features; `rows` is the batch size if the file fixes it."""

    name: str
    type: str
    width: int
    rank: int
    rows: int | None


class OnnxModel:
    """A loaded ONNX file."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has no public class for its errors.
            raise UnsupportedModelError(f"ONNX Runtime can't load the file: {error}") from error
        self.inputs = [_read_input(node) for node in self._session.get_inputs()]

    def in_input_order(self, table: Table) -> list[Column]:
        """The table's columns as they go into the inputs: by name where the inputs have names, else in order.

        Raises DataError when the columns are not as many as the inputs take, or of a type they can't.
        """
        columns = {column.name: column for column in table.columns}
        names = [node.name for node in self.inputs]
        if all(node.width == 1 for node in self.inputs) and set(names) == set(columns):
            ordered = [columns[name] for name in names]
        else:
            ordered = table.columns
        width = sum(node.width for node in self.inputs)
        if width != len(ordered):
            raise DataError(
                f"{table.argument} has {len(ordered)} columns, but the ONNX file takes {width}: "
                + ", ".join(f"input {node.name!r} takes {node.width}" for node in self.inputs)
            )
        return [
            _as_input(node, column, table.argument)
            for node, group in self._groups(ordered)
            for column in group
        ]

    def predict(self, table: Table, task: Task, classes: Classes | None) -> Predictions:
        """Runs every row; the progress bar appears after a second."""
        ordered = self.in_input_order(table)
        step = next((node.rows for node in self.inputs if node.rows), ROWS_A_RUN)
        parts = []
        with tqdm(
            total=table.rows, desc=f"ONNX over {table.argument}", unit=" rows", delay=1, leave=False
        ) as bar:
            for start in range(0, table.rows, step):
                rows = slice(start, min(start + step, table.rows))
                parts.append(read_outputs(self.run(ordered, rows), task, classes))
                bar.update(rows.stop - rows.start)
        return Predictions.concatenate(parts)

    def outputs_of_some(self, table: Table, rows: int) -> list[Any]:
        """The raw outputs for the first rows of a table; a file of batch size 1 gets one row."""
        fixed = next((node.rows for node in self.inputs if node.rows), rows)
        return self.run(self.in_input_order(table), slice(0, min(rows, fixed, table.rows)))

    def run(self, ordered: list[Column], rows: slice) -> list[Any]:
        """The raw outputs for some rows of columns that are in the inputs' order."""
        feeds = {node.name: _tensor(node, group, rows) for node, group in self._groups(ordered)}
        return list(self._session.run(None, feeds))

    def _groups(self, ordered: list[Column]) -> list[tuple[Input, list[Column]]]:
        groups, start = [], 0
        for node in self.inputs:
            groups.append((node, ordered[start : start + node.width]))
            start += node.width
        return groups


def read_outputs(outputs: list[Any], task: Task, classes: Classes | None) -> Predictions:
    """Outputs of one run as predictions: a label and scores (a tensor or ZipMap's maps), scores alone, or a number."""
    if task != "classification" or classes is None:
        return Predictions(np.asarray(outputs[0]).reshape(len(outputs[0]), -1)[:, 0])
    labels = next((output for output in outputs if is_label(output)), None)
    scores = next((_scores(output, classes) for output in outputs if not is_label(output)), None)
    if labels is not None:
        return Predictions(classes.indices(labels.reshape(-1)), scores)
    if scores is None:
        raise UnsupportedModelError("the ONNX file has neither a label nor scores: pass task='raw'")
    return Predictions(np.argmax(scores, axis=1), scores)


def is_label(output: Any) -> bool:
    """Whether an output holds one class a row: integers, strings or booleans."""
    return isinstance(output, np.ndarray) and output.dtype.kind in "iubOUS" and output.size == len(output)


def _scores(output: Any, classes: Classes) -> NDArray[Any]:
    if isinstance(output, list):
        keys = list(output[0])
        indices = classes.indices(np.array(keys))
        scores = np.full((len(output), len(classes)), np.nan, dtype=np.float32)
        scores[:, indices] = [[row[key] for key in keys] for row in output]
        return scores
    return np.asarray(output).reshape(len(output), -1)


def _read_input(node: Any) -> Input:
    shape = list(node.shape)
    if node.type not in NUMPY_TYPES or not 1 <= len(shape) <= 2:
        raise UnsupportedModelError(
            f"input {node.name!r} is a {node.type} of shape {shape}: rows of features need tensors [N], [N, 1] or [N, F]"
        )
    width = shape[1] if len(shape) == 2 else 1
    if not isinstance(width, int):
        raise UnsupportedModelError(
            f"input {node.name!r} does not say how many features it takes (its shape is {shape}): "
            "fix the second dimension when you export"
        )
    rows = shape[0] if isinstance(shape[0], int) else None
    if rows is not None and rows > 1:
        raise UnsupportedModelError(
            f"input {node.name!r} takes exactly {rows} rows: make the first dimension dynamic when you export"
        )
    return Input(node.name, node.type, width, len(shape), rows)


def _as_input(node: Input, column: Column, argument: str) -> Column:
    """The column as the input's type has it: whole numbers for integers, 0 and 1 for booleans."""
    where = f"column {column.name!r} of {argument}"
    if (column.type == "string") != (node.type == "tensor(string)"):
        raise DataError(
            f"{where} is of type {column.type}, but input {node.name!r} of the ONNX file is a {node.type}"
        )
    if node.type not in INTEGER_TYPES:
        return column
    if column.missing.any():
        raise DataError(
            f"{where} has missing values, but input {node.name!r} is a {node.type}, which has none: fill them"
        )
    if node.type == "tensor(bool)" and column.type != "bool":
        if not np.isin(column.values, (0, 1)).all():
            raise DataError(
                f"{where} has values other than 0 and 1, but input {node.name!r} is a {node.type}"
            )
        return replace(column, type="bool")
    if column.type == "float":
        if not np.equal(np.mod(column.values, 1), 0).all():
            raise DataError(
                f"{where} has fractions, but input {node.name!r} is a {node.type}: round the column"
            )
        return replace(column, type="int")
    return column


def _tensor(node: Input, group: list[Column], rows: slice) -> NDArray[Any]:
    values = [column.values[rows] for column in group]
    tensor = np.column_stack(values).astype(NUMPY_TYPES[node.type])
    return tensor[:, 0] if node.rank == 1 else tensor
