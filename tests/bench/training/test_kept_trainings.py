"""Trials that go on from what earlier ones have trained, also across processes, crashes and damage."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from gentune.bench import registry
from gentune.bench.budget.kinds import Seconds
from gentune.bench.data import DataRef
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.scheduling import Done, ExecutorSettings
from gentune.bench.scheduling.local import LocalExecutor
from gentune.bench.training.cache import TrainingCache
from gentune.bench.training.cache_upkeep import trim
from gentune.bench.training.checkpoints import KeptTraining
from gentune.bench.training.loop import LoopSettings, train
from gentune.bench.trial.execution import run_trial
from gentune.bench.trial.jobs import EvaluatorJob, Job, TrialJob
from gentune.models import Batch, Losses, Trainable

PLUGIN = Path(__file__).parents[2] / "plugins" / "staged.py"
FULL = Counter(codes=20, centre=1, prior=60)  # calls of a full training: 20 + 20 steps, three batches in the last


@pytest.fixture(autouse=True)
def _staged() -> None:
    registry.load_plugin(PLUGIN)


@pytest.fixture(autouse=True)
def _few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores are no matter here."""
    monkeypatch.setattr("gentune.bench.protocol.SAMPLES", 100)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log.txt"
    monkeypatch.setenv("STAGED_LOG", str(path))
    return path


def calls(log: Path) -> Counter[str]:
    """Calls since the last look."""
    found = Counter(log.read_text().split()) if log.exists() else Counter[str]()
    log.unlink(missing_ok=True)
    return found


def job(tmp_path: Path, number: int, cache: str = "cache", **options: Any) -> TrialJob:
    known: dict[str, Any] = {
        "role": "trial",
        "family": registry.family("staged").resolved([str(PLUGIN)]),
        "number": number,
        "seed": 7,
        "split": "validation",
        "data": DataRef("two_moons"),
        "params": {},
        "objective": ("mmd",),
        "cache": str(tmp_path / cache),
    }
    return TrialJob(**{**known, **options})


def trial(tmp_path: Path, number: int, cache: str = "cache", **options: Any) -> Record:
    return run_trial(job(tmp_path, number, cache, **options), RunFolder(tmp_path / "run"))


def content(tmp_path: Path, record: Record) -> dict[str, Any]:
    """All of a record but its number and times, and its curve."""
    found = json.loads(record.to_json())
    for key in ("number", "seconds", "started", "finished", "provenance"):
        del found[key]
    for name in ("train_seconds", "sample_seconds", "samples_per_second"):
        found["metrics"].pop(name, None)
    history = RunFolder(tmp_path / "run").artifact("trials", record.name, "history.jsonl")
    return {**found, "history": history.read_text() if history.is_file() else None}


def test_a_continued_trial_is_the_same_as_an_unbroken_one(tmp_path: Path, log: Path) -> None:
    unbroken = trial(tmp_path, 0, "one")
    assert unbroken.state == "complete", unbroken.reason
    assert calls(log) == FULL
    short = trial(tmp_path, 1, fidelity=0.25)
    assert (short.state, short.fidelity) == ("complete", 0.25)
    assert calls(log) == Counter(codes=5, centre=1, prior=15)
    assert content(tmp_path, short)["metrics"] != content(tmp_path, unbroken)["metrics"]
    continued = trial(tmp_path, 2)
    # The first stage continues; the later ones start from its end, and so from the beginning.
    assert calls(log) == Counter(codes=15, centre=1, prior=60)
    assert content(tmp_path, continued) == content(tmp_path, unbroken)


def test_a_second_sampling_trains_nothing(tmp_path: Path, log: Path) -> None:
    first = trial(tmp_path, 0)
    calls(log)
    options: dict[str, Any] = {"seed": 8, "training_seed": 7, "params": {"temperature": 1.2}}
    again = trial(tmp_path, 1, **options)
    assert again.state == "complete", again.reason
    assert not calls(log)
    assert again.training == first.training
    assert (again.seed, again.training_seed) == (8, 7)
    assert again.seconds["train"] == 0.0
    assert again.seconds["kept"] == pytest.approx(first.seconds["train"])
    fresh = trial(tmp_path, 2, "empty", **options)
    assert calls(log) == FULL
    assert content(tmp_path, again) == content(tmp_path, fresh)
    other = trial(tmp_path, 3, seed=8)
    assert calls(log) == FULL
    assert other.training != first.training


def test_a_lean_trial_measures_its_objective_alone(tmp_path: Path) -> None:
    full = trial(tmp_path, 0)
    lean = trial(tmp_path, 1, lean=True)
    assert lean.objectives == full.objectives
    assert lean.metrics == {"mmd": full.metrics["mmd"]}
    dense: dict[str, Any] = {"family": registry.family("gaussian").resolved(), "lean": True}
    assert trial(tmp_path, 2, objective=("nll",), **dense).metrics.keys() == {"nll"}
    assert trial(tmp_path, 3, **dense).likelihood == {}, "nor is it computed"


