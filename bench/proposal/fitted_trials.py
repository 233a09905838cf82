"""Finished trials in the form that models are fitted to."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from .encoding import Encoding, Floats, Ints
from .ensemble import Ensemble, fit_either
from .learning import fit
from .outputs import carry, standardise
from .records import Observation
from .subset import EXACT
from .surrogate import Surrogate
from .transfer import Outlook

_LEAST_NOISE = 1e-4  # of the variance of y, that the usual noise is taken to leave


class FittedTrials:
    """Observations under an encoding.

    positions (n, p), columns (n, c), failed (n,): of all trials. worked (w,): the rows that gave objectives (w, m),
    all to be minimised; valid (w,): which of those are known to break no constraint.

    usual_noise: for each objective the standard deviation of its logarithm between trainings of one setting, as far as
    other studies know it (0: unknown): a prior of the surrogate's noise.

    Raises ValueError when observations differ in their number of objectives.
    """

    def __init__(
        self, encoding: Encoding, observations: Sequence[Observation], usual_noise: Sequence[float] = ()
    ) -> None:
        self.encoding, self.observations, self._usual_noise = encoding, observations, usual_noise
        self.positions = encoding.positions([o.setting for o in observations])
        self.columns = encoding.columns(self.positions)
        self.failed = np.array([o.failed for o in observations], dtype=bool)
        self.worked: Ints = np.flatnonzero(~self.failed)
        successes = [o for o in observations if not o.failed]
        self.valid = np.array([not o.violates for o in successes], dtype=bool)
        values = [o.values for o in successes if o.values is not None]
        counts = sorted({len(v) for v in values})
        if len(counts) > 1 or 0 in counts:
            raise ValueError(f"observations have {counts} objectives; wanted the same number, at least 1, in all")
        self.objectives: Floats = np.array(values, dtype=float).reshape(len(values), counts[0] if counts else 1)

    def surrogate(self, raw: Floats, y: Floats, objective: int | None = None) -> Surrogate:
        """The Gaussian process of y (w,), which is a monotone function of the figures `raw` (w,).

        objective: whose standard errors, where they are known, are the noise of `raw`.
        """
        noise = self._noise(raw, y, objective)
        return fit(
            self.columns[self.worked],
            self.encoding.groups,
            y,
            noise=noise,
            trainings=self.trainings(),
            expected_noise=self.expected_noise(raw, y, objective, noise),
        )

    def with_earlier(
        self, raw: Floats, y: Floats, objective: int | None, views: Sequence[Outlook]
    ) -> Surrogate | Ensemble:
        """The same with what earlier studies say, as far as these trials confirm it."""
        noise = self._noise(raw, y, objective)
        columns, groups = self.columns[self.worked], self.encoding.groups
        expected = self.expected_noise(raw, y, objective, noise)
        return fit_either(columns, groups, y, views, noise=noise, trainings=self.trainings(), expected_noise=expected)

    def _noise(self, raw: Floats, y: Floats, objective: int | None) -> Floats | None:
        if objective is None:
            return None
        errors = np.array([o.errors[objective] if o.errors else 0.0 for o in self._successes()], dtype=float)
        return carry(raw, y, errors) ** 2 if errors.any() else None

    def expected_noise(
        self, raw: Floats, y: Floats, objective: int | None, known: Floats | None = None
    ) -> float | None:
        """The usual noise as a variance of y (w,), beyond the `known` variances (w,); None where nothing is known.

        A factor e^σ of a figure is σ times the figure, to first order. The better half of the figures counts: bad ones
        are drawn together in y, and so is their noise.
        """
        usual = self._usual_noise[objective] if objective is not None and self._usual_noise else 0.0
        if not usual or not len(y):
            return None
        variances = carry(raw, y, usual * np.abs(raw)) ** 2 - (0.0 if known is None else known)
        typical = float(np.median(variances[y <= np.median(y)]))
        # Of constant figures nothing can be said. What the measurement's own error seems to explain is not all luck.
        return None if not y.any() else max(typical, _LEAST_NOISE)

    def standings(self, objective: int, positions: Floats) -> Floats:
        """Posterior means (k,) at positions (k, p)."""
        raw = self.objectives[:, objective]
        surrogate = self.surrogate(raw, standardise(raw), objective)
        # In parts, so that memory does not grow with the number of trials.
        parts = np.array_split(self.encoding.columns(positions), -(-max(len(positions), 1) // EXACT))
        return np.concatenate([surrogate.standing(part) for part in parts])

    def trainings(self) -> Ints | None:
        """Numbers (w,) that are equal where trials sampled the same trained model; None where no two did."""
        known = self._numbers()
        numbers = np.array([known[_training(i, o)] for i, o in enumerate(self._successes())], dtype=int)
        return numbers if len(known) < len(numbers) else None

    def training_numbers(self) -> dict[object, int]:
        """The numbers of `trainings` by the name that observations have for them."""
        return {training: number for (named, training), number in self._numbers().items() if named}

    def _numbers(self) -> dict[tuple[bool, object], int]:
        known: dict[tuple[bool, object], int] = {}
        for i, o in enumerate(self._successes()):
            known.setdefault(_training(i, o), len(known))
        return known

    def constraints(self) -> Iterator[tuple[Floats, Floats]]:
        """Columns (k, c) and figures (k,) of each constraint that some trial is known to break; infinite figures count
        as the largest finite one."""
        for name in sorted({name for o in self.observations for name in o.constraints}):
            figures = np.array([o.constraints.get(name, math.nan) for o in self.observations], dtype=float)
            known = ~np.isnan(figures)
            if (figures[known] > 0).any():
                reach = np.abs(figures[np.isfinite(figures)]).max(initial=0.0) or 1.0
                yield self.columns[known], np.clip(figures[known], -reach, reach)

    def _successes(self) -> Iterator[Observation]:
        return (self.observations[i] for i in self.worked)


def _training(row: int, observation: Observation) -> tuple[bool, object]:
    """What names an observation's training: whether it has a name, and that or its row."""
    return (False, row) if observation.training is None else (True, observation.training)
