"""JSON schemas of the configuration files, generated from the models for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from counterpoise.files import to_json, write_if_changed
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import Study
from counterpoise.spec.tier import Config, Tiers
from counterpoise.spec.weights import Weights

MODELS: dict[str, type[BaseModel]] = {
    "paper": Paper,
    "dataset": Dataset,
    "study": Study,
    "tiers": Tiers,
    "config": Config,
    "weights": Weights,
}


def schema_of(name: str) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of one kind of file."""
    schema = MODELS[name].model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def write_schemas(folder: Path) -> list[Path]:
    """Write all schemas and return their paths."""
    paths = []
    for name in MODELS:
        path = folder / f"{name}.json"
        write_if_changed(path, to_json(schema_of(name)))
        paths.append(path)
    return paths