@pytest.mark.slow
def test_another_half_life_trains_nothing_and_is_as_if_trained_with_it(tmp_path: Path) -> None:
    small = {"width": 16, "timesteps": 100, "steps": 10}
    options: dict[str, Any] = {"family": registry.family("ddpm").resolved(), "fidelity": 0.01, "keep_model": True}

    def model(record: Record) -> bytes:
        return (RunFolder(tmp_path / "run").artifact("models", record.name) / "model.safetensors").read_bytes()

    first = trial(tmp_path, 0, params=small, **options)
    assert first.state == "complete", first.reason
    seen = []
    for number, half_life in enumerate((0.002, 0.0, 0.2), start=1):
        params = {**small, "ema_half_life": half_life}
        move: dict[str, Any] = {"seed": 8, "training_seed": 7, "move": "resample", "parent": 0}
        again = trial(tmp_path, 10 + number, params=params, **options, **move)
        assert again.seconds["train"] == 0.0
        assert again.training == first.training
        fresh = trial(tmp_path, 20 + number, "empty" + str(number), params=params, **options, **move)
        assert fresh.seconds["train"] > 0.0
        assert content(tmp_path, again) == content(tmp_path, fresh)
        assert model(again) == model(fresh)
        seen.append((model(again), again.objectives))
    assert len({weights for weights, _ in seen} | {model(first)}) == 4
    assert len({scores for _, scores in seen}) == 3


def test_settings_that_agree_on_a_stage_share_it(tmp_path: Path, log: Path) -> None:
    trial(tmp_path, 0)
    calls(log)
    second = trial(tmp_path, 1, params={"width": 7})
    assert calls(log) == Counter(prior=60)
    assert content(tmp_path, second) == content(tmp_path, trial(tmp_path, 2, "empty", params={"width": 7}))
    calls(log)
    trial(tmp_path, 3, params={"learning_rate": 0.06})
    assert calls(log) == FULL


def test_what_is_kept_is_charged_as_when_it_was_trained(tmp_path: Path) -> None:
    first = trial(tmp_path, 0, budget=Seconds(), deadline=60.0)
    again = trial(tmp_path, 1, budget=Seconds(), deadline=60.0)
    assert first.cost == pytest.approx(first.seconds["train"] + first.seconds["sample"])
    assert again.cost == pytest.approx(first.seconds["train"] + again.seconds["sample"])
    assert again.metrics["train_seconds"]["value"] == pytest.approx(first.seconds["train"])
    allowance = 0.5 * first.seconds["train"]  # too little, unless an earlier trial has paid for the training
    late = trial(tmp_path, 2, budget=Seconds(), deadline=allowance)
    assert (late.state, late.seconds["train"]) == ("stopped", 0.0)
    assert "the budget ended at step 20 of 20 of stage prior" in str(late.reason)
    paid = trial(tmp_path, 3, budget=Seconds(), deadline=allowance, paid=first.seconds["train"])
    assert paid.state == "complete"
    assert paid.cost == pytest.approx(paid.seconds["sample"])


