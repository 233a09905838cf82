"""What a driver records about its run besides the trials: state, events, evaluators, incumbents, its own seconds."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ..errors import UsageError
from ..evaluators import Evaluator
from ..runs.looks import finished, look, seeds_of
from ..runs.records import Record
from ..runs.run_folder import RunFolder
from ..runs.status import PROGRESS
from ..trial.jobs import Job, TrialJob
from .final_samples import FinalSamples
from .study import Candidate

_STATE = "comparison.json"
_EVALUATORS = "evaluators.json"
_INCUMBENTS = "incumbents.json"
_CANDIDATES = "candidates.json"
_FINAL_SAMPLES = "final_samples.json"


class Journal:
    """The driver's own files in one run folder; a resumed run continues from them.

    run_id: drawn when the run begins, so that another run in a folder of the same name has another one.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.run_id = str((self.state() or {}).get("run") or uuid.uuid4().hex)
        self._overhead: dict[str, float] = dict((self.state() or {}).get("overhead", {}))

    def state(self) -> dict[str, Any] | None:
        """What `write_state` wrote last; None before a run has begun."""
        content: dict[str, Any] | None = self._folder.read_json(_STATE)
        return content

    @property
    def finished(self) -> bool:
        """Whether the run had come to its end, with as many seeds as are asked for now."""
        return finished(self._folder)

    def look(self, seeds: int) -> None:
        """Records that finals with so many seeds are asked for; raises UsageError for fewer than before."""
        look(self._folder, seeds, _now())

    def write_state(self, state: str, seconds: float, facts: Mapping[str, Any]) -> None:
        """Writes comparison.json.

        state: "running", "interrupted", "time limit" or "finished". seconds: that this process has worked on the run.
        facts: workers, lag, seeds, data and families of the run.
        """
        before = self.state() or {"started": _now(), "seconds": 0.0}
        content = before | {
            "run": self.run_id,
            "state": state,
            "finished": _now() if state == "finished" else None,
            "seconds": before["seconds"] + seconds,
            "overhead": self._overhead,
        }
        self._folder.write_json(_STATE, content | dict(facts))

    @property
    def cut(self) -> list[str]:
        """Studies whose tuning a time limit has ended."""
        return list((self.state() or {}).get("cut", ()))

    def reopen(self, max_hours: float | None) -> None:
        """Forgets what was chosen for studies whose tuning a smaller limit has ended, so that they go on.

        Their retrainings stay where they are asked for again. What they scored on the test split may have been seen, so
        that the finals to come are another look.
        """
        there = self.state() or {}
        before = there.get("max_hours")
        if not self.cut or before is None or (max_hours is not None and max_hours <= before):
            return
        for name in (_CANDIDATES, _INCUMBENTS):
            content = self._folder.read_json(name) or {}
            for family, entries in content.items():
                content[family] = [e for e in entries if _study_name(family, e["repeat"]) not in self.cut]
            self._folder.write_json(name, content)
        look(self._folder, seeds_of(self._folder), _now(), again=True)
        self._folder.write_json(_STATE, there | {"cut": [], "max_hours": max_hours})

    def write_progress(self, seconds_left: float) -> None:
        """Writes progress.json: how long the run will take from now on; progress.jsonl of the log keeps all of them."""
        told = {"seconds_left": seconds_left, "written": time.time()}
        self._folder.write_json(PROGRESS, told)
        with (self._folder.log_path / "progress.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")

    def overhead(self) -> dict[str, float]:
        """Seconds of the driver's own work by part, as `timing` counts them."""
        return dict(self._overhead)

    @contextlib.contextmanager
    def timing(self, part: str) -> Iterator[None]:
        """Measures seconds of the driver's own work, which no budget is charged for."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._overhead[part] = self._overhead.get(part, 0.0) + time.monotonic() - began

    def write_evaluators(self, by_role: Mapping[str, Evaluator]) -> None:
        """Writes evaluators.json; scores through different evaluators never share a table.

        Raises UsageError where the run was scored through others.
        """
        described = [
            {
                "role": role,
                "name": e.name,
                "fingerprint": e.fingerprint,
                "accuracy": e.accuracy,
                "quality": None if e.quality is None else e.quality.as_json(),
                "weights": None if e.weights is None else asdict(e.weights),
            }
            for role, e in by_role.items()
        ]
        before = self._folder.read_json(_EVALUATORS)
        if before is not None and [e["fingerprint"] for e in before] != [e["fingerprint"] for e in described]:
            raise UsageError(
                f"{self._folder.path} was scored through evaluators {', '.join(e['fingerprint'] for e in before)}, "
                f"and this version, machine or file of weights gives others; begin a new run"
            )
        self._folder.write_json(_EVALUATORS, described)

    def write_final_samples(self, decided: FinalSamples) -> None:
        """Writes final_samples.json, before the first job that draws so many."""
        self._folder.write_json(_FINAL_SAMPLES, asdict(decided))

    def final_samples(self) -> FinalSamples | None:
        """What `write_final_samples` wrote; None before."""
        content = self._folder.read_json(_FINAL_SAMPLES)
        return None if content is None else FinalSamples(**content)

    def write_incumbents(self, family: str, repeat: int, chosen: Sequence[Record]) -> None:
        """Writes the trials whose settings a study has chosen into incumbents.json."""
        own = [{"incumbent": i, "trial": r.number, "params": dict(r.params)} for i, r in enumerate(chosen)]
        self._write_of_study(_INCUMBENTS, family, repeat, own)

    def incumbents(self, family: str, repeat: int) -> list[int]:
        """Numbers of the trials that `write_incumbents` wrote; empty where it wrote none."""
        return [entry["trial"] for entry in self._of_study(_INCUMBENTS, family, repeat)]

    def write_candidates(self, family: str, repeat: int, found: Sequence[Candidate]) -> None:
        """Writes the trials among whose settings retrainings choose into candidates.json."""
        self._write_of_study(_CANDIDATES, family, repeat, [asdict(candidate) for candidate in found])

    def candidates(self, family: str, repeat: int) -> list[Candidate]:
        """What `write_candidates` wrote; empty where it wrote none."""
        return [Candidate(e["trial"], e["probability"]) for e in self._of_study(_CANDIDATES, family, repeat)]

    def _of_study(self, name: str, family: str, repeat: int) -> list[dict[str, Any]]:
        """The entries of one study in a file that holds those of all, by family."""
        content = self._folder.read_json(name) or {}
        return [entry for entry in content.get(family, []) if entry["repeat"] == repeat]

    def _write_of_study(self, name: str, family: str, repeat: int, entries: Sequence[Mapping[str, Any]]) -> None:
        """Replaces the entries of one study."""
        content = self._folder.read_json(name) or {}
        others = [entry for entry in content.get(family, []) if entry["repeat"] != repeat]
        own = [{"repeat": repeat, **entry} for entry in entries]
        content[family] = sorted(others + own, key=lambda entry: entry["repeat"])
        self._folder.write_json(name, dict(sorted(content.items())))

    def log(self, event: str, job: Job, **more: Any) -> None:
        """Appends to events.jsonl, one JSON object a line: which jobs were started and ended, in which order."""
        entry = {"time": _now(), "event": event, "job": type(job).__name__, "attempts": job.attempts, **more}
        if isinstance(job, TrialJob):
            entry |= {"role": job.role, "family": job.family_name, "number": job.number, "repeat": job.repeat}
        with (self._folder.log_path / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def _study_name(family: str, repeat: int) -> str:
    return family if repeat == 0 else f"{family}@{repeat}"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
