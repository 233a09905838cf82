"""What a comparison has to do, and how long it takes: told before it starts and as it goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..budget.kinds import budget_of
from ..runs.study_file import StudyFile
from .choice import CHALLENGERS
from .expectations import Expectations
from .study import MOST_TRIALS

# Settings that are retrained where it is not decided yet: for the choice the default and mostly two challengers; for
# the test what was chosen, and the default where it was not. With challengers it seldom was.
_CANDIDATES, _FINALISTS, _CHALLENGED = 2.7, 1.7, 1.8
_PROPOSING = 0.5  # seconds of the engine for a trial, before any has been timed


@dataclass(frozen=True)
class Work:
    """trainings: in full trainings. operations: counted. seconds: of one worker."""

    trainings: float = 0.0
    operations: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.trainings + other.trainings, self.operations + other.operations, self.seconds + other.seconds)

    def __mul__(self, times: float) -> Work:
        return Work(self.trainings * times, self.operations * times, self.seconds * times)


@dataclass(frozen=True)
class StudyState:
    """How far a study is. spent: of its budget, by `trials`. tuned: whether no more trials follow.

    candidates: the settings among which retrainings choose; incumbents: those that were chosen; None: not known yet.
    choices, finals: retrainings that are done.
    """

    family: str
    repeat: int = 0
    spent: float = 0.0
    trials: int = 0
    tuned: bool = False
    candidates: Sequence[Mapping[str, Any]] | None = None
    choices: int = 0
    incumbents: Sequence[Mapping[str, Any]] | None = None
    finals: int = 0


class Forecast:
    """What studies have left to do.

    expected: of how long jobs take. final_samples: that a retraining draws. proposing: seconds of the engine for a
    trial; None: as usual.
    """

    def __init__(
        self, config: StudyFile, expected: Expectations, final_samples: int, proposing: float | None = None
    ) -> None:
        self._config, self._expected, self._final_samples = config, expected, final_samples
        self._budget = budget_of(*config.budget)
        self._proposing = _PROPOSING if proposing is None else proposing

    def left(self, study: StudyState) -> dict[str, Work]:
        """What is left of a study's "tuning", "choice" and "finals"."""
        return {"tuning": self._tuning(study), "choice": self._choice(study), "finals": self._finals(study)}

    def most_retrainings(self, study: StudyState) -> Work:
        """The most that may be left of it after its tuning: every challenger's, and finals of the default, too."""
        return self._choice(study, 1.0 + CHALLENGERS) + self._finals(study, 2.0)

    def job(self, family: str, params: Mapping[str, Any] | None, kind: str, samples: int) -> Work:
        """One full training of a setting (None: of the default one) with its samples and scores, by their kind."""
        known = self._expected
        training, sampling = known.training(family, params), known.sampling(family, params, samples)
        seconds = (training or 0.0) + (sampling or 0.0) + known.scoring(family, kind, samples)
        return Work(1.0, known.operations(family, params, samples), seconds)

    def _tuning(self, study: StudyState) -> Work:
        if study.tuned:
            return Work()
        default = self.job(study.family, None, "trial", self._expected.samples)
        scoring = self._expected.scoring(study.family, "trial", self._expected.samples)
        left = max(0.0, self._budget.amount - study.spent)
        price = self._expected.price(study.family)
        if price is None:  # seconds: the budget is what trainings and samples take
            price = max(default.seconds - scoring, 1e-3)
        per_trial = study.spent / study.trials if study.trials else price
        trials = float(MOST_TRIALS - study.trials)
        if per_trial > 0:
            trials = min(trials, left / per_trial)
        # The budget is spent in units of the default setting; what expensive trials take more, they are charged.
        units = left / price if price > 0 else trials
        units = min(units, trials * max(per_trial / price, 1.0)) if price > 0 else units
        work = Work(1.0, default.operations, default.seconds - scoring) * units
        return work + Work(seconds=trials * (scoring + self._proposing))

    def _choice(self, study: StudyState, candidates: float = _CANDIDATES) -> Work:
        if study.incumbents is not None or not self._config.choice_seeds:
            return Work()
        seeds = self._config.choice_seeds
        return self._retrainings("choice", study, study.candidates, candidates, seeds, study.choices)

    def _finals(self, study: StudyState, count: float = _FINALISTS) -> Work:
        settings = study.incumbents
        if settings is not None:
            default = self._expected.default(study.family)
            also = study.repeat == 0 and all(dict(params) != default for params in settings)
            settings = [*settings, *([default] if also else [])]
        elif study.repeat > 0:
            count = 1.0
        if settings is None and study.candidates:  # one of them
            each = self._retrainings("test", study, study.candidates, 0.0, 1, 0) * (1 / len(study.candidates))
            if study.repeat == 0:  # where there are no challengers, the default wins
                count = _CHALLENGED if len(study.candidates) > 1 else 1.0
            return each * max(0.0, count * self._config.seeds - study.finals)
        return self._retrainings("test", study, settings, count, self._config.seeds, study.finals)

    def _retrainings(
        self,
        kind: str,
        study: StudyState,
        settings: Sequence[Mapping[str, Any]] | None,
        count: float,
        seeds: int,
        done: int,
    ) -> Work:
        """Each setting with each seed, but for those that are done; `count` settings where they are not known."""
        if settings is None:
            known: Sequence[Mapping[str, Any] | None] = [None]
        else:
            known, count = settings, float(len(settings))
        whole = Work()
        for params in known:
            whole += self.job(study.family, params, kind, self._final_samples)
        left = max(0.0, count * seeds - done)
        return whole * (left / len(known)) if known else Work()
