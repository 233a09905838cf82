"""The acquisition function of several objectives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gentune.bench.proposal.hypervolume import HypervolumeImprovement, pareto, reference_point
from gentune.bench.proposal.learning import fit
from gentune.bench.proposal.surrogate import Hyperparameters, Surrogate

COLUMNS = np.array([[0.1], [0.35], [0.5], [0.8]])
GROUPS = np.array([0])
REFERENCE = np.array([1.2, 1.1])


def two(noise: float) -> list[Surrogate]:
    """Surrogates of two objectives that pull in opposite directions along one parameter."""
    values = np.array([[-1.2, 1.0], [-0.3, 0.1], [0.2, -0.2], [1.0, -1.1]])
    return [Surrogate(COLUMNS, GROUPS, y, Hyperparameters(np.array([4.0]), 1.0, noise)) for y in values.T]


def volume(front: np.ndarray, reference: np.ndarray) -> float:
    """The area below a reference point that minimised points (n, 2) dominate."""
    area, height = 0.0, reference[1]
    for first, second in sorted(front[(front < reference).all(axis=1)].tolist()):
        if second < height:
            area, height = area + (reference[0] - first) * (height - second), second
    return float(area)


def test_value_is_the_mean_improvement_of_joint_posterior_draws() -> None:
    surrogates, x = two(noise=0.1), np.array([[0.22]])
    acquisition = HypervolumeImprovement(surrogates, COLUMNS, REFERENCE, np.random.default_rng(0), draws=64)
    rng = np.random.default_rng(1)
    both = np.concatenate([COLUMNS, x])
    drawn = []
    for surrogate in surrogates:
        means, covariances = surrogate.joint(both)
        drawn.append(rng.multivariate_normal(means, covariances, size=4000, method="cholesky"))
    draws = np.stack(drawn, axis=-1)  # (S, n + 1, m)
    gains = [volume(draw, REFERENCE) - volume(draw[:-1], REFERENCE) for draw in draws]
    error = float(np.std(gains)) * math.sqrt(1 / 4000 + 1 / 64)
    assert math.exp(acquisition.evaluate(x)[0]) == pytest.approx(np.mean(gains), abs=4 * error)
    assert 4 * error < 0.75 * np.mean(gains)


def test_without_noise_one_front_is_left_and_the_value_is_exact() -> None:
    surrogates, x = two(noise=1e-6), np.array([[0.22], [0.65]])
    few, many = (
        HypervolumeImprovement(surrogates, COLUMNS, REFERENCE, np.random.default_rng(k), draws=n)
        for k, n in ((0, 1), (1, 8))
    )
    np.testing.assert_allclose(few.evaluate(x), many.evaluate(x), atol=0.02)
    front = np.stack([s.y for s in surrogates], axis=1)
    normal = np.random.default_rng(2).standard_normal((20_000, 2))
    for row, value in zip(x, few.evaluate(x), strict=True):
        moments = [s.predict(row[None]) for s in surrogates]
        mean = np.array([m[0] for m, _ in moments])
        deviation = np.sqrt([v[0] for _, v in moments])
        outcomes = mean + deviation * normal
        base = volume(front, REFERENCE)
        gains = np.array([volume(np.vstack([front, outcome]), REFERENCE) - base for outcome in outcomes])
        error = float(gains.std()) / math.sqrt(len(gains))
        assert math.exp(value) == pytest.approx(gains.mean(), abs=4 * error + 0.01 * gains.mean())


@pytest.mark.parametrize("m", [3, 4])
def test_more_objectives_agree_with_monte_carlo(m: int) -> None:
    rng = np.random.default_rng(0)
    columns = rng.random((6, 2))
    values = rng.standard_normal((6, m))
    surrogates = [
        Surrogate(columns, np.array([0, 1]), y, Hyperparameters(np.array([3.0, 3.0]), 1.0, 1e-6)) for y in values.T
    ]
    reference = values.max(axis=0) + 0.2
    x = np.array([[0.5, 0.5]])
    acquisition = HypervolumeImprovement(surrogates, columns, reference, rng, draws=1)
    moments = [s.predict(x) for s in surrogates]
    mean = np.array([v[0] for v, _ in moments])
    deviation = np.sqrt([v[0] for _, v in moments])
    lower = np.minimum(values.min(axis=0), mean - 4.5 * deviation)
    points = rng.random((20_000, m))
    # The mean volume that x adds: the chance that x dominates a point that the front does not.
    at = lower + points * (reference - lower)
    free = ~(values[:, None, :] <= at[None]).all(axis=2).any(axis=0)
    chance = np.prod([0.5 * (1 + _erf((at[:, j] - mean[j]) / deviation[j])) for j in range(m)], axis=0)
    share = np.where(free, chance, 0.0)
    error = float(share.std()) / math.sqrt(len(share))
    scale = float(np.prod(reference - lower))
    assert math.exp(acquisition.evaluate(x)[0]) == pytest.approx(share.mean() * scale, abs=4 * error * scale)
    assert error < 0.05 * share.mean()


def _erf(z: np.ndarray) -> np.ndarray:
    return np.array([math.erf(v / math.sqrt(2.0)) for v in z])


@pytest.mark.parametrize("m", [2, 3])
def test_gradient_agrees_with_differences(m: int) -> None:
    rng = np.random.default_rng(0)
    columns = rng.random((15, 3))
    raw = np.stack([((columns - centre) ** 2).sum(axis=1) for centre in np.linspace(0.1, 0.9, m)], axis=1)
    raw = (raw - raw.mean(axis=0)) / raw.std(axis=0)
    surrogates = [fit(columns, np.arange(3), y) for y in raw.T]
    acquisition = HypervolumeImprovement(surrogates, columns, raw.max(axis=0), rng)
    x = rng.random((4, 3))
    values, gradient = acquisition.slope(x)
    np.testing.assert_allclose(values, acquisition.evaluate(x), rtol=1e-9)
    for j in range(3):
        step = np.zeros(3)
        step[j] = 1e-5
        difference = (acquisition.evaluate(x + step) - acquisition.evaluate(x - step)) / 2e-5
        np.testing.assert_allclose(gradient[:, j], difference, rtol=1e-4, atol=1e-4)
    assert np.abs(gradient).max() > 0.1


def test_far_below_any_hope_there_is_still_a_slope() -> None:
    surrogates = two(noise=1e-6)
    acquisition = HypervolumeImprovement(surrogates, COLUMNS, np.array([-20.0, -20.0]), np.random.default_rng(0))
    values, gradient = acquisition.slope(np.array([[0.2], [0.6]]))
    assert (values < -100).all()
    assert np.isfinite(gradient).all()
    assert (np.abs(gradient) > 1e-3).all()


def test_the_same_generator_gives_the_same_values() -> None:
    surrogates, x = two(noise=0.2), np.linspace(0, 1, 7)[:, None]

    def values(seed: int) -> np.ndarray:
        return HypervolumeImprovement(surrogates, COLUMNS, REFERENCE, np.random.default_rng(seed)).evaluate(x)

    np.testing.assert_array_equal(values(3), values(3))
    assert (values(3) != values(4)).all()


def test_a_believed_setting_is_not_worth_a_second_trial() -> None:
    pending = np.array([[0.22]])
    before, after = two(noise=1e-6), [s.believe(pending) for s in two(noise=1e-6)]
    value = HypervolumeImprovement(before, COLUMNS, REFERENCE, np.random.default_rng(0)).evaluate(pending)
    columns = np.concatenate([COLUMNS, pending])
    again = HypervolumeImprovement(after, columns, REFERENCE, np.random.default_rng(0)).evaluate(pending)
    assert again[0] < value[0] - 3


def test_settings_that_do_not_count_leave_the_front() -> None:
    surrogates, x = two(noise=1e-6), np.array([[0.1]])
    counts = np.array([False, True, True, True])
    with_it, without = (
        HypervolumeImprovement(surrogates, COLUMNS, REFERENCE, np.random.default_rng(0), counts=c).evaluate(x)
        for c in (None, counts)
    )
    # Where the best first objective is known but may not count, all of what it would add is still to be had.
    front = np.stack([s.y for s in surrogates], axis=1)
    missing = volume(front, REFERENCE) - volume(front[counts], REFERENCE)
    assert math.exp(without[0]) == pytest.approx(missing, rel=0.02)
    assert math.exp(with_it[0]) < 0.02 * missing


def test_reference_point_takes_turns_between_the_front_and_all_that_was_seen() -> None:
    means = np.array([[0.0, 1.0], [0.5, 0.4], [1.0, 0.0], [3.0, 2.0]])
    seen = {tuple(np.round(reference_point(means, np.random.default_rng(k)), 3)) for k in range(20)}
    assert seen == {(1.0, 1.0), (3.3, 2.2)}
    # One point alone spans no region, so that only what lies beyond it is left.
    alone = {
        tuple(np.round(reference_point(np.array([[0.0, 0.0], [1.0, 2.0]]), np.random.default_rng(k)), 3))
        for k in range(20)
    }
    assert alone == {(1.1, 2.2)}


def test_pareto_keeps_what_nothing_beats() -> None:
    assert pareto(np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.5, 0.5], [0.0, 2.0]])) == [0, 1, 3, 4]


@pytest.mark.parametrize("m", [2, 3])
def test_pareto_agrees_with_comparing_every_pair(m: int) -> None:
    values = np.random.default_rng(m).integers(0, 6, (80, m)).astype(float)
    expected = [i for i, v in enumerate(values) if not any((w <= v).all() and (w < v).any() for w in values)]
    assert pareto(values) == expected


def test_many_settings_some_of_them_alike_still_point_at_the_gap_in_the_front() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((400, 1))
    x = np.concatenate([x[np.abs(x[:, 0] - 0.5) > 0.15], x[:20] * 0.0 + 0.2 + 1e-9 * rng.random((20, 1))])
    values = np.concatenate([x**2, (1.0 - x) ** 2], axis=1)
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    surrogates = [Surrogate(x, GROUPS, y, Hyperparameters(np.array([2.0]), 1.0, 1e-6)) for y in values.T]
    acquisition = HypervolumeImprovement(surrogates, x, values.max(axis=0), np.random.default_rng(0))
    at = np.linspace(0.0, 1.0, 51)[:, None]
    value = acquisition.evaluate(at)
    assert 0.35 < at[int(np.argmax(value)), 0] < 0.65
    slopes = acquisition.slope(np.array([[0.36], [0.64]]))[1][:, 0]
    assert slopes[0] > 0 > slopes[1]
