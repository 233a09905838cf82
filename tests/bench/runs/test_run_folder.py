"""Run folders, records and locks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gentune.bench.data import DataRef
from gentune.bench.errors import UsageError
from gentune.bench.files import write_atomically
from gentune.bench.runs.lock import RunLock
from gentune.bench.runs.records import Record
from gentune.bench.runs.run_folder import RunFolder
from gentune.bench.runs.status import read_status
from gentune.bench.runs.study_file import StudyFile

STUDY = StudyFile(data=DataRef("digits"), families=("beta_vae", "ddpm"), trainings=3, objective=("fid",))
RECORD = Record(
    role="trial",
    family="ddpm",
    number=3,
    seed=7,
    split="validation",
    state="complete",
    params={"width": 8, "schedule": "cosine", "rate": 1e-3, "flag": True},
    objectives=(12.5,),
    metrics={"fid": {"value": 12.5, "low": None, "high": None}},
)


def test_a_record_reads_as_written() -> None:
    assert Record.from_json(RECORD.to_json()) == RECORD


def test_a_record_with_unknown_keys_is_refused() -> None:
    content = json.loads(RECORD.to_json())
    content["familly"] = "x"
    with pytest.raises(ValueError, match="unknown key 'familly'; did you mean 'family'"):
        Record.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="schema 99"):
        Record.from_json(json.dumps({"schema": 99}))


def test_a_record_holds_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        replace(RECORD, objectives=(float("nan"),)).to_json()


def test_retries_of_a_trial_share_a_name_and_nothing_else_does() -> None:
    others = [
        replace(RECORD, number=4),
        replace(RECORD, repeat=1),
        replace(RECORD, family="vae"),
        replace(RECORD, role="final"),
        replace(RECORD, role="final", incumbent=1),
        replace(RECORD, role="choice", trial=3),
        replace(RECORD, role="choice", trial=4),
        replace(RECORD, role="choice", trial=3, repeat=1),
        replace(RECORD, role="choice", trial=3, number=4),
        replace(RECORD, role="default"),
        replace(RECORD, role="reference"),
        replace(RECORD, role="reference", split="test"),
    ]
    assert replace(RECORD, attempts=2).name == RECORD.name
    assert len({r.name for r in [RECORD, *others]}) == 1 + len(others)


def test_an_atomic_write_leaves_the_old_content_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_its_own_study_again_and_no_other(tmp_path: Path) -> None:
    folder = RunFolder.create_or_match(tmp_path / "run", STUDY)
    assert folder.study == STUDY
    RunFolder.create_or_match(tmp_path / "run", STUDY.model_copy(update={"workers": 7}))
    with pytest.raises(UsageError, match=r"its trainings is 3\.0, here it is 4\.0"):
        RunFolder.create_or_match(tmp_path / "run", STUDY.model_copy(update={"trainings": 4.0}))


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match=r"is not empty and holds no study\.toml"):
        RunFolder.create_or_match(tmp_path, STUDY)
    with pytest.raises(UsageError, match="is no run folder"):
        RunFolder.open(tmp_path)
    with pytest.raises(UsageError, match="is not there"):
        RunFolder.open(tmp_path / "nowhere")


def test_unfinished_writes_are_not_records(tmp_path: Path) -> None:
    folder = RunFolder.create_or_match(tmp_path / "run", STUDY)
    folder.write_record(RECORD)
    (folder.records_path / f".{RECORD.name}.json.abc.part").write_text("{")
    assert folder.records() == [RECORD]
    assert folder.records("final") == []


def test_a_lock_is_held_by_one_living_driver(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        assert lock.held
        with pytest.raises(UsageError, match=f"in use by process {os.getpid()}"), RunLock(tmp_path):
            pass
    assert not lock.held
    assert not lock.path.exists()


def test_a_dead_drivers_lock_is_taken_over_at_once(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from gentune.bench.runs.lock import RunLock\n"
        f"RunLock(Path({str(tmp_path)!r})).__enter__(); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    lock = RunLock(tmp_path)
    assert lock.path.exists()
    assert not lock.held
    with lock:
        assert lock.held


def test_another_process_with_the_same_number_is_not_the_owner(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with lock:
        owner = lock.owner()
    assert owner is not None
    lock.path.write_text(json.dumps(owner | {"start": "1"}))
    assert not lock.held
    lock.path.write_text(json.dumps(owner | {"boot": "another"}))
    assert not lock.held
    lock.path.write_text(json.dumps(owner | {"host": "elsewhere"}))
    assert lock.held  # it cannot be known from here


def test_the_best_so_far_keeps_the_constraints_on_this_runs_data(tmp_path: Path) -> None:
    folder = RunFolder.create_or_match(tmp_path / "run", STUDY.model_copy(update={"constraints": ("fid >= 5",)}))
    folder.write_json("comparison.json", {"data": {"kind": "image", "levels": 16}, "families": {"ddpm": {}}})
    assert [str(bound) for bound in folder.bounds(folder.study.constraints, [])] == ["bits_per_dim <= 4", "fid >= 5"]

    def scored(number: int, fid: float, bits: float) -> Record:
        figures = {name: {"value": v, "low": None, "high": None} for name, v in (("fid", fid), ("bits_per_dim", bits))}
        return replace(RECORD, number=number, objectives=(fid,), metrics=figures)

    folder.write_record(scored(0, 4.0, 3.0))
    folder.write_record(scored(1, 6.0, 900.0))
    assert read_status(folder).studies[0].best is None
    folder.write_record(scored(2, 8.0, 3.0))
    assert read_status(folder).studies[0].best == (8.0,)
