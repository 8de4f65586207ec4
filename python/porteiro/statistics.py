"""Reference statistics of the training rows: what drift is measured against when the rows are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_DISTINCT_VALUES = 20
MAX_COUNTED_CATEGORIES = 100
PERCENTILES = np.linspace(0.0, 100.0, 101)


def number_statistics(values: NDArray[Any]) -> dict[str, Any]:
    """Statistics of a one-dimensional array of numbers, NaN for missing.

    `std` is the population's; `quantiles` are the 0th to the 100th percentile by linear interpolation. A column
    that is missing in every row has nothing but `missing`.
    """
    present = values.astype(np.float64)
    present = present[~np.isnan(present)]
    missing = 1.0 - present.size / values.size if values.size else 0.0
    if present.size == 0:
        return {"missing": missing}
    distinct, counts = np.unique(present, return_counts=True)
    statistics: dict[str, Any] = {
        "missing": missing,
        "mean": float(present.mean()),
        "std": float(present.std()),
        "min": float(present.min()),
        "max": float(present.max()),
        "quantiles": [float(q) for q in np.percentile(present, PERCENTILES)],
    }
    if distinct.size <= MAX_DISTINCT_VALUES:
        statistics["values"] = [[float(v), int(c)] for v, c in zip(distinct, counts, strict=True)]
    return statistics


def category_statistics(texts: Iterable[str | None]) -> dict[str, Any]:
    """Counts of texts (strings, booleans or classes as text), None for missing.

    The 100 most frequent are counted one by one, the rest together as `other`.
    """
    counter = Counter(texts)
    rows = counter.total()
    missing = counter.pop(None, 0)
    # Equal counts in alphabetical order, so that the same rows always give the same document.
    ranked = sorted(counter.items(), key=lambda item: (-item[1], str(item[0])))
    return {
        "missing": missing / rows if rows else 0.0,
        "counts": {str(text): count for text, count in ranked[:MAX_COUNTED_CATEGORIES]},
        "other": sum(count for _, count in ranked[MAX_COUNTED_CATEGORIES:]),
    }
