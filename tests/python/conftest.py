"""Fixtures that several test modules share."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import onnx
import pytest


@pytest.fixture(scope="session")
def read_contract() -> Callable[[Path], dict[str, Any]]:
    """Reads the document of an ONNX file, checked against its schema and without NaN."""
    schema = json.loads(files("porteiro").joinpath("contract.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    def not_json(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    def read(path: Path) -> dict[str, Any]:
        properties = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        document: dict[str, Any] = json.loads(properties["porteiro"], parse_constant=not_json)
        validator.validate(document)
        return document

    return read
