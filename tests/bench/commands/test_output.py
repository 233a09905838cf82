"""What commands print and where: documents, messages, plug-ins' own prints, brackets, encodings, disks."""

from __future__ import annotations

import csv
import errno
import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gentune.bench import files
from gentune.bench.commands import output
from gentune.bench.commands.cli import main
from gentune.bench.runs import run_folder
from gentune.bench.runs.export import flat_rows

PLUGIN = '''
"""A family that learns a mean, prints wherever it can, and fails where it is told to."""

import gentune
import torch
from gentune.models import GenerativeModel, Losses

print("printed at import")

CARD = """
[family]
name = "NAME"
group = "mine"
summary = "brackets [red]stay[/b] brackets"
class = "mine:Talkative"
kinds = ["vector"]
steps = { vector = 3 }
[train.learning_rate]
type = "float"
low = 1e-3
high = 1.0
scale = "log"
default = 0.05
"""


class Talkative(GenerativeModel):
    def __init__(self, data, *, learning_rate: float = 0.05):
        super().__init__(data)
        self.learning_rate = learning_rate
        self.mean = torch.nn.Parameter(torch.zeros(data.shape))

    def loss(self, batch, generator):
        if FAILS:
            raise RuntimeError("boom; [red]x[/b], quoted, a,b|c")
        return Losses((batch.x - self.mean).square().mean())

    def sample(self, n, *, condition=None, generator):
        print("printed by sample")
        return self.mean + torch.randn(n, *self.data.shape, generator=generator)


gentune.register(Talkative, CARD)
'''
SMALL = ["--data", "two_moons", "--trainings", "1", "--seeds", "1", "--choice-seeds", "0", "--final-samples", "50"]


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., int]]:
    """Runs a command in this process, with a cache of its own, and gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENTUNE_CACHE", str(tmp_path_factory.mktemp("cache")))

        def run(*arguments: str | Path) -> int:
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
            assert isinstance(ended.value.code, int)
            return ended.value.code

        yield run


def compared(folder: Path, command: Callable[..., int], name: str, fails: bool, *more: str) -> int:
    """The exit code of a comparison of the plug-in's family."""
    plugin = folder / f"{name}.py"
    plugin.write_text(PLUGIN.replace("NAME", name).replace("FAILS", str(fails)))
    out = ["--executor", "in_process", "--out", folder / "run", *more]
    return command("compare", "--plugin", plugin, "--families", name, *SMALL, *out)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, command: Callable[..., int]) -> tuple[Path, str]:
    """The folder of a finished run, and what its command printed on standard output."""
    folder = tmp_path_factory.mktemp("talkative")
    with redirect_stdout(io.StringIO()) as printed:
        assert compared(folder, command, "talkative", False, "--json") == 0
    return folder / "run", printed.getvalue()


@pytest.mark.slow
def test_what_a_plugin_prints_is_no_part_of_a_document(finished: tuple[Path, str]) -> None:
    run, printed = finished
    assert json.loads(printed)["state"] == "finished"
    assert "printed by sample" in (run / "log" / "output.log").read_text()


