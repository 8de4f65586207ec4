"""Estimators to ONNX graphs, by skl2onnx, with corrected converters for tree ensembles."""

from __future__ import annotations

import copy
import logging
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from skl2onnx import convert_sklearn, get_model_alias, update_registered_converter
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from skl2onnx.sklapi import CastTransformer
from sklearn import ensemble, tree
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from porteiro.errors import UnsupportedModelError
from porteiro.estimator import Fitted
from porteiro.table import Table, list_names
from porteiro.trees import comparing_in_double, comparing_in_float, with_float_outputs

# Understood by every ONNX Runtime since 1.14; nothing here needs a newer operator.
TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}
CLASSIFIER_OPTIONS = {
    "zipmap": [True, False, "columns"],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}

FLOAT_TREES = (
    tree.DecisionTreeClassifier,
    tree.DecisionTreeRegressor,
    tree.ExtraTreeClassifier,
    tree.ExtraTreeRegressor,
    ensemble.RandomForestClassifier,
    ensemble.RandomForestRegressor,
    ensemble.ExtraTreesClassifier,
    ensemble.ExtraTreesRegressor,
    ensemble.GradientBoostingClassifier,
    ensemble.GradientBoostingRegressor,
)
DOUBLE_TREES = (ensemble.HistGradientBoostingClassifier, ensemble.HistGradientBoostingRegressor)


@dataclass(frozen=True)
class InputForm:
    """How rows enter the graph: numbers as float or double, in one tensor [N, F] or one [N, 1] per column.

    With `float_estimator` a Pipeline works in double up to its last step and in float there.
    """

    number: str
    one_tensor: bool
    float_estimator: bool = False

    def __str__(self) -> str:
        layout = (
            f"one {self.number} tensor [N, F]"
            if self.one_tensor
            else f"an input per column, {self.number} numbers"
        )
        return f"{layout}, as float before the last step" if self.float_estimator else layout


def input_forms(fitted: Fitted, table: Table) -> list[InputForm]:
    """The forms to try for this estimator and these columns, the quickest to serve first.

    Scikit-learn's trees and XGBoost cast to float32 what a Pipeline hands them in double, which the second form does
    too; others compute in double throughout, as the third does.
    """
    layouts = [True, False] if table.is_numeric else [False]
    is_pipeline = isinstance(_unwrapped(fitted.estimator), Pipeline)
    numbers = [("float", False), *([("double", True)] if is_pipeline else []), ("double", False)]
    return [InputForm(number, layout, in_float) for layout in layouts for number, in_float in numbers]


def convert(fitted: Fitted, tables: list[Table], form: InputForm) -> onnx.ModelProto:
    """Converts a fitted estimator for rows as in the tables; raises UnsupportedModelError where a part of it has no ONNX form."""
    table = tables[0]
    _refuse_native_categories(fitted, table)
    with_missing = any(bool(table.any_missing().any()) for table in tables)
    custom_converters, custom_shapes = _tree_overrides(with_missing)
    _register_boosters()
    model = _by_position(_unwrapped(fitted.estimator))
    if form.float_estimator:
        model.steps.insert(-1, ("as_float", CastTransformer(dtype=np.float32)))
    converted: onnx.ModelProto
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = convert_sklearn(
                model,
                name=type(fitted.estimator).__name__,
                initial_types=_initial_types(table, form),
                target_opset=TARGET_OPSET,
                options=_options(model, fitted),
                custom_conversion_functions=custom_converters,
                custom_shape_calculators=custom_shapes,
            )
    except Exception as error:  # Converters raise whatever comes; the user needs to know which model it was.
        logging.getLogger(__name__).debug("conversion failed", exc_info=True)
        reason = str(error).strip().split("\n")[0][:400]
        raise UnsupportedModelError(
            f"{_describe(fitted.estimator)} can't be converted to ONNX with {form}: {reason or type(error).__name__}"
        ) from error
    _keep_outputs(converted, fitted)
    return converted


def _initial_types(table: Table, form: InputForm) -> list[tuple[str, Any]]:
    number = FloatTensorType if form.number == "float" else DoubleTensorType
    if form.one_tensor:
        return [("X", number([None, len(table.columns)]))]
    return [
        (column.name, StringTensorType([None, 1]) if column.type == "string" else number([None, 1]))
        for column in table.columns
    ]


def _tree_overrides(with_missing: bool) -> tuple[dict[type, Any], dict[type, Any]]:
    converters: dict[type, Any] = {}
    shapes: dict[type, Any] = {}
    for kind in FLOAT_TREES + DOUBLE_TREES:
        alias = get_model_alias(kind)
        original = get_converter(alias)
        in_float = kind in FLOAT_TREES
        converters[kind] = (
            comparing_in_float(original, with_missing) if in_float else comparing_in_double(original)
        )
        shapes[kind] = with_float_outputs(get_shape_calculator(alias))
    return converters, shapes


