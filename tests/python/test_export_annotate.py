"""`annotate`: ONNX files of other tools get the contract, with their own predictions in it."""

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
from onnx import TensorProto, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as OnnxmlFloat
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

ReadContract = Callable[[Path], dict[str, Any]]
X, Y = load_iris(return_X_y=True, as_frame=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])
ONE_FLOAT_TENSOR = [("X", FloatTensorType([None, 4]))]


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_default_skl2onnx_classifier_with_zipmap(tmp_path: Path, read_contract: ReadContract) -> None:
    model = RandomForestClassifier(10, random_state=0).fit(X[::2], NAMES[Y[::2]])
    path = saved(to_onnx(model, initial_types=ONE_FLOAT_TENSOR), tmp_path)
    result = porteiro.annotate(
        path, X[::2], NAMES[Y[::2]], X_test=X[1::2], y_test=NAMES[Y[1::2]], target="species"
    )
    document = read_contract(path)
    assert document["task"] == "classification"
    assert document["classes"] == NAMES.tolist()
    assert document["target"] == "species"
    assert [feature["name"] for feature in document["features"]] == list(X.columns)
    golden = pd.DataFrame(document["golden"]["rows"], columns=X.columns)
    np.testing.assert_allclose(document["golden"]["probabilities"], model.predict_proba(golden), atol=1e-5)
    assert document["golden"]["predictions"] == model.predict(golden).tolist()
    assert result.metrics["accuracy"] == model.score(X[1::2], NAMES[Y[1::2]])
    assert result.agreement is None
    assert "the predictions are the ONNX file's own" in repr(result)


def test_float32_votes_that_sum_to_more_than_one(tmp_path: Path) -> None:
    """A forest of 20 trees sums 20 times 0.05 in float32, and that is 1.0000001."""
    model = RandomForestClassifier(20, random_state=1).fit(X[::2].to_numpy(), Y[::2])
    path = saved(to_onnx(model, initial_types=ONE_FLOAT_TENSOR, options={"zipmap": False}), tmp_path)
    votes = onnxruntime.InferenceSession(path).run(["probabilities"], {"X": X.to_numpy(np.float32)})[0]
    assert votes.max() > 1.0
    result = porteiro.annotate(path, X[::2], Y[::2], X_test=X[1::2], y_test=Y[1::2])
    assert 0.0 <= result.metrics["log_loss"] < 1.0


def test_the_file_still_answers_the_same(tmp_path: Path) -> None:
    path = saved(
        to_onnx(LogisticRegression(max_iter=999).fit(X, Y), initial_types=ONE_FLOAT_TENSOR), tmp_path
    )
    before = path.read_bytes()
    copy = tmp_path / "annotated.onnx"
    porteiro.annotate(path, X, path=copy, version="7")
    assert path.read_bytes() == before
    feeds = {"X": X.to_numpy(np.float32)}
    outputs = [onnxruntime.InferenceSession(file.read_bytes()).run(None, feeds) for file in (path, copy)]
    assert outputs[0][0].tolist() == outputs[1][0].tolist()
    assert outputs[0][1] == outputs[1][1]


def test_onnxmltools_lightgbm(tmp_path: Path, read_contract: ReadContract) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(X, Y)
    path = saved(
        convert_lightgbm(model, initial_types=[("input", OnnxmlFloat([None, 4]))], target_opset=15), tmp_path
    )
    porteiro.annotate(path, X, Y, labels=dict(enumerate(NAMES)))
    document = read_contract(path)
    assert document["classes"] == [0, 1, 2]
    assert document["labels"] == {"0": "setosa", "1": "versicolor", "2": "virginica"}
    golden = pd.DataFrame(document["golden"]["rows"], columns=X.columns)
    assert document["golden"]["predictions"] == model.predict(golden).tolist()
    np.testing.assert_allclose(document["golden"]["probabilities"], model.predict_proba(golden), atol=1e-5)


def test_onnxmltools_xgboost(tmp_path: Path, read_contract: ReadContract) -> None:
    for model, task in (
        (xgboost.XGBClassifier(n_estimators=5), "classification"),
        (xgboost.XGBRegressor(), "regression"),
    ):
        model.fit(X.to_numpy(), Y)
        path = saved(
            convert_xgboost(model, initial_types=[("input", OnnxmlFloat([None, 4]))], target_opset=15),
            tmp_path,
        )
        porteiro.annotate(path, X, Y)
        document = read_contract(path)
        assert document["task"] == task
        golden = np.array(document["golden"]["rows"])
        np.testing.assert_allclose(
            document["golden"]["predictions"], model.predict(golden), rtol=1e-4, atol=1e-5
        )


def test_columns_go_to_inputs_by_name(tmp_path: Path, read_contract: ReadContract) -> None:
    rows = pd.DataFrame({"age": [20, 30, 40, 50] * 6, "region": ["a", "b", "b", "c"] * 6})
    encoder = make_column_transformer((OneHotEncoder(), ["region"]), remainder="passthrough")
    model = make_pipeline(encoder, LogisticRegression()).fit(rows, rows["region"] == "b")
    types = [("age", Int64TensorType([None, 1])), ("region", StringTensorType([None, 1]))]
    path = saved(to_onnx(model, initial_types=types), tmp_path)
    porteiro.annotate(path, rows[["region", "age"]], classes=[False, True])
    document = read_contract(path)
    assert [feature["name"] for feature in document["features"]] == ["age", "region"]
    assert document["classes"] == [False, True]
    assert all(isinstance(row[0], int) and isinstance(row[1], str) for row in document["golden"]["rows"])


