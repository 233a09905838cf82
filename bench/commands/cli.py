"""The command line: parse, call, print; nothing else. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import UsageError, WorkError

if TYPE_CHECKING:
    from ..runs.run_folder import RunFolder

app = typer.Typer(
    name="gentune",
    help="Tune and compare generative models under equal budgets, and publish only what holds up.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

# Options that several commands share.
Data = Annotated[str | None, typer.Option("--data", help="Data set to learn; see `gentune list data`.")]
Trainings = Annotated[
    float | None, typer.Option(help="Budget of each study: full trainings' worth of the family's default setting.")
]
Flops = Annotated[float | None, typer.Option(help="Budget of each study: floating-point operations.")]
Seconds = Annotated[float | None, typer.Option(help="Budget of each study: measured compute seconds.")]
Objective = Annotated[
    str | None,
    typer.Option(help="Metric(s) to tune, separated by commas. Default: fid (images), mmd (vectors)."),
]
Seeds = Annotated[int | None, typer.Option(help="Fresh seeds with which each incumbent is trained anew. Default: 3.")]
Repeats = Annotated[
    int | None, typer.Option(help="Repetitions of the whole tuning, which measure its own variance. Default: 1.")
]
Workers = Annotated[
    int | None, typer.Option(help="Worker processes. Default: one a CUDA device, or else one a CPU core.")
]
Devices = Annotated[str | None, typer.Option(help="auto, cpu, or devices such as cuda:0,cuda:1. Default: auto.")]
Sampler = Annotated[
    str | None,
    typer.Option(help="bayesian, or random (a scrambled Sobol sequence) as a control arm. Default: bayesian."),
]
Seed = Annotated[int | None, typer.Option(help="Seed of everything that is drawn. Default: 0.")]
Out = Annotated[Path | None, typer.Option(help="Run folder. Default: runs/DATA, or runs/DATA-FAMILY for tune.")]
Plugin = Annotated[list[Path] | None, typer.Option(help="Python file that registers families; may be repeated.")]
WarmStart = Annotated[
    list[Path] | None,
    typer.Option(help="Earlier run whose trials of the same families proposals learn from; may be repeated."),
]
TwoSpeeds = Annotated[
    bool | None,
    typer.Option(
        "--two-speeds/--one-speed",
        help="Start trials from kept trainings, sampled anew or trained further; or train anew for every setting. "
        "Default: one speed.",
    ),
]
Stopping = Annotated[
    str | None,
    typer.Option(
        help="Stop trainings early, with --two-speeds: curves (by a surrogate of learning curves), halving (successive "
        "halving), or none. Default: none.",
    ),
]
Store = Annotated[str | None, typer.Option(help="URL of the Optuna store. Default: store.db in the run folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on standard error.")]
Run = Annotated[Path, typer.Argument(metavar="DIR", help="Run folder.")]


@app.callback()
def _root() -> None:
    pass


@app.command()
def compare(
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.toml]", help="Study file; options given here win over it.")
    ] = None,
    data: Data = None,
    families: Annotated[
        str | None, typer.Option(help="Families separated by commas, or all; see `gentune list families`.")
    ] = None,
    trainings: Trainings = None,
    flops: Flops = None,
    seconds: Seconds = None,
    objective: Objective = None,
    seeds: Seeds = None,
    repeats: Repeats = None,
    workers: Workers = None,
    devices: Devices = None,
    sampler: Sampler = None,
    seed: Seed = None,
    out: Out = None,
    plugin: Plugin = None,
    warm_start: WarmStart = None,
    two_speeds: TwoSpeeds = None,
    stopping: Stopping = None,
    store: Store = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tune several families under one budget, train the winners anew, and write a leaderboard.

    The same command on an unfinished folder goes on where it stopped.
    """
    options = {
        "data": data,
        "families": _split(families),
        "trainings": trainings,
        "flops": flops,
        "seconds": seconds,
        "objective": _split(objective),
        "seeds": seeds,
        "repeats": repeats,
        "workers": workers,
        "devices": _split(devices),
        "sampler": sampler,
        "seed": seed,
        "plugins": [str(p.resolve()) for p in plugin] if plugin else None,
        "two_speeds": two_speeds,
        "stopping": stopping,
        "warm_start": [str(p.resolve()) for p in warm_start] if warm_start else None,
        "store": store,
    }
    _begin(study, options, out, quiet=quiet, as_json=as_json)


