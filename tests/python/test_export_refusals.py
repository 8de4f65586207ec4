"""What `export` refuses: files that disagree, rows and estimators that it can't use. Nothing is ever written then."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import porteiro
import pytest
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FRAME = pd.DataFrame(
    {"age": [20, 30, 40, 50], "fixed acidity": [1.5, 2.5, 3.5, 4.5]}, index=["a", "b", "c", "d"]
)
TARGET = pd.Series([0, 1, 0, 1], index=FRAME.index)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A path in a folder that is still empty after the test."""
    yield tmp_path / "model.onnx"
    assert list(tmp_path.iterdir()) == []


def tree() -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=0).fit(FRAME, TARGET)


def test_a_file_that_disagrees_is_not_written_and_the_rows_are_named(path: Path) -> None:
    # Two neighbours of a flower are equally far, and the file takes the other one.
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.index = [f"flower {i}" for i in range(len(X))]
    model = KNeighborsClassifier().fit(X, y)
    with pytest.raises(porteiro.DisagreementError) as refusal:
        porteiro.export(model, X[:100], path=path, X_test=X[100:])
    (row,) = refusal.value.disagreements
    assert (row.rows, row.index) == ("X", "flower 56")
    assert row.expected != row.answered
    message = str(refusal.value)
    assert "X row 'flower 56': estimator 1 [0. , 0.8, 0.2], ONNX 1 [0., 1., 0.]" in message
    assert "nothing was written" in message
    assert "one float tensor [N, F]: 1 of 150 rows; one double tensor [N, F]: 1 of 150 rows" in message


def test_the_tolerance_is_the_users(path: Path) -> None:
    X = pd.DataFrame({"x": np.linspace(0, 1, 50) ** 3})
    model = DecisionTreeRegressor().fit(X, np.exp(X["x"]))  # Its doubles are floats in any ONNX tree.
    with pytest.raises(porteiro.DisagreementError, match="X_test row 1: estimator") as refusal:
        porteiro.export(model, X[:1], path=path, X_test=X, tolerance=porteiro.Tolerance(0, 1e-9))
    assert "more (see the error's `disagreements`)" in str(refusal.value)


def test_a_disagreement_leaves_an_older_file_in_place(tmp_path: Path) -> None:
    old = tmp_path / "model.onnx"
    porteiro.export(tree(), FRAME, path=old)
    before = old.read_bytes()
    X, y = load_iris(return_X_y=True, as_frame=True)
    with pytest.raises(porteiro.DisagreementError):
        porteiro.export(KNeighborsClassifier().fit(X, y), X, path=old)
    assert old.read_bytes() == before
    assert list(tmp_path.iterdir()) == [old]


def seconds(rows: int = 400) -> tuple[pd.DataFrame, pd.Series]:
    """Unix times, which float32 rounds to multiples of 128 seconds, and a target that changes within those."""
    X = pd.DataFrame({"time": 1_700_000_000.0 + np.arange(rows)})
    return X, pd.Series(np.arange(rows) // 40 % 2)


def test_double_inputs_where_float_ones_disagree(tmp_path: Path) -> None:
    X, y = seconds()
    for model in (lightgbm.LGBMClassifier(n_estimators=5, verbose=-1), lightgbm.LGBMRegressor(verbose=-1)):
        result = porteiro.export(model.fit(X, y), X, y, path=tmp_path / "model.onnx")
        assert result.inputs == "one double tensor [N, F]"


def test_a_pipeline_scales_in_double_for_a_tree_that_compares_in_float(tmp_path: Path) -> None:
    X, y = seconds()
    model = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(X, y)
    assert model.score(X, y) == 1
    result = porteiro.export(model, X, y, path=tmp_path / "model.onnx")
    assert result.inputs == "one double tensor [N, F], as float before the last step"


def with_column(**values: Any) -> pd.DataFrame:
    return FRAME.assign(**values)


STRANGE_ROWS = {
    "lacks a column": (FRAME[["age"]], "lacks 'fixed acidity'"),
    "has another column": (with_column(wage=1), "has 'wage', unknown to the estimator"),
    "other order": (
        FRAME[["fixed acidity", "age"]],
        "column 0 is 'fixed acidity', it was 'age'; reorder them: X = X[list(estimator.feature_names_in_)]",
    ),
    "a name twice": (FRAME.set_axis(["age", "age"], axis=1), "more than one column named 'age'"),
    "a name that is no string": (
        FRAME.set_axis(["age", 7], axis=1),
        "a column named 7: names must be non-empty",
    ),
    "infinite": (with_column(age=[1, np.inf, 2, 3]), "column 'age' of X has an infinite value in row 'b'"),
    "mixed types": (
        with_column(age=[20, "30", 40, 50]),
        "column 'age' of X has dtype object and values of type int (row 'a'), str (row 'b')",
    ),
    "numbers as objects": (
        with_column(age=pd.Series([1, 2, 3, 4], FRAME.index, object)),
        "pd.to_numeric(X['age'])",
    ),
    "missing strings": (
        with_column(age=["x", None, "y", "z"]),
        "column 'age' of X has strings and 1 missing values, first in row 'b'",
    ),
    "dates": (
        with_column(age=pd.date_range("2024-01-01", periods=4)),
        "column 'age' of X has dtype datetime64",
    ),
    "no rows": (FRAME[:0], "X has shape (0, 2)"),
    "one dimension": (
        FRAME["age"],
        "two-dimensional array of shape (rows, features), not Series of 1 dimensions",
    ),
    "too narrow an array": (
        np.ones((4, 1)),
        "X has 1 columns, but 2 features are expected: 'age', 'fixed acidity'",
    ),
}


@pytest.mark.parametrize("name", STRANGE_ROWS)
def test_rows_that_no_model_takes(name: str, path: Path) -> None:
    rows, message = STRANGE_ROWS[name]
    with pytest.raises(porteiro.DataError) as refusal:
        porteiro.export(tree(), rows, path=path)
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y": TARGET[:3]}, "y has 3 values, but X has 4 rows"),
        ({"y": pd.Series([0, 1, None, 1])}, "y has 1 missing values, first at position 2"),
        ({"y": pd.Series(["bom", "ruim", "bom", "ruim"])}, "y has 'bom', which is no class of the model"),
        ({"y": np.ones((4, 2))}, "y has shape (4, 2)"),
        ({"X_test": FRAME.assign(age="x")}, "column 'age' of X_test is of type string, but of type int in X"),
        ({"y_test": TARGET}, "y_test was given without X_test"),
        ({"X_test": FRAME[["age"]]}, "X_test lacks 'fixed acidity'"),
        (
            {"labels": {0: "bom", 2: "ruim"}},
            "labels has 2, which is no class of the model: its classes are 0, 1",
        ),
        ({"labels": {0: "bom"}}, "labels has no text for the class 1"),
        ({"example": {"age": 1, "acid": 2.0}}, "it lacks 'fixed acidity'; it has 'acid'"),
        ({"example": {"age": 1.5, "fixed acidity": 2.0}}, "example has 1.5 for 'age', which is of type int"),
    ],
)
def test_arguments_that_contradict_the_model(arguments: dict[str, Any], message: str, path: Path) -> None:
    with pytest.raises(porteiro.DataError) as refusal:
        porteiro.export(tree(), FRAME, **{"path": path, **arguments})
    assert message in str(refusal.value)


