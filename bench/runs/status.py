"""The progress of a run, read from its folder alone: without the lock, while it runs or after a crash."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .. import registry
from .constraints import Constraint, violation
from .lock import RunLock
from .looks import seeds_of
from .records import Record
from .run_folder import RunFolder

PROGRESS = "progress.json"  # among the artifacts: how long the run will take, as its driver sees it
ENDS = ("finished", "time limit")  # states of a run that has come to an end


@dataclass(frozen=True)
class StudyStatus:
    """One study: trials so far, failed ones among them, cost spent, the best objective values seen.

    best: of the trials that keep the constraints; None without any.
    tuned: whether its budget is spent. choices: retrainings of its candidates so far;
    finals: of its incumbents and its default.
    """

    family: str
    repeat: int
    trials: int
    failed: int
    spent: float
    best: tuple[float, ...] | None  # on validation, while tuning; never a result
    seconds: float
    tuned: bool
    choices: int
    choices_expected: int
    finals: int
    finals_expected: int


@dataclass(frozen=True)
class RunStatus:
    """A run's state ("running", "interrupted", "time limit" or "finished") and its studies."""

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
    ended = str(written.get("state"))
    finished = ended == "finished"
    held = RunLock(folder.path).held
    families = list(written.get("families") or config.families)
    chosen = [folder.read_json(name) or {} for name in ("candidates.json", "incumbents.json")]
    records, seeds = folder.records(), (config.choice_seeds, seeds_of(folder))
    bounds = folder.bounds(config.constraints, records)
    directions = [registry.metric(name).direction for name in config.objective]
    studies = tuple(
        _study(family, repeat, records, directions, bounds, [entries.get(family, []) for entries in chosen], seeds)
        for family in families
        for repeat in range(config.repeats)
    )
    return RunStatus(
        name=folder.path.name,
        state="running" if held and not finished else ended if ended in ENDS else "interrupted",
        data=str(config.data),
        objective=config.objective,
        budget=kind,
        amount=amount,
        studies=studies,
        seconds_left=None if finished else _seconds_left(folder, held),
    )


def _study(
    family: str,
    repeat: int,
    records: Sequence[Record],
    directions: Sequence[str],
    bounds: Sequence[Constraint],
    chosen: Sequence[Sequence[dict[str, Any]]],
    seeds: tuple[int, int],
) -> StudyStatus:
    """chosen: what is written of the family's candidates and incumbents. seeds: of the choice and of the finals."""
    mine = [r for r in records if r.family == family and r.repeat == repeat]
    trials = [r for r in mine if r.role == "trial"]
    candidates, incumbents = ([entry for entry in entries if entry["repeat"] == repeat] for entries in chosen)
    scored = [r.objectives for r in trials if r.objectives is not None and not violation(bounds, [r])]
    best = None
    if scored:
        sides = [min if direction == "lower" else max for direction in directions]
        best = tuple(side(values) for side, values in zip(sides, zip(*scored, strict=True), strict=True))
    # The default setting is retrained too, once, unless it is an incumbent.
    settings = (len(incumbents) or 1) + (repeat == 0 and all(entry["trial"] != 0 for entry in incumbents))
    return StudyStatus(
        family=family,
        repeat=repeat,
        trials=len(trials),
        failed=sum(r.objectives is None for r in trials),
        spent=sum(r.cost for r in trials),
        best=best,
        seconds=sum(r.seconds_spent for r in trials),
        tuned=bool(candidates or incumbents),
        choices=sum(r.role == "choice" for r in mine),
        choices_expected=(len(candidates) or 1) * seeds[0],
        finals=sum(r.role in ("final", "default") for r in mine),
        finals_expected=settings * seeds[1],
    )


def _seconds_left(folder: RunFolder, held: bool) -> float | None:
    """As the driver predicted it when the latest job ended, less what has passed since then while it runs."""
    told = folder.read_json(PROGRESS)
    if told is None:
        return None
    passed = time.time() - told["written"] if held else 0.0
    return max(0.0, told["seconds_left"] - passed)


def duration_text(seconds: float) -> str:
    """Seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
