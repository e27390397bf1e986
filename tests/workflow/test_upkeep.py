"""``counterpoise why``, ``check`` and ``gc`` on the results of a real run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from counterpoise.files import digest_of, read_json, write_json
from counterpoise.plan import load_plan
from counterpoise.planning import identity, tier_run
from counterpoise.project import load_project
from counterpoise.reference import read_references
from counterpoise.upkeep.check import check
from counterpoise.upkeep.collect import find_garbage, remove
from counterpoise.upkeep.inventory import all_plans, take_inventory
from counterpoise.upkeep.verify import verify
from counterpoise.upkeep.why import explain
from tests.checkouts import Checkout
from tests.support import ROOT, error_of, files_in


@pytest.fixture
def clone(finished: Checkout, tmp_path: Path) -> Checkout:
    return finished.copy(tmp_path / "clone")


def one(checkout: Checkout, pattern: str) -> Path:
    return min(checkout.root.glob(pattern))


def flip(path: Path) -> None:
    """Change one bit in the middle: the size stays, and most readers would not notice."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def told(checkout: Checkout, word: str, tier: str = "smoke") -> str:
    plan = load_plan(checkout.root, {"tier": tier, "papers": "all", "methods": "all"})
    return "\n".join(explain(checkout.root, plan, word))


# Check ---------------------------------------------------------------------------------------


def test_all_is_sound_after_a_run(clone: Checkout) -> None:
    done = clone.run("counterpoise", "check")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0].endswith(" sound, 0 planned but not made yet")
    assert not done.stdout.startswith("0 ")


CELL = "results/smoke/cells/*-uniform/*"
FILES = [
    f"{CELL}/weights.safetensors", f"{CELL}/history.parquet", f"{CELL}/predictions.parquet",
    f"{CELL}/record.json", f"{CELL}/scores-*.json", "results/smoke/papers/rotograd/tables-*.json",
    "results/smoke/papers/rotograd/claims-*.json", "results/smoke/papers/rotograd/figures/*.svg",
    "results/smoke/papers/rotograd/figures/*.json", "data/raw/digits-*/train-images-idx3-ubyte.gz",
    "data/raw/digits-*/source.json", "data/prepared/digits/*/*.npy",
    "data/prepared/digits/*/prepared.json", "data/prepared/digits/*/split.parquet",
    "data/prepared/digits/*/summary.json",
]  # fmt: skip


def test_one_flipped_bit_is_found_and_named(clone: Checkout) -> None:
    plans = all_plans(load_project(clone.root))
    for pattern in FILES:
        path = one(clone, pattern)
        whole = path.read_bytes()
        flip(path)
        damaged = verify(clone.root, take_inventory(clone.root, plans))
        # Scores come from predictions, and fall with them.
        assert len(damaged) == (2 if "predictions" in pattern else 1), pattern
        unit = str(path.relative_to(clone.root))
        assert any(unit.startswith(found) for found in damaged)
        path.write_bytes(whole)
    flip(path)
    lines, sound = check(clone.root)
    assert not sound and lines[0].startswith("damaged   data/prepared/digits/")
    assert "run `snakemake` again" in lines[-1]
    path.write_bytes(whole)
    assert check(clone.root)[1]


def test_a_result_of_an_earlier_version_is_stale_and_not_damaged(clone: Checkout) -> None:
    cell = one(clone, CELL)
    old = shutil.copytree(cell, cell.with_name("f" * 12))
    for path in old.glob("*.json"):
        write_json(path, {k: v for k, v in read_json(path).items() if k != "checksum"})
    lines, sound = check(clone.root)
    assert sound and not any(line.startswith("damaged") for line in lines)


def missing_weights(cell: Path) -> str:
    (cell / "weights.safetensors").unlink()
    return "weights.safetensors is missing"


def forged(cell: Path) -> str:
    """A record whose seal is right, of another protocol than its digest says."""
    record = read_json(cell / "record.json")
    record["cell"]["protocol"]["epochs"] = 9999
    del record["checksum"]
    write_json(cell / "record.json", {**record, "checksum": digest_of(record)})
    return "its digest does not match what it was made from"


def moved(cell: Path) -> str:
    cell.rename(cell.with_name("0" * 12))
    return "belongs to another cell"


@pytest.mark.parametrize("damage", [missing_weights, forged, moved])
def test_a_cell_that_is_not_what_it_says(clone: Checkout, damage: Callable[[Path], str]) -> None:
    said = damage(one(clone, CELL))
    lines, sound = check(clone.root)
    assert not sound and any(said in line for line in lines)


@pytest.mark.parametrize("content", ["[" * 200_000, "9" * 5000], ids=["deep", "long number"])
def test_what_no_reader_of_json_takes_is_damaged_and_not_the_end(
    clone: Checkout, content: str
) -> None:
    shutil.copytree(ROOT / "reports/reference/chest", clone.root / "reports/reference/chest")
    paths = [
        one(clone, f"{CELL}/record.json"),
        clone.root / "reports/reference/chest/reference.json",
    ]
    for path in paths:
        path.write_text(content)
    done = clone.run("counterpoise", "check")
    assert done.returncode == 1 and done.stderr.count("Traceback") == 0, done.stderr
    assert f"damaged   {paths[0].parent.relative_to(clone.root)}" in done.stdout
    assert "damaged   reports/reference/chest" in done.stdout
    references, unreadable = read_references(clone.root, load_project(clone.root))
    assert references == () and "reports/reference/chest: " in unreadable[0]


