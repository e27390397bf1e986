"""A colleague clones, pulls and rebuilds; from each kind of remote, and from none."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkouts import Checkout, jobs
from tests.workflow.test_dvc import for_smoke

PULL = ("dvc", "pull", "data", "results", "report")
RESULTS = ("weights.safetensors", "history.parquet", "predictions.parquet", "scores-*.json")
METHOD = "src/counterpoise/methods/rotograd.py"
OLD, NEW = "PROXIMAL_EPSILON = 1e-6", "PROXIMAL_EPSILON = 2e-6"


def well(checkout: Checkout, *command: str) -> str:
    done = checkout.run(*command)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def commit_all(checkout: Checkout) -> None:
    well(checkout, "git", "add", "-A")
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    well(checkout, "git", *who, "commit", "-qm", "A commit")


def clone_of(source: Checkout, target: Path, remote: str | None = None) -> Checkout:
    """A clone by git: what is not committed is not there."""
    well(source, "git", "clone", "-q", str(source.root), str(target))
    clone = Checkout(target)
    assert not (target / "results").exists() and not (target / "data").exists()
    if remote is not None:
        well(clone, "dvc", "remote", "add", "-q", "--local", "-df", "elsewhere", remote)
    return clone


@pytest.fixture(scope="module")
def published(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A repository whose results are in a remote that is a folder."""
    folder = tmp_path_factory.mktemp("published")
    made = for_smoke(finished.copy(folder / "repository"))
    shutil.copytree(finished.root / ".dvc", made.root / ".dvc")
    well(made, "dvc", "remote", "add", "-q", "-d", "store", str(folder / "store"))
    well(made, "dvc", "commit", "-q", "-f", "data", "results", "report")
    commit_all(made)
    well(made, "dvc", "push")
    return made


def store_of(published: Checkout) -> Path:
    return published.root.parent / "store"


