"""What can go wrong, told so that a data scientist can act on it."""

from __future__ import annotations

from dataclasses import dataclass


class PorteiroError(ValueError):
    """Any refusal of this package; nothing was written."""


class DataError(PorteiroError):
    """The rows, the target or the labels can't be used; the message names the column and the fix."""


class UnsupportedModelError(PorteiroError):
    """The estimator, or a step of it, has no ONNX form that this package knows."""


@dataclass(frozen=True)
class Disagreement:
    """One row on which the ONNX file and the estimator differ.

    `rows` is the argument the row came from ("X" or "X_test"), `index` its label in the DataFrame's index.
    """

    rows: str
    index: object
    expected: object
    answered: object

    def __str__(self) -> str:
        return f"{self.rows} row {self.index!r}: estimator {self.expected}, ONNX {self.answered}"


class DisagreementError(PorteiroError):
    """The ONNX file does not answer as the estimator does; `disagreements` holds every such row."""

    def __init__(self, message: str, disagreements: list[Disagreement]) -> None:
        super().__init__(message)
        self.disagreements = disagreements
