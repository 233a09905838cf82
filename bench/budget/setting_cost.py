"""What the settings of a family cost in a study's budget, by counted operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from ..protocol import FEW, shares_between
from .kinds import Budget
from .operations import Operations, TooSlowToCountError, UncountableError


class SettingCosts:
    """Counted costs of trials. Each setting is counted once.

    count: counts the operations of a setting. One that raises UncountableError most likely cannot take a step, so its
        trial will fail and say why; it is charged like the default one. Where the default itself cannot be counted, it
        costs all of a counted budget.
    default: the default setting. samples: how many samples a trial draws. budget: the study's.
    """

    def __init__(
        self,
        count: Callable[[Mapping[str, Any]], Operations],
        default: Mapping[str, Any],
        samples: int,
        budget: Budget,
    ) -> None:
        self._count, self._samples, self._budget = count, samples, budget
        self.setting = dict(default)
        self._counted: dict[str, Operations | UncountableError] = {}
        of_default = self._operations(default)
        failed = isinstance(of_default, UncountableError)
        # Why the default setting cannot be counted, None where it can; and whether it hangs.
        self.uncountable = str(of_default) if failed else None
        self.hangs = isinstance(of_default, TooSlowToCountError)
        self.default = Operations(0.0, 0.0) if isinstance(of_default, UncountableError) else of_default
        # Operations of a full training of the default setting, and its samples; 0 where they are not known beforehand.
        self.unit = self.default.total(samples)

    @property
    def samples(self) -> int:
        """How many samples a trial draws."""
        return self._samples

    def counted(self, setting: Mapping[str, Any]) -> Operations:
        """The operations of a setting. Raises UncountableError where they cannot be counted."""
        found = self._operations(setting)
        if isinstance(found, UncountableError):
            raise found
        return found

    def drawing(self, samples: int) -> SettingCosts:
        """The same costs, in the same unit, of trainings that draw another number of samples."""
        other = copy(self)
        other._samples = samples
        return other

    def of(self, setting: Mapping[str, Any]) -> float | None:
        """Price of a full training and its samples; None where it is only known afterwards."""
        return self.marginal(setting, 1.0, 0)

    def parts(self, setting: Mapping[str, Any]) -> tuple[float, float] | None:
        """Price of a full training, and of sampling; None where they are only known afterwards."""
        if self.uncountable is not None:
            return self._budget.price(None, self.unit)
        counted = self._operations(setting)
        if isinstance(counted, UncountableError):
            return self._budget.price((self.unit, 0.0), self.unit)
        return self._budget.price((counted.train, counted.per_sample * self._samples), self.unit)

    def marginal(self, setting: Mapping[str, Any], share: float, scores: int) -> float | None:
        """Price of a trial that takes a share of a full training and a number of intermediate scores; None as above."""
        parts = self.parts(setting)
        if parts is None:
            return None
        train, sample = parts
        return train * share + sample * (1.0 + scores * self._few)

    def first_trial(self, *, stopping: bool) -> float | None:
        """Price of a study's first trial, the default setting in full; None where it is only known afterwards.

        stopping: whether intermediate scores are taken, as far as a training has steps at which to take them.
        """
        scores = len(shares_between(0.0, 1.0)) + 1 if stopping and self.default.train else 0
        return self.marginal(self.setting, 1.0, scores)

    def operations(self, setting: Mapping[str, Any], share: float = 1.0, scores: int = 0) -> dict[str, float]:
        """Operations of such a trial by part; none where they cannot be counted."""
        counted = self._operations(setting)
        if isinstance(counted, UncountableError):
            return {}
        sample = counted.per_sample * self._samples
        parts = {"train": share * counted.train, "sample": sample}
        return parts | {"score": scores * self._few * sample} if scores else parts

    @property
    def _few(self) -> float:
        """The samples of an intermediate score as a share of a trial's."""
        return min(FEW / self._samples, 1.0)

    def _operations(self, setting: Mapping[str, Any]) -> Operations | UncountableError:
        """The counted operations, or why there are none."""
        key = repr(sorted(setting.items()))
        if key not in self._counted:
            try:
                self._counted[key] = self._count(setting)
            except UncountableError as error:
                self._counted[key] = error
        return self._counted[key]
