"""How each method runs its trials on a task, and which of its trials it names after each.

A method is written `name` or `name:keyword=value:keyword=value`; the keywords go to the sampler's constructor, but for
`without=piece+piece`, which takes pieces of the engine away (`ablations`), and `default=true`, by which the space's
default is the first trial. `priorband` runs in parts (`parts`), on tasks that have learning curves.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from ablations import without
from task import FailedTrial, Task

from gentune.search_spaces.space import Parameter, SearchSpace, Setting

FIRST_NAMED = 10  # trials after which a method is asked which of its settings it would name
DISTRIBUTIONS = {
    **dict.fromkeys(("random", "tpe", "tpe_5", "gp", "gp_5"), "optuna"),
    "ax": "ax-platform",
    "smac": "smac",
    "hebo": "HEBO",
    "priorband": "neural-pipeline-search",
}
RIVALS = tuple(DISTRIBUTIONS)
FEWER_STARTS = {"tpe_5": "tpe", "gp_5": "gp"}  # from as many starts as ours has
SERVED = ("smac", "hebo", "priorband")  # in environments of their own, .venv-NAME
SLOW = ("ax", *SERVED)


Named = tuple[int, float | None] | None  # a trial's number and its setting's true value


class Method(Protocol):
    """One run of one method on one space."""

    def ask(self) -> Setting:
        """The next setting, active parameters only."""

    def tell(self, value: float | None) -> None:
        """What the setting measured; None: it failed."""

    def name(self) -> int | None:
        """The number of the trial that the method would name now; None: its best observed."""

    def close(self) -> None:
        """Frees what the method holds."""


@dataclass(frozen=True)
class Trace:
    """One run: trial by trial what was asked, what it measured, and what was named after it.

    values: the measured value of each trial, None where it failed. named: after each trial the number of the named one
    and its true value (None where even the truth of it fails), or None while no trial has succeeded.
    observed: the same of the best observed trial; None where the method always names it.
    ask_seconds: of each trial; recommend_seconds: of each naming that the method computes, 0 elsewhere.
    """

    settings: list[dict[str, Any]]
    values: list[float | None]
    named: list[Named]
    observed: list[Named] | None
    ask_seconds: list[float]
    recommend_seconds: list[float]


def run(spec: str, task: Task, seed: int, trials: int) -> Trace:
    """Runs `trials` trials of the method `spec` on the task, one after another.

    The noise of trial k depends on (task, seed, k) alone, so that runs of two methods are paired.
    """
    name, keywords = split(spec)
    with without(keywords.pop("without", None)):
        if name == "priorband":
            from parts import run_in_parts

            return run_in_parts(task, seed, trials)
        method = create(name, keywords, task.space, seed, trials)
        try:
            return _run(method, task, seed, trials)
        finally:
            method.close()


def _run(method: Method, task: Task, seed: int, trials: int) -> Trace:
    trace = Trace([], [], [], [], [], [])
    assert trace.observed is not None
    truths: dict[int, float | None] = {}

    def with_truth(number: int | None) -> Named:
        if number is not None and number not in truths:
            truths[number] = true_value(task, trace.settings[number])
        return None if number is None else (number, truths[number])

    for k in range(trials):
        began = time.perf_counter()
        setting = dict(method.ask())
        trace.ask_seconds.append(time.perf_counter() - began)
        value = _measure(task, setting, np.random.default_rng([zlib.crc32(task.name.encode()), seed, k]))
        method.tell(value)
        trace.settings.append(setting)
        trace.values.append(value)
        best = best_observed(trace.values)
        began = time.perf_counter()
        chosen = method.name() if best is not None and k + 1 >= FIRST_NAMED else None
        trace.recommend_seconds.append(0.0 if chosen is None else time.perf_counter() - began)
        trace.named.append(with_truth(best if chosen is None else chosen))
        trace.observed.append(with_truth(best))
    return replace(trace, observed=None) if trace.observed == trace.named else trace


def best_observed(values: list[float | None]) -> int | None:
    """The first trial with the lowest measured value, if any succeeded."""
    succeeded = [(v, i) for i, v in enumerate(values) if v is not None]
    return min(succeeded)[1] if succeeded else None


def split(spec: str) -> tuple[str, dict[str, Any]]:
    """`gentune:start=8:flag=true` as ("gentune", {"start": 8, "flag": True})."""
    name, *parts = spec.split(":")
    keywords: dict[str, Any] = {}
    for part in parts:
        keyword, equals, text = part.partition("=")
        if not equals or not keyword.isidentifier():
            raise ValueError(f"method {spec!r}: wanted keyword=value, got {part!r}")
        keywords[keyword] = _parse(text)
    if name not in (*RIVALS, "gentune"):
        raise ValueError(f"unknown method {name!r}; known: {', '.join((*RIVALS, 'gentune'))}")
    if name in SLOW and keywords:
        raise ValueError(f"{name} runs as it comes; it takes no keywords")
    return name, keywords


def create(name: str, keywords: dict[str, Any], space: SearchSpace, seed: int, trials: int) -> Method:
    """A fresh run of a method. Raises TypeError for an unknown keyword."""
    if name in SERVED:
        from served_method import ServedMethod

        return ServedMethod(name, space, seed, trials)
    if name == "ax":
        from ax_method import AxMethod

        return AxMethod(space, seed)
    default_first = keywords.pop("default", False)
    return OptunaMethod(sampler(name, keywords, seed), space, default_first=default_first)


def sampler(name: str, keywords: dict[str, Any], seed: int) -> Any:
    """The Optuna sampler of a method."""
    import optuna

    if name == "gentune":
        from gentune import BayesianSampler

        return BayesianSampler(seed=seed, **keywords)
    if name in FEWER_STARTS:
        name, keywords = FEWER_STARTS[name], {"n_startup_trials": 5, **keywords}
    kinds: dict[str, Callable[..., Any]] = {
        "random": optuna.samplers.RandomSampler,
        "tpe": optuna.samplers.TPESampler,
        "gp": optuna.samplers.GPSampler,
    }
    return kinds[name](seed=seed, **keywords)


class OptunaMethod:
    """An Optuna sampler under a define-by-run objective."""

    def __init__(self, sampler: Any, space: SearchSpace, *, default_first: bool = False) -> None:
        import optuna

        self._study = optuna.create_study(sampler=sampler)
        if default_first:
            self._study.enqueue_trial(dict(space.default()))
        self._sampler = sampler
        self._space = space
        self._trial: Any = None

    def ask(self) -> Setting:
        self._trial = self._study.ask()
        return suggest(self._trial, self._space)

    def tell(self, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(self._trial, state=TrialState.FAIL)
        else:
            self._study.tell(self._trial, value)

    def name(self) -> int | None:
        recommend = getattr(self._sampler, "recommend", None)
        return None if recommend is None else recommend(self._study).number

    def close(self) -> None:
        pass


def suggest(trial: Any, space: SearchSpace) -> dict[str, Any]:
    """What an Optuna trial suggests for the active parameters, parents first."""
    setting: dict[str, Any] = {}
    for p in space:
        if space.is_active(p, setting):
            setting[p.name] = _suggest(trial, p)
    return setting


def _suggest(trial: Any, p: Parameter) -> Any:
    if p.kind == "categorical":
        return trial.suggest_categorical(p.name, list(p.choices))
    if p.kind == "int":
        assert p.low is not None and p.high is not None
        return trial.suggest_int(p.name, int(p.low), int(p.high), step=int(p.step or 1), log=p.log)
    return trial.suggest_float(p.name, p.low, p.high, step=p.step, log=p.log)


def _measure(task: Task, setting: Setting, rng: np.random.Generator) -> float | None:
    try:
        value = float(task.measure(setting, rng))
    except FailedTrial:
        return None
    return value if math.isfinite(value) else None


def true_value(task: Task, setting: Setting) -> float | None:
    """The truth of a setting; None where it fails."""
    try:
        return float(task.truth(setting))
    except FailedTrial:
        return None


def _parse(text: str) -> Any:
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
