"""The search space behind an Optuna study, conditions included, read from its trials.

Optuna's spaces are defined by running the objective: nothing says which parameters there are, or under which choices
one of them is asked for. Both show in what finished trials were asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import Parameter, SearchSpace, Setting, Value
from .beliefs import Belief
from .records import Observation

_MOST_VALUES = 256  # an integer with more values than this decides on no other parameter


@dataclass(frozen=True)
class OptunaSpace:
    """`space` as the engine has it, choices known by their index, and Optuna's distributions behind it."""

    space: SearchSpace
    distributions: Mapping[str, BaseDistribution]

    def setting(self, params: Mapping[str, Any], *, whole: bool = False) -> dict[str, Value] | None:
        """Parameters as a setting of `space`, without those that do not count; None where a value is out of range.

        whole: None also where a parameter that counts is missing, as after a failure before the last suggestion.
        """
        values: dict[str, Value] = {}
        for name, value in params.items():
            d = self.distributions.get(name)
            if isinstance(d, CategoricalDistribution):
                if value not in d.choices:
                    return None
                values[name] = int(d.to_internal_repr(value))
            elif isinstance(d, (FloatDistribution, IntDistribution)):
                if not d.low <= value <= d.high:
                    return None
                values[name] = value
        active = self.space.activate(values).keys()
        if whole and not active <= values.keys():
            return None
        return {name: values[name] for name in active if name in values}

    def params(self, setting: Mapping[str, Value]) -> dict[str, Any]:
        """A setting of `space` as values of Optuna's parameters."""
        params: dict[str, Any] = {}
        for name, value in setting.items():
            d = self.distributions[name]
            if isinstance(d, CategoricalDistribution):
                assert isinstance(value, int)
                params[name] = d.choices[value]
            else:
                params[name] = value
        return params

    def beliefs(self, beliefs: Mapping[str, Belief]) -> dict[str, Belief]:
        """Beliefs about Optuna's parameters as ones about those of `space`; parameters not met yet are left out."""
        known: dict[str, Belief] = {}
        for name, belief in beliefs.items():
            d = self.distributions.get(name)
            if isinstance(d, CategoricalDistribution):
                if belief.value not in d.choices:
                    raise ValueError(f"a belief wants {name} = {belief.value!r}, which is none of {list(d.choices)}")
                known[name] = replace(belief, value=int(d.to_internal_repr(belief.value)))
            elif d is not None:
                known[name] = belief
        return known


def read_space(trials: Sequence[FrozenTrial], *, widest: bool = False) -> OptunaSpace:
    """The space that completed trials, in the order of their numbers, were drawn from.

    Ranges are those that a parameter had last, or with `widest` all that it ever had; parameters with a single value
    are left out. A parameter that some
    trials lack hangs on the choice (or the integer) whose values tell the trials that have it from those that have
    not, the nearest above it where there are several; where none does, it counts always.
    """
    distributions: dict[str, BaseDistribution] = {}
    having: dict[str, set[int]] = {}
    for i, trial in enumerate(trials):
        for name, distribution in trial.distributions.items():
            old = distributions.get(name)
            distributions[name] = _join(old, distribution) if widest and old is not None else distribution
            having.setdefault(name, set()).add(i)
    order = {name: i for i, name in enumerate(distributions)}
    # Parents are in more trials than what hangs on them, hence come first.
    names = sorted(distributions, key=lambda name: (-len(having[name]), order[name]))
    names = [name for name in names if not distributions[name].single()]
    parameters = []
    for name in names:
        when = _condition(name, names, distributions, having, trials) if len(having[name]) < len(trials) else {}
        parameters.append(to_parameter(name, distributions[name], when))
    return OptunaSpace(SearchSpace(tuple(parameters)), {name: distributions[name] for name in names})


def to_parameter(
    name: str, distribution: BaseDistribution, when: Mapping[str, tuple[Value, ...]] | None = None
) -> Parameter:
    """A distribution of Optuna as a parameter; raises NotImplementedError for a type that is not Optuna's own."""
    d, when = distribution, when or {}
    if isinstance(d, CategoricalDistribution):
        return Parameter(name, "categorical", 0, choices=tuple(range(len(d.choices))), when=when)
    if isinstance(d, IntDistribution):
        step = None if d.step == 1 else d.step
        return Parameter(name, "int", d.low, low=d.low, high=d.high, log=d.log, step=step, when=when)
    if isinstance(d, FloatDistribution):
        return Parameter(name, "float", d.low, low=d.low, high=d.high, log=d.log, step=d.step, when=when)
    raise NotImplementedError(f"parameter {name!r} has a distribution of type {type(d).__name__}")


def to_distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter's range as Optuna knows it, without its grid, which a default or a plug-in's value need not be on."""
    if parameter.kind == "categorical":
        return CategoricalDistribution(parameter.choices)
    assert parameter.low is not None and parameter.high is not None
    if parameter.kind == "int":
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log)


def _join(old: BaseDistribution, new: BaseDistribution) -> BaseDistribution:
    """Both ranges in one, on the newer one's scale."""
    if isinstance(new, FloatDistribution) and isinstance(old, FloatDistribution):
        return FloatDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
    if isinstance(new, IntDistribution) and isinstance(old, IntDistribution):
        return IntDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
    return new


def _condition(
    name: str,
    names: Sequence[str],
    distributions: Mapping[str, BaseDistribution],
    having: Mapping[str, set[int]],
    trials: Sequence[FrozenTrial],
) -> dict[str, tuple[Value, ...]]:
    """The `when` of a parameter that some trials lack; empty where nothing explains it."""
    best: tuple[tuple[bool, int], dict[str, tuple[Value, ...]]] | None = None
    for other in names:
        d = distributions[other]
        if not having[name] < having[other] or not _decides(d):
            continue
        # What a trial holds, in Optuna's internal numbers: the index of a choice, the value of an integer.
        codes = {i: int(d.to_internal_repr(trials[i].params[other])) for i in having[other]}
        present = {codes[i] for i in having[name]}
        absent = {code for i, code in codes.items() if i not in having[name]}
        if present & absent:
            continue
        rank = (isinstance(d, IntDistribution), len(having[other]))
        if best is None or rank < best[0]:
            best = rank, {other: _values(d, present, absent)}
    return best[1] if best else {}


def _decides(distribution: BaseDistribution) -> bool:
    """Whether other parameters may hang on one with this distribution."""
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step < _MOST_VALUES
    return isinstance(distribution, CategoricalDistribution)


def _values(distribution: BaseDistribution, present: set[int], absent: set[int]) -> tuple[Value, ...]:
    """The values under which a parameter counts: those seen with it, and integers nearer to these than to others."""
    if not isinstance(distribution, IntDistribution):
        return tuple(sorted(present))
    every = range(distribution.low, distribution.high + 1, distribution.step)
    near = {v for v in every if min(abs(v - p) for p in present) < min(abs(v - a) for a in absent)}
    return tuple(sorted(near | (present & set(every))))


def observe(directions: Sequence[StudyDirection], trial: FrozenTrial, setting: Setting) -> Observation:
    """A finished trial as the engine has it: every objective to be minimised."""
    if trial.state != TrialState.COMPLETE or any(math.isnan(v) for v in trial.values):
        return Observation(setting, None, constraints=trial.constraints)
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in directions]
    values = tuple(s * v for s, v in zip(signs, trial.values, strict=True))
    return Observation(setting, values, constraints=trial.constraints)
