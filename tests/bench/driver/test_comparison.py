"""The driver: budgets, failures, crashes, resumption, determinism. On toys, with a family that trains at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from gentune.bench import protocol, registry
from gentune.bench.data import DataRef
from gentune.bench.driver.comparison import ComparisonDriver
from gentune.bench.driver.run_setup import describe
from gentune.bench.errors import UsageError
from gentune.bench.runs.constraints import constraints_in_force
from gentune.bench.runs.export import export
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.status import read_status
from gentune.bench.scheduling import IN_PROCESS, Executor, ExecutorSettings, executor
from gentune.reports.leaderboard import build_leaderboard

TIMES = ("seconds", "started", "finished", "provenance")


@pytest.fixture(scope="module", autouse=True)
def few_samples() -> Iterator[None]:
    """Sample metrics cost their square; none of these tests is about their precision."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "SAMPLES", 200)
        patch.setattr(protocol, "MOST_FINAL_SAMPLES", 200)
        patch.setenv("TINY_SAMPLES", "200")  # the same in processes of their own
        yield


@pytest.fixture(autouse=True)
def tiny(tiny_plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # What one run has trained the next would only load, and so agree with it, or not die of it.
    monkeypatch.setenv("GENTUNE_CACHE_GIB", "0")
    registry.load_plugin(tiny_plugin)
    return tiny_plugin


class Run(ComparisonDriver):
    """A comparison in this process, which stops after so many jobs where it is told to."""

    stop_after: int | None = None
    done = 0

    def _executor(self) -> Executor:
        return executor(IN_PROCESS).start(ExecutorSettings(self._spool, say=self._say))

    def _take(self, study: Any, record: Record | None) -> None:
        super()._take(study, record)
        self.done += record is not None
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt


def begin(path: Path, plugin: Path, **options: Any) -> RunFolder:
    defaults: dict[str, Any] = {
        "data": "few_moons",
        "families": ["tiny"],
        "plugins": [str(plugin)],
        "objective": ["nll"],
        "seeds": 2,
        "choice_seeds": 1,
        "workers": 1,
    }
    if not options.keys() & {"trainings", "flops", "seconds"}:
        options["trainings"] = 4
    return RunFolder.create_or_match(path, describe(None, defaults | options))


def comparable(folder: RunFolder) -> list[dict[str, Any]]:
    """All records but for times."""
    rows = []
    for record in folder.records():
        row = json.loads(record.to_json())
        for key in TIMES:
            del row[key]
        for name in ("train_seconds", "sample_seconds", "samples_per_second"):
            row["metrics"].pop(name, None)
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    plugin = Path(__file__).parents[2] / "plugins" / "tiny.py"
    registry.load_plugin(plugin)
    folder = begin(tmp_path_factory.mktemp("finished") / "run", plugin)
    Run(folder).run()
    return folder


def test_a_comparison_runs_to_its_end(finished: RunFolder) -> None:
    trials = finished.records("trial")
    assert trials[0].params["mode"] == "good"
    assert trials[0].origin == "default"
    assert trials[0].cost == pytest.approx(1.0)
    assert len({json.dumps(dict(r.params)) for r in trials}) == len(trials)
    assert [r.split for r in trials] == ["validation"] * len(trials)
    finals = finished.records("final")
    assert [r.split for r in finals] == ["test"] * 2
    assert finals[0].seed != finals[1].seed
    assert not {r.seed for r in finals} & {r.seed for r in trials}
    assert all(r.second_metrics for r in finals)
    names = {(r.family, r.split) for r in finished.records("reference")}
    real = {(family, split) for family in ("floor", "gaussian") for split in ("validation", "test")}
    assert names == real | {("perfect_model", "test")}
    assert {r.samples for r in finished.records("final", "choice")} == {finished.read_json("final_samples.json")["n"]}
    assert {r.samples for r in trials if r.state == "complete"} == {200}


def test_every_trial_is_measured_by_what_guards_bound(finished: RunFolder) -> None:
    guards = constraints_in_force(None, "vector", None, finished.records("reference"))
    assert [guard.metric for guard in guards] == ["authenticity", "coverage"]
    assert all(0 < guard.limit < 0.5 for guard in guards)
    worked = [r for r in finished.records("trial", "final") if r.state == "complete"]
    assert all(guard.excess([record]) is not None for guard in guards for record in worked)


def test_where_no_setting_keeps_the_constraints_the_least_violating_is_retrained(tmp_path: Path, tiny: Path) -> None:
    given = ["sample_seconds <= 1e-12"]
    folder = begin(tmp_path / "run", tiny, constraints=given, trainings=3, seeds=1)
    run = Run(folder)
    run.run()
    bounds = constraints_in_force(given, "vector", None, folder.records("reference"))
    (study,) = run._studies
    told = [set(o.constraints) for o in study.observations() if not o.failed]
    assert told and all(names == {str(bound) for bound in bounds} for names in told)

    def violation(record: Record) -> float:
        return sum(max(bound.excess([record]) or 0.0, 0.0) for bound in bounds)

    trials = [r for r in folder.records("trial") if r.state == "complete"]
    (entry,) = folder.read_json("incumbents.json")["tiny"]
    assert entry["trial"] == min(trials, key=violation).number
    assert [r.trial for r in folder.records("final")] == [entry["trial"]]


def test_the_budget_is_kept_and_failures_count(finished: RunFolder) -> None:
    trials = finished.records("trial")
    spent = sum(r.cost for r in trials)
    assert spent <= 4.0 + 1e-6
    cheapest = min(r.cost for r in trials)
    assert 4.0 - spent < max(1.0, cheapest), "a default training would still have fitted"
    failed = [r for r in trials if r.state == "failed"]
    assert all(r.cost > 0 and r.reason for r in failed)


def test_a_final_trains_the_incumbent(finished: RunFolder) -> None:
    (entry,) = finished.read_json("incumbents.json")["tiny"]
    trial = finished.records("trial")[entry["trial"]]
    for final in finished.records("final"):
        assert final.params == trial.params == entry["params"]
        assert final.trial == trial.number
        assert final.metrics["nll"]["value"] != trial.metrics["nll"]["value"]


def test_the_store_holds_what_the_records_say(finished: RunFolder) -> None:
    study = optuna.load_study(study_name="tiny", storage=finished.store_url())
    records = finished.records("trial")
    assert [t.number for t in study.trials] == [r.number for r in records]
    for trial, record in zip(study.trials, records, strict=True):
        assert trial.params == dict(record.params)
        assert trial.values == (list(record.objectives) if record.objectives else None)


def test_export_and_status_tell_the_same_story(finished: RunFolder) -> None:
    rows = export(finished)
    status = read_status(finished)
    assert status.state == "finished"
    assert status.studies[0].trials == len(rows["trials"])
    assert status.studies[0].finals == status.studies[0].finals_expected
    keys = {"family", "number", "state", "move", "parent", "fidelity", "params", "metrics", "cost", "seconds", "seed"}
    assert keys | {"reason"} <= rows["trials"][0].keys()
    assert rows["finalists"][0]["metrics"]["nll"].keys() == {"value", "low", "high"}


def test_a_finished_run_is_left_alone(finished: RunFolder) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.is_file()}
    Run(finished).run()
    assert before == {p: p.stat().st_mtime_ns for p in finished.path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "stop_after", [pytest.param(1, marks=pytest.mark.slow), 3, pytest.param(6, marks=pytest.mark.slow)]
)
def test_an_interrupted_run_goes_on_as_if_unbroken(
    tmp_path: Path, tiny: Path, finished: RunFolder, stop_after: int
) -> None:
    folder = begin(tmp_path / "run", tiny)
    run = Run(folder)
    run.stop_after = stop_after
    with pytest.raises(KeyboardInterrupt):
        run.run()
    kept = {p.name: p.read_text() for p in folder.records_path.glob("*.json")}
    assert len(kept) == stop_after
    assert read_status(folder).state == "interrupted"
    Run(folder).run()
    assert read_status(folder).state == "finished"
    for name, text in kept.items():
        assert (folder.records_path / name).read_text() == text
    assert comparable(folder) == comparable(finished)