def test_what_is_stale_foreign_or_left_over_is_listed(clone: Checkout) -> None:
    cell = one(clone, CELL)
    (cell / "notes.txt").write_text("mine")
    (cell / ".weights-ab12cd09.safetensors").write_bytes(b"half")
    (clone.root / "elsewhere").mkdir()
    (clone.root / "results/smoke/link").symlink_to(clone.root / "elsewhere")
    clone.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 3\n")
    lines, sound = check(clone.root)
    assert not sound, "there are foreign files"
    states = {line.split()[1]: line.split()[0] for line in lines if not line[0].isdigit()}
    relative = str(cell.relative_to(clone.root))
    assert states[relative] == "stale"
    assert states[f"{relative}/notes.txt"] == "foreign"
    assert states["results/smoke/link"] == "foreign"
    assert states[f"{relative}/.weights-ab12cd09.safetensors"] == "leftover"
    assert not any(", 0 planned but not made yet" in line for line in lines)


# Why -----------------------------------------------------------------------------------------


def test_nothing_has_changed(clone: Checkout) -> None:
    said = told(clone, one(clone, CELL).parent.name)
    assert "is made, and nothing that it was made from has changed since" in said


def test_a_key_of_the_configuration_is_named_with_both_values(clone: Checkout) -> None:
    cell = one(clone, CELL)
    clone.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 3\n")
    for word in (cell.parent.name, f"{cell.parent.name}/{cell.name}", f"{cell}/record.json"):
        said = told(clone, word)
        assert "config  protocol.epochs: 2 -> 3" in said
        assert said.count("->") == 1, "nothing else has changed"
        assert f"{cell.parent.name}/{cell.name}" in said
        assert "config/papers/rotograd.yaml, config/tiers.yaml" in said


def test_an_option_of_the_data_is_named_once(clone: Checkout) -> None:
    name = one(clone, CELL).parent.name
    clone.edit("config/tiers.yaml", "train_pairs: 512", "train_pairs: 500")
    said = told(clone, name)
    assert "config  dataset_options.train_pairs: 512 -> 500" in said and said.count("->") == 1


