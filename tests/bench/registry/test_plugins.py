"""What plug-ins register, by call, file or entry point: names, duplicates, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import gentune
from gentune.bench import registry
from gentune.bench.commands.cli import main
from gentune.bench.data import readers
from gentune.bench.errors import UsageError
from gentune.bench.metrics import METRICS, MetricValue
from gentune.bench.metrics.base import MetricCard
from gentune.bench.registry import plugins
from gentune.bench.registry.families import _registered as registered_families
from gentune.bench.scheduling import Executor, ExecutorSettings, executors
from gentune.bench.scheduling.executors import _registered as registered_executors
from gentune.models import GenerativeModel

CARD = """
[family]
name = {name}
group = "mine"
summary = "One"
class = "here:Mine"
kinds = ["vector"]
[train.width]
type = "int"
low = 1
high = 2
default = 1
"""


class Mine(GenerativeModel):
    """Never trained."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Forgets what a test has registered."""
    tables: tuple[dict[Any, Any], ...] = (
        registered_families,
        registered_executors,
        METRICS,
        plugins._broken,
        plugins._origins,
    )
    before = [dict(table) for table in tables]
    entered = set(plugins._entered)
    yield
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)
    plugins._entered.clear()
    plugins._entered.update(entered)


WRONG = ["", "all", "a/b", "org/model", "../../../escaped", "a,b", "a b", "a\\b", "..", ".a", "-a", "é", "a\n", "a..b"]


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_cannot_stand_in_commands_and_files_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a family"):
        gentune.register_family(Mine, CARD.format(name=json.dumps(name)))
    with pytest.raises(UsageError, match="cannot name an executor"):
        gentune.register_executor(name, start)
    card = MetricCard(name, "quality", "lower", "1", ("generated_x",), "One", lambda generated_x: MetricValue(0.0))
    with pytest.raises(UsageError, match="cannot name a metric"):
        gentune.register_metric(card)


def test_a_wrong_name_in_a_plugin_ends_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """CASES, names: one line and exit code 2, and nothing is written."""
    plugin = tmp_path / "plug.py"
    text = CARD.format(name='"org/model"')
    plugin.write_text(
        f"import gentune\nfrom gentune.models import GenerativeModel\ngentune.register(GenerativeModel, '''{text}''')"
    )
    command = ["compare", "--plugin", str(plugin), "--data", "two_moons", "--families", "org/model", "--trainings", "1"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--out", str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.count("\n") == 1
    assert "'org/model' cannot name a family" in error
    assert not (tmp_path / "run").exists()


def start(settings: ExecutorSettings) -> Executor:
    """Never started."""
    raise AssertionError


def test_names_that_are_taken_are_refused_with_both_places() -> None:
    with pytest.raises(UsageError, match=r"'vae' is registered twice: in .*vae.toml and in .*test_plugins.py"):
        gentune.register_family(Mine, CARD.format(name='"vae"'))
    with pytest.raises(UsageError, match=r"'local' is registered twice: in Gentune and in .*test_plugins.py"):
        gentune.register_executor("local", start)
    card = MetricCard("fid", "quality", "lower", "1", ("generated_x",), "One", lambda generated_x: MetricValue(0.0))
    with pytest.raises(UsageError, match=r"metric 'fid' is registered twice"):
        gentune.register_metric(card)


def register_from_entry_point() -> None:
    gentune.register_executor("entered", start)


def test_entry_points_register_and_broken_ones_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = __name__
    points = [
        EntryPoint("gone", "gentune_is_not_there:register", "gentune.executors"),
        EntryPoint("fine", f"{here}:register_from_entry_point", "gentune.executors"),
        EntryPoint("half", "gentune_is_not_there", "gentune.metrics"),
    ]
    monkeypatch.setitem(sys.modules, here, sys.modules[register_from_entry_point.__module__])
    monkeypatch.setattr(plugins, "entry_points", lambda group: [p for p in points if p.group == group])
    with pytest.raises(SystemExit):
        main(["list", "executors", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["entered"]["summary"] == "Never started."
    assert rows["entered"]["error"] is None
    assert "No module named 'gentune_is_not_there'" in rows["gone"]["error"]
    assert registry.is_shared("executors", "entered", [])
    with pytest.raises(SystemExit):
        main(["list", "metrics", "--json"])
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["half"]["error"] and rows["fid"]["error"] is None


def test_what_this_program_registers_is_not_shared() -> None:
    gentune.register_executor("mine", start)
    assert "mine" in executors()
    assert not registry.is_shared("executors", "mine", ["plug.py"])
    assert registry.is_shared("data", next(iter(readers())), [])