@app.command()
def tune(
    family: Annotated[str, typer.Argument(metavar="FAMILY", help="Family; see `gentune list families`.")],
    data: Data = None,
    trainings: Trainings = None,
    flops: Flops = None,
    seconds: Seconds = None,
    objective: Objective = None,
    seeds: Seeds = None,
    repeats: Repeats = None,
    workers: Workers = None,
    devices: Devices = None,
    sampler: Sampler = None,
    seed: Seed = None,
    out: Out = None,
    plugin: Plugin = None,
    warm_start: WarmStart = None,
    two_speeds: TwoSpeeds = None,
    stopping: Stopping = None,
    store: Store = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Tune one family: a comparison with itself at its default setting."""
    compare(
        None,
        data,
        family,
        trainings,
        flops,
        seconds,
        objective,
        seeds,
        repeats,
        workers,
        devices,
        sampler,
        seed,
        out or Path("runs") / f"{data}-{family}",
        plugin,
        warm_start,
        two_speeds,
        stopping,
        store,
        quiet,
        as_json,
    )


@app.command()
def resume(
    run: Run, workers: Workers = None, devices: Devices = None, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Go on with an interrupted run; nothing that had finished is done again."""
    folder = _open(run)
    _drive(folder, {"workers": workers, "devices": _split(devices)}, quiet=quiet, as_json=as_json)


@app.command()
def status(
    run: Run,
    watch: Annotated[bool, typer.Option("--watch", help="Keep showing it until the run ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show how far a run is."""
    from ..runs.status import read_status
    from .display import status_table, watch_status

    folder = _open(run)
    if watch and not as_json:
        watch_status(folder)
        return
    current = read_status(folder)
    if as_json:
        _print_json(current.as_json())
    else:
        _console().print(status_table(current))


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Run folders.")],
    formats: Annotated[
        str | None,
        typer.Option("--format", help="html, md, csv, json, tex; several separated by commas. Default: all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the report and leaderboards from what a run has recorded so far."""
    from ...reports import FORMATS, write_report

    wanted = _split(formats)
    for name in wanted or ():
        if name not in FORMATS:
            raise UsageError(f"unknown format {name!r}; known: {', '.join(FORMATS)}")
    folders = [_open(run) for run in runs]
    paths = [write_report(folder, wanted) for folder in folders]
    if as_json:
        _print_json([str(path) for path in paths])
    else:
        for path in paths:
            print(path)


@app.command()
def export(run: Run, as_json: Json = False) -> None:
    """Give out a run's trials and finalists."""
    from ..runs.export import export as rows_of

    rows = rows_of(_open(run))
    if as_json:
        _print_json(rows)
        return
    from .display import export_table

    _console().print(export_table(rows))


@app.command()
def evaluate(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Folders of images, .npy or .npz files.")],
    data: Annotated[str, typer.Option("--data", help="Data set to score against; see `gentune list data`.")],
    metrics: Annotated[
        str | None, typer.Option(help="Metrics separated by commas. Default: all that samples alone allow.")
    ] = None,
    evaluator: Annotated[
        str,
        typer.Option(help="primary, second, raw, or a pretrained one: inception-v3-compat, clip-vit-b-32, …"),
    ] = "primary",
    weights: Annotated[Path | None, typer.Option(help="Local weights of a pretrained evaluator.")] = None,
    split: Annotated[str, typer.Option(help="Split to score against: test or validation.")] = "test",
    count: Annotated[int | None, typer.Option(help="Most examples of either side. Default: 2000.")] = None,
    seed: Annotated[int, typer.Option(help="Seed by which the larger side is subsampled.")] = 0,
    as_json: Json = False,
) -> None:
    """Score samples made anywhere against a data set; several paths give a leaderboard.

    Integers are 8-bit images; floats are images in [-1, 1], or vectors in original units. Both sides have equal counts.
    """
    from ..evaluate.external_samples import evaluate as scores_of

    rows = scores_of(
        paths,
        data,
        metrics=_split(metrics),
        evaluator=evaluator,
        weights=weights,
        split=split,
        count=count,
        seed=seed,
    )
    for row in rows:
        for note in row.notes:
            print(f"gentune: note: {note}", file=sys.stderr)
    if as_json:
        _print_json([row.as_json() for row in rows])
        return
    from .display import scores_table

    console = _console()
    console.print(scores_table([row.as_json() for row in rows], console.width))


@app.command()
def cache(
    run: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Run folder: only what it has pinned.")] = None,
    trim: Annotated[
        float | None, typer.Option(metavar="GIB", help="Remove the least recently used down to this size.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the kept trainings, which every run shares, and trim them.

    GENTUNE_CACHE_GIB sets the size that they may take (20); 0 turns keeping off.
    """
    from ..evaluators import default_cache
    from . import kept_trainings as cache_command

    if run is not None and trim is not None:
        raise UsageError("--trim is for the whole cache; leave the run folder out")
    if run is not None:
        content = cache_command.pinned_by(default_cache(), _open(run).path)
    else:
        content = cache_command.overview(default_cache(), trim_gib=trim)
    if as_json:
        _print_json(content)
    else:
        table = cache_command.overview_table if run is None else cache_command.pinned_table
        _console().print(table(content))


@app.command()
def latent(
    run: Run,
    family: Annotated[str, typer.Option(help="Family whose codes are looked at.")],
    model: Annotated[str | None, typer.Option(help="One of its kept models. Default: the first final's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the codes and classes that are drawn.")] = 0,
    as_json: Json = False,
) -> None:
    """Picture a model's codes: paths between them, each by itself, arithmetic on them, and all on one plane.

    Writes artifacts/latent/ in the run folder, and a section of the report where there is one.
    """
    from ..artifacts import latent_report as latent_command

    folder = _open(run)
    content = latent_command.latent(folder, family, model=model, seed=seed)
    if (folder.report_path / "index.html").is_file():
        from ...reports import write_report

        write_report(folder)
    if as_json:
        _print_json(content)
        return
    for path in latent_command.written(folder, content):
        print(path)


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="families|data|metrics", help="What to list.")],
    plugin: Plugin = None,
    as_json: Json = False,
) -> None:
    """List what is known by name."""
    from .. import registry
    from . import listing

    for path in plugin or ():
        registry.load_plugin(path)
    kinds = {"families": listing.list_families, "data": listing.list_data, "metrics": listing.list_metrics}
    if what not in kinds:
        from ...search_spaces.space import suggest

        raise UsageError(f"cannot list {what!r}{suggest(what, kinds)}")
    rows = kinds[what]()
    if as_json:
        _print_json(rows)
    else:
        from .display import listing_table

        _console().print(listing_table(what, rows))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and exits with 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    # One thread, whatever the machine: workers run beside one another. Set before torch is imported.
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    try:
        code = app(args=arguments, standalone_mode=False)
    except UsageError as error:
        code = _complain(str(error), 2)
    except WorkError as error:
        code = _complain(str(error), 1)
    except typer.TyperException as error:
        code = _complain(error.format_message(), error.exit_code)
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stdout = None
        code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _begin(study: Path | None, options: dict[str, Any], out: Path | None, *, quiet: bool, as_json: bool) -> None:
    """Checks the description, makes the run folder, and only then imports what trains."""
    from ..driver.run_setup import describe
    from ..driver.warm_start import make_folder

    config = describe(study, options)
    folder = make_folder(out or Path("runs") / config.data.reader, config)
    _drive(folder, {"workers": config.workers, "devices": config.devices}, quiet=quiet, as_json=as_json)


def _drive(folder: RunFolder, changes: dict[str, Any], *, quiet: bool, as_json: bool) -> None:
    from ..driver.run_setup import drive
    from .display import live_status

    try:
        with live_status(folder, quiet=quiet) as listener:
            drive(folder, changes, listener)
    except KeyboardInterrupt:
        _complain(f"interrupted; `gentune resume {folder.path}` goes on from here", 130)
        raise
    from ...reports import current_report, text_table, write_report

    page = current_report(folder) or write_report(folder)
    leaderboard = json.loads((folder.report_path / "leaderboard.json").read_text(encoding="utf-8"))
    if as_json:
        _print_json(leaderboard)
        return
    console = _console()
    console.print(text_table(leaderboard, console.width))
    console.print(str(page), soft_wrap=True, highlight=False)


def _open(path: Path) -> RunFolder:
    from ..runs.run_folder import RunFolder

    return RunFolder.open(path)


def _split(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _complain(message: str, code: int) -> int:
    print(f"gentune: {' '.join(message.split())}", file=sys.stderr)
    return code


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=1, allow_nan=False))


def _console() -> Any:
    from rich.console import Console

    # A file or a pipe has no width of its own; the usual 80 columns would cut the leaderboard.
    return Console() if sys.stdout.isatty() else Console(width=110)
