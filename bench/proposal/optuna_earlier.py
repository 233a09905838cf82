"""Earlier Optuna studies, in the space of a new one."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.study import Study
from optuna.trial import TrialState

from .optuna_space import OptunaSpace
from .optuna_trials import observe
from .records import Observation


class EarlierStudies:
    """The completed trials of earlier studies, read once, so that what follows from them does not change."""

    def __init__(self, studies: Sequence[Study]) -> None:
        self._studies = [
            (study.study_name, tuple(study.directions), study.get_trials(states=(TrialState.COMPLETE,)))
            for study in studies
        ]

    def observations(self, read: OptunaSpace) -> list[list[Observation]]:
        """Their trials in a study's space, without those that do not fit into it."""
        return [
            [
                observe(directions, trial, setting)
                for trial in trials
                if (setting := read.setting(trial.params)) is not None
            ]
            for _, directions, trials in self._studies
        ]

    def check(self, objectives: int) -> None:
        """Raises ValueError where a study has not so many objectives."""
        for name, directions, _ in self._studies:
            if len(directions) != objectives:
                raise ValueError(
                    f"warm_start: study {name!r} has {len(directions)} objectives; this one has {objectives}"
                )
