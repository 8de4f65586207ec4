"""The notebooks run whole, and the gateway answers for their held-out rows as their estimators do.

The notebooks run once, in a folder of their own. Under nbmake each leaves its estimator and its held-out rows beside the
model (`post_cell_execute` in the metadata of its export cell), which is what the gateway's answers are compared with. The
comparison is made for the models just made and for the committed ones, so that these are what the notebooks make.
"""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import nbformat
import numpy as np
import pandas as pd
import pytest
import requests
from gateway import ROOT, Gateway

NAMES = ["air_quality", "bank", "housing", "iris", "wine"]
LABELS = {"wine": {0: "bom", 1: "ruim"}}
TOLERANCE = 1e-5
ROWS_PER_REQUEST = 1000
MAX_MODEL_BYTES = 5_000_000
MAX_NOTEBOOK_BYTES = 300_000


@dataclass(frozen=True)
class HeldOut:
    """A notebook's held-out rows and the estimator's own answers for them, as the gateway words them."""

    rows: list[dict[str, Any]]
    predictions: list[Any]  # Texts of classes, or numbers.
    probabilities: list[dict[str, float]] | None  # By the text of the class; none for regression.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `models/` and `held_out/`, filled by one run of all notebooks."""
    folder = tmp_path_factory.mktemp("notebooks")
    env = {**os.environ, "ORT_DISABLE_TELEMETRY": "1"}
    for variable, name in [("PORTEIRO_MODELS", "models"), ("PORTEIRO_HELD_OUT", "held_out")]:
        (folder / name).mkdir()
        env[variable] = str(folder / name)
    if data := os.environ.get("PORTEIRO_DATA"):
        # Notebooks run in their own folder, so a relative path must be made absolute here.
        assert Path(data).is_dir(), f"PORTEIRO_DATA names {data}, which is not a folder"
        env["PORTEIRO_DATA"] = str(Path(data).resolve())
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbmake", "-q", "-p", "no:cacheprovider", str(ROOT / "notebooks")],
        check=False,  # Its output says which cell failed; the assertion below shows it.
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert run.returncode == 0, run.stdout
    return folder


