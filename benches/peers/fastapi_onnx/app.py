"""What a Python team would write by hand: FastAPI, a pydantic model and ONNX Runtime. WINE_ONNX names the model's file.

The model is run on the event loop: a row takes microseconds, less than a hop to a thread. Each worker has a session of
one thread, so that two workers do not fight over two cores.
"""

import os
from typing import Literal

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI
from pydantic import BaseModel, Field

LABELS = ("bom", "ruim")


class Wine(BaseModel):
    # In the order of the model's input columns.
    fixed_acidity: float = Field(alias="fixed acidity")
    volatile_acidity: float = Field(alias="volatile acidity")
    citric_acid: float = Field(alias="citric acid")
    residual_sugar: float = Field(alias="residual sugar")
    chlorides: float
    free_sulfur_dioxide: float = Field(alias="free sulfur dioxide")
    total_sulfur_dioxide: float = Field(alias="total sulfur dioxide")
    density: float
    pH: float
    sulphates: float
    alcohol: float
    color: float


class Answer(BaseModel):
    prediction: Literal["bom", "ruim"]
    probabilities: dict[str, float]


options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["WINE_ONNX"], options, providers=["CPUExecutionProvider"])
input_name = session.get_inputs()[0].name
app = FastAPI()


def run(wines: list[Wine]) -> list[Answer]:
    rows = np.array([tuple(wine.__dict__.values()) for wine in wines], dtype=np.float32)
    labels, probabilities = session.run(None, {input_name: rows})
    return [
        Answer(prediction=LABELS[label], probabilities=dict(zip(LABELS, row, strict=True)))
        for label, row in zip(labels.tolist(), probabilities.tolist(), strict=True)
    ]


@app.post("/predict")
async def predict(body: Wine | list[Wine]) -> Answer | list[Answer]:
    return run(body) if isinstance(body, list) else run([body])[0]


@app.get("/healthz")
async def healthz() -> str:
    return "ok"
