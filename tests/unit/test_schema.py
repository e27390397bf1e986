"""JSON schemas for editors."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from counterpoise.spec.schema import MODELS, schema_of, write_schemas

from ..support import ROOT, files_in

CONFIG = ROOT / "config"
FILES = sorted(p for p in CONFIG.rglob("*.yaml"))


@pytest.mark.parametrize("name", MODELS)
def test_the_schema_in_the_checkout_is_current(name: str) -> None:
    path = CONFIG / "schema" / f"{name}.json"
    remedy = "run `counterpoise schema` and commit what it writes"
    assert path.is_file(), remedy
    assert json.loads(path.read_text(encoding="utf-8")) == schema_of(name), remedy


def test_there_is_no_other_schema() -> None:
    assert files_in(CONFIG / "schema") == sorted(f"{name}.json" for name in MODELS)


def schema_named_in(path: Path) -> Path:
    """The schema that an editor finds for a file, by the first line of it."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    match = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", first)
    assert match, f"{path} does not name its schema in its first line"
    return path.parent / match[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_a_config_file_is_valid_for_an_editor(path: Path) -> None:
    schema = json.loads(schema_named_in(path).read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(data)] == []


def test_an_editor_would_mark_mistakes() -> None:
    data = yaml.safe_load((CONFIG / "tiers.yaml").read_text(encoding="utf-8"))
    data["tiers"]["demo"]["datasets"]["multimnist"] |= {"epoch": 10, "seeds": 0}
    errors = jsonschema.Draft202012Validator(schema_of("tiers")).iter_errors(data)
    assert sorted(error.json_path for error in errors) == [
        "$.tiers.demo.datasets.multimnist",
        "$.tiers.demo.datasets.multimnist.seeds",
    ]


def test_keys_are_described() -> None:
    described = schema_of("config")["properties"]
    assert all(entry.get("description") for entry in described.values())


def test_writing_again_changes_no_file(tmp_path: Path) -> None:
    paths = write_schemas(tmp_path)
    before = [path.stat().st_mtime_ns for path in paths]
    assert write_schemas(tmp_path) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