@pytest.mark.slow
def test_every_trial_failing_is_the_headline_and_exit_code_1(
    tmp_path: Path, command: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert compared(tmp_path, command, "failing", True) == 1
    printed = capsys.readouterr()
    headline = " ".join(printed.out.split())
    assert headline.startswith("Every trial of failing failed (RuntimeError: boom; [red]x[/b], quoted, a,b|c).")
    (last,) = [line for line in printed.err.splitlines() if line.startswith("gentune: ")]
    assert last == "gentune: every trial of failing failed (RuntimeError: boom; [red]x[/b], quoted, a,b|c)"
    assert command("resume", tmp_path / "run") == 1


@pytest.mark.slow
def test_brackets_are_text(finished: tuple[Path, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console = output.console()
    console.print("[red]x[/b] :smile:")
    assert capsys.readouterr().out == "[red]x[/b] :smile:\n"
    with pytest.raises(SystemExit):
        main(["list", "families", "--plugin", str(finished[0].parent / "talkative.py")])
    assert "[red]stay[/b]" in "".join(capsys.readouterr().out.split("│"))


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_encoding_takes_every_text(encoding: str) -> None:
    code = (
        "import sys; from gentune.bench.commands.output import accept_any_encoding, console; accept_any_encoding()\n"
        "console().print('n – m · 日'); print('é…', file=sys.stderr)"
    )
    environment = {"PYTHONIOENCODING": encoding, "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    shown = done.stdout.decode(encoding).strip()
    assert shown == {"ascii": "n - m | ?", "cp1252": "n – m · ?", "utf-8": "n – m · 日"}[encoding]


@pytest.mark.slow
@pytest.mark.parametrize("words", [["status"], ["export"], ["resume"], ["report"]])
def test_a_finished_run_is_read_from_a_disk_that_cannot_be_written(
    words: list[str],
    finished: tuple[Path, str],
    command: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(path: Path, content: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    modules = [m for m in sys.modules.values() if getattr(m, "write_atomically", None) is files.write_atomically]
    assert run_folder in modules
    for module in modules:
        monkeypatch.setattr(module, "write_atomically", refuse)
    assert command(*words, finished[0]) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert command("export", finished[0], "--format", "csv") == 2
    assert capsys.readouterr().err.endswith("Read-only file system; --out names another folder\n")


def test_a_cache_that_cannot_be_written_gives_way_to_the_runs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken").write_text("a file where the folder of the cache should be")
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "taken" / "cache"))
    said: list[str] = []
    assert files.writable_cache(tmp_path / "own", said.append) == tmp_path / "own"
    assert said[0].startswith(f"the cache {tmp_path}/taken/cache cannot be written (Not a directory)")
    monkeypatch.setenv("GENTUNE_CACHE", str(tmp_path / "fine"))
    assert files.writable_cache(tmp_path / "own", said.append) == tmp_path / "fine"
    assert not list((tmp_path / "fine").iterdir())


@pytest.mark.slow
def test_exported_files_hold_what_the_document_holds(
    finished: tuple[Path, str], command: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("export", finished[0], "--json") == 0
    document = json.loads(capsys.readouterr().out)
    for form in ("json", "csv", "parquet"):
        assert command("export", finished[0], "--format", form, "--out", tmp_path) == 0
    assert json.loads((tmp_path / "export.json").read_text()) == document
    for name, rows in document.items():
        flat = flat_rows(rows, intervals=True)
        with (tmp_path / f"{name}.csv").open() as file:
            read = list(csv.DictReader(file))
        table = pd.read_parquet(tmp_path / f"{name}.parquet")
        assert [row["family"] for row in read] == list(table["family"]) == [row["family"] for row in flat]
        for row, line, shown in zip(flat, read, table.to_dict("records"), strict=True):
            for key in ("metrics.mmd", "metrics.mmd.high", "params.learning_rate"):
                assert (line.get(key) or None) == (None if row.get(key) is None else repr(row[key]))
                assert pd.isna(shown.get(key)) if row.get(key) is None else shown[key] == row[key]
    assert command("export", finished[0], "--format", "cvs") == 2
    assert capsys.readouterr().err == "gentune: unknown format 'cvs'; did you mean 'csv'?\n"


def test_disks_end_in_one_line(
    command: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(run_folder.RunFolder, "open", refuse)
    assert command("status", tmp_path) == 1
    assert capsys.readouterr().err == f"gentune: {tmp_path}: Permission denied\n"


@pytest.fixture(scope="module", autouse=True)
def forget() -> Iterator[None]:
    """Leaves no family of these tests behind."""
    registered = import_module("gentune.bench.registry.families")._registered
    known = dict(registered)
    yield
    registered.clear()
    registered.update(known)
