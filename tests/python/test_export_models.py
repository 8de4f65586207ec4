"""Every kind of estimator that `export` takes: the file answers, in a session of its own, as the estimator does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import porteiro
import pytest
import xgboost
from porteiro.votes import on_grid, scaled_votes, voting_trees
from sklearn import ensemble, tree
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

ReadContract = Callable[[Path], dict[str, Any]]
COLUMNS = ["fixed acidity", "pH", "rooms", "age"]


def numbers(rows: int = 300, with_missing: bool = False) -> pd.DataFrame:
    """Doubles that float32 does not hold, integers and, if asked for, missing values."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(5, 2, (rows, 3)).round(3), columns=COLUMNS[:3])
    frame["age"] = random.integers(18, 90, rows)
    if with_missing:
        frame.loc[random.random(rows) < 0.2, "pH"] = np.nan
    return frame


def amounts(X: pd.DataFrame) -> pd.Series:
    noise = np.random.default_rng(1).normal(0, 0.5, len(X))
    return (2 * X["fixed acidity"] + X["pH"].fillna(1) ** 2 + X["age"] / 10 + noise).rename("amount")


def kinds(X: pd.DataFrame, n_classes: int) -> pd.Series:
    return pd.qcut(amounts(X), n_classes, labels=False).rename("kind")


def run(path: Path, X: pd.DataFrame) -> list[Any]:
    """The file's outputs, fed as the contract says: the columns laid over the inputs in order."""
    session = onnxruntime.InferenceSession(path.read_bytes())
    types = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": object}
    feeds, start = {}, 0
    for node in session.get_inputs():
        block = X.iloc[:, start : start + node.shape[1]]
        feeds[node.name] = block.to_numpy().astype(types[node.type])
        start += node.shape[1]
    return session.run(None, feeds)


