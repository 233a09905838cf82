"""Upkeep of the kept trainings, and the command that shows it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from gentune.bench.commands.cli import main
from gentune.bench.errors import GIB, UsageError
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.study_options import parse_study
from gentune.bench.training.cache import TrainingCache, cache_limit, release, state_name
from gentune.bench.training.cache_upkeep import damaged, entries, pin, pins, trim
from gentune.bench.training.checkpoints import KeptTraining
from gentune.bench.training.state import TrainingState

A, B, C = (letter * 32 for letter in "abc")


def write(cache: TrainingCache, key: str, step: int, used: float, size: int = 10_000) -> int:
    """A state last used `used` seconds after some moment; returns its bytes on the disk."""
    cache.write(key, step, {"family": f"family {key[0]}", "data": "digits", "run": {}}, bytes(size))
    place = cache.place(key, step)
    os.utime(place / "state.json", (1e9 + used, 1e9 + used))
    return sum(path.stat().st_size for path in place.iterdir())


@pytest.fixture
def filled(tmp_path: Path) -> TrainingCache:
    cache = TrainingCache(tmp_path / "cache")
    for used, (key, step) in enumerate([(B, 7), (A, 1), (A, 2), (C, 3)]):
        write(cache, key, step, used)
    return cache


def names(cache: TrainingCache) -> list[str]:
    return [entry.name for entry in entries(cache)]


def test_the_least_recently_used_go_first(filled: TrainingCache) -> None:
    assert names(filled) == [state_name(B, 7), state_name(A, 1), state_name(A, 2), state_name(C, 3)]
    assert filled.read(B, 7) is not None  # a use
    size = entries(filled)[0].size
    done = trim(filled, 2 * size + 100)
    assert names(filled) == [state_name(C, 3), state_name(B, 7)]
    assert (done.states, done.left) == (2, sum(entry.size for entry in entries(filled)))
    assert not (filled.states_path / A).exists()
    assert trim(filled, 10 * size).states == 0


def test_pinned_and_locked_states_are_spared(filled: TrainingCache, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    pin(filled, run, [state_name(B, 7), state_name(B, 99)])
    lock = filled.try_lock(A)
    assert lock is not None
    assert trim(filled, 0).states == 1
    assert names(filled) == [state_name(B, 7), state_name(A, 1), state_name(A, 2)]
    release(lock)
    trim(filled, 0)
    assert names(filled) == [state_name(B, 7)]
    pin(filled, run, [])
    trim(filled, 0)
    assert names(filled) == []


def test_a_run_that_is_gone_pins_nothing(filled: TrainingCache, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    pin(filled, run, [state_name(A, 1)])
    assert pins(filled) == {str(run): frozenset({state_name(A, 1)})}
    shutil.rmtree(run)
    assert pins(filled) == {}
    trim(filled, 0)
    assert names(filled) == []
    assert not list(filled.pins_path.iterdir())


def test_damaged_states_go_before_whole_ones(filled: TrainingCache) -> None:
    filled.set_aside(C, 3, "a test")
    whole = sum(entry.size for entry in entries(filled))
    assert len(damaged(filled)) == 1
    assert trim(filled, whole).states == 1
    assert damaged(filled) == []
    assert len(names(filled)) == 3


def test_what_dead_processes_left_goes_whatever_the_limit(filled: TrainingCache) -> None:
    for key in (A, "d" * 32):
        part = filled.states_path / key / ".part-5-0123"
        part.mkdir(parents=True)
        (part / "tensors.safetensors").write_bytes(bytes(10))
    lock = filled.try_lock("e" * 32)  # at work on a first state
    assert lock is not None
    living = filled.states_path / ("e" * 32) / ".part-1-0123"
    living.mkdir()
    assert trim(filled, GIB).states == 0
    assert living.is_dir()
    release(lock)
    assert len(names(filled)) == 4
    assert not list(filled.states_path.glob(f"{A}/.part-*"))
    assert not (filled.states_path / ("d" * 32)).exists()


def test_keeping_stays_within_the_limit(tmp_path: Path) -> None:
    cache = TrainingCache(tmp_path)
    for step in range(1, 8):
        kept = KeptTraining(cache, [A], family="f", data="d", limit=5_000)
        kept.keep(0, TrainingState(step, {"x": torch.zeros(200)}, {}))
        os.utime(cache.place(A, step) / "state.json", (1e9 + step, 1e9 + step))
    there = cache.steps(A)
    assert there[-1] == 7
    assert 1 < len(there) < 7
    assert there == list(range(8 - len(there), 8))
    assert sum(entry.size for entry in entries(cache)) <= 5_000


@pytest.mark.parametrize(("text", "limit"), [("", 20 * GIB), ("0", 0), ("0.5", GIB // 2)])
def test_the_limit_is_the_environment_s(monkeypatch: pytest.MonkeyPatch, text: str, limit: int) -> None:
    monkeypatch.setenv("GENTUNE_CACHE_GIB", text)
    assert cache_limit() == limit


@pytest.mark.parametrize("text", ["much", "-1", "nan", "inf"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("GENTUNE_CACHE_GIB", text)
    with pytest.raises(UsageError, match=r"GENTUNE_CACHE_GIB is .*; wanted a number of GiB"):
        cache_limit()


# --- the command ----------------------------------------------------------------------------------------------


@pytest.fixture
def own(filled: TrainingCache, monkeypatch: pytest.MonkeyPatch) -> TrainingCache:
    monkeypatch.setenv("GENTUNE_CACHE", str(filled.root.parent))
    return filled


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as end:
        main(["cache", *arguments])
    output = capsys.readouterr()
    assert (end.value.code or 0) == code
    return output.err if code else output.out if "--json" in arguments else " ".join(output.out.split())


def run_folder(path: Path) -> Path:
    study = parse_study({"data": "two_moons", "families": ["ddpm"], "trainings": 1.0, "objective": ["mmd"]}, "test")
    return RunFolder.create_or_match(path, study).path


def test_the_command_shows_what_there_is(
    own: TrainingCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pin(own, run_folder(tmp_path / "run"), [state_name(A, 1)])
    own.set_aside(C, 3, "a test")
    capsys.readouterr()
    content = json.loads(said(capsys, "--json"))
    sizes = {entry.name: entry.size for entry in entries(own)}
    assert (content["states"], content["bytes"], content["limit_gib"]) == (3, sum(sizes.values()), 20.0)
    assert [(row["family"], row["states"]) for row in content["families"]] == [("family a", 2), ("family b", 1)]
    assert content["pinned"]["states"] == 1
    assert content["pinned"]["bytes"] == sizes[state_name(A, 1)]
    assert content["damaged"]["states"] == 1
    assert content["trimmed"] is None
    table = said(capsys)
    for piece in ("states: 3", "family a", "pinned states: 1", "damaged states, set aside: 1", "20 GiB"):
        assert piece in table


def test_the_command_shows_what_a_run_has_pinned(
    own: TrainingCache, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = run_folder(tmp_path / "run")
    pin(own, run, [state_name(A, 2), state_name(A, 50)])
    content = json.loads(said(capsys, str(run), "--json"))
    (row,) = content["states"]
    assert (row["name"], row["family"], row["data"], row["step"]) == (state_name(A, 2), "family a", "digits", 2)
    assert content["missing"] == [state_name(A, 50)]
    table = said(capsys, str(run))
    assert ", pinned by" in table
    assert "no longer there" in table


def test_the_command_trims(own: TrainingCache, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads(said(capsys, "--trim", "0", "--json"))
    assert (content["states"], content["trimmed"]["states"]) == (0, 4)
    assert "removed states: 0" in said(capsys, "--trim", "1")


def test_a_run_with_a_wrong_limit_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "plenty")
    with pytest.raises(SystemExit) as end:
        main(["resume", str(run_folder(tmp_path / "run"))])
    assert end.value.code == 2
    assert "GENTUNE_CACHE_GIB is 'plenty'" in capsys.readouterr().err


def test_wrong_use_of_the_command(own: TrainingCache, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "wanted a number of GiB" in said(capsys, "--trim", "-2", code=2)
    assert "is not there" in said(capsys, str(tmp_path / "nowhere"), code=2)
    assert "is for the whole cache" in said(capsys, str(run_folder(tmp_path / "run")), "--trim", "1", code=2)