@pytest.fixture(scope="module", params=["made now", "committed"])
def served(
    request: pytest.FixtureRequest, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with all five models in their ONNX files, either those just made or those of the repository."""
    models = made / "models" if request.param == "made now" else ROOT / "models"
    with Gateway(tmp_path_factory.mktemp("gateway"), models) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def held_out(made: Path) -> dict[str, HeldOut]:
    return {name: load_held_out(made / "held_out" / f"{name}.joblib", LABELS.get(name, {})) for name in NAMES}


def load_held_out(path: Path, labels: dict[Any, str]) -> HeldOut:
    """Reads what a notebook left; `labels` gives the texts of classes that are not their own text."""
    model, X = joblib.load(path)
    rows = X.astype(object).where(X.notna(), None).to_dict("records")
    predictions = model.predict(X).tolist()
    if not hasattr(model, "predict_proba"):
        return HeldOut(rows, predictions, None)
    texts = [labels.get(name, str(name)) for name in model.classes_.tolist()]
    probabilities = [dict(zip(texts, row, strict=True)) for row in model.predict_proba(X).tolist()]
    return HeldOut(rows, [labels.get(name, str(name)) for name in predictions], probabilities)


def post(gateway: Gateway, name: str, body: Any) -> dict[str, Any]:
    answer = requests.post(gateway.url(f"/predict/{name}"), json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_answers(answers: list[dict[str, Any]], expected: HeldOut) -> None:
    """Each answer is the estimator's: the same class, numbers within TOLERANCE."""
    assert len(answers) == len(expected.rows)
    predictions = [answer["prediction"] for answer in answers]
    if expected.probabilities is None:
        np.testing.assert_allclose(predictions, expected.predictions, rtol=0, atol=TOLERANCE)
        return
    wrong = [
        row
        for row, (ours, theirs) in enumerate(zip(predictions, expected.predictions, strict=True))
        if ours != theirs
    ]
    assert not wrong, f"other classes than the estimator's in held-out rows {wrong}"
    # A DataFrame lays both out by class, and shows a class that only one of them names as missing.
    ours = pd.DataFrame([answer["probabilities"] for answer in answers])
    theirs = pd.DataFrame(expected.probabilities)
    pd.testing.assert_frame_equal(ours, theirs, check_like=True, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_every_held_out_row_is_answered_as_the_estimator_answers(
    served: Gateway, held_out: dict[str, HeldOut], name: str
) -> None:
    expected = held_out[name]
    answers = []
    for start in range(0, len(expected.rows), ROWS_PER_REQUEST):
        answer = post(served, name, expected.rows[start : start + ROWS_PER_REQUEST])
        assert (answer["model"], answer["version"]) == (name, "1")
        answers += answer["predictions"]
    assert_answers(answers, expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_sent_alone_is_answered_the_same(
    served: Gateway, held_out: dict[str, HeldOut], name: str
) -> None:
    every = held_out[name]
    sample = slice(None, None, max(1, len(every.rows) // 25))
    some = HeldOut(
        every.rows[sample],
        every.predictions[sample],
        every.probabilities[sample] if every.probabilities else None,
    )
    assert_answers([post(served, name, row) for row in some.rows], some)


def test_missing_sensors_are_among_the_held_out_rows(held_out: dict[str, HeldOut]) -> None:
    missing = [row for row in held_out["air_quality"].rows if row["T"] is None]
    assert missing, "parity with missing values is not tested any more"


@pytest.mark.parametrize("name", NAMES)
def test_the_commands_that_end_a_notebook_work(served: Gateway, name: str) -> None:
    commands = curl_commands(ROOT / "notebooks" / f"{name}.ipynb")
    assert commands, "the notebook ends without a curl command"
    for command in commands:
        answer = run_curl(served, command)
        assert answer.status_code == 200, f"{command}\n{answer.text}"
        if answer.request.method == "POST":
            assert answer.json()["model"] == name


def curl_commands(path: Path) -> list[list[str]]:
    """The curl commands in the ```sh block of a notebook's last cell, each as its arguments."""
    notebook = nbformat.read(path, as_version=4)
    block = re.search(r"```sh\n(.*?)```", notebook.cells[-1].source, re.DOTALL)
    assert block, f"{path.name} does not end with a block of commands"
    # shlex knows the shell's quotes, and so a command that goes over several lines stays one.
    words = shlex.split(block.group(1))
    starts = [index for index, word in enumerate(words) if word == "curl"] + [len(words)]
    return [words[start + 1 : end] for start, end in itertools.pairwise(starts)]


def run_curl(gateway: Gateway, arguments: list[str]) -> requests.Response:
    """Sends what `curl` with these arguments would send, to `gateway`; curl itself may not be installed."""
    body, url = None, None
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # What curl -d says.
    rest = iter(arguments)
    for argument in rest:
        if argument == "-H":
            name, value = next(rest).split(": ", 1)
            headers[name] = value
        elif argument == "-d":
            value = next(rest)
            # From a file, -d leaves the line ends out.
            text = (ROOT / value[1:]).read_text().replace("\n", "") if value.startswith("@") else value
            body = text.encode()
        else:
            assert argument.startswith("http://localhost:5000/"), f"unexpected argument {argument}"
            url = argument.replace("http://localhost:5000", gateway.base_url)
    assert url, f"no address in {arguments}"
    return requests.request("GET" if body is None else "POST", url, data=body, headers=headers, timeout=60)


@pytest.mark.parametrize("name", ["bom", "ruim"])
def test_the_example_wines_are_held_out_and_predicted_as_they_are(
    served: Gateway, held_out: dict[str, HeldOut], made: Path, name: str
) -> None:
    committed = (ROOT / "models" / "examples" / f"wine_{name}.json").read_text()
    # The notebook picks them by their true class, so what it writes is truly good or bad.
    assert committed == (made / "models" / "examples" / f"wine_{name}.json").read_text()
    wine = json.loads(committed)
    assert wine in held_out["wine"].rows
    assert post(served, "wine", wine)["prediction"] == name


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_model_is_small(name: str) -> None:
    assert (ROOT / "models" / f"{name}.onnx").stat().st_size <= MAX_MODEL_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_notebook_shows_clean_outputs(name: str) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    assert path.stat().st_size <= MAX_NOTEBOOK_BYTES
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), (
        "run it from top to bottom"
    )
    outputs = [output for cell in cells for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2, (
        "a plot of the data, one of the result"
    )
    for output in outputs:
        assert output.output_type != "error" and output.get("name") != "stderr", output
        texts = [
            output.get("text", ""),
            *(v for k, v in output.get("data", {}).items() if k.startswith("text/")),
        ]
        assert not re.search(r"/(home|tmp|Users|work|root)/", "".join(texts)), (
            "a path of the machine it ran on"
        )
