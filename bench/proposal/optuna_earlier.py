"""Earlier Optuna studies, as a new one has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.study import Study
from optuna.trial import TrialState

from ...search_spaces.space import SearchSpace
from .encoding import Encoding
from .engine import propose
from .optuna_space import OptunaSpace, observe, read_space, to_parameter
from .records import Key, Observation


class EarlierStudies:
    """The completed trials of earlier studies, read once, so that what follows from them does not change."""

    def __init__(self, studies: Sequence[Study]) -> None:
        self._studies = [
            (study.study_name, tuple(study.directions), study.get_trials(states=(TrialState.COMPLETE,)))
            for study in studies
        ]
        self._first: tuple[int, dict[str, Any]] | None = None

    def observations(self, read: OptunaSpace, objectives: int) -> list[list[Observation]]:
        """Their trials in the space of a study with so many objectives, without those that do not fit into it.

        Raises ValueError where a study has another number of objectives.
        """
        for name, directions, _ in self._studies:
            if len(directions) != objectives:
                raise ValueError(
                    f"warm_start: study {name!r} has {len(directions)} objectives; this one has {objectives}"
                )
        return [
            [
                observe(directions, trial, setting)
                for trial in trials
                if (setting := read.setting(trial.params)) is not None
            ]
            for _, directions, trials in self._studies
        ]

    def first(self, objectives: int, seed: int, name: str, distribution: BaseDistribution) -> Any | None:
        """A parameter's value in the first trial of a new study, whose space nobody knows yet; None where the earlier
        studies have no value that it can take."""
        if not self._studies:
            return None
        if self._first is None or self._first[0] != seed:
            read = read_space([trial for _, _, trials in self._studies for trial in trials], widest=True)
            earlier = self.observations(read, objectives)
            proposal = propose(read.space, [], key=Key(seed, 0), default_first=False, earlier=earlier)
            found = proposal is not None and proposal.origin == "earlier"
            self._first = seed, read.params(proposal.setting) if proposal is not None and found else {}
        return _fitting(distribution, self._first[1].get(name))


def _fitting(distribution: BaseDistribution, value: Any) -> Any | None:
    """A value as the distribution has it, on its grid; None where it lies out of range."""
    if isinstance(distribution, CategoricalDistribution):
        return value if value in distribution.choices else None
    parameter = to_parameter("value", distribution)
    assert parameter.low is not None and parameter.high is not None
    if not isinstance(value, (int, float)) or not parameter.low <= value <= parameter.high:
        return None
    encoding = Encoding(SearchSpace((parameter,)))
    return encoding.decode(encoding.positions([{"value": value}])[0])["value"]
