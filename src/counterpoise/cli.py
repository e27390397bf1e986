"""The command line. Each workflow rule calls one command; people need ``status`` most."""

from __future__ import annotations

import gc as collector
import logging
import os
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from counterpoise import __version__
from counterpoise.errors import UserError
from counterpoise.workflow import IN_WORKFLOW

if TYPE_CHECKING:
    from counterpoise.layout import Data, Training
    from counterpoise.plan import Plan
    from counterpoise.training.problem import Job

app = typer.Typer(
    name="counterpoise",
    help="Rebuild papers on multi-task balancing and say, number by number, whether they hold.\n\n"
    "Most people run `snakemake --cores all`, which calls these commands in the right order. "
    "Run them by hand to look at one step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

COLLECT = collector.get_threshold()
"""Python's own thresholds of garbage collection, for training."""

JOBS, PEOPLE = "Steps of the workflow", "For people"

CHOSEN = "as config/config.yaml says"

Tier = Annotated[
    str | None,
    typer.Option(
        help="A tier of config/tiers.yaml, such as smoke, demo, sample or paper.",
        show_default=CHOSEN,
    ),
]
CellKey = Annotated[
    str, typer.Argument(metavar="CELL", help="NAME/DIGEST, as under results/TIER/cells.")
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu or cuda.", envvar="COUNTERPOISE_DEVICE", show_default=CHOSEN),
]
Methods = Annotated[
    str,
    typer.Option(help="all, or methods separated by commas.", envvar="COUNTERPOISE_METHODS"),
]
Papers = Annotated[
    str, typer.Option(help="all, or papers separated by commas.", envvar="COUNTERPOISE_PAPERS")
]
DataFolder = Annotated[
    str,
    typer.Argument(metavar="DATASET-DIGEST", help="A folder in data/prepared/SOURCE."),
]
PaperName = Annotated[str, typer.Argument(metavar="PAPER", help="File name in config/papers.")]


def find_root() -> Path:
    """The checkout that the current folder is in."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "config" / "config.yaml").is_file():
            return folder
    raise UserError(
        "no config/config.yaml in this folder or above it",
        where=here,
        remedy="change to a checkout of counterpoise",
    )


def _chosen(root: Path, key: Literal["tier", "device"], given: str | None) -> str:
    """The value given on the command line, or else that of config/config.yaml."""
    from counterpoise.project import read_config
    from counterpoise.spec.load import parse
    from counterpoise.spec.tier import Config

    if given is not None:
        return given
    config = parse(Config, read_config(root))
    return config.tier if key == "tier" else config.device


def _plan(tier: str | None = None, **filters: str) -> Plan:
    """The plan of a tier; without filters it holds every paper and method.

    What is of one paper plans it alone: that takes less time, and what other papers lack, such as
    the images of another comparison on one's own data, cannot stop it.
    """
    from counterpoise.plan import load_plan

    overrides: dict[str, Any] = {"papers": "all", "methods": "all", **filters}
    if tier is not None:
        overrides["tier"] = tier
    return load_plan(find_root(), overrides)


def _wanted() -> str:
    """The papers of the workflow whose job this is; all where there is none."""
    return os.environ.get("COUNTERPOISE_PAPERS", "all")


def _training(root: Path, tier: str | None, cell: str) -> Training:
    from counterpoise.orders import read_order

    name, _, digest = cell.partition("/")
    chosen = _chosen(root, "tier", tier)
    return read_order(root, chosen, cell) or _plan(chosen, papers=_wanted()).training(name, digest)


def _job_of(root: Path, training: Training) -> Job:
    from counterpoise.training.problem import Job

    return Job(
        root,
        training.cell,
        training.name,
        training.digest,
        split=root / training.data.split,
        work=root / training.work,
        out=root / training.folder,
        identity=training.identity,
        weights=root / training.weights if training.weights else None,
    )


def _print_version(wished: bool) -> None:
    if wished:
        typer.echo(f"counterpoise {__version__}")
        raise typer.Exit


@app.callback()
def _start(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stdout,
    )


@app.command(rich_help_panel=JOBS)
def download(
    source: Annotated[
        str,
        typer.Argument(
            help="A source named in config/datasets, or `weights.NAME` from config/weights.yaml."
        ),
    ],
    mirror: Annotated[
        str | None,
        typer.Option(
            help="Folder to take all files from, or https address to try first.",
            envvar="COUNTERPOISE_MIRROR",
            show_default=CHOSEN,
        ),
    ] = None,
    tier: Annotated[
        str | None,
        typer.Option(
            help="Tier whose prepared images must fit on the disk, too.",
            envvar="COUNTERPOISE_TIER",
        ),
    ] = None,
    papers: Papers = "all",
) -> None:
    """Fetch or generate one source of raw files, or published weights; verify checksums."""
    from counterpoise.fetch import fetch
    from counterpoise.project import load_project

    project = load_project(find_root())
    if mirror is None and IN_WORKFLOW not in os.environ:  # whose command line may say: none
        mirror = project.config.mirror
    fetch(project, source, mirror, tier, papers)


def _data(folder: str) -> tuple[Path, Data]:
    """The checkout, and the data that a folder in it stands for, of the workflow's tier if any."""
    from counterpoise.lookup import find_data
    from counterpoise.project import load_project

    given = {"tier": os.environ.get("COUNTERPOISE_TIER"), "papers": _wanted()}
    overrides = {key: value for key, value in given.items() if value is not None}
    project = load_project(find_root(), overrides)
    return project.root, find_data(project, folder)


@app.command(rich_help_panel=JOBS)
def prepare(
    digest: DataFolder,
) -> None:
    """Decode raw files into arrays."""
    from counterpoise.prepared import prepare as run

    root, data = _data(digest)
    raw, marker = (root / data.raw).parent, root / data.prepared
    made_by = {key: data.identity[key] for key in ("libraries", "code")}
    run(data.dataset, data.options, raw, marker, data.counts, made_by)


@app.command(rich_help_panel=JOBS)
def split(
    digest: DataFolder,
) -> None:
    """Divide prepared data into training, validation and test items."""
    from counterpoise.prepared import split as run

    root, data = _data(digest)
    if not (root / data.prepared).is_file():
        raise UserError(
            "these data are not prepared yet",
            where=root / data.prepared,
            remedy=f"run `counterpoise prepare {data.digest}` first",
        )
    run(data.dataset, data.options, data.seed, root / data.split)


@app.command(rich_help_panel=JOBS)
def train(
    cell: CellKey,
    tier: Tier = None,
    device: Device = None,
    save_every: Annotated[
        float,
        typer.Option(
            help="Seconds between saved states; 0 saves after every epoch.",
            min=0,
            envvar="COUNTERPOISE_SAVE_EVERY",
        ),
    ] = 60.0,
    replicates: Annotated[
        str,
        typer.Option(
            help="How seeds train: `alone`, one after another; `together`, as one model, along "
            "with those of planned cells that differ only in the learning rate, in a number of the "
            "method or in their single task; `auto`, together on a GPU if the network is small.",
            envvar="COUNTERPOISE_REPLICATES",
        ),
    ] = "auto",
) -> None:
    """Train all seeds of one cell and predict. A killed run resumes where it stopped."""
    from counterpoise.orders import read_siblings
    from counterpoise.training.engine import Interrupted
    from counterpoise.training.job import STOPPED
    from counterpoise.training.job import train as run

    if replicates not in ("auto", "together", "alone"):
        raise UserError(
            f"unknown way to train seeds: {replicates!r}", remedy="use auto, together or alone"
        )
    root = find_root()
    training = _training(root, tier, cell)
    job = _job_of(root, training)

    def siblings() -> list[Any]:
        return [_job_of(root, other) for other in read_siblings(root, training)]

    collector.freeze()
    collector.set_threshold(*COLLECT)
    try:
        run(job, _chosen(root, "device", device), save_every, replicates, siblings)
    except UserError:
        # Another process has finished the cell and removed the folder with the lock.
        if job.work.exists() or not job.is_done:
            raise
        typer.echo("the other process has finished it")
    except Interrupted:
        typer.echo("stopped; the state is saved and the next run resumes from it", err=True)
        raise typer.Exit(STOPPED) from None


@app.command(rich_help_panel=JOBS)
def evaluate(cell: CellKey, tier: Tier = None) -> None:
    """Score the predictions of one cell."""
    from counterpoise.evaluation.evaluate import evaluate as run

    root = find_root()
    training = _training(root, tier, cell)
    predictions, record = (root / training.file(n) for n in ("predictions.parquet", "record.json"))
    run(training.cell, predictions, record, root / training.scores, training.scoring_code)


@app.command(rich_help_panel=JOBS)
def tables(paper: PaperName, tier: Tier = None, methods: Methods = "all") -> None:
    """Set a paper's printed numbers beside ours."""
    from counterpoise.reproduction.tables import make_tables

    make_tables(find_root(), _plan(tier, papers=paper, methods=methods), paper)


@app.command(rich_help_panel=JOBS)
def explain(
    paper: PaperName,
    name: Annotated[str, typer.Argument(help="Key under `explanations` in the paper's file.")],
    tier: Tier = None,
    methods: Methods = "all",
    device: Device = None,
) -> None:
    """Map where a trained network looks, and score how often the finding is there."""
    from counterpoise.explain.job import explain as run

    root, plan = find_root(), _plan(tier, papers=paper, methods=methods)
    training = plan.explained(paper, name)
    spec = plan.paper(paper).paper.explanations[name]
    target = root / plan.paper(paper).explanation(name)
    run(_job_of(root, training), spec, target, _chosen(root, "device", device))


@app.command(rich_help_panel=JOBS)
def figure(
    paper: PaperName,
    name: Annotated[str, typer.Argument(help="Identifier of the figure in the paper's file.")],
    tier: Tier = None,
    methods: Methods = "all",
) -> None:
    """Draw one figure of a paper from our runs."""
    from counterpoise.reproduction.figures import make_figure

    make_figure(find_root(), _plan(tier, papers=paper, methods=methods), paper, name)


@app.command(rich_help_panel=JOBS)
def views(paper: PaperName, tier: Tier = None, methods: Methods = "all") -> None:
    """Draw the trade-offs of a paper's experiments: quality, cost, weights, conflict, balance."""
    from counterpoise.reproduction.views import make_views

    make_views(find_root(), _plan(tier, papers=paper, methods=methods), paper)


@app.command(rich_help_panel=JOBS)
def claims(paper: PaperName, tier: Tier = None, methods: Methods = "all") -> None:
    """Say for each claim of a paper whether it holds."""
    from counterpoise.reproduction.claims import make_claims

    make_claims(find_root(), _plan(tier, papers=paper, methods=methods), paper)


@app.command(rich_help_panel=JOBS)
def report(tier: Tier = None, papers: Papers = "all", methods: Methods = "all") -> None:
    """Build the HTML report from what exists; what is missing is shown as missing."""
    from counterpoise.report.build import build_report

    build_report(find_root(), _plan(tier, methods=methods, papers=papers))


@app.command(rich_help_panel=JOBS)
def gate(tier: Tier = None, papers: Papers = "all", methods: Methods = "all") -> None:
    """Fail if a run is missing or has failed unexpectedly."""
    from counterpoise.reproduction.gate import check_gate

    check_gate(find_root(), _plan(tier, methods=methods, papers=papers))


@app.command(rich_help_panel=PEOPLE)
def status(
    watch: Annotated[bool, typer.Option(help="Refresh every two seconds.")] = False,
) -> None:
    """Show the trainings that are running, with an estimate of the time left."""
    from counterpoise.status import show_status

    show_status(find_root(), watch)


@app.command(rich_help_panel=PEOPLE)
def plan(tier: Tier = None) -> None:
    """List the cells of a tier and say which are done; those that only set options come last.

    The last line says how many there are, and the time budget of the whole tier, if it has one.
    """
    from counterpoise.wording import duration

    root, made = find_root(), _plan(tier)
    last = {key: training.scores for key, training in made.trainings.items()}
    tried = {k: t.file("predictions.parquet") for k, t in made.preliminary.items() if k not in last}
    for key, file in {**last, **tried}.items():
        typer.echo(f"{'done' if (root / file).is_file() else '-':5}{key}")
    searched = f", {len(tried)} of them only to choose options" if tried else ""
    minutes = made.tier.budget_minutes
    limit = "" if minutes is None else f", time budget {duration(60 * minutes)} on two cores"
    typer.echo(f"{len(last) + len(tried)} cells in tier {made.tier_name}{searched}{limit}")


@app.command(rich_help_panel=PEOPLE)
def why(
    cell: Annotated[
        str, typer.Argument(metavar="CELL", help="NAME, NAME/DIGEST, or a path under results.")
    ],
    tier: Tier = None,
) -> None:
    """Say what has changed since a cell's result was made: code, settings, data, libraries."""
    from counterpoise.upkeep.why import explain, tier_of

    there = tier_of(cell)
    if there and tier and there != tier:
        raise UserError(f"that path is of tier {there}, not of {tier}", remedy="leave --tier out")
    for line in explain(find_root(), _plan(there or tier), cell):
        typer.echo(line)


@app.command(rich_help_panel=PEOPLE)
def check() -> None:
    """Verify every result on disk against its digests; list what is stale, foreign or damaged."""
    from counterpoise.upkeep.check import check as run

    lines, sound = run(find_root())
    typer.echo("\n".join(lines))
    if not sound:
        raise typer.Exit(1)


@app.command(rich_help_panel=PEOPLE)
def gc(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it, after showing it.")] = False,
) -> None:
    """Show what no tier's plan names any more; with --yes, remove it."""
    from counterpoise.upkeep.collect import find_garbage, remove
    from counterpoise.wording import size

    root = find_root()
    garbage = find_garbage(root)
    for unit in garbage.units:
        typer.echo(f"{unit.state:9} {unit.path}")
    total = f"{len(garbage.units)} in all, {size(garbage.bytes)}"
    if not garbage.units:
        typer.echo("nothing to remove")
    elif yes:
        remove(root, garbage)
        typer.echo(f"{total}, removed")
    else:
        typer.echo(f"{total}; nothing is removed yet: `counterpoise gc --yes` removes it")


@app.command(rich_help_panel=PEOPLE)
def reference(
    name: Annotated[str, typer.Argument(help="Folder under reports/reference.")],
    tier: Tier = None,
    note: Annotated[str, typer.Option(help="What a reader should know about these runs.")] = "",
) -> None:
    """Save a finished tier's numbers in the repository, to be shown beside other tiers'."""
    from counterpoise.reference import save_reference

    root = find_root()
    typer.echo(save_reference(root, _plan(tier), name, note).relative_to(root))


new = typer.Typer(help="Write a skeleton: a new method, dataset or paper.", no_args_is_help=True)
app.add_typer(new, name="new", rich_help_panel=PEOPLE)


@new.command("method")
def new_method(
    name: Annotated[str, typer.Argument(help="Name of the file, e.g. inverse_loss.")],
) -> None:
    """Write a method that runs, passes its contract tests and appears in the report."""
    from counterpoise.skeleton import new_method as write

    path = write(find_root(), name)
    typer.echo(f"{path}: fill in the rule and its card, then run")
    typer.echo(f"  python -m pytest tests/contract/test_methods.py -k {name}")
    typer.echo("and name it in a paper's `runs` (CONTRIBUTING.md).")


@new.command("dataset")
def new_dataset(
    name: Annotated[str, typer.Argument(help="Name of the dataset, e.g. our_hospital.")],
    folder: Annotated[
        str,
        typer.Option(help="Folder with the images, from where you are or from the checkout."),
    ] = "data/own",
    table: Annotated[
        str, typer.Option(help="CSV with a row per image; relative to the folder unless absolute.")
    ] = "labels.csv",
    labels: Annotated[str, typer.Option(help="Label columns, separated by commas.")] = "label",
) -> None:
    """Write the file for a dataset of your own: a folder of images and a table of labels."""
    from counterpoise.skeleton import folder_from_here, still_to_do
    from counterpoise.skeleton import new_dataset as write

    root = find_root()
    folder = folder_from_here(root, folder)
    path = write(root, name, folder, table, [one.strip() for one in labels.split(",")])
    for line in still_to_do(root, folder, table):
        typer.echo(line)
    typer.echo(f"{path}: fill in the card and the columns, then run")
    typer.echo(f"  counterpoise compare {name}")


@new.command("paper")
def new_paper(
    name: Annotated[str, typer.Argument(help="Name of the file, e.g. famo.")],
) -> None:
    """Write a paper that runs: an experiment, a table, a claim and an assumption to replace."""
    from datetime import date

    from counterpoise.skeleton import new_paper as write

    path = write(find_root(), name, date.today().year)
    typer.echo(f"{path}: fill in the paper's words and numbers, then run")
    typer.echo(f"  snakemake --cores all --config papers={name}")


@app.command(rich_help_panel=PEOPLE)
def compare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A study of config/studies; or a dataset of config/datasets, whose study of the "
            "same name is written if there is none.",
        ),
    ],
    cores: Annotated[str, typer.Option(help="Cores to use, or all.")] = "all",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would run.")] = False,
) -> None:
    """Compare balancing methods on your own data; the report is reports/own/NAME/index.html.

    Reports of other comparisons stay as they are.
    """
    from counterpoise.comparison import find_study
    from counterpoise.spec.study import OWN

    root = find_root()
    path = find_study(root, name)
    typer.echo(f"{path.relative_to(root)} says what is compared")
    command = [sys.executable, "-m", "snakemake", "--cores", cores, "--quiet", "rules"]
    command += ["--dry-run"] * dry_run
    command += ["--config", f"tier={OWN}", f"papers={name}", "methods=all"]
    sys.stdout.flush()
    os.chdir(root)
    os.execv(sys.executable, command)  # so that it gets every signal to stop, and time to save


@app.command(rich_help_panel=PEOPLE)
def schema() -> None:
    """Write the JSON schemas of the configuration files, for editors."""
    from counterpoise.spec.schema import write_schemas

    for path in write_schemas(find_root() / "config" / "schema"):
        typer.echo(path)


def _usage() -> str:
    """What this process has cost, including children that it has waited for."""
    own, children = (
        resource.getrusage(of) for of in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    seconds = sum(used.ru_utime + used.ru_stime for used in (own, children))
    largest = max(own.ru_maxrss, children.ru_maxrss) / (
        2**20 if sys.platform == "darwin" else 2**10
    )
    return f"processor time {seconds:.2f} s, memory {largest:.0f} MiB"


def main() -> None:
    """Run the command line; a user's error is one message and exit code 1."""
    # Imports make a million objects that live on. To look through them for cycles at every 700 new
    # ones, as Python does, takes a tenth of a short job's time.
    collector.set_threshold(100_000)
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # files that may not be read or written, a disk that is full
        if IN_WORKFLOW in os.environ:  # its log is for those who look closer
            raise
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if not end.code and IN_WORKFLOW in os.environ:
            print(_usage())
        raise
