"""The progress of a run, read from its folder alone: without the lock, while it runs or after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import registry
from .lock import RunLock
from .records import Record
from .run_folder import RunFolder


@dataclass(frozen=True)
class StudyStatus:
    """One study: trials so far, failed ones among them, cost spent, the best objective values seen."""

    family: str
    repeat: int
    trials: int
    failed: int
    spent: float
    best: tuple[float, ...] | None  # on validation, while tuning; never a result
    seconds: float
    tuned: bool
    finals: int
    finals_expected: int


@dataclass(frozen=True)
class RunStatus:
    """A run's state ("running", "interrupted" or "finished") and its studies."""

    name: str
    state: str
    data: str
    objective: tuple[str, ...]
    budget: str
    amount: float
    studies: tuple[StudyStatus, ...]
    seconds_left: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for `--json`."""
        from dataclasses import asdict

        return asdict(self)


def read_status(folder: RunFolder) -> RunStatus:
    """The status as the folder's records tell it."""
    config = folder.study
    kind, amount = config.budget
    written = folder.read_json("comparison.json") or {}
    finished = written.get("state") == "finished"
    held = RunLock(folder.path).held
    families = list(written.get("families") or config.families)
    incumbents = folder.read_json("incumbents.json") or {}
    records = folder.records()
    directions = [registry.metric(name).direction for name in config.objective]
    studies = tuple(
        _study(family, repeat, records, directions, incumbents.get(family, []), config.seeds)
        for family in families
        for repeat in range(config.repeats)
    )
    return RunStatus(
        name=folder.path.name,
        state="finished" if finished else "running" if held else "interrupted",
        data=str(config.data),
        objective=config.objective,
        budget=kind,
        amount=amount,
        studies=studies,
        seconds_left=None if finished else _seconds_left(studies, amount, written.get("workers", 1)),
    )


def _study(
    family: str,
    repeat: int,
    records: Sequence[Record],
    directions: Sequence[str],
    incumbents: Sequence[dict[str, Any]],
    seeds: int,
) -> StudyStatus:
    mine = [r for r in records if r.family == family and r.repeat == repeat]
    trials = [r for r in mine if r.role == "trial"]
    chosen = [entry for entry in incumbents if entry["repeat"] == repeat]
    scored = [r.objectives for r in trials if r.objectives is not None]
    best = None
    if scored:
        sides = [min if direction == "lower" else max for direction in directions]
        best = tuple(side(values) for side, values in zip(sides, zip(*scored, strict=True), strict=True))
    # The default setting is retrained too, once, unless it is an incumbent.
    arms = (len(chosen) or 1) + (repeat == 0 and all(entry["trial"] != 0 for entry in chosen))
    return StudyStatus(
        family=family,
        repeat=repeat,
        trials=len(trials),
        failed=sum(r.objectives is None for r in trials),
        spent=sum(r.cost for r in trials),
        best=best,
        seconds=sum(r.seconds_spent for r in trials),
        tuned=any(entry["repeat"] == repeat for entry in incumbents),
        finals=sum(r.role in ("final", "default") for r in mine),
        finals_expected=arms * seeds,
    )


def _seconds_left(studies: Sequence[StudyStatus], amount: float, workers: int) -> float | None:
    """From seconds per unit of cost so far; finals are taken to cost as much as a default training."""
    spent, seconds = sum(s.spent for s in studies), sum(s.seconds for s in studies)
    if not spent or not seconds:
        return None
    left = 0.0
    for study in studies:
        pace = study.seconds / study.spent if study.spent else seconds / spent
        per_trial = study.seconds / study.trials if study.trials else pace
        left += 0.0 if study.tuned else pace * max(0.0, amount - study.spent)
        left += per_trial * max(0, study.finals_expected - study.finals)
    return left / workers
