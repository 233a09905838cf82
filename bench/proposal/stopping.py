"""Early stopping of a training, by its own intermediate scores and those of earlier trainings.

Two rules, both for any number of objectives, which are all to be minimised:

`curves`: the surrogate of the proposals, over settings and shares of a training, fitted to all intermediate scores; a
training is stopped when the chance is small that it ends where no fully trained model dominates it. Scores of one
training share its luck, so that the points of a curve are told apart from as many trainings. After K. Swersky, J. Snoek
and R. P. Adams (2014), "Freeze-thaw Bayesian optimization", arXiv 1406.3896, with our own kernel.

`halving`: asynchronous successive halving (L. Li et al. 2020, arXiv 1810.05934, algorithm 2, with a reduction factor of
2): a training goes on where it is among the better half of all that have come as far. Of several objectives the better
half is taken by Pareto fronts (R. Schmucker et al. 2021, arXiv 2106.12639, section 3.2).

Intermediate scores are taken on few samples, and some scores depend on how many: a training's last score takes part in
its curve on as few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...search_spaces.space import SearchSpace, Setting
from .encoding import Encoding, Floats
from .fitted_trials import FittedTrials
from .hypervolume import pareto
from .moves import at_fidelity, observed, with_fidelity
from .outputs import standardise
from .records import Observation

StoppingKind = Literal["curves", "halving"]

_SMALL_CHANCE = 0.05  # of ending better than all that is fully trained: below, a training is stopped
_FEWEST_CURVES = 3  # of other trainings, before a surrogate is asked
_DRAWS = 2_000
_REDUCTION = 2  # of successive halving


@dataclass(frozen=True)
class Point:
    """Intermediate scores, all to be minimised, at a share of a full training; None where they are not defined."""

    fidelity: float
    values: tuple[float, ...] | None


@dataclass(frozen=True)
class Curve:
    """A trial's intermediate scores at rising shares of a training; `training` names it among all trials'."""

    setting: Setting
    training: object
    points: tuple[Point, ...]


@dataclass(frozen=True)
class StoppingRule:
    """What decides whether a trial's training goes on: a pure function of the curves of the trials before it.

    begun: the share of a full training that is behind it when the trial starts.
    """

    kind: StoppingKind
    space: SearchSpace
    curves: tuple[Curve, ...]
    training: object
    begun: float = 0.0

    def reason_to_stop(self, setting: Setting, points: Sequence[Point], seed: int) -> str | None:
        """Why a training with these scores so far should not go on; None where it should.

        Raises ValueError without any point.
        """
        if not points:
            raise ValueError("no intermediate score to decide by")
        if points[-1].values is None:
            return None
        own = Curve(setting, self.training, tuple(points))
        return self._by_halving(own) if self.kind == "halving" else self._by_curves(own, seed)

    def _by_halving(self, own: Curve) -> str | None:
        fidelity = own.points[-1].fidelity
        scores = [own.points[-1].values]
        counted = {own.training}
        for curve in self.curves:
            for point in curve.points:
                if point.fidelity == fidelity and point.values is not None and curve.training not in counted:
                    counted.add(curve.training)
                    scores.append(point.values)
        better = _in_better_fronts(np.array(scores, dtype=float))
        kept = max(1, len(scores) // _REDUCTION)
        if better < kept:
            return None
        return f"{better} of {len(scores)} trainings were better at this point, and {kept} go on"

    def _by_curves(self, own: Curve, seed: int) -> str | None:
        observations = [*_observations(self.curves), *_observations([own])]
        whole = [i for i, o in enumerate(observations) if o.fidelity == 1.0 and o.values is not None]
        if not whole or len({curve.training for curve in self.curves}) < _FEWEST_CURVES:
            return None
        chance = chance_of_better(self.space, observations, len(observations) - 1, whole, seed)
        if chance >= _SMALL_CHANCE:
            return None
        return f"the chance that it ends better than what is fully trained is {chance:.1%}"


def chance_of_better(
    space: SearchSpace, observations: Sequence[Observation], row: int, rivals: Sequence[int], seed: int
) -> float:
    """Posterior probability that an observation's setting, fully trained, is dominated by none of the rivals' settings.

    row, rivals: indices of observations that have values. Objectives are modelled independently of one another; one
    setting dominates another that is no better in any of them. The observations are scores, `fidelity` the share of a
    training at which they were taken, `training` what shares its luck.
    """
    encoding = Encoding(with_fidelity(space))
    fitted = FittedTrials(encoding, [observed(o) for o in observations])
    settings = [at_fidelity(observations[i].setting) for i in (row, *rivals)]
    columns = encoding.columns(encoding.positions(settings))
    others = np.unique(columns[1:], axis=0)
    # A setting is no rival of itself.
    columns = np.concatenate([columns[:1], others[(others != columns[0]).any(axis=1)]])  # (1 + k, c)
    random = np.random.default_rng(seed)
    dominated = np.ones((_DRAWS, len(columns) - 1), dtype=bool)  # by each rival, so far
    for objective, raw in enumerate(fitted.objectives.T):
        surrogate = fitted.surrogate(raw, standardise(raw), objective)
        mean, covariance = surrogate.joint(columns)
        drawn = mean + random.standard_normal((_DRAWS, len(columns))) @ _root(covariance)
        dominated &= drawn[:, 1:] <= drawn[:, :1]
    return float(1.0 - dominated.any(axis=1).mean())


def _root(covariance: Floats) -> Floats:
    """R (k, k) with RᵀR the covariance, which may be singular."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2.0)
    return np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T


def _observations(curves: Sequence[Curve]) -> list[Observation]:
    return [
        Observation(curve.setting, point.values, training=curve.training, fidelity=point.fidelity)
        for curve in curves
        for point in curve.points
        if point.values is not None
    ]


def _in_better_fronts(values: Floats) -> int:
    """How many rows of values (n, m) lie in Pareto fronts before the first row's."""
    left = np.arange(len(values))
    better = 0
    while True:
        front = left[pareto(values[left])]
        if 0 in front:
            return better
        better += len(front)
        left = np.setdiff1d(left, front)