def test_keeping_can_be_turned_off(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = trial(tmp_path, 0)
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    calls(log)
    without = trial(tmp_path, 1)
    assert calls(log) == FULL
    assert content(tmp_path, without) == content(tmp_path, kept)
    trial(tmp_path, 2, "other")
    assert not (tmp_path / "other" / "trainings").exists()


def test_what_failed_is_not_kept(tmp_path: Path, tiny_plugin: Path) -> None:
    registry.load_plugin(tiny_plugin)
    family = registry.family("tiny").resolved([str(tiny_plugin)])
    options: dict[str, Any] = {"family": family, "params": {"mode": "diverge"}}
    assert str(trial(tmp_path, 0, **options).reason).startswith("diverged")
    states = tmp_path / "cache" / "trainings" / "states"
    assert not [path for path in states.glob("*/*") if path.is_dir()]


def test_a_damaged_state_is_trained_again(tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = trial(tmp_path, 0)
    trial(tmp_path, 1, fidelity=0.5)
    calls(log)
    cache = TrainingCache(tmp_path / "cache")
    key, _, step = first.training.rpartition("-")
    path = cache.place(key, int(step)) / "tensors.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 16
    path.write_bytes(damaged)
    again = trial(tmp_path, 2)
    assert calls(log) == Counter(prior=60)
    assert content(tmp_path, again) == content(tmp_path, first)
    assert len(list(cache.damaged_path.iterdir())) == 1
    assert "damaged (its tensors are not those that were written)" in capsys.readouterr().err
    trial(tmp_path, 3)
    assert not calls(log)


def test_a_cache_that_cannot_be_written_costs_a_line(
    tmp_path: Path, log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "trainings").write_text("in the way")
    assert trial(tmp_path, 0).state == "complete"
    assert calls(log) == FULL
    assert "cannot be kept" in capsys.readouterr().err


def test_waiting_for_another_process_keeps_to_the_deadline_and_tells(tmp_path: Path) -> None:
    first = trial(tmp_path, 0, "other")
    key = first.training.rpartition("-")[0]
    stages = [path.name for path in (tmp_path / "other" / "trainings" / "states").iterdir()]
    cache = TrainingCache(tmp_path / "cache")
    told: list[float] = []
    locks = [cache.try_lock(stage) for stage in stages]
    assert key in stages
    assert None not in locks
    late = run_trial(job(tmp_path, 1, budget=Seconds(), deadline=0.3), RunFolder(tmp_path / "run"), told.append)
    assert late.state == "stopped"
    assert "while another process trained stage codes" in str(late.reason)
    assert set(told) == {0.0}


@pytest.mark.slow
def test_two_processes_train_the_same_once(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGED_PAUSE", "0.02")  # so that the second comes while the first is at it
    pool = LocalExecutor(["cpu", "cpu"], ExecutorSettings(tmp_path / "spool", (str(PLUGIN),)))
    warm: Job = EvaluatorJob(DataRef("two_moons"), "raw", str(tmp_path / "cache"))
    jobs: list[Job] = [job(tmp_path, number, params={"temperature": 0.9 + 0.1 * number}) for number in range(2)]
    records: list[Record] = []
    try:
        for pair in ([warm, warm], jobs):
            for number in range(2):
                pool.submit(number, pair[number])
            done = 0
            while done < 2:
                events = [event for event in pool.wait(60) if isinstance(event, Done)]
                done += len(events)
                records += [event.delivery.record for event in events if event.delivery is not None]
    finally:
        pool.close()
    assert [record.state for record in records] == ["complete", "complete"]
    assert calls(log) == FULL
    assert records[0].training == records[1].training
    trained, waited = sorted(records, key=lambda record: -record.seconds["train"])
    assert waited.seconds["train"] == 0.0
    assert waited.seconds["kept"] == pytest.approx(trained.seconds["train"])


# --- crashes ------------------------------------------------------------------------------------------------

# For each line that it reads it starts a process that keeps twenty states, tells its id, and waits for its end.
WORK = """
import os, sys
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_kept_trainings import train_wide
train_wide(None, 0.05)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        for twentieth in range(1, 21):
            train_wide(Path({cache!r}), twentieth / 20)
        os._exit(0)
    print(child, flush=True)
    os.waitpid(child, 0)
    print("ended", flush=True)
"""
KILLS = 30  # inside a write


class Wide(Trainable):
    """Quick to train and slow to write: 0.9 MB of weights, 8 MB of state."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(220_000))
        self.learning_rate = 0.1

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        target = torch.randn(self.w.shape, generator=generator)
        return Losses((self.w - target).square().mean())


def train_wide(cache: Path | None, fidelity: float) -> Tensor:
    model = Wide()
    kept = None if cache is None else KeptTraining(TrainingCache(cache), ["a" * 32], family="wide", data="none")
    settings = LoopSettings(batch_size=2, averages=True)
    train(model, Batch(torch.zeros(4, 1)), settings, steps=20, seed=0, fidelity=fidelity, average=0.1, kept=kept)
    return model.w.detach()


@pytest.mark.slow
def test_no_kill_in_the_middle_of_a_write_yields_a_wrong_result(tmp_path: Path) -> None:
    expected = {step: train_wide(None, step / 20) for step in range(1, 21)}
    cache, key = TrainingCache(tmp_path), "a" * 32
    script = WORK.format(folder=str(Path(__file__).parent), cache=str(tmp_path))
    moments = random.Random(0)
    kills = inside = 0
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        while inside < KILLS:
            kills += 1
            assert kills < 10 * KILLS
            parent.stdin.write("go\n")
            child = int(parent.stdout.readline())
            time.sleep(moments.uniform(0.0, 0.8))
            if kills % 3:  # at some moment of a write
                while not list(cache.states_path.glob("*/.part-*")) and 20 not in cache.steps(key):
                    time.sleep(0.001)
                time.sleep(moments.uniform(0.0, 0.04))
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "ended\n"
            inside += bool(list(cache.states_path.glob("*/.part-*")))
            there = cache.steps(key)
            for step in there:  # exactly what is there: nothing is trained
                assert torch.equal(train_wide(tmp_path, step / 20), expected[step])
            assert cache.steps(key) == there
            assert torch.equal(train_wide(tmp_path, 1.0), expected[20])
            trim(cache, 0)  # a dead process holds nothing, and what it left goes
            assert not list(cache.states_path.iterdir())
        parent.stdin.close()
    assert not cache.damaged_path.exists()
    print(f"{inside} of {kills} kills landed inside a write")
