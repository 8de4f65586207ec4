"""What `export` and `annotate` return: a summary that a notebook cell shows by itself."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from porteiro.verify import Agreement


@dataclass(frozen=True, repr=False)
class Result:
    """A written file. `document` is the contract inside it, `agreement` the proof, None for `annotate`."""

    path: Path
    size_bytes: int
    version: str
    document: dict[str, Any]
    inputs: str
    agreement: Agreement | None

    @property
    def task(self) -> str:
        return str(self.document["task"])

    @property
    def features(self) -> list[str]:
        """The features' names in the model's order."""
        return [feature["name"] for feature in self.document["features"]]

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics on the held-out rows, by name; empty where there were none."""
        return dict(self.document["trained"].get("metrics", {}))

    def __repr__(self) -> str:
        lines = {
            "file": f"{self.path} ({_size(self.size_bytes)}), version {self.version}",
            "predicts": self._predicts(),
            "features": f"{len(self.features)}: {', '.join(self.features)}",
            "inputs": self.inputs,
            "agreement": self._agreement(),
            "held out": self._held_out(),
            "golden rows": str(len(self.document.get("golden", {}).get("rows", []))),
        }
        return "\n".join(f"{name:<12}{text}" for name, text in lines.items())

    def _predicts(self) -> str:
        target = f"{self.document['target']!r}, " if "target" in self.document else ""
        labels: dict[str, str] = self.document.get("labels", {})
        classes = self.document.get("classes")
        if classes is None:
            return f"{target}{self.task}"
        names = (
            labels.get(str(value).lower() if isinstance(value, bool) else str(value), value)
            for value in classes
        )
        return f"{target}{self.task}: {', '.join(str(name) for name in names)}"

    def _agreement(self) -> str:
        if self.agreement is None:
            return "the predictions are the ONNX file's own"
        return (
            f"with the estimator on all {self.agreement.rows:,} rows, "
            f"largest difference {self.agreement.largest_difference:.2g}"
        )

    def _held_out(self) -> str:
        rows = self.document["trained"].get("held_out_rows")
        if rows is None:
            return "none given: pass X_test and y_test for metrics"
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"{rows:,} rows" + (f": {metrics}" if metrics else "")


def result(
    path: Path, content: bytes, document: dict[str, Any], inputs: str, agreement: Agreement | None
) -> Result:
    """The summary of a file that was just written; without a version in the document, it is named by its hash."""
    version = document.get("version") or hashlib.sha256(content).hexdigest()[:8]
    return Result(path, len(content), version, document, inputs, agreement)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