def test_scores_through_other_evaluators_are_not_mixed(tmp_path: Path, tiny: Path) -> None:
    folder = begin(tmp_path / "run", tiny, trainings=2)
    run = Run(folder)
    run.stop_after = 1
    with pytest.raises(KeyboardInterrupt):
        run.run()
    described = folder.read_json("evaluators.json")
    described[0]["fingerprint"] = "another"
    folder.write_json("evaluators.json", described)
    with pytest.raises(UsageError, match="was scored through evaluators another"):
        Run(folder).run()


@pytest.mark.slow
def test_a_lost_store_is_made_again_from_the_records(tmp_path: Path, tiny: Path) -> None:
    folder = begin(tmp_path / "run", tiny, trainings=2)
    run = Run(folder)
    run.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        run.run()
    (folder.path / "store.db").unlink()
    Run(folder).run()
    study = optuna.load_study(study_name="tiny", storage=folder.store_url())
    assert len(study.trials) == len(folder.records("trial"))


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("diverge", "diverged: loss not finite"),
        ("raise", "RuntimeError: this mode raises"),
        ("exhaust", "out of memory"),
        ("empty", "samples have shape"),
    ],
)
def test_a_setting_that_goes_wrong_is_a_failed_record(tmp_path: Path, tiny: Path, mode: str, reason: str) -> None:
    from gentune.bench.evaluators import default_cache
    from gentune.bench.trial.execution import run_trial
    from gentune.bench.trial.jobs import TrialJob

    folder = begin(tmp_path / "run", tiny)
    job = TrialJob(
        role="trial",
        family=registry.family("tiny").resolved(),
        number=0,
        seed=1,
        split="validation",
        data=DataRef("two_moons"),
        params={"mode": mode},
        objective=("nll",),
        cost=1.0,
        cache=str(default_cache()),
    )
    record = run_trial(job, folder)
    assert record.state == "failed"
    assert record.reason is not None
    assert record.reason.startswith(reason)
    assert record.cost == 1.0
    assert folder.records("trial") == [record]


