"""Files that are either whole or absent."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import UserError
from counterpoise.files import (
    atomic,
    digest_of,
    is_sealed,
    read_json,
    read_parquet,
    sha256_file,
    sweep,
    to_json,
    write_if_changed,
    write_json,
    write_text,
)

from ..support import error_of, files_in


def test_a_block_that_ends_well_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file.csv"
    for content in ("one", "two"):
        with atomic(path) as temporary:
            assert temporary.suffix == ".csv" and temporary.parent == path.parent
            temporary.write_text(content, encoding="utf-8")
            assert not path.exists() or path.read_text(encoding="utf-8") != content
        assert path.read_text(encoding="utf-8") == content
    assert files_in(tmp_path) == ["deep/er/file.csv"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.txt"
    write_text(path, "old")
    with pytest.raises(error), atomic(path) as temporary:
        temporary.write_text("new", encoding="utf-8")
        raise error
    assert path.read_text(encoding="utf-8") == "old"
    assert files_in(tmp_path) == ["file.txt"]


def test_a_block_that_fails_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="half"), atomic(tmp_path / "file.txt") as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise ValueError("half")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("replaced", [False, True])
def test_the_file_has_the_usual_permissions(tmp_path: Path, replaced: bool) -> None:
    """A temporary file may be for its owner alone; what replaces the old one must not be."""
    before = os.umask(0o022)
    try:
        with atomic(tmp_path / "file.txt") as temporary:
            if replaced:  # as safetensors does
                temporary.unlink()
                os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))
            temporary.write_text("x", encoding="utf-8")
    finally:
        os.umask(before)
    assert (tmp_path / "file.txt").stat().st_mode & 0o777 == 0o644


def test_no_thread_sees_the_permissions_of_the_process_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The umask is of all threads: what another one makes meanwhile would be open to everybody."""
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask is set"))
    write_text(tmp_path / "file.txt", "x")


def test_what_killed_processes_left_is_swept_up(tmp_path: Path) -> None:
    with atomic(tmp_path / "a[1].parquet") as first, atomic(tmp_path / "b.parquet") as second:
        for name in ("a[1].parquet", ".gitignore", ".a.parquet.part"):
            (tmp_path / name).write_bytes(b"kept")
        sweep(tmp_path, ["a[1].parquet"])
        assert not first.exists() and second.exists()
        sweep(tmp_path)
        assert files_in(tmp_path) == [".a.parquet.part", ".gitignore", "a[1].parquet"]
        first.touch()
        second.touch()


def test_a_place_that_cannot_be_written_is_the_users_to_mend(tmp_path: Path) -> None:
    """A file where a folder must be stands for a missing permission, which root does not feel."""
    (tmp_path / "folder").write_text("in the way", encoding="utf-8")
    error = error_of(lambda: write_text(tmp_path / "folder" / "file.txt", "x"))
    assert "cannot write" in error.what and "permission" in error.remedy
    assert error.where == str(tmp_path / "folder")
    assert files_in(tmp_path) == ["folder"]


def test_a_disk_that_is_full_is_the_users_to_mend(tmp_path: Path) -> None:
    def fill() -> None:
        with atomic(tmp_path / "file.txt") as temporary:
            temporary.write_text("half", encoding="utf-8")
            raise OSError(28, "No space left on device")

    error = error_of(fill)
    assert "No space left on device" in error.what and "free space" in error.remedy
    assert files_in(tmp_path) == []


def test_trouble_with_another_file_is_not_told_of_this_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "file.txt"):
        (tmp_path / "absent").read_bytes()
    assert files_in(tmp_path) == []


def test_a_users_error_passes_through(tmp_path: Path) -> None:
    inner = UserError("damaged", where="there", remedy="mend it")

    def fail() -> None:
        with atomic(tmp_path / "file.txt"):
            raise inner

    assert error_of(fail) is inner


def test_an_unchanged_text_keeps_its_time(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    assert write_if_changed(path, "ä\n")
    os.utime(path, ns=(10**18, 10**18))
    assert not write_if_changed(path, "ä\n")
    assert path.stat().st_mtime_ns == 10**18
    assert write_if_changed(path, "b\n")
    assert path.read_text(encoding="utf-8") == "b\n" and path.stat().st_mtime_ns != 10**18


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_bytes(b"\xff\xfe\x00")
    assert write_if_changed(path, "ä\n")
    assert path.read_text(encoding="utf-8") == "ä\n"


def test_lines_end_the_same_on_every_system(tmp_path: Path) -> None:
    write_text(tmp_path / "file.txt", "a\nb\n")
    assert (tmp_path / "file.txt").read_bytes() == b"a\nb\n"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(values)
def test_json_is_read_back_and_has_one_form(value: object) -> None:
    text = to_json(value)
    assert text.endswith("\n")
    assert json.loads(text) == value
    assert to_json(json.loads(text)) == text


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=2, max_size=4))
def test_the_order_of_keys_is_no_difference(value: dict[str, int]) -> None:
    turned = dict(reversed(value.items()))
    assert to_json(turned) == to_json(value) and digest_of(turned) == digest_of(value)


def test_a_digest_tells_values_apart() -> None:
    seen = [{"a": 1}, {"a": 1.5}, {"a": "1"}, {"b": 1}, [1], ["1"], None, {}, {"a": {"a": 1}}]
    assert len({digest_of(value) for value in seen}) == len(seen)
    assert len(digest_of({})) == 12 and len(digest_of({}, length=8)) == 8


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_json_is_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "file.json", {"value": value})
    assert files_in(tmp_path) == []


DAMAGED = [
    b"",
    b"{",
    b"[1,",
    b"\xff\xfe",
    b"{} {}",
    b"[" * 200_000,
    b'{"a":' * 200_000,
    b"9" * 5000,
]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: repr(content[:8]))
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    error = error_of(lambda: read_json(path))
    assert "damaged" in error.what and error.where == str(path) and "delete it" in error.remedy


def test_what_is_nested_more_deeply_than_it_can_be_written_carries_no_checksum() -> None:
    value: dict[str, object] = {}
    for _ in range(100_000):
        value = {"a": value}
    assert not is_sealed(value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    error = error_of(lambda: read_json(tmp_path / "file.json"))
    assert error.what == "no such file" and "snakemake" in error.remedy


def test_a_missing_table_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "points.parquet"
    error = error_of(lambda: read_parquet(path, "points"))
    assert error.what == "cannot find the points" and "delete" not in error.remedy
    path.write_bytes(b"no table")
    error = error_of(lambda: read_parquet(path, "points"))
    assert "cannot read the points" in error.what and "delete it" in error.remedy


def test_what_makes_a_result_is_said_with_its_tier(tmp_path: Path) -> None:
    """Snakemake makes another tier by default."""
    cell = tmp_path / "results" / "smoke" / "cells" / "a-cell" / "0123456789ab"
    command = "run `snakemake --config tier=smoke`"
    assert command in error_of(lambda: read_json(cell / "record.json")).remedy
    assert command in error_of(lambda: read_parquet(cell / "history.parquet", "history")).remedy
    write_text(cell / "record.json", "{")
    assert f"{command} again" in error_of(lambda: read_json(cell / "record.json")).remedy
    write_text(tmp_path / "results" / "file.json", "{")
    assert "tier" not in error_of(lambda: read_json(tmp_path / "results" / "file.json")).remedy


def test_sha256(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
