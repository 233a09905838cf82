"""What the trials of an Optuna study, in any state, tell the engine.

Every trial that was handed out is known to the next proposal, by what it was given: the parameters that were suggested
to it and, under those, the proposal that was announced when it began (`announce`), of which Optuna stores a parameter
only when the objective asks for it. So a trial that failed, or was pruned, before its last suggestion is a failure at
the whole setting that it was given; where nothing was announced, what it was not asked stays open, which a kernel
takes for the middle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import Setting, Value
from .optuna_space import OptunaSpace, is_same
from .records import Observation

_PROPOSED = "gentune:proposed"
_ATTRIBUTE_LENGTH = 2000  # what every Optuna storage takes in one attribute


@dataclass(frozen=True)
class Known:
    """What is known of a study, in the form that `propose` takes."""

    observations: list[Observation]
    pending: list[Setting]
    closed: list[Setting]


def known(read: OptunaSpace, directions: Sequence[StudyDirection], trials: Sequence[FrozenTrial], number: int) -> Known:
    """What trials, in the order of their numbers, tell the trial of this number.

    - completed: observed where it was asked, closed where it was given something else;
    - pruned with a value reported: observed, at the value of `foreseen`;
    - failed, or pruned without a value: a failure, unless nothing is known of its setting;
    - running, or waiting in the queue with all its parameters: pending.

    A trial with a value that the present ranges lack is passed over, as it cannot be proposed. What the last two trials
    before this one were asked is closed if it was the same: noise is worth a second look, but not three in a row.
    """
    found = Known([], [], [])
    completed = [t for t in trials if t.state == TrialState.COMPLETE]
    shown: list[Setting] = []
    for trial in trials:
        asked = read.setting(_params(trial))
        if asked is None:
            continue
        given = _given(read, trial, asked)
        if trial.number < number:
            shown.append(asked if trial.state.is_finished() else given)
        if not trial.state.is_finished():
            if read.active(given, whole=True) is not None:
                found.pending.append(given)
        elif trial.state == TrialState.COMPLETE:
            found.observations.append(observe(directions, trial, asked))
            if given != asked:
                found.closed.append(given)
        elif given:
            one_pruned = trial.state == TrialState.PRUNED and len(directions) == 1
            value = foreseen(directions[0], trial, completed) if one_pruned else None
            values = None if value is None else (value,)
            found.observations.append(Observation(given, values, constraints=trial.constraints))
    if len(shown) > 1 and shown[-1] and shown[-1] == shown[-2]:
        found.closed.append(shown[-1])
    return found


def observe(directions: Sequence[StudyDirection], trial: FrozenTrial, setting: Setting) -> Observation:
    """A completed trial as the engine has it: every objective to be minimised."""
    values = tuple(_sign(d) * v for d, v in zip(directions, trial.values, strict=True))
    return Observation(setting, values, constraints=trial.constraints)


def foreseen(direction: StudyDirection, trial: FrozenTrial, completed: Sequence[FrozenTrial]) -> float | None:
    """The value, to be minimised, that a pruned trial would have come to; None where it reported none.

    It is taken to stand among the completed trials where it stood among them at the step of its last report: values at
    that step are mapped to final ones quantile by quantile, whatever the scale of either. Beyond the worst it keeps
    its distance from it; better than the best completed one it is never. Where no completed trial has reported at that
    step, its own value counts, but as no better than the completed ones' median: it was given up.
    """
    step = trial.last_step
    if step is None or math.isnan(trial.intermediate_values[step]):
        return None
    sign = _sign(direction)
    value = sign * trial.intermediate_values[step]
    finals = np.array([sign * t.values[0] for t in completed], dtype=float)
    reported = np.array([sign * t.intermediate_values.get(step, math.nan) for t in completed], dtype=float)
    both = np.isfinite(finals) & np.isfinite(reported)
    if not both.any():
        finite = np.sort(finals[np.isfinite(finals)]).tolist()
        return max(value, finite[len(finite) // 2]) if finite else value
    reported, finals = np.sort(reported[both]), np.sort(finals[both])
    if value > reported[-1]:
        return float(finals[-1]) + (value - float(reported[-1]))
    return float(np.interp(value, reported, finals))


def announce(study: Study, trial: FrozenTrial, setting: Setting) -> None:
    """Keeps what a trial was given, in the engine's values: choices by index, which survive JSON whatever they are."""
    text = json.dumps(setting)
    parts = [text[i : i + _ATTRIBUTE_LENGTH] for i in range(0, len(text), _ATTRIBUTE_LENGTH)]
    # A retried trial brings what its predecessor was given: an empty part ends what may be shorter now.
    for i, part in enumerate([*parts, ""]):
        if part or f"{_PROPOSED}:{i}" in trial.system_attrs:
            study._storage.set_trial_system_attr(trial._trial_id, f"{_PROPOSED}:{i}", part)


def queued(trial: FrozenTrial) -> dict[str, Any]:
    """The values that a trial was put in the queue with."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def least_used(
    draws: Sequence[Any], name: str, distribution: BaseDistribution, trial: FrozenTrial, others: Sequence[FrozenTrial]
) -> Any:
    """The first of the values drawn for a parameter that the fewest trials have that are like this one so far."""
    so_far = [(n, trial.distributions[n], v) for n, v in trial.params.items()]
    alike = [
        t
        for t in others
        if all(n in t.params and is_same(d, t.params[n], v) for n, d, v in so_far) and name in t.params
    ]
    uses = [sum(is_same(distribution, t.params[name], draw) for t in alike) for draw in draws]
    return draws[uses.index(min(uses))]


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters; of one that has not ended, under them those that it was put in the queue with."""
    return trial.params if trial.state.is_finished() else {**queued(trial), **trial.params}


def _given(read: OptunaSpace, trial: FrozenTrial, asked: Mapping[str, Value]) -> dict[str, Value]:
    """A trial's setting with what was announced for parameters that it has not been asked."""
    parts: list[str] = []
    while part := trial.system_attrs.get(f"{_PROPOSED}:{len(parts)}"):
        parts.append(part)
    try:
        announced: dict[str, Value] = json.loads("".join(parts)) if parts else {}
    except json.JSONDecodeError:  # another worker has written the first part and not yet the others
        announced = {}
    fitting = {n: v for n, v in announced.items() if n in read.space and read.space[n].contains(v)}
    given = read.active({**fitting, **asked})
    assert given is not None
    return given


def _sign(direction: StudyDirection) -> float:
    return -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
