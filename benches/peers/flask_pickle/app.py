"""The course's server: Flask, pandas and a pickled scikit-learn model. WINE_PICKLE names the model's file."""

import os
import pickle
from pathlib import Path

import pandas as pd
from flask import Flask, Response, jsonify, request

app = Flask(__name__)
model = pickle.loads(Path(os.environ["WINE_PICKLE"]).read_bytes())
LABELS = {0: "bom", 1: "ruim"}


@app.post("/predict")
def predict() -> Response:
    body = request.get_json()
    wines = body if isinstance(body, list) else [body]
    rows = pd.DataFrame(wines)[list(model.feature_names_in_)]
    answers = [{"prediction": LABELS[int(label)]} for label in model.predict(rows)]
    return jsonify(answers if isinstance(body, list) else answers[0])


@app.get("/healthz")
def healthz() -> str:
    return "ok"
