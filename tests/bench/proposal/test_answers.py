"""What finished trials say of the best setting, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gentune.bench.proposal import Observation, incumbents, probabilities_of_better
from gentune.search_spaces import Parameter, SearchSpace, Setting

MIXED = SearchSpace(
    (
        Parameter("rate", "float", 1e-2, low=1e-5, high=1e-1, log=True),
        Parameter("depth", "int", 1, low=1, high=8),
        Parameter("norm", "categorical", "none", choices=("none", "batch", "layer")),
    )
)


def test_the_incumbent_is_not_the_luckiest_trial() -> None:
    space = SearchSpace((Parameter("x", "float", 0.5, low=0.0, high=1.0),))
    rng = np.random.default_rng(0)
    xs = np.linspace(0, 1, 41)
    y = 4 * (xs - 0.3) ** 2 + 0.1 * rng.standard_normal(41)
    y[36] = -0.5  # one lucky measurement where the truth is 1.44
    done = [Observation({"x": float(x)}, (float(v),)) for x, v in zip(xs, y, strict=True)]
    done.insert(0, Observation({"x": 0.31}, None))
    (chosen,) = incumbents(space, done)
    assert int(np.argmin(y)) == 36
    assert abs(float(done[chosen].setting["x"] or 0) - 0.3) < 0.1
    assert incumbents(space, [Observation({"x": 0.1}, None)]) == []
    assert incumbents(space, done[1:2]) == [0]


def test_a_clear_difference_is_believed_and_a_small_one_is_not() -> None:
    """Eight single trainings; the challenger is three times or a tenth better than the baseline."""
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-5, -1, 8)
    settings: list[Setting] = [
        {"rate": float(rate), "depth": int(rng.integers(1, 9)), "norm": "none"} for rate in rates
    ]
    values = [9.0, 8.2, 12.0, 30.0, 15.0, 11.0, 340.0, 18.0]
    close = [Observation(s, (v,)) for s, v in zip(settings, values, strict=True)]
    assert 0.5 < probabilities_of_better(MIXED, close, [1], 0)[0] < 0.9
    far = [replace(close[1], values=(3.0,)) if i == 1 else o for i, o in enumerate(close)]
    assert probabilities_of_better(MIXED, far, [1], 0)[0] > 0.95
    assert probabilities_of_better(MIXED, far, [0], 1)[0] < 0.05


def test_repeated_trainings_outweigh_a_lucky_one() -> None:
    """One setting was lucky once; another has been good four times."""
    lucky: Setting = {"rate": 1e-4, "depth": 2, "norm": "none"}
    steady: Setting = {"rate": 1e-2, "depth": 6, "norm": "batch"}
    observations = [Observation(steady, (v,)) for v in (4.0, 5.0, 4.4, 4.6)]
    observations += [Observation(lucky, (v,)) for v in (3.9, 8.0, 9.0)]
    assert observations[incumbents(MIXED, observations)[0]].setting == steady
    assert probabilities_of_better(MIXED, observations, [0], 4)[0] > 0.9


def test_of_very_many_trials_with_two_objectives_the_front_is_named() -> None:
    """More trials than the surrogates hold, which differ in those that they leave out."""
    space = SearchSpace(
        (Parameter("x", "float", 0.5, low=0.0, high=1.0), Parameter("y", "float", 0.5, low=0.0, high=1.0))
    )
    points = np.random.default_rng(0).random((1500, 2))
    observations = [Observation({"x": float(x), "y": float(y)}, (float(x + y), float(1.0 - x + y))) for x, y in points]
    chosen = incumbents(space, observations)
    assert len(chosen) == 3
    assert all(points[i, 1] < 0.05 for i in chosen), "both are least where y is"
    assert np.ptp(points[chosen, 0]) > 0.5, "spread along the front"