def _register_boosters() -> None:
    """Makes LightGBM and XGBoost models known to skl2onnx, if the user has imported them."""
    classifier_shapes = with_float_outputs(calculate_linear_classifier_output_shapes)
    regressor_shapes = with_float_outputs(calculate_linear_regressor_output_shapes)
    if "lightgbm" in sys.modules:
        from lightgbm import LGBMClassifier, LGBMRegressor
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        converter = comparing_in_double(convert_lightgbm)
        update_registered_converter(
            LGBMClassifier, "LgbmClassifier", classifier_shapes, converter, options=CLASSIFIER_OPTIONS
        )
        update_registered_converter(LGBMRegressor, "LgbmRegressor", regressor_shapes, converter)
    if "xgboost" in sys.modules:
        from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

        converter = comparing_in_float(_convert_xgboost, with_missing=False)
        for kind in (XGBClassifier, XGBRFClassifier):
            update_registered_converter(
                kind, kind.__name__, classifier_shapes, converter, options=CLASSIFIER_OPTIONS
            )
        for kind in (XGBRegressor, XGBRFRegressor):
            update_registered_converter(kind, kind.__name__, regressor_shapes, converter)


def _convert_xgboost(scope: Any, operator: Any, container: Any) -> None:
    """onnxmltools' converter, which reads a column's number from names like f3: the real names step aside for it."""
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    booster = operator.raw_operator.get_booster()
    names, types = booster.feature_names, booster.feature_types
    booster.feature_names = None
    try:
        convert_xgboost(scope, operator, container)
    finally:
        booster.feature_names, booster.feature_types = names, types


def _options(model: Any, fitted: Fitted) -> dict[int, dict[str, Any]]:
    """Probabilities as a tensor, not as a list of maps; a classifier without them must not be told so."""
    if fitted.has_probabilities:
        return {id(model): {"zipmap": False}}
    while isinstance(model, Pipeline):
        model = model.steps[-1][1]
    return {id(model): {}}


def _unwrapped(estimator: Any) -> Any:
    """What a grid search found, or the estimator itself."""
    return getattr(estimator, "best_estimator_", estimator)


def _by_position(estimator: Any) -> Any:
    """A shallow copy in which ColumnTransformers name columns by position, as one tensor [N, F] has no names."""
    if isinstance(estimator, Pipeline):
        pipeline = copy.copy(estimator)
        pipeline.steps = [(name, _by_position(step)) for name, step in estimator.steps]
        return pipeline
    if isinstance(estimator, ColumnTransformer):
        transformer = copy.copy(estimator)
        positions = estimator._transformer_to_input_indices
        transformer.transformers_ = [
            (name, _by_position(step), list(positions[name])) for name, step, _ in estimator.transformers_
        ]
        return transformer
    if isinstance(estimator, ensemble.VotingClassifier):
        # Its converter refuses the default of an option that only concerns transform.
        voting = copy.copy(estimator)
        voting.flatten_transform = False
        return voting
    return estimator


def _keep_outputs(model: onnx.ModelProto, fitted: Fitted) -> None:
    """Keeps the prediction, and the probabilities where the estimator itself has them.

    Converters also give decision values and distances, which would pass for probabilities.
    """
    kept = 2 if fitted.has_probabilities else 1
    if len(model.graph.output) <= kept:
        return
    del model.graph.output[kept:]
    used = {output.name for output in model.graph.output}
    nodes = []
    for node in reversed(model.graph.node):
        if used.intersection(node.output):
            used.update(node.input)
            nodes.append(node)
    initializers = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(nodes))
    model.graph.initializer.extend(initializers)


def _refuse_native_categories(fitted: Fitted, table: Table) -> None:
    kind = type(fitted.estimator)
    if not kind.__module__.startswith(("lightgbm", "xgboost", "sklearn.ensemble._hist_gradient_boosting")):
        return
    categorical = [
        column.name
        for column in table.columns
        if column.type == "string" or table.frame[column.name].dtype.name == "category"
    ]
    if categorical:
        raise UnsupportedModelError(
            f"{kind.__name__} treats the columns {list_names(categorical)} as categories in a way that ONNX has no "
            f"form for: encode them in a Pipeline, make_pipeline(make_column_transformer((OrdinalEncoder(), "
            f"{categorical!r}), remainder='passthrough'), {kind.__name__}())"
        )


def _describe(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return "Pipeline(" + ", ".join(type(step).__name__ for _, step in estimator.steps) + ")"
    return type(estimator).__name__