@pytest.mark.parametrize("wrong", ["model.pkl", "models", "."])
def test_a_path_that_names_no_onnx_file(wrong: str, path: Path) -> None:
    with pytest.raises(porteiro.DataError, match="must name a file that ends in .onnx"):
        porteiro.export(tree(), FRAME, path=path.parent / wrong)


def test_an_unfitted_estimator(path: Path) -> None:
    for model in (DecisionTreeClassifier(), lightgbm.LGBMClassifier(), make_pipeline(LogisticRegression())):
        with pytest.raises(porteiro.DataError, match="is not fitted: call fit"):
            porteiro.export(model, FRAME, path=path)


def two_targets() -> DecisionTreeRegressor:
    return DecisionTreeRegressor().fit(FRAME, FRAME)


def booster_over_strings() -> lightgbm.LGBMClassifier:
    X = FRAME.assign(age=pd.Categorical(["x", "y", "x", "y"]))
    return lightgbm.LGBMClassifier(min_child_samples=1, verbose=-1).fit(X, TARGET)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IsolationForest().fit(FRAME), "IsolationForest is no classifier, regressor or clusterer"),
        (lambda: StandardScaler().fit(FRAME), "StandardScaler has no predict"),
        (two_targets, "predicts 2 targets at once"),
        (lambda: tree_booster().booster_, "train with the scikit-learn one"),
        (
            lambda: make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit(FRAME, TARGET),
            "Pipeline(FunctionTransformer, LogisticRegression) can't be converted to ONNX",
        ),
    ],
    ids=["outlier detector", "transformer", "two targets", "native booster", "own function"],
)
def test_estimators_without_a_form(make: Any, message: str, path: Path) -> None:
    with pytest.raises(porteiro.UnsupportedModelError) as refusal:
        porteiro.export(make(), FRAME, path=path)
    assert message in str(refusal.value)


def tree_booster() -> lightgbm.LGBMClassifier:
    return lightgbm.LGBMClassifier(min_child_samples=1, verbose=-1).fit(FRAME, TARGET)


def test_a_boosters_own_categories_have_no_form(path: Path) -> None:
    X = FRAME.assign(age=pd.Categorical(["x", "y", "x", "y"]))
    with pytest.raises(porteiro.UnsupportedModelError, match="treats the columns 'age' as categories"):
        porteiro.export(booster_over_strings(), X, path=path)


def test_a_label_outside_the_classes_of_the_held_out_rows(path: Path) -> None:
    with pytest.raises(porteiro.DataError, match="y_test has 5, which is no class of the model"):
        porteiro.export(tree(), FRAME, path=path, X_test=FRAME, y_test=[0, 1, 5, 0])


def test_strings_need_a_pipeline_that_encodes_them(tmp_path: Path) -> None:
    X = FRAME.assign(region=["x", "y", "x", "y"])
    transformer = make_column_transformer((OneHotEncoder(), ["region"]), remainder="passthrough")
    model = make_pipeline(transformer, DecisionTreeClassifier()).fit(X, TARGET)
    result = porteiro.export(model, X, path=tmp_path / "model.onnx")
    assert result.features == ["age", "fixed acidity", "region"]
