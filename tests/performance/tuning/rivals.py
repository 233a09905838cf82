"""Other packages' optimisers, asked and told about the trials of one study; the default is the first trial of each."""

from __future__ import annotations

from typing import Protocol

import methods
from priorband_method import Asked

from gentune.search_spaces import SearchSpace


class Rival(Protocol):
    """One run of another package's optimiser."""

    def ask(self) -> Asked:
        """What to try next; the default setting at first."""

    def tell(self, asked: Asked, value: float | None) -> None:
        """The objective, to be minimised; None: the trial failed, or was not affordable."""

    def close(self) -> None:
        """Frees what it holds."""


class OptunaRival:
    """A sampler of Optuna, by its name in `methods`."""

    def __init__(self, name: str, space: SearchSpace, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space = space
        self._study = optuna.create_study(sampler=methods.sampler(name, {}, seed))
        self._study.enqueue_trial(dict(space.default()))

    def ask(self) -> Asked:
        trial = self._study.ask()
        return Asked(trial, methods.suggest(trial, self._space))

    def tell(self, asked: Asked, value: float | None) -> None:
        from optuna.trial import TrialState

        if value is None:
            self._study.tell(asked.identifier, state=TrialState.FAIL)
        else:
            self._study.tell(asked.identifier, value)

    def close(self) -> None:
        pass
