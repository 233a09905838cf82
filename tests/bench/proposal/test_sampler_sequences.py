"""The sampler under random sequences of what a user may do with an Optuna study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import PartialFixedSampler
from optuna.trial import Trial, TrialState

from gentune.bench.proposal import BayesianSampler

NAMES = "abc"
DISTRIBUTIONS: list[BaseDistribution] = [
    IntDistribution(0, 1),
    IntDistribution(1, 8, log=True),
    IntDistribution(0, 6, step=3),
    FloatDistribution(0.0, 1.0, step=0.5),
    FloatDistribution(0.0, 1.0),
    CategoricalDistribution(["x", None, 1, True]),
    CategoricalDistribution([float("nan"), float("inf"), "nan"]),
]
States = st.sampled_from([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
Values = st.sampled_from([0.0, 1.0, -3.5, 2.0, 1e308, float("inf"), float("-inf")])


class Session:
    """A study, and which settings it proposed; trials of which the user fixed a parameter are not counted.

    Low values are best, but the lower half of the first parameter ends in `below`, mostly, and asks for no more than
    `asks` parameters: a sampler that does not know of these trials comes back there for ever.
    """

    def __init__(self, space: dict[str, BaseDistribution], draw: Any) -> None:
        self.space, self.draw = space, draw
        self.sampler = BayesianSampler(seed=draw(st.integers(0, 9)), start=draw(st.sampled_from([1, 3, None])))
        self.study = optuna.create_study(sampler=self.sampler)
        self.below, self.asks = draw(States), draw(st.integers(1, len(space)))
        self.open: list[tuple[Trial, bool]] = []
        self.proposed: list[tuple[Any, ...]] = []

    def ask(self) -> None:
        fixed = self.study.get_trials(states=(TrialState.WAITING,)) or self.study.sampler is not self.sampler
        trial = self.study.ask()
        (first, d), *others = self.space.items()
        low = 3 * d.to_internal_repr(trial._suggest(first, d)) < self.top(d)
        for name, distribution in others[: self.asks - 1 if low else None]:
            trial._suggest(name, distribution)
        self.open.append((trial, low))
        values = {**trial.relative_params, **trial.params}  # what it was given, asked for or not
        self.proposed.append((trial.number,) if fixed else tuple(repr(values.get(name)) for name in self.space))

    def fix(self) -> None:
        if self.study.sampler is self.sampler:
            self.study.sampler = PartialFixedSampler(self.some_values(), self.sampler)
        else:
            self.study.sampler = self.sampler

    def enqueue(self) -> None:
        self.study.enqueue_trial(self.some_values())

    def tell(self) -> None:
        if not self.open:
            return
        trial, low = self.open.pop(self.draw(st.integers(0, len(self.open) - 1)))
        for step in range(self.draw(st.integers(0, 2)) if self.rarely() else 0):
            trial.report(self.draw(Values), step)
        if self.rarely():
            trial.set_constraint("c", self.draw(Values))
        state = self.draw(States) if self.rarely() else self.below if low else TrialState.COMPLETE
        value = sum(d.to_internal_repr(trial.params[n]) for n, d in self.space.items() if n in trial.params)
        value = self.draw(Values) if self.rarely() else value
        self.study.tell(trial, value if state == TrialState.COMPLETE else None, state)

    def run(self) -> None:
        self.ask()
        self.tell()

    def rarely(self) -> bool:
        return self.draw(st.integers(0, 5)) == 0

    @staticmethod
    def top(d: BaseDistribution) -> float:
        return len(d.choices) if isinstance(d, CategoricalDistribution) else d.high  # type: ignore[attr-defined]

    def some_values(self) -> dict[str, Any]:
        name = self.draw(st.sampled_from(list(self.space)))
        d = self.space[name]
        choices = d.choices if isinstance(d, CategoricalDistribution) else (d.low, d.high)  # type: ignore[attr-defined]
        return {name: self.draw(st.sampled_from(choices))}

    def points(self) -> float:
        """How many settings the space has; Optuna has one for equal choices."""
        n = 1.0
        for d in self.space.values():
            if isinstance(d, CategoricalDistribution):
                n *= len({d.to_internal_repr(c) for c in d.choices})
            elif isinstance(d, FloatDistribution) and d.step is None:
                n *= float("inf")
            else:
                n *= (d.high - d.low) // (d.step or 1) + 1  # type: ignore[attr-defined]
        return n


def three_in_a_row(proposed: Sequence[tuple[Any, ...]], points: float) -> bool:
    """Whether some setting came three times in a row, while others had not come at all."""
    return any(
        len(set(proposed[i : i + 3])) == 1 and len(set(proposed[: i + 3])) < points for i in range(len(proposed) - 2)
    )


def drive(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(DISTRIBUTIONS), min_size=1, max_size=3))
    session = Session(dict(zip(NAMES, chosen, strict=False)), data.draw)
    actions = [session.run, session.run, session.run, session.ask, session.tell, session.fix, session.enqueue]
    for action in data.draw(st.lists(st.sampled_from(actions), min_size=8, max_size=16)):
        action()
        assert not three_in_a_row(session.proposed, session.points()), session.proposed


@pytest.mark.filterwarnings("ignore:PartialFixedSampler is experimental", "ignore:Fixed parameter")
@settings(max_examples=20, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_sequence_makes_the_sampler_fail_or_repeat_itself(data: st.DataObject) -> None:
    drive(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:PartialFixedSampler is experimental", "ignore:Fixed parameter")
@settings(max_examples=400, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_sequence_of_many_makes_the_sampler_fail_or_repeat_itself(data: st.DataObject) -> None:
    drive(data)