def test_a_library_is_named(clone: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = identity.library_version

    def other(name: str, **how: bool) -> str:
        return "9.9" if name == "torch" else real(name, **how)

    monkeypatch.setattr(identity, "library_version", other)
    said = told(clone, one(clone, CELL).parent.name)
    assert "library torch: " in said and "-> 9.9" in said and said.count("->") == 1


def test_other_data_are_named_by_file(clone: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    real = tier_run.raw_identity

    def other(name: str, source: object, root: object) -> dict[str, object]:
        return {**real(name, source, root), "files": {"a.gz": "0123"}}  # type: ignore[arg-type]

    monkeypatch.setattr(tier_run, "raw_identity", other)
    said = told(clone, one(clone, CELL).parent.name)
    assert "data    a.gz: nothing -> 0123" in said


def test_an_edited_file_is_named_for_its_own_cells_only(clone: Checkout) -> None:
    method = "src/counterpoise/methods/rotograd.py"
    clone.edit(method, "PROXIMAL_EPSILON = 1e-6", "PROXIMAL_EPSILON = 2e-6")
    (other,) = clone.cells("*-rotograd")
    said = clone.run("counterpoise", "why", other.parent.name, "--tier", "smoke").stdout
    assert f"code    {method} (changed)" in said and said.count("code    ") == 1
    uniform = one(clone, CELL).parent.name
    path = one(clone, CELL) / "record.json"
    assert "nothing" in clone.run("counterpoise", "why", str(path)).stdout, "tier of the path"
    assert "nothing" in clone.run("counterpoise", "why", uniform, "--tier", "smoke").stdout
    clone.edit("src/counterpoise/evaluation/evaluate.py", "sort=True", "sort=not False")
    said = clone.run("counterpoise", "why", uniform, "--tier", "smoke").stdout
    assert "its scores are not made yet" in said
    assert "code    src/counterpoise/evaluation/evaluate.py (changed)" in said


def test_a_cell_that_does_not_exist(clone: Checkout) -> None:
    error = error_of(lambda: told(clone, "multimnist-lenet-reduced-unifrom"))
    assert "has no cell" in error.what and "did you mean" in error.remedy


def test_without_results_there_is_nothing_to_compare(clone: Checkout) -> None:
    name = one(clone, CELL).parent.name
    shutil.rmtree(clone.root / "results")
    assert "has no earlier result" in told(clone, name)


# Garbage -------------------------------------------------------------------------------------


def test_gc_shows_first_and_removes_only_what_no_plan_names(clone: Checkout) -> None:
    root, cell = clone.root, one(clone, CELL)
    assert clone.run("counterpoise", "gc").stdout == "nothing to remove\n"
    stale = shutil.copytree(cell, cell.with_name("f" * 12))
    left = cell / ".weights-ab12cd09.safetensors"
    left.write_bytes(b"half")
    old_raw = root / "data/raw/digits-00000000"
    old_raw.mkdir()
    (old_raw / "source.json").write_text("{}")
    (cell / "notes.txt").write_text("mine")
    before = files_in(root)
    shown = clone.run("counterpoise", "gc").stdout
    assert "nothing is removed yet: `counterpoise gc --yes`" in shown
    assert files_in(root) == before
    for path in (stale, left, old_raw):
        assert str(path.relative_to(root)) in shown
    done = clone.run("counterpoise", "gc", "--yes")
    assert done.returncode == 0 and "removed" in done.stdout
    gone = {name for name in before if not name.endswith(".pyc")} - set(files_in(root))
    doomed = [str(p.relative_to(root)) for p in (stale, left, old_raw)]
    assert gone == {n for n in before if n.startswith(tuple(doomed))}
    assert not stale.exists() and not old_raw.exists(), "empty folders go, too"
    assert check(root)[0][-1].startswith("1 foreign"), "what is not ours stays"
    assert "train" not in clone.planned()


def test_gc_keeps_what_the_settings_leave_out(clone: Checkout) -> None:
    clone.edit("config/config.yaml", "methods: all", "methods: [uniform]")
    assert find_garbage(clone.root).units == ()


def test_gc_waits_for_jobs(clone: Checkout) -> None:
    cell = one(clone, CELL)
    stale = shutil.copytree(cell, cell.with_name("f" * 12))
    work = clone.root / "work/smoke" / cell.parent.name / cell.name
    work.mkdir(parents=True)
    garbage = find_garbage(clone.root)
    with FileLock(work / "lock"):
        error = error_of(lambda: remove(clone.root, garbage))
    assert "training is running" in error.what and "counterpoise status" in error.remedy
    records = clone.root / "data" / "records"
    records.mkdir(parents=True, exist_ok=True)
    with FileLock(records / "mnist-01234567.lock"):
        error = error_of(lambda: remove(clone.root, garbage))
    assert "data are being fetched" in error.what
    locks = clone.root / ".snakemake/locks"
    locks.mkdir(parents=True)
    (locks / "0.output.lock").write_text("x")
    error = error_of(lambda: remove(clone.root, garbage))
    assert "snakemake --unlock" in error.remedy
    assert stale.is_dir()


def test_the_state_of_a_finished_cell_is_left_over_and_of_another_is_kept(clone: Checkout) -> None:
    cell = one(clone, CELL)
    work = clone.root / "work/smoke" / cell.parent.name / cell.name
    work.mkdir(parents=True)
    (work / "seed-0.state").write_bytes(b"state")
    assert [unit.state for unit in find_garbage(clone.root).units] == ["leftover"]
    shutil.rmtree(cell)
    assert find_garbage(clone.root).units == ()


def test_committed_results_are_verified(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    kept = clone.root / "reports" / "reference" / "kept"
    done = clone.run("counterpoise", "reference", "kept", "--tier", "smoke", "--note", "a trial")
    assert done.returncode == 0, done.stderr
    done = clone.run("counterpoise", "check")
    assert done.returncode == 0 and "sound     reports/reference/kept: 2 cells" in done.stdout
    done = clone.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 0, done.stderr
    assert "a trial" in (clone.root / "reports" / "smoke" / "index.html").read_text("utf-8")

    scores, *_ = sorted(kept.rglob("scores.json"))
    whole = scores.read_text(encoding="utf-8")
    scores.write_text(whole.replace("0.", "1.", 1), encoding="utf-8")
    (kept / "papers" / "rotograd" / "claims.json").unlink()
    done = clone.run("counterpoise", "check")
    assert done.returncode == 1 and "damaged   reports/reference/kept" in done.stdout
    assert "scores.json has changed since it was written" in done.stdout
    assert "papers/rotograd/claims.json is missing" in done.stdout

    scores.write_text(whole, encoding="utf-8")
    stray = kept / "cells" / "of-an-older-plan" / "0123456789ab" / "record.json"
    stray.parent.mkdir(parents=True)
    stray.write_text("{}", encoding="utf-8")
    clone.run("counterpoise", "reference", "kept", "--tier", "smoke")
    assert not stray.parent.parent.exists()
    record, *_ = sorted((clone.root / "results" / "smoke" / "cells").rglob("record.json"))
    content = record.read_text(encoding="utf-8")
    record.write_text(content.replace('"seconds": ', '"seconds": 1', 1), encoding="utf-8")
    done = clone.run("counterpoise", "reference", "forged", "--tier", "smoke")
    assert done.returncode == 1 and "has changed since it was written" in done.stderr
    assert not (kept.parent / "forged").exists()
    record.write_text(content, encoding="utf-8")
    clone.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 3\n")
    done = clone.run("counterpoise", "check")
    assert done.returncode == 0, done.stdout
    assert "reports/reference/kept: 2 cells, 2 made with older code or settings" in done.stdout
