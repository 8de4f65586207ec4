"""Tree ensembles in ONNX that answer exactly as the estimator: how their converters are corrected.

Several things go wrong in a plain conversion. A node compares in float32, while some libraries compare in double;
forests add up votes in float32, where ties break (see `votes`); where scikit-learn sends missing values is lost; and
newer versions of `onnx` refuse the numpy numbers that converters hand over. The wrappers here stand between converter
and graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

from porteiro.votes import ScaledVotes, on_grid, scaled_votes, voting_trees

Converter = Callable[[Any, Any, Any], None]
ShapeCalculator = Callable[[Any], None]

FLOAT_ATTRIBUTES = ("nodes_values", "class_weights", "target_weights", "base_values")


class _TreeContainer:
    """skl2onnx's container with another `add_node` for tree ensembles."""

    def __init__(self, container: Any, in_double: bool, missing_go_left: list[int] | None = None) -> None:
        self._container = container
        self._in_double = in_double
        self._missing_go_left = missing_go_left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def add_node(self, op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
        if op_type.startswith("TreeEnsemble"):
            if self._missing_go_left is not None:
                attributes["nodes_missing_value_tracks_true"] = self._missing_go_left
            attributes = _smaller(_plain_integers(attributes))
            if self._in_double:
                attributes = _as_double_tensors(attributes) | {"op_version": 3}
            elif op_type == "TreeEnsembleClassifier" and (n_trees := voting_trees(attributes)):
                rounded = on_grid(attributes, n_trees)
                if rounded is None:
                    self._add_scaled_votes(inputs, outputs, scaled_votes(attributes, n_trees))
                    return
                attributes = rounded
        self._container.add_node(op_type, inputs, outputs, **attributes)

    def _add_scaled_votes(self, inputs: Any, outputs: list[str], votes: ScaledVotes) -> None:
        label, probabilities = outputs
        scores, stretched = f"{probabilities}_scores", f"{probabilities}_stretched"
        factor, shift = f"{probabilities}_factor", f"{probabilities}_shift"
        self._container.add_node("TreeEnsembleClassifier", inputs, [label, scores], **votes.attributes)
        self._container.add_initializer(factor, onnx.TensorProto.FLOAT, [1], [votes.factor])
        self._container.add_initializer(shift, onnx.TensorProto.FLOAT, [1], [votes.shift])
        self._container.add_node("Mul", [scores, factor], [stretched], op_version=14)
        self._container.add_node("Add", [stretched, shift], [probabilities], op_version=14)


def comparing_in_float(convert: Converter, with_missing: bool) -> Converter:
    """The converter of a library whose trees see float32: scikit-learn's and XGBoost's cast their rows.

    skl2onnx itself rounds scikit-learn's double thresholds so that float32 rows stay on their side. `with_missing`
    adds where scikit-learn's trees send missing values, which it leaves out.
    """

    def convert_trees(scope: Any, operator: Any, container: Any) -> None:
        missing_go_left = _missing_go_left(operator.raw_operator) if with_missing else None
        convert(scope, operator, _TreeContainer(container, False, missing_go_left))

    return convert_trees


def comparing_in_double(convert: Converter) -> Converter:
    """The converter of a library whose trees see doubles: LightGBM and scikit-learn's HistGradientBoosting.

    Double inputs meet thresholds and leaves in double; float inputs meet thresholds rounded to the nearest float,
    which keeps a value that equals its threshold on its side.
    """

    def convert_trees(scope: Any, operator: Any, container: Any) -> None:
        in_double = isinstance(operator.inputs[0].type, DoubleTensorType)
        convert(scope, operator, _TreeContainer(container, in_double))

    return convert_trees


def with_float_outputs(calculate: ShapeCalculator) -> ShapeCalculator:
    """Declares the scores of tree ensembles as floats, which they are whatever the inputs."""

    def calculate_shapes(operator: Any) -> None:
        calculate(operator)
        for output in operator.outputs:
            if isinstance(output.type, DoubleTensorType):
                output.set_type(FloatTensorType(output.type.shape))

    return calculate_shapes


def _missing_go_left(estimator: Any) -> list[int] | None:
    """For each node of scikit-learn's trees, in skl2onnx's order, whether a missing value goes to the left child."""
    estimators = getattr(estimator, "estimators_", [estimator])
    trees = [member.tree_ for member in np.ravel(estimators) if hasattr(member, "tree_")]
    if not trees:
        return None
    flags = (
        go_left and left_child >= 0
        for one in trees
        for go_left, left_child in zip(
            one.missing_go_to_left.tolist(), one.children_left.tolist(), strict=True
        )
    )
    return [int(flag) for flag in flags]


def _plain_integers(attributes: dict[str, Any]) -> dict[str, Any]:
    def plain(name: str, value: Any) -> Any:
        if name.endswith(("ids", "int64s", "tracks_true")):
            return [int(item) for item in value]
        return int(value) if name == "n_targets" else value

    return {name: plain(name, value) for name, value in attributes.items()}


def _smaller(attributes: dict[str, Any]) -> dict[str, Any]:
    """Without what ONNX Runtime does not use: hit rates, and directions of missing values that are all the default."""
    unused = {"nodes_hitrates"}
    if not any(attributes.get("nodes_missing_value_tracks_true", [])):
        unused.add("nodes_missing_value_tracks_true")
    return {name: value for name, value in attributes.items() if name not in unused}


def _as_double_tensors(attributes: dict[str, Any]) -> dict[str, Any]:
    def converted(name: str, value: Any) -> tuple[str, Any]:
        if name not in FLOAT_ATTRIBUTES:
            return name, value
        tensor_name = f"{name}_as_tensor"
        return tensor_name, onnx.numpy_helper.from_array(
            np.asarray(value, dtype=np.float64).ravel(), tensor_name
        )

    return dict(converted(name, value) for name, value in attributes.items())
