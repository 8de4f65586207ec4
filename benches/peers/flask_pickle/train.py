"""Trains the course's wine model and pickles it: `train.py FILE`."""

import os
import pickle
import sys
from pathlib import Path

import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split

PUBLIC = "https://raw.githubusercontent.com/klaytoncastro/idp-machinelearning/main/winequality/winequality-merged.csv"


def main(pickle_path: Path) -> None:
    folder = os.environ.get("PORTEIRO_DATA")
    wines = pd.read_csv(Path(folder, "wine_quality.csv") if folder else PUBLIC)
    wines["color"] = wines["color"].map({"red": 0, "white": 1})
    is_bad = (wines["quality"] < 7).astype(int)
    train_rows, _, train_is_bad, _ = train_test_split(
        wines.drop(columns="quality"), is_bad, test_size=0.22, random_state=55
    )
    forest = ExtraTreesClassifier(n_estimators=40, max_depth=20, class_weight="balanced", random_state=42)
    forest.fit(train_rows, train_is_bad)
    # Written beside and renamed, so that a run cut short leaves no half file behind.
    half = pickle_path.with_suffix(".half")
    half.write_bytes(pickle.dumps(forest))
    half.rename(pickle_path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
