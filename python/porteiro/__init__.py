"""Export trained models to ONNX files that carry their contract: names, labels, proof rows, statistics.

`export` converts an estimator and proves that the file answers as it does; `annotate` writes the same contract
into an ONNX file that another tool made.
"""

import os

# The official builds of ONNX Runtime report to their maker unless this is set before they load.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

from porteiro.annotate import annotate
from porteiro.errors import (
    DataError,
    Disagreement,
    DisagreementError,
    PorteiroError,
    UnsupportedModelError,
)
from porteiro.export import export
from porteiro.result import Result
from porteiro.verify import Tolerance

__all__ = [
    "DataError",
    "Disagreement",
    "DisagreementError",
    "PorteiroError",
    "Result",
    "Tolerance",
    "UnsupportedModelError",
    "annotate",
    "export",
]
