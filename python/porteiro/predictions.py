"""What a model answers, in one form for estimators and ONNX files, so that the two can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from porteiro.errors import DataError
from porteiro.table import list_names

Task = Literal["classification", "regression", "clustering", "raw"]
ClassValue = int | str | bool
UNKNOWN_CLASS = -1


@dataclass(frozen=True)
class Predictions:
    """Answers for some rows.

    `values` has shape (rows,): the index of the class, the cluster's number or the predicted number.
    `probabilities` has shape (rows, classes), for classifiers that have them.
    """

    values: NDArray[Any]
    probabilities: NDArray[Any] | None = None

    @staticmethod
    def concatenate(parts: Sequence[Predictions]) -> Predictions:
        scores = [part.probabilities for part in parts if part.probabilities is not None]
        return Predictions(
            np.concatenate([part.values for part in parts]), np.concatenate(scores) if scores else None
        )


class Classes:
    """The classes of a classifier in the order of the probabilities' columns."""

    def __init__(self, values: Iterable[Any]) -> None:
        self.values: list[ClassValue] = [_class_value(value) for value in values]
        # ONNX has no boolean labels, and scikit-learn may have 1.0 for 1: classes meet as int or str.
        self._index = {_key(value): index for index, value in enumerate(self.values)}

    def __len__(self) -> int:
        return len(self.values)

    def indices(self, labels: NDArray[Any]) -> NDArray[np.intp]:
        """The index of each label's class, UNKNOWN_CLASS for one that is no class."""
        distinct, inverse = np.unique(labels, return_inverse=True)
        found = [self._index.get(_key(label), UNKNOWN_CLASS) for label in distinct.tolist()]
        return np.array(found, dtype=np.intp)[inverse.reshape(-1)]

    def texts(self) -> list[str]:
        return [class_text(value) for value in self.values]

    def labels(self, given: Mapping[Any, str] | None) -> dict[str, str] | None:
        """The user's texts for classes, keyed by the class as text; raises DataError for a key that is no class."""
        if given is None:
            return None
        texts: dict[str, str] = {}
        for key, text in given.items():
            index = self._index.get(_key(key), UNKNOWN_CLASS)
            name = class_text(self.values[index]) if index != UNKNOWN_CLASS else str(key)
            if name not in self.texts():
                raise DataError(
                    f"labels has {key!r}, which is no class of the model: its classes are {list_names(self.values)}"
                )
            texts[name] = str(text)
        without = [value for value in self.values if class_text(value) not in texts]
        if without:
            raise DataError(f"labels has no text for the class {list_names(without)}: give every class one")
        return texts


def class_text(value: ClassValue) -> str:
    """A class as text, the way JSON writes it: true, 1, good."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _class_value(value: Any) -> ClassValue:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, np.integer)) or (
        isinstance(value, (float, np.floating)) and float(value).is_integer()
    ):
        return int(value)
    raise DataError(
        f"the class {value!r} is a {type(value).__name__}: classes must be integers, strings or booleans; "
        "train with y.astype(str) or y.astype(int)"
    )


def _key(value: Any) -> int | str | float:
    if isinstance(value, str):
        return str(value)
    # hash(1) == hash(1.0) == hash(True), so numbers meet whatever their type.
    return float(value) if isinstance(value, (float, np.floating)) else int(value)
