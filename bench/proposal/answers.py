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
    if not len(rows):
        return []
    if not len(fitted.encoding):
        return [int(rows[0])]
    positions = _at_full_training(fitted, fitted.positions[rows])
    means = np.stack([fitted.standings(j, positions) for j in range(fitted.objectives.shape[1])], axis=1)  # (n, m)
    rounded = np.round(means, 9)
    best = [int(np.argmin(rounded[:, 0]))] if means.shape[1] == 1 else _spread_front(rounded, at_most)
    return [int(rows[i]) for i in best]


def best_settings(
    space: SearchSpace, observations: Sequence[Observation], *, at_most: int, usual_noise: Sequence[float] = ()
) -> list[int]:
    """Indices of the best observations by posterior mean of the first objective, the best first, as `incumbents` judges
    them. Of equal settings the first is named. usual_noise: see `FittedTrials`."""
    fitted = _fitted(space, observations, usual_noise)
    rows = fitted.worked[fitted.valid]
    if not len(rows):
        return []
    if not len(fitted.encoding):
        return [int(rows[0])]
    positions = _at_full_training(fitted, fitted.positions[rows])
    means = np.round(fitted.standings(0, positions), 9)
    firsts = np.unique(fitted.encoding.columns(positions), axis=0, return_index=True)[1]
    order = sorted(firsts.tolist(), key=lambda i: (means[i], i))
    return [int(rows[i]) for i in order[:at_most]]


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
