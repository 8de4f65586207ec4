"""Rows as this package reads them: named columns of one type each, whatever they came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from porteiro.errors import DataError

FeatureType = Literal["float", "int", "bool", "string"]
MAX_CATEGORIES = 100


@dataclass(frozen=True)
class Column:
    """One column.

    `values` are float64 for numbers and booleans (NaN for missing), str objects for strings; `original` are the
    values as the user had them, so that an example shows 4 and not 4.0.
    """

    name: str
    type: FeatureType
    values: NDArray[Any]
    original: pd.Series

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """True for each row without a value; shape (rows,)."""
        return cast("NDArray[np.bool_]", self.original.isna().to_numpy(dtype=bool))

    def texts(self) -> list[str | None]:
        """The values of a string or boolean column as clients write them, None for missing."""
        if self.type == "string":
            return [str(value) for value in self.values]
        return [None if np.isnan(value) else ("true" if value else "false") for value in self.values]

    def json_value(self, row: int) -> float | int | bool | str | None:
        """The value of one row as JSON has it, None for missing."""
        if self.missing[row]:
            return None
        value = self.original.iloc[row]
        if self.type == "float":
            return float(value)
        if self.type == "int":
            return int(value)
        return bool(value) if self.type == "bool" else str(value)


@dataclass(frozen=True)
class Table:
    """Rows of named columns. `argument` is the name of the parameter they were given as, for messages."""

    argument: str
    frame: pd.DataFrame
    columns: list[Column]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    @property
    def rows(self) -> int:
        return len(self.frame)

    @property
    def is_numeric(self) -> bool:
        """Whether every column can go into a tensor of numbers."""
        return all(column.type != "string" for column in self.columns)

    def index_label(self, row: int) -> object:
        """The row's label in the DataFrame's index, as a plain Python value."""
        label = self.frame.index[row]
        return label.item() if isinstance(label, np.generic) else label

    def json_row(self, row: int) -> list[Any]:
        return [column.json_value(row) for column in self.columns]

    def any_missing(self) -> NDArray[np.bool_]:
        """True for each row that lacks a value in some column; shape (rows,)."""
        return cast("NDArray[np.bool_]", self.frame.isna().to_numpy(dtype=bool).any(axis=1))


def read_table(data: Any, argument: str, names: Sequence[str] | None = None) -> Table:
    """Reads a DataFrame or a two-dimensional array of shape (rows, features).

    Columns without names are called by `names`, else f0, f1 and so on. Raises DataError, naming the column and
    the fix, for what an ONNX input or a JSON field can't hold.
    """
    frame = _to_frame(data, argument, names)
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{argument} has shape {frame.shape}: it needs at least one row and one column")
    return Table(argument, frame, [_read_column(argument, frame.iloc[:, i]) for i in range(frame.shape[1])])


def check_same_types(training: Table, held_out: Table) -> None:
    """Raises DataError where a held-out column is of another kind than its training column.

    Integers and floats are one kind: a column of whole numbers becomes floats with the first missing value.
    """
    kinds = {"int": "number", "float": "number"}
    for one, other in zip(training.columns, held_out.columns, strict=True):
        if kinds.get(one.type, one.type) != kinds.get(other.type, other.type):
            raise DataError(
                f"column {other.name!r} of {held_out.argument} is of type {other.type}, but of type {one.type} in "
                f"{training.argument}: give it the same dtype, {held_out.argument}[{other.name!r}].astype(...)"
            )


def _to_frame(data: Any, argument: str, names: Sequence[str] | None) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        frame = data
    elif hasattr(data, "toarray") or np.ndim(data) != 2:
        raise DataError(
            f"{argument} must be a pandas DataFrame or a two-dimensional array of shape (rows, features), "
            f"not {type(data).__name__}"
            + ("" if hasattr(data, "toarray") else f" of {np.ndim(data)} dimensions")
        )
    else:
        frame = pd.DataFrame(data).infer_objects()
    if isinstance(frame.columns, pd.RangeIndex):
        if names is not None and len(names) != frame.shape[1]:
            raise DataError(
                f"{argument} has {frame.shape[1]} columns, but {len(names)} features are expected: {list_names(names)}"
            )
        return frame.set_axis(list(names or (f"f{i}" for i in range(frame.shape[1]))), axis="columns")
    for name in frame.columns:
        if not isinstance(name, str) or not name:
            raise DataError(
                f"{argument} has a column named {name!r}: names must be non-empty strings; "
                f"rename it, or all: {argument}.columns = {argument}.columns.map(str)"
            )
    duplicated = frame.columns[frame.columns.duplicated()].unique().tolist()
    if duplicated:
        raise DataError(
            f"{argument} has more than one column named {list_names(duplicated)}: rename or drop the others"
        )
    return frame


def _read_column(argument: str, series: pd.Series) -> Column:
    name = str(series.name)
    where = f"column {name!r} of {argument}"
    if isinstance(series.dtype, pd.CategoricalDtype) or _only_booleans(series):
        # A category is a way of storing values; the values are what clients send.
        series = series.astype(object).convert_dtypes()
    dtype = series.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return Column(name, "bool", series.astype("Float64").to_numpy(np.float64, na_value=np.nan), series)
    if pd.api.types.is_integer_dtype(dtype):
        return Column(name, "int", series.to_numpy(np.float64, na_value=np.nan), series)
    if pd.api.types.is_float_dtype(dtype):
        values = series.to_numpy(np.float64, na_value=np.nan)
        if np.isinf(values).any():
            row = series.index[int(np.argmax(np.isinf(values)))]
            raise DataError(
                f"{where} has an infinite value in row {row!r}: replace it by NaN or clip the column"
            )
        return Column(name, "float", values, series)
    if pd.api.types.is_string_dtype(dtype) or dtype == object:
        return _read_strings(where, name, series)
    raise DataError(
        f"{where} has dtype {dtype}, which no model input can take: turn it into numbers or strings"
    )


def _only_booleans(series: pd.Series) -> bool:
    return series.dtype == object and all(isinstance(value, (bool, np.bool_)) for value in series)


def _read_strings(where: str, name: str, series: pd.Series) -> Column:
    missing = series.isna()
    kinds: dict[str, Any] = {}
    for index, value in series[~missing].items():
        kinds.setdefault(type(value).__name__, index)
    if kinds.keys() - {"str"}:
        found = ", ".join(f"{kind} (row {index!r})" for kind, index in kinds.items())
        raise DataError(
            f"{where} has dtype {series.dtype} and values of type {found}: make it one type before training, "
            f"X[{name!r}] = pd.to_numeric(X[{name!r}]) or X[{name!r}].astype(str)"
        )
    if missing.any():
        raise DataError(
            f"{where} has strings and {int(missing.sum())} missing values, first in row "
            f"{series.index[int(np.argmax(missing))]!r}, and ONNX has no missing string: give them a name of their "
            f"own before training, X[{name!r}] = X[{name!r}].fillna('missing')"
        )
    return Column(name, "string", series.to_numpy(dtype=object), series)


def list_names(names: Sequence[Any], most: int = 8) -> str:
    """Names for a message, the first few of them."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
