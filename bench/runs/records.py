"""The record of a trial, a finalist or a reference: one frozen object, one JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ...search_spaces.space import Value, suggest

SCHEMA = 2
READABLE = (1, 2)  # 1: before the rooms of 2026-11; its runs can be read, not resumed
TOO_SLOW = "too slow:"  # begins the reason of a trial that was ended at a time limit

Role = Literal["trial", "choice", "final", "default", "reference"]
State = Literal["complete", "failed", "stopped"]
Figure = Mapping[str, float | None]  # {"value", "low", "high"} of a metric; low and high are None without interval


@dataclass(frozen=True)
class Record:
    """A trial, or something trained and scored in addition to the trials.

    role: "trial"; "choice", a trial's setting retrained with a new seed and scored on validation, to choose among few
        settings; "final", an incumbent retrained with a new seed for the test; "default", the family's default setting
        retrained in the same way; "reference", a baseline (the real-against-real floor, a single Gaussian).
    number: of a trial, its place in its study; else its repetition. Both count from 0.
    repeat: which repetition of the whole tuning it belongs to (`--repeats`).
    incumbent: finals: which of the study's incumbents is retrained (0 unless there are several objectives).
    trial: choices and finals: the number of the trial whose setting is retrained.
    split: what it was scored on.
    objectives: the values that were asked for, in their own direction, in the study's order; None if it failed.
    errors: of the objectives, their standard errors from the samples alone (`MetricCard.error_between_models`); None if
        it failed, and in records of before 2026-12.
    metrics: of the primary evaluator and of the trial itself; second_metrics: of the second evaluator.
    undefined, second_undefined: metrics that have no value here, with the reason.
    fidelity: the share of a full training. training: the name of the kept state that the samples come from
        (`gentune cache`); "" without samples, and for a family whose source is in no file.
    curve: intermediate scores on few samples, {"fidelity", "objectives"} at rising shares of a training, the objectives
        all to be minimised, or None where one is not defined; empty where none were taken. A trial that was "stopped"
        there by a rule has the objectives of what it had trained.
    training_seed: of weights and training, where they are those of an earlier trial; None: `seed`.
    likelihood: kind of the reported likelihood, the number of noise samples behind it and, for log p(x|condition) in
        place of log p(x), the kind of condition that is `given`.
    cost: what the study's budget is charged, in its unit: full trainings of the family's default setting, each with its
        samples ("trainings"); floating-point operations ("flops"); seconds of training that no earlier trial was
        charged, of sampling and of intermediate scores ("seconds"). A failed trial is charged in full, a stopped one
        for what it took. `bench/budget/kinds.py` says how. operations: floating-point, "train", "sample", and "score"
        for the samples of intermediate scores.
    samples: how many samples were scored.
    seconds: by part of the trial: "train", in this trial; "kept", of the training's parts that an earlier trial had
        trained, when they were; "sample", "measure"; "score", of intermediate scores.
    data: name, fingerprint, and the reference by which it was opened (`DataRef.to_value`; absent in older records).
    evaluators: name and fingerprint of each. provenance: versions, revision, machine and device.
    """

    role: Role
    family: str
    number: int
    seed: int
    split: str
    state: State
    params: Mapping[str, Value]
    repeat: int = 0
    incumbent: int = 0
    trial: int | None = None
    reason: str | None = None
    move: str = "train"
    parent: int | None = None
    fidelity: float = 1.0
    training: str = ""
    curve: tuple[Mapping[str, Any], ...] = ()
    training_seed: int | None = None
    origin: str = ""
    objectives: tuple[float, ...] | None = None
    errors: tuple[float, ...] | None = None
    metrics: Mapping[str, Figure] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    second_metrics: Mapping[str, Figure] = field(default_factory=dict)
    second_undefined: Mapping[str, str] = field(default_factory=dict)
    likelihood: Mapping[str, Any] = field(default_factory=dict)
    cost: float = 0.0
    operations: Mapping[str, float] = field(default_factory=dict)
    samples: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    started: str = ""
    finished: str = ""
    attempts: int = 1
    data: Mapping[str, Any] = field(default_factory=dict)
    evaluators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def seconds_spent(self) -> float:
        """Seconds that it took, without those of what an earlier trial had trained."""
        return sum(seconds for part, seconds in self.seconds.items() if part != "kept")

    @property
    def name(self) -> str:
        """The record's name in its run folder; a trial's retries share it."""
        if self.role == "trial":
            return f"trial-{self.family}-{self.repeat}-{self.number:04d}"
        if self.role == "choice":
            return f"choice-{self.family}-{self.repeat}-{self.trial:04d}-{self.number:03d}"
        if self.role == "final":
            return f"final-{self.family}-{self.repeat}-{self.incumbent}-{self.number:03d}"
        if self.role == "default":
            return f"default-{self.family}-{self.number:03d}"
        return f"reference-{self.family}-{self.split}-{self.number:03d}"

    def to_json(self) -> str:
        """One JSON document; NaN and infinities are refused, since JSON has neither."""
        return json.dumps(dataclasses.asdict(self), indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "record") -> Record:
        """Reads `to_json`'s document, or one of an earlier schema. Raises ValueError for unknown keys and schemas."""
        content = json.loads(text)
        if content.get("schema") not in READABLE:
            readable = " and ".join(map(str, READABLE))
            raise ValueError(f"{where}: schema {content.get('schema')!r}; this version reads schemas {readable}")
        known = [f.name for f in dataclasses.fields(cls)]
        for key in content:
            if key not in known:
                raise ValueError(f"{where}: unknown key {key!r}{suggest(key, known)}")
        for name in ("objectives", "errors"):
            if content.get(name) is not None:
                content[name] = tuple(content[name])
        content["curve"] = tuple(
            {**point, "objectives": point["objectives"] and tuple(point["objectives"])}
            for point in content.get("curve", ())
        )
        return cls(**content)
