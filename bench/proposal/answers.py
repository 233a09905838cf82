"""The best settings by the finished trials, with their probabilities of being better."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...search_spaces.space import SearchSpace
from .encoding import Encoding, Floats
from .fitted_trials import FittedTrials
from .hypervolume import pareto
from .learning import probability_of_lower
from .moves import FIDELITY, at_full, observed, with_fidelity
from .outputs import standardise
from .records import Observation


def incumbents(
    space: SearchSpace, observations: Sequence[Observation], *, at_most: int = 3, usual_noise: Sequence[float] = ()
) -> list[int]:
    """Indices of the best observations by posterior mean, which one lucky measurement does not sway.

    One objective: the single best. Several: at most `at_most` points of the Pareto front of posterior means, chosen
    one after another for the largest hypervolume together. Trials that failed or break a constraint are never named;
    empty when no other is left. Of equal settings the first is named. Where some models had less than a full training,
    settings are judged by what a full one is expected to give. usual_noise: see `FittedTrials`.
    """
    fitted = _fitted(space, observations, usual_noise)
    rows = fitted.worked[fitted.valid]
    if fitted.objectives.shape[1] == 1 or not len(rows) or not len(fitted.encoding):
        return _best_first(fitted)[:1]
    means = np.stack([_means(fitted, j) for j in range(fitted.objectives.shape[1])], axis=1)  # (n, m)
    return [int(rows[i]) for i in _spread_front(means, at_most)]


def best_settings(
    space: SearchSpace, observations: Sequence[Observation], *, at_most: int, usual_noise: Sequence[float] = ()
) -> list[int]:
    """Indices of the best observations by posterior mean of the first objective, the best first, as `incumbents` judges
    them. Of equal settings the first is named. usual_noise: see `FittedTrials`."""
    return _best_first(_fitted(space, observations, usual_noise))[:at_most]


def probabilities_of_better(
    space: SearchSpace,
    observations: Sequence[Observation],
    challengers: Sequence[int],
    baseline: int,
    *,
    usual_noise: Sequence[float] = (),
) -> list[float]:
    """Posterior probabilities that observations' settings have a lower first objective than another's, noise apart.

    challengers, baseline: indices of observations that succeeded. usual_noise: see `FittedTrials`.
    """
    fitted = _fitted(space, observations, usual_noise)
    raw = fitted.objectives[:, 0]
    y = standardise(raw)
    columns = fitted.columns[fitted.worked]
    places = fitted.encoding.columns(_at_full_training(fitted, fitted.positions[[*challengers, baseline]]))
    expected = fitted.expected_noise(raw, y, 0)
    groups, trainings = fitted.encoding.groups, fitted.trainings()
    found = probability_of_lower(columns, groups, y, places, trainings=trainings, expected_noise=expected)
    return [float(probability) for probability in found]


def _fitted(space: SearchSpace, observations: Sequence[Observation], usual_noise: Sequence[float]) -> FittedTrials:
    """The observations; in the space with `FIDELITY` where some models had less than a full training."""
    if all(o.fidelity == 1.0 for o in observations):
        return FittedTrials(Encoding(space), observations, usual_noise)
    return FittedTrials(Encoding(with_fidelity(space)), [observed(o) for o in observations], usual_noise)


def _at_full_training(fitted: FittedTrials, positions: Floats) -> Floats:
    return at_full(positions) if FIDELITY in fitted.encoding.space else positions


def _best_first(fitted: FittedTrials) -> list[int]:
    """Indices of the observations that may be named, by posterior mean of the first objective; of equal settings the
    first."""
    rows = fitted.worked[fitted.valid]
    if not len(rows) or not len(fitted.encoding):
        return [int(row) for row in rows[:1]]
    means = _means(fitted, 0)
    columns = fitted.encoding.columns(_at_full_training(fitted, fitted.positions[rows]))
    firsts = np.unique(columns, axis=0, return_index=True)[1]
    return [int(rows[i]) for i in sorted(firsts.tolist(), key=lambda i: (means[i], i))]


def _means(fitted: FittedTrials, objective: int) -> Floats:
    """Posterior means (n,), after a full training, of the observations that may be named; without the last digits, in
    which equal settings may differ."""
    positions = fitted.positions[fitted.worked[fitted.valid]]
    return np.round(fitted.standings(objective, _at_full_training(fitted, positions)), 9)


def _spread_front(means: Floats, at_most: int) -> list[int]:
    """Indices of at most `at_most` Pareto-optimal rows of means (n, m), greedily of the largest hypervolume."""
    import torch
    from botorch.utils.multi_objective.hypervolume import Hypervolume

    unique = sorted(set(np.unique(means, axis=0, return_index=True)[1].tolist()))
    front = [unique[i] for i in pareto(means[unique])]
    span = np.ptp(means[front], axis=0)
    reference = means[front].max(axis=0) + 0.1 * np.where(span > 0, span, 1.0)
    volume = Hypervolume(torch.from_numpy(-reference))
    chosen: list[int] = []
    while front and len(chosen) < at_most:
        gains = [volume.compute(torch.from_numpy(-means[[*chosen, i]])) for i in front]
        chosen.append(front.pop(int(np.argmax(gains))))
    return sorted(chosen)
