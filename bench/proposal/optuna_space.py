"""The search space behind an Optuna study, conditions included, read from its trials.

Optuna's spaces are defined by running the objective: nothing says which parameters there are, or under which choices
one of them is asked for. Both show in what trials were asked.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import Parameter, SearchSpace, Setting, Value
from .beliefs import Belief

_MOST_VALUES = 256  # an integer with more values than this decides on no other parameter


@dataclass(frozen=True)
class OptunaSpace:
    """`space` as the engine has it, choices known by their index, and Optuna's distributions behind it.

    constants: distributions with a single value, of parameters that `space` leaves out.
    """

    space: SearchSpace
    distributions: Mapping[str, BaseDistribution]
    constants: Mapping[str, BaseDistribution] = field(default_factory=dict)

    def value(self, name: str, value: Any) -> int | float | None:
        """A parameter's value as the engine has it; None where it is out of range."""
        d = self.distributions[name]
        number = _number(d, value)
        if number is None or not _contains(d, number):
            return None
        return int(number) if isinstance(d, CategoricalDistribution) else d.to_external_repr(number)

    def setting(self, params: Mapping[str, Any], *, whole: bool = False) -> dict[str, Value] | None:
        """Parameters as a setting of `space`, without those that do not count; None where a value is out of range.

        whole: None also where a parameter that counts is missing, as after a failure before the last suggestion.
        """
        values: dict[str, Value] = {}
        for name, value in params.items():
            if name in self.distributions:
                values[name] = self.value(name, value)
                if values[name] is None:
                    return None
            elif name in self.constants:
                number = _number(self.constants[name], value)
                if number is None or not _contains(self.constants[name], number):
                    return None
        return self.active(values, whole=whole)

    def active(self, values: Setting, *, whole: bool = False) -> dict[str, Value] | None:
        """The values that count; with `whole`, None where another one does."""
        active = self.space.activate(values).keys()
        if whole and not active <= values.keys():
            return None
        return {name: values[name] for name in active if name in values}

    def only(self, names: Collection[str]) -> OptunaSpace:
        """The space of these parameters; conditions on others are dropped."""
        kept = [p for p in self.space if p.name in names]
        parameters = [replace(p, when={n: v for n, v in p.when.items() if n in names}) for p in kept]
        distributions = {name: d for name, d in self.distributions.items() if name in names}
        return OptunaSpace(SearchSpace(tuple(parameters)), distributions, self.constants)

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
                code = self.value(name, belief.value)
                if code is None:
                    raise ValueError(f"a belief wants {name} = {belief.value!r}, which is none of {list(d.choices)}")
                known[name] = replace(belief, value=code)
            elif d is not None:
                known[name] = belief
        return known


def read_space(trials: Sequence[FrozenTrial], *, widest: bool = False) -> OptunaSpace:
    """The space that trials in any state, in the order of their numbers, were drawn from.

    Ranges are those that a parameter had last, or with `widest` all that it ever had; parameters with a single value
    are left out. Trials that completed, or reported a value, were asked for all that counts: a parameter that some of
    them lack hangs on the choice (or the integer) whose values tell the trials that have it from those that have
    not, the nearest above it where there are several. Where none does, it counts always; but not if all trials that
    lack it came after all that have it: the objective no longer asks for it, and but for `widest` it is left out.
    """
    distributions: dict[str, BaseDistribution] = {}
    having: dict[str, set[int]] = {}
    for i, trial in enumerate(trials):
        for name, distribution in trial.distributions.items():
            old = distributions.get(name)
            distributions[name] = _join(old, distribution) if widest and old is not None else distribution
            having.setdefault(name, set()).add(i)
    whole = {i for i, t in enumerate(trials) if t.state == TrialState.COMPLETE or t.intermediate_values}
    order = {name: i for i, name in enumerate(distributions)}
    # Parents are in more trials than what hangs on them, hence come first.
    names = sorted(distributions, key=lambda name: (-len(having[name]), order[name]))
    constants = {name: distributions[name] for name in names if distributions[name].single()}
    names = [name for name in names if name not in constants]
    asked = _Asked(trials, distributions, having, whole)
    kept: list[Parameter] = []
    for name in names:
        when = asked.condition(name, [p.name for p in kept]) if asked.lacking(name) else {}
        if widest or when or not asked.no_longer(name):
            kept.append(to_parameter(name, distributions[name], when))
    return OptunaSpace(SearchSpace(tuple(kept)), {p.name: distributions[p.name] for p in kept}, constants)