def test_integer_inputs_make_integer_features(tmp_path: Path, read_contract: ReadContract) -> None:
    rows = pd.DataFrame({"n": [1.0, 2.0, 3.0] * 10})
    model = LinearRegression().fit(rows, rows["n"])
    path = saved(to_onnx(model, initial_types=[("n", Int64TensorType([None, 1]))]), tmp_path)
    porteiro.annotate(path, rows)
    document = read_contract(path)
    assert document["features"] == [{"name": "n", "type": "int", "nullable": False, "min": 1, "max": 3}]
    assert document["example"] == {"n": 1}
    with pytest.raises(
        porteiro.DataError, match="column 'n' of X has fractions, but input 'n' is a tensor.int64"
    ):
        porteiro.annotate(path, rows + 0.5)
    with pytest.raises(porteiro.DataError, match="column 'n' of X has missing values, but input 'n'"):
        porteiro.annotate(path, rows.replace(1, np.nan))


def test_integers_without_probabilities_are_clusters_unless_there_is_a_target(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    path = saved(to_onnx(KMeans(3, random_state=0).fit(X), initial_types=ONE_FLOAT_TENSOR), tmp_path)
    porteiro.annotate(path, X)
    document = read_contract(path)
    assert document["task"] == "clustering"
    assert set(document["golden"]["predictions"]) == {0, 1, 2}
    porteiro.annotate(path, X, Y)
    document = read_contract(path)
    assert document["task"] == "classification"
    assert "probabilities" not in document["golden"], "distances are no probabilities"


def torch_like(last: list[onnx.NodeProto], rows: int | str = "batch", n_outputs: int = 3) -> onnx.ModelProto:
    """A graph as torch.onnx writes them: one float input, one float output, no labels."""
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.normal(size=(4, n_outputs)).astype(np.float32), "weights")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["scores"]), *last],
        "torch",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, n_outputs])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


SOFTMAX = [helper.make_node("Softmax", ["scores"], ["y"], axis=1)]
IDENTITY = [helper.make_node("Identity", ["scores"], ["y"])]


def test_scores_alone_are_raw_unless_the_user_says_classes(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    path = saved(torch_like(SOFTMAX), tmp_path)
    porteiro.annotate(path, X)
    document = read_contract(path)
    assert document["task"] == "raw"
    assert "golden" not in document
    assert len(document["features"]) == 4
    porteiro.annotate(path, X, classes=NAMES.tolist())
    golden = read_contract(path)["golden"]
    assert golden["predictions"] == NAMES[np.argmax(golden["probabilities"], axis=1)].tolist()
    np.testing.assert_allclose(np.sum(golden["probabilities"], axis=1), 1, rtol=1e-5)


def test_logits_choose_the_class_and_are_no_probabilities(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    path = saved(torch_like(IDENTITY), tmp_path)
    porteiro.annotate(path, X, task="classification")
    document = read_contract(path)
    assert document["classes"] == [0, 1, 2]
    assert "probabilities" not in document["golden"]


def test_one_number_is_a_regression_and_a_fixed_batch_of_one_is_run_row_by_row(
    tmp_path: Path, read_contract: ReadContract
) -> None:
    path = saved(torch_like(IDENTITY, rows=1, n_outputs=1), tmp_path)
    porteiro.annotate(path, X)
    document = read_contract(path)
    assert document["task"] == "regression"
    assert document["reference"]["prediction"]["std"] > 0


def test_files_and_rows_that_do_not_fit(tmp_path: Path) -> None:
    path = saved(torch_like(IDENTITY), tmp_path)
    before = path.read_bytes()
    with pytest.raises(
        porteiro.DataError, match="X has 3 columns, but the ONNX file takes 4: input 'x' takes 4"
    ):
        porteiro.annotate(path, X.iloc[:, :3])
    with pytest.raises(porteiro.DataError, match="column 'kind' of X is of type string, but input 'x'"):
        porteiro.annotate(path, X.iloc[:, :3].assign(kind="a"))
    with pytest.raises(porteiro.DataError, match="labels were given, but the file's task is raw"):
        porteiro.annotate(path, X, labels={0: "a"})
    with pytest.raises(porteiro.UnsupportedModelError, match="takes exactly 8 rows"):
        porteiro.annotate(saved(torch_like(IDENTITY, rows=8), tmp_path), X)
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(porteiro.UnsupportedModelError, match="ONNX Runtime can't load the file"):
        porteiro.annotate(path, X)


def test_an_annotated_regressor_has_held_out_metrics(tmp_path: Path) -> None:
    model = LinearRegression().fit(X, Y)
    path = saved(to_onnx(model, initial_types=ONE_FLOAT_TENSOR), tmp_path)
    result = porteiro.annotate(path, X, Y, X_test=X[::3], y_test=Y[::3])
    assert result.metrics["r2"] == pytest.approx(model.score(X[::3], Y[::3]), rel=1e-5)
