"""Votes of a forest whose float32 sum is exact, so that a tie between classes comes out as one.

Scikit-learn adds up votes in double: 20 of 40 trees make exactly a half, and the first class wins. Forty votes of
float32 0.025 make a little more or less, by the order in which they are added up. Two remedies, the first of which
costs nothing when the model is served:

- `on_grid`: votes rounded down to multiples of 2**-25. Their sums are exact up to a half, and a tie is never above that.
- `scaled_votes`: for forests so large that the rounding would show in the probabilities, trees vote 2**-p, which
  float32 adds up exactly, and two more nodes turn the scores into probabilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

GRID = 2.0**-25
# By how much rounding all votes down may lower a probability.
MAX_BIAS = 5e-6
# Converters hand votes over as float32, a little above or below the vote that was meant.
FLOAT32_ERROR = 2.0**-23


@dataclass(frozen=True)
class ScaledVotes:
    """A node's changed attributes; its scores times `factor` plus `shift` are the probabilities."""

    attributes: dict[str, Any]
    factor: float
    shift: float


def voting_trees(attributes: dict[str, Any]) -> int:
    """How many trees average their votes in this TreeEnsembleClassifier; 0 if it is one tree or no such average."""
    votes = _votes(attributes)
    n_trees = len(set(attributes["class_treeids"]))
    averages = (
        attributes.get("post_transform", "NONE") in ("NONE", b"NONE")
        and "base_values" not in attributes
        and bool((votes >= 0).all())
        and float(votes.max()) <= (1 + FLOAT32_ERROR) / n_trees
    )
    return n_trees if averages and n_trees > 1 else 0


def on_grid(attributes: dict[str, Any], n_trees: int) -> dict[str, Any] | None:
    """The attributes with votes rounded down, or None if that would lower probabilities by more than MAX_BIAS."""
    votes = _votes(attributes)
    rounded = _floor(votes * (1 - FLOAT32_ERROR))
    return attributes | {"class_weights": rounded} if _bias(votes, rounded, n_trees) <= MAX_BIAS else None


def scaled_votes(attributes: dict[str, Any], n_trees: int) -> ScaledVotes:
    """The attributes with votes of 2**-p, 2**p the next power of two above the number of trees.

    Of two classes the node picks the second where its score is above a half, so half the votes must score that: a
    base value makes up the difference, and both scores are stretched around a half.
    """
    scale = 2.0 ** -np.ceil(np.log2(n_trees))
    votes = _votes(attributes) * n_trees * scale
    rounded = _floor(votes * (1 + FLOAT32_ERROR))
    # Leaves of many classes vote fractions, whose roundings add up, but which hardly ever tie.
    chosen = rounded if _bias(votes, rounded, n_trees) <= MAX_BIAS else votes
    factor = 1 / (n_trees * scale)
    if _n_classes(attributes) != 2:
        return ScaledVotes(attributes | {"class_weights": chosen}, factor, 0.0)
    base = np.array([0.5 - 0.5 * n_trees * scale])
    changed = attributes | {"class_weights": chosen, "base_values": base}
    return ScaledVotes(changed, factor, 0.5 - 0.5 * factor)


def _votes(attributes: dict[str, Any]) -> NDArray[np.float64]:
    return np.asarray(attributes["class_weights"], dtype=np.float64)


def _floor(votes: NDArray[np.float64]) -> NDArray[np.float64]:
    floored: NDArray[np.float64] = np.floor(votes / GRID) * GRID
    return floored


def _bias(votes: NDArray[np.float64], rounded: NDArray[np.float64], n_trees: int) -> float:
    return float(np.abs((votes - rounded)[votes > 0].mean())) * n_trees


def _n_classes(attributes: dict[str, Any]) -> int:
    return len(attributes.get("classlabels_int64s", ())) or len(attributes["classlabels_strings"])