@pytest.mark.slow
@pytest.mark.parametrize("budget", [{"flops": 4e5}, {"seconds": 0.3}])
def test_other_budgets_are_kept_too(tmp_path: Path, tiny: Path, budget: dict[str, float]) -> None:
    folder = begin(tmp_path / "run", tiny, **budget)
    Run(folder).run()
    trials = folder.records("trial")
    assert trials
    (amount,) = budget.values()
    if "flops" in budget:
        assert sum(r.cost for r in trials) <= amount
        assert trials[0].cost == pytest.approx(sum(trials[0].operations.values()))
    else:
        assert sum(r.cost for r in trials) <= 1.5 * amount  # sampling is not cut short
        assert trials[0].cost == pytest.approx(sum(trials[0].seconds[part] for part in ("train", "kept", "sample")))
    assert read_status(folder).state == "finished"


@pytest.mark.slow
def test_a_family_that_cannot_be_counted_is_told_of(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no hook on a view")

    monkeypatch.setattr("gentune.bench.budget.counting.count_operations", fail)
    folder = begin(tmp_path / "run", tiny)
    said: list[str] = []
    Run(folder, say=said.append).run()
    assert [(r.state, r.cost) for r in folder.records("trial")] == [("complete", 4.0)]
    told = [line for line in said if "cannot be counted (RuntimeError: no hook on a view)" in line]
    assert len(told) == 1 and told[0].endswith("its first trial takes the whole budget")
    (note,) = [note for note in build_leaderboard(folder).content["notes"] if note.startswith("Not tuned")]
    assert note.endswith("(tiny: RuntimeError: no hook on a view).")


@pytest.mark.slow
def test_a_study_ends_after_a_number_of_trials(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gentune.bench.driver.study.MOST_TRIALS", 3)
    folder = begin(tmp_path / "run", tiny, families=["gaussian_mixture"], flops=1e15, seeds=1)
    Run(folder).run()
    trials = folder.records("trial")
    assert len(trials) == 3
    assert all(r.cost == sum(r.operations.values()) > 0 for r in trials if r.state == "complete")


@pytest.mark.slow
def test_fit_families_pay_one_for_each_training(tmp_path: Path, tiny: Path) -> None:
    folder = begin(tmp_path / "run", tiny, families=["gaussian_mixture"], trainings=2, seeds=1)
    Run(folder).run()
    assert [r.cost for r in folder.records("trial")] == [1.0, 1.0]


@pytest.mark.slow
def test_repetitions_of_the_tuning_draw_their_own_luck(tmp_path: Path, tiny: Path) -> None:
    folder = begin(tmp_path / "run", tiny, trainings=2, seeds=1, repeats=2)
    Run(folder).run()
    trials = folder.records("trial")
    first, second = ([r for r in trials if r.repeat == repeat] for repeat in (0, 1))
    assert first[0].params == second[0].params
    assert first[0].seed != second[0].seed
    assert {r.repeat for r in folder.records("final")} == {0, 1}


@pytest.mark.slow
def test_several_objectives_give_a_front(tmp_path: Path, tiny: Path) -> None:
    folder = begin(tmp_path / "run", tiny, objective=["mmd", "nll"], seeds=1)
    Run(folder).run()
    chosen = folder.read_json("incumbents.json")["tiny"]
    assert 1 <= len(chosen) <= 3
    assert len(folder.records("trial")[0].objectives or ()) == 2


@pytest.mark.slow
def test_workers_that_die_are_replaced_and_their_trials_tried_again(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_DRIVER", str(os.getpid()))
    monkeypatch.setenv("TINY_ONCE", str(tmp_path / "marker"))
    folder = begin(tmp_path / "once", tiny, trainings=1, seeds=1)
    ComparisonDriver(folder).run()
    (first,) = folder.records("trial")
    assert (first.state, first.attempts) == ("complete", 2)

    monkeypatch.delenv("TINY_ONCE")
    folder = begin(tmp_path / "always", tiny, trainings=1, seeds=1)
    ComparisonDriver(folder).run()
    (first,) = folder.records("trial")
    assert (first.state, first.attempts) == ("failed", 3)
    assert "SIGKILL" in (first.reason or "")
    assert folder.records("final") == []
    # Nothing is left that references of the test could be compared with.
    assert {r.split for r in folder.records("reference")} == {"validation"}
    assert read_status(folder).state == "finished"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "moments"), [(signal.SIGKILL, ["lock", "store.db", "records"]), (signal.SIGINT, ["records"])]
)
def test_a_driver_may_be_killed_at_any_moment(
    tmp_path: Path, tiny: Path, finished: RunFolder, how: signal.Signals, moments: list[str]
) -> None:
    """Kills the command when each of these has come; afterwards the records equal those of an unbroken run."""
    command = [sys.executable, "-m", "gentune.bench", "compare", "--data", "few_moons", "--families", "tiny"]
    command += ["--plugin", str(tiny), "--objective", "nll", "--trainings", "4", "--workers", "1"]
    command += ["--seeds", "2", "--choice-seeds", "1"]
    broken = tmp_path / "broken"
    keeping = {name: value for name, value in os.environ.items() if name != "GENTUNE_CACHE_GIB"}
    for moment in moments:
        process = subprocess.Popen(
            [*command, "--out", str(broken)],
            stderr=subprocess.DEVNULL,
            env=keeping,
            # Where the tests run in the background of a shell, their children would ignore an interrupt.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        while process.poll() is None and not any(broken.glob(moment + ("/trial*" if moment == "records" else ""))):
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait() == (130 if how == signal.SIGINT else -how)
    for record in RunFolder.open(broken).records():
        assert record.state in ("complete", "failed")
    subprocess.run([*command, "--out", str(broken), "--quiet"], check=True, stdout=subprocess.DEVNULL, env=keeping)
    assert comparable(RunFolder(broken)) == comparable(finished)
    assert not any(p.name.startswith(".") for p in (broken / "records").iterdir()) or how == signal.SIGKILL


@pytest.mark.slow
def test_two_runs_with_one_seed_agree(tmp_path: Path) -> None:
    """CONTRACTS, determinism: the same records but for times, the same leaderboard but for cost columns."""
    command = [sys.executable, "-m", "gentune.bench", "compare", "--data", "digits", "--quiet"]
    command += ["--seeds", "1", "--choice-seeds", "1", "--final-samples", "400"]
    command += ["--plugin", str(Path(__file__).parents[2] / "plugins" / "brief.py")]
    command += ["--families", "gaussian_mixture,brief", "--trainings", "2", "--workers", "1", "--devices", "cpu"]
    boards = []
    for name in ("one", "two"):
        subprocess.run([*command, "--out", str(tmp_path / name)], check=True, stdout=subprocess.DEVNULL)
        board = json.loads((tmp_path / name / "report" / "leaderboard.json").read_text())
        boards.append(board)
    assert comparable(RunFolder(tmp_path / "one")) == comparable(RunFolder(tmp_path / "two"))
    for board in boards:
        board.pop("name", None)
        for row in (*board["rows"], *board["references"]):
            for name, card in board["metrics"].items():
                if card["group"] == "cost":
                    for part in ("metrics", "second_metrics", "default"):
                        (row.get(part) or {}).pop(name, None)
    assert boards[0] == boards[1]
