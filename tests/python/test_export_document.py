"""The document that `export` writes: statistics as numpy and pandas have them, golden rows, labels, the summary."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import pandas as pd
import porteiro
import pytest
from sklearn import metrics
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

ReadContract = Callable[[Path], dict[str, Any]]


def people(rows: int = 600) -> pd.DataFrame:
    random = np.random.default_rng(11)
    return pd.DataFrame(
        {
            "income": random.lognormal(10, 1, rows),
            "children": random.integers(0, 4, rows),
            "married": random.random(rows) < 0.3,
            "town": random.choice([f"town {i:03}" for i in range(150)], rows),
            "region": random.choice(["north", "south", "east"], rows, p=[0.5, 0.3, 0.2]),
        },
        index=[f"person {i}" for i in range(rows)],
    )


def pep(X: pd.DataFrame) -> pd.Series:
    return pd.Series(np.where((X["income"] > 25_000) ^ X["married"], "YES", "NO"), X.index, name="pep")


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, read_contract: ReadContract) -> dict[str, Any]:
    X = people()
    y = pep(X)
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["town", "region"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, RandomForestClassifier(20, random_state=0)).fit(X[:400], y[:400])
    result = porteiro.export(
        model,
        X[:400],
        y[:400],
        path=tmp_path_factory.mktemp("bank") / "bank.onnx",
        X_test=X[400:],
        y_test=y[400:],
        version="2024-07",
        labels={"NO": "no plan", "YES": "a plan"},
    )
    return {"X": X, "y": y, "model": model, "result": result, "document": read_contract(result.path)}


def test_the_document_in_the_file_is_the_results(bank: dict[str, Any]) -> None:
    assert bank["document"] == json.loads(json.dumps(bank["result"].document))
    keys = [
        "format",
        "task",
        "version",
        "target",
        "features",
        "classes",
        "labels",
        "example",
        "trained",
        "reference",
    ]
    assert list(bank["document"]) == [*keys, "golden"]
    assert bank["document"]["version"] == "2024-07"
    assert bank["document"]["labels"] == {"NO": "no plan", "YES": "a plan"}


def test_features_say_type_and_range(bank: dict[str, Any]) -> None:
    income, children, married, town, region = bank["document"]["features"]
    training = bank["X"][:400]
    assert income == {
        "name": "income",
        "type": "float",
        "nullable": False,
        "min": training["income"].min(),
        "max": training["income"].max(),
    }
    assert children == {"name": "children", "type": "int", "nullable": False, "min": 0, "max": 3}
    assert married == {"name": "married", "type": "bool", "nullable": False}
    assert town == {"name": "town", "type": "string", "nullable": False}, "150 towns are too many to list"
    assert region["categories"] == ["east", "north", "south"]


def test_statistics_of_numbers_are_numpys(bank: dict[str, Any]) -> None:
    values = bank["X"][:400]["income"].to_numpy()
    assert bank["document"]["reference"]["rows"] == 400
    assert bank["document"]["reference"]["features"]["income"] == {
        "missing": 0,
        "mean": values.mean(),
        "std": values.std(),
        "min": values.min(),
        "max": values.max(),
        "quantiles": [np.quantile(values, q / 100) for q in range(101)],
    }
    counts = bank["X"][:400]["children"].value_counts().sort_index()
    assert bank["document"]["reference"]["features"]["children"]["values"] == [
        [v, c] for v, c in counts.items()
    ]


def test_statistics_of_categories_are_pandas(bank: dict[str, Any]) -> None:
    features = bank["document"]["reference"]["features"]
    training = bank["X"][:400]
    assert features["region"] == {
        "missing": 0,
        "counts": training["region"].value_counts().to_dict(),
        "other": 0,
    }
    married = int(training["married"].sum())
    assert features["married"]["counts"] == {"false": 400 - married, "true": married}
    towns = training["town"].value_counts()
    assert len(features["town"]["counts"]) == 100
    assert sum(features["town"]["counts"].values()) + features["town"]["other"] == 400
    assert sorted(features["town"]["counts"].values()) == sorted(towns.iloc[:100])


def test_statistics_of_predictions(bank: dict[str, Any]) -> None:
    training = bank["X"][:400]
    prediction = bank["document"]["reference"]["prediction"]
    assert prediction["counts"] == pd.Series(bank["model"].predict(training)).value_counts().to_dict()
    probabilities = bank["model"].predict_proba(training)
    means = [column["mean"] for column in prediction["probabilities"]]
    assert means == pytest.approx(probabilities.mean(axis=0), rel=1e-12)


def test_metrics_are_scikit_learns(bank: dict[str, Any]) -> None:
    X, y, model = bank["X"][400:], bank["y"][400:], bank["model"]
    predicted, probability = model.predict(X), model.predict_proba(X)
    positive = {"pos_label": "YES"}
    trained = bank["document"]["trained"]
    assert (trained["rows"], trained["held_out_rows"]) == (400, 200)
    assert trained["metrics"] == {
        "accuracy": metrics.accuracy_score(y, predicted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted),
        "precision": metrics.precision_score(y, predicted, **positive),
        "recall": metrics.recall_score(y, predicted, **positive),
        "f1": metrics.f1_score(y, predicted, **positive),
        "log_loss": metrics.log_loss(y, probability),
        "roc_auc": metrics.roc_auc_score(y, probability[:, 1]),
    }
    assert {"scikit-learn", "skl2onnx", "onnx", "porteiro"} <= set(trained["libraries"])


def test_golden_rows_are_held_out_rows_with_the_estimators_answers(bank: dict[str, Any]) -> None:
    golden = bank["document"]["golden"]
    held_out = bank["X"][400:]
    rows = pd.DataFrame(golden["rows"], columns=held_out.columns)
    assert len(rows) >= 20
    assert len(rows.merge(held_out)) == len(rows)
    assert golden["predictions"] == bank["model"].predict(rows).tolist()
    assert golden["probabilities"] == bank["model"].predict_proba(rows).tolist()
    assert set(golden["predictions"]) == {"YES", "NO"}
    assert golden["tolerance"] == {"absolute": 1e-5, "relative": 1e-4}
    assert bank["document"]["example"] == held_out.iloc[0].to_dict()


def test_the_summary_shows_what_a_reader_wants(bank: dict[str, Any]) -> None:
    summary = repr(bank["result"])
    for text in (
        "bank.onnx",
        "version 2024-07",
        "'pep', classification: no plan, a plan",
        "5: income, children",
    ):
        assert text in summary
    assert "with the estimator on all 600 rows" in summary
    assert f"200 rows: accuracy {bank['result'].metrics['accuracy']:.4g}" in summary


def test_missing_numbers_are_counted_and_left_out(tmp_path: Path, read_contract: ReadContract) -> None:
    X = pd.DataFrame(
        {"a": np.arange(80.0), "empty": np.nan, "whole": pd.array([1, None] * 40, dtype="Int64")}
    )
    X.loc[:19, "a"] = np.nan
    model = lightgbm.LGBMRegressor(verbose=-1).fit(X, np.arange(80.0))
    document = read_contract(porteiro.export(model, X, path=tmp_path / "model.onnx").path)
    statistics = document["reference"]["features"]
    assert statistics["a"]["missing"] == 0.25
    assert statistics["a"]["quantiles"][0] == 20
    assert statistics["empty"] == {"missing": 1}
    assert statistics["whole"]["values"] == [[1, 40]]
    assert [feature["type"] for feature in document["features"]] == ["float", "float", "int"]
    assert all(feature["nullable"] for feature in document["features"])
    assert {type(row[2]) for row in document["golden"]["rows"]} == {int, type(None)}
    assert "held_out_rows" not in document["trained"]


def test_regression_metrics_and_tolerance_in_the_targets_unit(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    X = pd.DataFrame({"x": np.linspace(1, 2, 200)})
    y = X["x"] ** 2 * 1e6
    model = DecisionTreeRegressor(max_depth=3).fit(X, y)
    document = read_contract(porteiro.export(model, X, y, path=tmp_path / "m.onnx", X_test=X, y_test=y).path)
    predicted = model.predict(X)
    assert document["trained"]["metrics"] == {
        "mae": metrics.mean_absolute_error(y, predicted),
        "rmse": metrics.root_mean_squared_error(y, predicted),
        "r2": metrics.r2_score(y, predicted),
        "mape": metrics.mean_absolute_percentage_error(y, predicted),
    }
    assert document["golden"]["tolerance"]["absolute"] == pytest.approx(1e-5 * predicted.std())
    chosen = document["golden"]["predictions"]
    assert (min(chosen), max(chosen)) == (predicted.min(), predicted.max())


def test_every_class_has_a_golden_row(tmp_path: Path, read_contract: ReadContract) -> None:
    X = pd.DataFrame({"x": np.repeat(np.arange(60), 3)})
    model = DecisionTreeClassifier().fit(X, X["x"])
    document = read_contract(porteiro.export(model, X, path=tmp_path / "model.onnx").path)
    assert set(document["golden"]["predictions"]) == set(range(60))


def test_the_users_example_and_labels(tmp_path: Path, read_contract: ReadContract) -> None:
    X = pd.DataFrame({"x": [1.0, 2.0, 3.0], "n": [1, 2, 3]})
    model = DecisionTreeClassifier().fit(X, [True, False, True])
    result = porteiro.export(
        model,
        X,
        path=tmp_path / "new folder" / "model.onnx",
        example={"n": np.int64(7), "x": 9},
        labels={False: "bom", "true": "ruim"},
    )
    document = read_contract(result.path)
    assert document["example"] == {"x": 9, "n": 7}
    assert document["labels"] == {"false": "bom", "true": "ruim"}
    assert document["classes"] == [False, True]
    assert "classification: bom, ruim" in repr(result)


def test_a_second_export_replaces_the_document(tmp_path: Path) -> None:
    X = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = DecisionTreeClassifier().fit(X, [0, 1, 0])
    for version in ("1", "2"):
        result = porteiro.export(model, X, path=tmp_path / "model.onnx", version=version)
    (entry,) = [entry for entry in onnx.load(result.path).metadata_props if entry.key == "porteiro"]
    assert json.loads(entry.value)["version"] == "2"
    assert result.path.stat().st_mode & 0o444 == 0o444, "another user's gateway can read it"