def to_parameter(
    name: str, distribution: BaseDistribution, when: Mapping[str, tuple[Value, ...]] | None = None
) -> Parameter:
    """A distribution of Optuna as a parameter; raises NotImplementedError for a type that is not Optuna's own."""
    d, when = distribution, when or {}
    if isinstance(d, CategoricalDistribution):
        # Optuna takes the first of equal choices, such as 1 and True, for each of them.
        codes = {int(d.to_internal_repr(choice)) for choice in d.choices}
        return Parameter(name, "categorical", 0, choices=tuple(sorted(codes)), when=when)
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


def is_same(distribution: BaseDistribution, one: Any, other: Any) -> bool:
    """Whether two values of a parameter are the same to Optuna."""
    number = _number(distribution, one)
    return number is not None and number == _number(distribution, other)


def _number(distribution: BaseDistribution, value: Any) -> float | None:
    """A value as Optuna's internal number, which is the index of a choice; None for what the parameter cannot be."""
    try:
        return distribution.to_internal_repr(value)
    except ValueError:
        return None


def _contains(distribution: BaseDistribution, number: float) -> bool:
    """Whether an internal number is within the range, on its grid or not."""
    if isinstance(distribution, (FloatDistribution, IntDistribution)):
        return distribution.low <= number <= distribution.high
    return True


@dataclass(frozen=True)
class _Asked:
    """Which trials were asked for which parameter. having: by parameter, the rows of the trials that have it; whole:
    the rows of those that were asked for all that counts."""

    trials: Sequence[FrozenTrial]
    distributions: Mapping[str, BaseDistribution]
    having: Mapping[str, set[int]]
    whole: set[int]

    def lacking(self, name: str) -> set[int]:
        """The rows of trials that were not asked for a parameter."""
        return self.whole - self.having[name]

    def no_longer(self, name: str) -> bool:
        """Whether all trials that were not asked for a parameter come after all that were."""
        lacking = self.lacking(name)
        return bool(lacking) and max(self.having[name]) < min(lacking)

    def condition(self, name: str, others: Sequence[str]) -> dict[str, tuple[Value, ...]]:
        """The `when` of a parameter that some trials lack; empty where none of the others explains it."""
        having, lacking = self.having[name], self.lacking(name)
        # Where the time explains it as well, an integer has to do it by one threshold, as numbers of layers do.
        by_time = max(having) < min(lacking) or max(lacking) < min(having)
        best: tuple[tuple[bool, int], dict[str, tuple[Value, ...]]] | None = None
        for other in others:
            d = self.distributions[other]
            if not (having <= self.having[other] and lacking & self.having[other]) or not _decides(d):
                continue
            numbers = {i: _number(d, self.trials[i].params[other]) for i in self.having[other]}
            codes = {i: int(number) for i, number in numbers.items() if number is not None}
            present, absent = ({codes[i] for i in rows if i in codes} for rows in (having, lacking))
            if not present or not absent or present & absent:
                continue
            is_integer = isinstance(d, IntDistribution)
            apart = max(present) < min(absent) or max(absent) < min(present)
            values = _values(d, present, absent)
            if not values or (is_integer and by_time and not apart):
                continue
            rank = (is_integer, len(self.having[other]))
            if best is None or rank < best[0]:
                best = rank, {other: values}
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
