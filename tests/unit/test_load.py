"""YAML files into models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from counterpoise.errors import UserErrors
from counterpoise.spec.base import Model
from counterpoise.spec.load import MAX_BYTES, MAX_DEPTH, Document, parse, read_yaml

from ..support import error_of


def written(folder: Path, content: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder: Path, content: str | bytes) -> Document:
    return read_yaml(written(folder, content))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2 core schema, section 10.3.2; what 1.1 reads otherwise stays text.
        ("5", 5), ("+1", 1), ("-3", -3), ("010", 10), ("1e-3", 1e-3), (".5", 0.5), ("1.", 1.0),
        ("-2.5E+2", -250.0), (".inf", math.inf), ("-.Inf", -math.inf), ("true", True),
        ("FALSE", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("12:30:00", "12:30:00"), ("1_000", "1_000"),
        ("2021-01-01", "2021-01-01"), ('"5"', "5"), ("'true'", "true"), ('"null"', "null"),
    ],
)  # fmt: skip
def test_scalars_are_those_of_yaml_1_2(tmp_path: Path, text: str, value: Any) -> None:
    found = read(tmp_path, f"key: {text}\n").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number(tmp_path: Path) -> None:
    found = read(tmp_path, "key: .nan\n").data["key"]
    assert isinstance(found, float) and math.isnan(found)


@pytest.mark.parametrize("content", ["a: x\nb: [y, z]\n", "a: x\r\nb: [y, z]\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends_change_nothing(
    tmp_path: Path, content: str, mark: bytes
) -> None:
    document = read(tmp_path, mark + content.encode())
    assert document.data == {"a": "x", "b": ["y", "z"]}
    assert document.where(("b", 1)).endswith("file.yaml:2")


def test_an_empty_file_holds_no_keys(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing but a comment\n").data == {}


@pytest.mark.parametrize(
    ("content", "line", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' appears twice"),
        ("outer:\n  a: 1\n  a: 2\n", 3, "key 'a' appears twice"),
        ("a: &x [1]\nb: *x\n", 2, "aliases"),
        ("a: 1\nb: !local 5\n", 2, "tag"),
        ('a: 1\nb: !!python/object/apply:os.system ["true"]\n', 2, "tag"),
        ("a: 1\nb: !!str 5\n", 2, "tag"),
        ("a: 1\n? [b]\n: 2\n", 2, "a key must be a plain word"),
        ("a: 1\nb: [1, 2\nc: 3\n", 3, "not valid YAML"),
        ("a: 1\n---\nb: 2\n", 2, "not valid YAML"),
        ("a: 1\nb: " + "9" * 5000, 2, "number"),
    ],
    ids=["key twice", "inner key twice", "alias", "own tag", "python tag", "standard tag",
         "list as a key", "open list", "two documents", "endless number"],
)  # fmt: skip
def test_what_is_refused_is_named_with_its_line(
    tmp_path: Path, content: str, line: int, said: str
) -> None:
    error = error_of(lambda: read(tmp_path, content))
    assert error.where.endswith(f"file.yaml:{line}")
    assert said in error.what


def test_a_bomb_of_aliases_is_refused_before_it_is_built(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert "aliases" in error_of(lambda: read(tmp_path, "\n".join(lines))).what


@pytest.mark.timeout(60)  # libyaml takes minutes: its time grows with the square of the depth
@pytest.mark.parametrize("nested", ["[" * 5000 + "]" * 5000, "[" * 400_000, "{a: " * 60 + "}" * 60])
def test_deep_nesting_is_refused(tmp_path: Path, nested: str) -> None:
    error = error_of(lambda: read(tmp_path, f"a: {nested}"))
    assert "nested too deeply" in error.what or "not valid YAML" in error.what


def test_nesting_up_to_the_limit_is_read(tmp_path: Path) -> None:
    depth = MAX_DEPTH - 1
    assert read(tmp_path, f"a: {'[' * depth}x{']' * depth}").data["a"]
    assert error_of(lambda: read(tmp_path, f"a: {'[' * (depth + 1)}x{']' * (depth + 1)}"))


def test_size_is_limited(tmp_path: Path) -> None:
    assert read(tmp_path, b"#" * MAX_BYTES).data == {}
    assert "larger than" in error_of(lambda: read(tmp_path, b"#" * (MAX_BYTES + 1))).what


@pytest.mark.parametrize("content", ["a: ä".encode("latin-1"), "a: 1".encode("utf-16")])
def test_other_encodings_are_refused(tmp_path: Path, content: bytes) -> None:
    error = error_of(lambda: read(tmp_path, content))
    assert error.what == "not UTF-8" and "UTF-8" in error.remedy


@pytest.mark.parametrize("content", ["a: \x00", 'a: "\x07"'])
def test_control_characters_are_refused(tmp_path: Path, content: str) -> None:
    assert "not valid YAML" in error_of(lambda: read(tmp_path, content)).what


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = error_of(lambda: read_yaml(tmp_path / "absent.yaml"))
    assert error.where.endswith("absent.yaml") and error.remedy


class Inner(Model):
    rate: Annotated[float, Field(gt=0)] = 1.0
    epochs: int


class Outer(Model):
    title: str
    parts: dict[str, Inner] = {}
    items: tuple[Inner, ...] = ()


def problems(folder: Path, content: str) -> list[Any]:
    with pytest.raises(UserErrors) as caught:
        parse(Outer, read(folder, content))
    return caught.value.errors


def test_every_problem_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        "titel: x\n"  # and so `title` is missing
        "parts:\n"
        "  one:\n"
        "    rate: -1\n"
        "    epochs: many\n"
        "  two: {rat: 2, epochs: 1}\n"
        "items:\n"
        "  - epochs: 1\n"
        "  - rate: 1\n",
    )
    told = {(error.where.rpartition(":")[2], error.what): error.remedy for error in found}
    assert len(told) == 6
    assert told["1", "unknown key 'titel'"] == "did you mean 'title'?"
    assert told["6", "unknown key 'parts.two.rat'"] == "did you mean 'rate'?"
    assert ("1", "key 'title' is missing") in told
    assert ("9", "key 'items.1.epochs' is missing") in told
    rate, epochs = (next(w for n, w in told if n == line) for line in ("4", "5"))
    assert "greater than 0" in rate and "-1" in rate
    assert "integer" in epochs and "many" in epochs


def test_without_a_near_key_all_are_listed(tmp_path: Path) -> None:
    (error,) = problems(tmp_path, "title: x\nzzz: 1\n")
    assert error.remedy == "use one of: items, parts, title"


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: str) -> None:
    (error,) = problems(tmp_path, content)
    assert "file.yaml:1" in error.where