def test_a_fresh_clone_pulls_and_trains_nothing(published: Checkout, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    well(clone, *PULL)
    data = [path.name for path in (clone.root / "data").rglob("*") if path.is_file()]
    assert len(data) < 10 and not [n for n in data if n.endswith((".png", ".jpg"))], "packed"
    assert "up to date" in well(clone, "dvc", "repro")
    said = clone.snakemake("all")
    assert not {"download", "prepare", "split", "train", "evaluate"} & set(jobs(said))
    assert clone.bytes_of(RESULTS) == published.bytes_of(RESULTS) != {}
    assert (clone.root / "reports/smoke/index.html").stat().st_size > 10_000
    assert well(clone, "counterpoise", "check").endswith("0 planned but not made yet\n")


def test_a_changed_method_asks_for_its_cells_only(published: Checkout, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    well(clone, *PULL)
    clone.edit(METHOD, OLD, NEW)
    planned = clone.planned()
    assert planned["train"] == planned["evaluate"] == 1 and "prepare" not in planned


@pytest.mark.slow
def test_repro_trains_a_changed_method_only(published: Checkout, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    well(clone, *PULL)
    before = {p: p.stat().st_mtime_ns for p in (clone.root / "results").rglob("*.safetensors")}
    clone.edit(METHOD, OLD, NEW)
    well(clone, "dvc", "repro")
    after = {p: p.stat().st_mtime_ns for p in (clone.root / "results").rglob("*.safetensors")}
    assert len(after) == len(before) + 1 and before.items() <= after.items()
    assert "Nothing to be done" in clone.snakemake("all")


# Without the remote ---------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", ["no remote", "unreachable", "lacks weights"])
def test_a_clone_that_cannot_pull_says_so_and_wants_everything(
    published: Checkout, tmp_path: Path, trouble: str
) -> None:
    clone = _clone_in_trouble(published, tmp_path, trouble)
    done = clone.run(*PULL)
    assert done.returncode != 0 and "ERROR" in done.stderr and "Traceback" not in done.stderr
    planned = clone.planned()
    assert planned["train"] == 2 and planned["evaluate"] == 2 and planned["gate"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", ["snakemake", "dvc"])
def test_it_rebuilds_everything(published: Checkout, tmp_path: Path, command: str) -> None:
    clone = _clone_in_trouble(published, tmp_path, "lacks weights")
    assert clone.run(*PULL).returncode != 0
    if command == "dvc":
        well(clone, "dvc", "repro")
    else:
        clone.snakemake("all")
    assert clone.bytes_of(RESULTS) == published.bytes_of(RESULTS)
    assert len(list(clone.root.rglob("weights.safetensors"))) == 2


def _clone_in_trouble(published: Checkout, folder: Path, trouble: str) -> Checkout:
    if trouble == "unreachable":
        return clone_of(published, folder / "clone", "http://127.0.0.1:9/")
    if trouble == "no remote":
        clone = clone_of(published, folder / "clone")
        well(clone, "dvc", "remote", "remove", "store")
        return clone
    store = shutil.copytree(store_of(published), folder / "store")
    large = sorted((p for p in store.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    weights = {p.read_bytes() for p in published.root.rglob("weights.safetensors")}
    removed = [p.unlink() for p in large if p.read_bytes() in weights]
    assert len(removed) == 2
    return clone_of(published, folder / "clone", str(store))


# Remotes of other kinds -----------------------------------------------------------------------


@pytest.fixture
def web(published: Checkout) -> Iterator[str]:
    """The remote's folder behind a web server that only reads."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    handler = partial(Quiet, directory=str(store_of(published)))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_pull_by_http_and_push_is_refused(published: Checkout, web: str, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone", web)
    well(clone, *PULL)
    assert clone.bytes_of(RESULTS) == published.bytes_of(RESULTS)
    report = clone.root / "reports/smoke/index.html"
    report.write_text(report.read_text() + "<!-- mine -->")
    well(clone, "dvc", "commit", "-q", "-f", "report")
    done = clone.run("dvc", "push", "report")
    assert done.returncode != 0 and "ERROR" in done.stderr and "Traceback" not in done.stderr


def test_push_to_and_pull_from_s3(published: Checkout, tmp_path: Path) -> None:
    """A real S3 server, on this machine, spoken to by the real client."""
    pytest.importorskip("dvc_s3", reason="dvc-s3 is not installed")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed")
    boto3 = pytest.importorskip("boto3")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    settings = {"url": "s3://lab/counterpoise", "endpointurl": address, "region": "us-east-1",
                "access_key_id": "key", "secret_access_key": "secret"}  # fmt: skip
    try:
        boto3.client("s3", endpoint_url=address, region_name="us-east-1", **keys).create_bucket(
            Bucket="lab"
        )
        made = Checkout(Path(shutil.copytree(published.root, tmp_path / "made", symlinks=True)))
        clone = clone_of(published, tmp_path / "clone")
        for checkout in (made, clone):
            own = ["[core]", "remote = bucket", "['remote \"bucket\"']"]
            own += [f"{name} = {value}" for name, value in settings.items()]
            (checkout.root / ".dvc/config.local").write_text("\n".join(own) + "\n")
        well(made, "dvc", "push", "data", "results", "report")
        well(clone, *PULL)
    finally:
        server.stop()
    assert clone.bytes_of(RESULTS) == published.bytes_of(RESULTS)
    assert "train" not in clone.planned()
    assert "secret" not in (clone.root / ".dvc/config").read_text()


# Raw data -------------------------------------------------------------------------------------


def test_raw_data_travel_by_a_small_file(published: Checkout, tmp_path: Path) -> None:
    made = Checkout(Path(shutil.copytree(published.root, tmp_path / "made", symlinks=True)))
    (raw,) = (made.root / "data/raw").glob("digits-*")
    well(made, "dvc", "add", "-q", str(raw.relative_to(made.root)))
    pointer = raw.with_name(f"{raw.name}.dvc")
    assert pointer.stat().st_size < 500
    assert pointer.name in well(made, "git", "status", "--short", "-uall"), "git can see it"
    commit_all(made)
    assert f"data/raw/{raw.name}.dvc" in well(made, "git", "ls-files")
    assert not [n for n in well(made, "git", "ls-files").split() if n.endswith(".gz")]
    pushed = f"data/raw/{raw.name}.dvc"
    well(made, "dvc", "push", pushed)
    clone = clone_of_committed(made, tmp_path / "clone")
    well(clone, "dvc", "pull", pushed)
    assert [p.read_bytes() for p in sorted(raw.iterdir())] == [
        p.read_bytes() for p in sorted((clone.root / "data/raw" / raw.name).iterdir())
    ]
    planned = clone.planned()
    assert "download" not in planned and planned["prepare"] == 1


def clone_of_committed(source: Checkout, target: Path) -> Checkout:
    well(source, "git", "clone", "-q", str(source.root), str(target))
    return Checkout(target)


# Experiments ----------------------------------------------------------------------------------


def test_metrics_and_plots_are_read_by_dvc(published: Checkout, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    well(clone, *PULL)
    path = clone.root / "reports/smoke/metrics.json"
    path.write_text(path.read_text().replace('"accuracy": 0', '"accuracy": 1'))
    compared = well(clone, "dvc", "metrics", "diff", "--md")
    assert "rotograd.runs.reduced/uniform.accuracy" in compared
    well(clone, "dvc", "plots", "show")
    page = (clone.root / "dvc_plots/index.html").read_text()
    assert '"run": "uniform"' in page and '"epoch"' in page


@pytest.mark.slow
def test_an_experiment_with_another_list_of_methods(published: Checkout, tmp_path: Path) -> None:
    clone = clone_of(published, tmp_path / "clone")
    well(clone, *PULL)
    for name, value in (("user.name", "A"), ("user.email", "a@example.org")):
        well(clone, "git", "config", name, value)
    said = well(
        clone, "dvc", "exp", "run", "-n", "one", "-S", "config/config.yaml:methods=[uniform]"
    )
    assert "rule train" not in said, "its cells are here"
    shown = clone.run("dvc", "exp", "show", "--csv").stdout
    header, *rows = [line.split(",") for line in shown.splitlines()]
    assert "['uniform']" in shown and {row[0] for row in rows} >= {"one"}
    assert "rotograd.runs.reduced/rotograd.accuracy" in header
    assert yaml.safe_load((clone.root / "config/config.yaml").read_text())["methods"] == ["uniform"]