def check_classifier(model: Any, X: pd.DataFrame, y: pd.Series, path: Path) -> porteiro.Result:
    train, held_out = slice(0, len(X) * 2 // 3), slice(len(X) * 2 // 3, None)
    # A clone, as XGBoost remembers the objective of an earlier fit.
    model = clone(model).fit(X[train], y[train])
    result = porteiro.export(model, X[train], y[train], path=path, X_test=X[held_out], y_test=y[held_out])
    label, probabilities = run(path, X)
    assert label.tolist() == model.predict(X).tolist()
    np.testing.assert_allclose(probabilities, model.predict_proba(X), rtol=1e-4, atol=1e-5)
    assert result.metrics["accuracy"] == model.score(X[held_out], y[held_out])
    assert result.agreement.rows == len(X)
    return result


def check_regressor(model: Any, X: pd.DataFrame, y: pd.Series, path: Path) -> porteiro.Result:
    train, held_out = slice(0, len(X) * 2 // 3), slice(len(X) * 2 // 3, None)
    # A clone, as XGBoost remembers the objective of an earlier fit.
    model = clone(model).fit(X[train], y[train])
    result = porteiro.export(model, X[train], y[train], path=path, X_test=X[held_out], y_test=y[held_out])
    np.testing.assert_allclose(run(path, X)[0].ravel(), model.predict(X), rtol=1e-4, atol=1e-4)
    assert result.metrics["r2"] == pytest.approx(model.score(X[held_out], y[held_out]))
    return result


CLASSIFIERS = {
    "RandomForest": ensemble.RandomForestClassifier(40, random_state=0),
    "DecisionTree": tree.DecisionTreeClassifier(random_state=0),
    "ExtraTrees": ensemble.ExtraTreesClassifier(40, random_state=0, class_weight="balanced"),
    "GradientBoosting": ensemble.GradientBoostingClassifier(n_estimators=20, random_state=0),
    "LogisticRegression": LogisticRegression(max_iter=5000),
    "MLP": make_pipeline(
        StandardScaler(), MLPClassifier(hidden_layer_sizes=(16,), max_iter=300, random_state=0)
    ),
    "HistGradientBoosting": ensemble.HistGradientBoostingClassifier(max_iter=20, random_state=0),
    "LightGBM": lightgbm.LGBMClassifier(n_estimators=20, verbose=-1),
    "XGBoost": xgboost.XGBClassifier(n_estimators=20),
    "grid search": GridSearchCV(tree.DecisionTreeClassifier(random_state=0), {"max_depth": [2, 4]}),
}
REGRESSORS = {
    "RandomForest": ensemble.RandomForestRegressor(40, random_state=0),
    "DecisionTree": tree.DecisionTreeRegressor(random_state=0),
    "ExtraTrees": ensemble.ExtraTreesRegressor(40, random_state=0),
    "GradientBoosting": ensemble.GradientBoostingRegressor(n_estimators=20, random_state=0),
    "LinearRegression": LinearRegression(),
    "MLP": make_pipeline(
        StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), max_iter=300, random_state=0)
    ),
    "HistGradientBoosting": ensemble.HistGradientBoostingRegressor(max_iter=20, random_state=0),
    "LightGBM": lightgbm.LGBMRegressor(n_estimators=20, verbose=-1),
    "XGBoost": xgboost.XGBRegressor(n_estimators=20),
}
TREES = ["RandomForest", "DecisionTree", "ExtraTrees", "HistGradientBoosting", "LightGBM", "XGBoost"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name: str, n_classes: int, tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers()
    result = check_classifier(CLASSIFIERS[name], X, kinds(X, n_classes), tmp_path / "model.onnx")
    document = read_contract(result.path)
    assert document["task"] == "classification"
    assert document["classes"] == list(range(n_classes))
    assert document["target"] == "kind"
    assert result.features == COLUMNS


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name: str, tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers()
    result = check_regressor(REGRESSORS[name], X, amounts(X), tmp_path / "model.onnx")
    document = read_contract(result.path)
    assert document["task"] == "regression"
    assert "classes" not in document
    assert document["target"] == "amount"


@pytest.mark.parametrize("name", TREES)
def test_missing_numbers(name: str, tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers(with_missing=True)
    result = check_classifier(CLASSIFIERS[name], X, kinds(X, 2), tmp_path / "classifier.onnx")
    features = {feature["name"]: feature for feature in read_contract(result.path)["features"]}
    assert features["pH"]["nullable"]
    assert not features["age"]["nullable"]
    assert any(None in row for row in read_contract(result.path)["golden"]["rows"])
    check_regressor(REGRESSORS[name], X, amounts(X), tmp_path / "regressor.onnx")


@pytest.mark.parametrize("name", TREES)
def test_trees_are_one_node_with_one_float_input(name: str, tmp_path: Path) -> None:
    X = numbers()
    model = clone(CLASSIFIERS[name]).fit(X, kinds(X, 2))
    result = porteiro.export(model, X, path=tmp_path / "model.onnx")
    graph = onnx.load(result.path).graph
    assert [node.op_type for node in graph.node].count("TreeEnsembleClassifier") == 1
    assert {node.op_type for node in graph.node} <= {"TreeEnsembleClassifier", "Identity", "Cast"}
    assert result.inputs == "one float tensor [N, F]"


def test_clusters(tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers()
    model = make_pipeline(StandardScaler(), KMeans(4, n_init=3, random_state=0)).fit(X)
    result = porteiro.export(model, X[:200], path=tmp_path / "model.onnx", X_test=X[200:])
    outputs = run(result.path, X)
    assert len(outputs) == 1, "distances would pass for probabilities"
    assert outputs[0].tolist() == model.predict(X).tolist()
    document = read_contract(result.path)
    assert document["task"] == "clustering"
    assert set(document["golden"]["predictions"]) == {0, 1, 2, 3}
    assert set(document["reference"]["prediction"]["counts"]) == {"0", "1", "2", "3"}


def test_ties_of_votes_fall_as_in_scikit_learn(tmp_path: Path) -> None:
    X = numbers(2000)
    y = kinds(X, 2) ^ (np.random.default_rng(3).random(len(X)) < 0.3)
    for n_trees in (2, 6, 10, 40):
        model = ensemble.RandomForestClassifier(n_trees, random_state=0).fit(X[:1000], y[:1000])
        porteiro.export(model, X[:1000], path=tmp_path / "model.onnx")
        tied = X[1000:][model.predict_proba(X[1000:])[:, 0] == 0.5]
        assert len(tied) > 5
        assert run(tmp_path / "model.onnx", tied)[0].tolist() == model.predict(tied).tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("max_depth", [3, None])
def test_large_forests(max_depth: int | None, n_classes: int, tmp_path: Path) -> None:
    X = numbers(150)
    y = kinds(X, n_classes) ^ (np.random.default_rng(3).random(len(X)) < 0.2)
    # 300 votes of 1/300 fit the grid of exact sums, 500 votes of 1/500 and fractions of them don't.
    for n_trees in (300, 500):
        model = ensemble.RandomForestClassifier(n_trees, max_depth=max_depth, random_state=0).fit(X, y)
        result = porteiro.export(model, X, path=tmp_path / "model.onnx")
        assert result.inputs == "one float tensor [N, F]"
        alone = [run(result.path, X.iloc[[row]])[1][0] for row in range(20)]
        together = run(result.path, X)[1][:20]
        np.testing.assert_allclose(alone, together, atol=1e-6)


def test_votes_tie_exactly_in_float32() -> None:
    for n_trees in range(2, 1200):
        votes = {"class_weights": [np.float32(1 / n_trees)] * n_trees, "class_treeids": range(n_trees)}
        attributes = votes | {"classlabels_int64s": [0, 1]}
        assert voting_trees(attributes) == n_trees
        exact = on_grid(attributes, n_trees) or scaled_votes(attributes, n_trees).attributes
        scores = np.cumsum([*exact.get("base_values", [0]), *exact["class_weights"]], dtype=np.float32)
        half = n_trees // 2
        assert scores[half] <= 0.5 < scores[half + 1], n_trees


@pytest.mark.parametrize("labels", [["bom", "ruim"], [False, True], [1.0, 2.0], [10, 20]])
@pytest.mark.parametrize("name", ["RandomForest", "LogisticRegression", "LightGBM", "HistGradientBoosting"])
def test_kinds_of_labels(name: str, labels: list[Any], tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers()
    y = np.array(labels)[kinds(X, 2)]
    model = clone(CLASSIFIERS[name]).fit(X, y)
    result = porteiro.export(model, X, y, path=tmp_path / "model.onnx", X_test=X[:60], y_test=y[:60])
    document = read_contract(result.path)
    # 1 == 1.0 == True in Python, but not in JSON.
    expected = [int(label) if isinstance(label, float) else label for label in labels]
    assert [(value, type(value)) for value in document["classes"]] == [
        (value, type(value)) for value in expected
    ]
    assert set(document["golden"]["predictions"]) == set(labels)
    assert run(result.path, X)[0].tolist() == model.predict(X).tolist()


def test_xgboost_with_early_stopping(tmp_path: Path) -> None:
    X = numbers()
    y = kinds(X, 3)
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=3)
    model.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=False)
    assert model.best_iteration < 190
    porteiro.export(model, X[:200], path=tmp_path / "model.onnx")
    assert run(tmp_path / "model.onnx", X)[0].tolist() == model.predict(X).tolist()
    assert list(model.get_booster().feature_names) == COLUMNS, "export gives the booster back as it was"


def test_a_classifier_without_probabilities(tmp_path: Path, read_contract: ReadContract) -> None:
    X = numbers()
    model = make_pipeline(StandardScaler(), LinearSVC()).fit(X, kinds(X, 3))
    result = porteiro.export(model, X, path=tmp_path / "model.onnx")
    outputs = run(result.path, X)
    assert len(outputs) == 1, "decision values would pass for probabilities"
    assert outputs[0].tolist() == model.predict(X).tolist()
    assert "probabilities" not in read_contract(result.path)["golden"]


def mixed(rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "income": random.normal(30_000, 9_000, rows).round(2),
            "region": random.choice(["INNER_CITY", "TOWN", "RURAL"], rows),
            "children": random.integers(0, 4, rows),
            "car": pd.Categorical(random.choice(["YES", "NO"], rows)),
            "married": random.random(rows) < 0.5,
        }
    )


STRINGS = ["region", "car"]


@pytest.mark.parametrize(
    "model",
    [
        ensemble.RandomForestClassifier(20, random_state=0),
        LogisticRegression(max_iter=10_000),
        lightgbm.LGBMClassifier(n_estimators=20, verbose=-1),
        xgboost.XGBClassifier(n_estimators=20),
        ensemble.HistGradientBoostingClassifier(max_iter=20),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize(
    "encoder", [OneHotEncoder(handle_unknown="ignore", sparse_output=False), OrdinalEncoder()]
)
def test_pipelines_over_strings(
    model: Any, encoder: Any, tmp_path: Path, read_contract: ReadContract
) -> None:
    X = mixed()
    y = ((X["income"] > 30_000) ^ (X["region"] == "TOWN") & X["married"]).map({True: 1, False: 0})
    pipeline = make_pipeline(make_column_transformer((encoder, STRINGS), remainder="passthrough"), model)
    result = check_classifier(pipeline, X, y, tmp_path / "model.onnx")
    assert [node.name for node in onnx.load(result.path).graph.input] == list(X.columns)
    features = read_contract(result.path)["features"]
    assert [feature["type"] for feature in features] == ["float", "string", "int", "string", "bool"]
    assert features[1]["categories"] == ["INNER_CITY", "RURAL", "TOWN"]
    assert "categories" not in features[0]


def test_a_pipeline_over_named_numbers_takes_one_tensor(tmp_path: Path) -> None:
    X = numbers(with_missing=True)
    scaled = make_pipeline(SimpleImputer(), StandardScaler())
    transformer = make_column_transformer((scaled, ["pH", "rooms"]), ("passthrough", ["age"]))
    result = check_regressor(
        make_pipeline(transformer, LinearRegression()), X, amounts(X), tmp_path / "model.onnx"
    )
    graph = onnx.load(result.path).graph
    assert len(graph.input) == 1
    assert graph.input[0].type.tensor_type.shape.dim[1].dim_value == 4


def test_columns_named_as_outputs_are(tmp_path: Path) -> None:
    X = mixed().rename(columns={"income": "probabilities", "children": "label", "region": "variable"})
    y = X["probabilities"] > 30_000
    encoder = make_column_transformer((OneHotEncoder(), ["variable", "car"]), remainder="passthrough")
    model = make_pipeline(encoder, ensemble.RandomForestClassifier(20, random_state=0))
    assert check_classifier(model, X, y, tmp_path / "model.onnx").features == list(X.columns)


def test_whole_numbers_in_training_and_fractions_in_held_out_rows_are_floats(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    X = pd.DataFrame({"n": np.arange(40)})
    model = tree.DecisionTreeRegressor().fit(X, X["n"])
    result = porteiro.export(model, X, path=tmp_path / "model.onnx", X_test=X + 0.25)
    (feature,) = read_contract(result.path)["features"]
    assert feature == {"name": "n", "type": "float", "nullable": False, "min": 0, "max": 39}


def test_an_array_has_numbered_features(tmp_path: Path) -> None:
    X = numbers()
    model = tree.DecisionTreeClassifier().fit(X.to_numpy(), kinds(X, 2))
    result = porteiro.export(model, X.to_numpy(), path=tmp_path / "model.onnx")
    assert result.features == ["f0", "f1", "f2", "f3"]


def test_an_array_for_a_model_with_names_gets_the_names(tmp_path: Path) -> None:
    X = numbers()
    model = tree.DecisionTreeClassifier().fit(X, kinds(X, 2))
    assert porteiro.export(model, X.to_numpy(), path=tmp_path / "model.onnx").features == COLUMNS
