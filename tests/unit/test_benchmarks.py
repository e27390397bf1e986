"""benchmarks/speed.py in small: its statistics, and each of its tables on a small network."""

import math

import pytest

from benchmarks import loading, ratios, speed
from counterpoise.workflow import MEMORY


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the benchmark as its command line does; the printed lines."""
    for name, value in MEMORY.items():  # else it starts itself anew with them
        monkeypatch.setenv(name, value)

    def called(*words: str) -> list[str]:
        small = ["--batch", "4", "--blocks", "2"]
        monkeypatch.setattr("sys.argv", ["speed", *words, *small])
        speed.main()
        return capsys.readouterr().out.splitlines()

    return called


def rows(lines: list[str]) -> dict[str, list[str]]:
    """Cells of all tables by their first."""
    tables = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {first: rest for first, *rest in tables}


def test_the_ratio_is_a_geometric_mean_with_the_interval_of_student():
    value, low, high = ratios.ratio([2.0, 8.0, 4.0], [1.0, 1.0, 1.0])
    # Logarithms to base two are 1, 3 and 2: mean 2, deviation 1; 4.303 is t at 97.5 %, 2 degrees.
    assert value == pytest.approx(4)
    assert math.log2(high) == pytest.approx(2 + 4.3027 / math.sqrt(3), abs=1e-4)
    assert low * high == pytest.approx(value**2)


def test_an_interval_takes_two_blocks(capsys):
    with pytest.raises(SystemExit):
        speed.parser(None).parse_args(["--blocks", "1"])
    assert "at least 2 blocks" in capsys.readouterr().err
    assert speed.parser(None).parse_args(["--blocks", "2"]).blocks == 2


def test_the_exponent_is_that_of_a_power():
    assert ratios.exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


def test_methods_are_held_to_what_their_signal_costs(run):
    chosen = ("uniform", "famo", "gradnorm", "db_mtl")
    found = rows(run("--part", "methods", "--work", "lenet", "--method", *chosen))
    assert found["uniform"][3] == "1.000"
    floors = {name: cells[2] for name, cells in found.items()}
    assert floors["db_mtl"] == "K backward passes"
    assert floors["famo"] == "uniform, forward anew"
    assert floors["gradnorm"] == floors["gradnorm at W"] == "uniform"
    assert {"plain loop", "K backward passes", "uniform, forward anew"} < found.keys()
    for name in chosen:
        assert float(found[name][1]) > 0
        assert found[name][5].endswith((", kept", ", missed", ", open"))


def test_rivals_do_the_same_work(run, monkeypatch):
    # Each peak takes a process; test_benchmark_runs.py has them.
    monkeypatch.setattr(speed, "peaks", lambda *_: {})
    found = rows(run("--part", "rivals", "--work", "lenet", "--method", "imtl_g"))
    arms = {
        "K backward passes",
        "ours: imtl_g",
        "TorchJD autojac: IMTLG",
        "TorchJD autogram: IMTLG",
    }
    assert arms <= found.keys()
    assert all(float(found[name][0]) > 0 for name in arms)


def test_a_profile_is_of_the_whole_step(run):
    found = rows(run("--part", "profile", "--work", "lenet", "--method", "imtl_g"))
    shares = [int(cells[0]) for first, cells in found.items() if first != "operation"]
    assert len(shares) == 7 and sum(shares) == pytest.approx(100, abs=4)


def test_loading_counts_images_and_arithmetic(run):
    found = rows(run("--part", "loading", "--work", "lenet", "--precision", "bfloat16"))
    for name in ("plain loop", "ours", "loader"):
        images, share = (float(cell) for cell in found[name])
        assert images > 0
        assert math.isfinite(share)


def test_a_share_is_of_the_rate_that_products_reach(run, monkeypatch):
    """A step of 6 operations in 2 s where a product does 20 in 4 s: 3 of 5 a second."""
    monkeypatch.setattr(loading, "operations", lambda step: 6)
    monkeypatch.setattr(loading, "large_product", lambda given: (lambda: None, 20))
    seconds = {loading.PRODUCT: [1.0, 4.0, 9.0]}
    monkeypatch.setattr(
        loading, "timed",
        lambda arms, *_, **__: {n: ratios.Spent(seconds.get(n, [2.0, 2.0, 2.5])) for n in arms},
    )  # fmt: skip
    found = rows(run("--part", "loading", "--work", "lenet"))
    assert [found[name] for name in ("plain loop", "ours", "loader")] == [["2", "0.60"]] * 3
