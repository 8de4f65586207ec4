"""Rows to send, different ones in each request, and the check of what comes back."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from load.servers import BenchError, Places, Server

BATCH_ROWS = 1000
LABELS = ("bom", "ruim")

Row = dict[str, Any]


def wines_of(csv_path: Path) -> list[Row]:
    """The rows of the wine data in the names and order of the model's features, shuffled."""
    with csv_path.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row["quality"]
        row.update({name: float(value) for name, value in row.items() if name != "color"})
        row["color"] = {"red": 0, "white": 1}[row["color"]]
    random.Random(55).shuffle(rows)
    return rows


def rows_like(example: Row, n_rows: int) -> list[Row]:
    """Rows of the example's types, each number up to a fifth away from the example's."""
    generator = random.Random(55)

    def vary(value: Any) -> Any:
        match value:
            case bool():
                return value
            case int():
                return round(value * generator.uniform(0.8, 1.2))
            case float():
                return round(value * generator.uniform(0.8, 1.2), 4)
            case _:
                return value

    return [{name: vary(value) for name, value in example.items()} for _ in range(n_rows)]


def batches(rows: list[Row]) -> list[list[Row]]:
    return [rows[start : start + BATCH_ROWS] for start in range(0, len(rows) - BATCH_ROWS + 1, BATCH_ROWS)]


def write_bodies(path: Path, bodies: list[Any]) -> Path:
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies))
    return path


def check_answers(server: Server, rows: list[Row], places: Places) -> None:
    """Compares answers, in whole batches and for single rows, with the model's own. The Flask app's pickled forest
    splits on doubles, so that a wine on a threshold may fall on the other side of it."""
    session = onnxruntime.InferenceSession(places.wine, providers=["CPUExecutionProvider"])
    tensor = np.array([list(row.values()) for row in rows], dtype=np.float32)
    classes, probabilities = session.run(None, {session.get_inputs()[0].name: tensor})[:2]
    answers: list[Row] = []
    for batch in batches(rows):
        answer = server.predict(json.dumps(batch))
        answers.extend(answer["predictions"] if isinstance(answer, dict) else answer)
    checked = [
        *enumerate(answers),
        *((index, server.predict(json.dumps(rows[index]))) for index in range(100)),
    ]
    wrong = [index for index, answer in checked if not agrees(answer, classes[index], probabilities[index])]
    if len(answers) != len(rows) // BATCH_ROWS * BATCH_ROWS:
        raise BenchError(f"{server.name}: {len(answers)} answers to {len(rows)} rows")
    if len(wrong) > (len(checked) // 100 if server.name == "flask" else 0):
        raise BenchError(
            f"{server.name}: {len(wrong)} of {len(checked)} answers are wrong, first to {rows[wrong[0]]}"
        )


def agrees(answer: Row, class_index: int, probabilities: Any) -> bool:
    expected = dict(zip(LABELS, probabilities, strict=True))
    given = answer.get("probabilities", expected)
    return answer["prediction"] == LABELS[class_index] and all(
        abs(given[label] - expected[label]) < 1e-5 for label in LABELS
    )
