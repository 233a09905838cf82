"""Trials spent on settings that were tried before."""

from __future__ import annotations

import numpy as np

from gentune.bench.proposal import Key, Observation, incumbents, propose
from gentune.bench.proposal.repeats import may_repeat, worth_repeating
from gentune.bench.proposal.surrogate import Hyperparameters, Surrogate
from gentune.search_spaces.space import Parameter, SearchSpace

SPACE = SearchSpace((Parameter("x", "float", 0.5, low=0.0, high=1.0), Parameter("k", "int", 3, low=1, high=5)))


def run(noise: float, trials: int, seed: int) -> list[Observation]:
    rng = np.random.default_rng(seed)
    observations: list[Observation] = []
    for number in range(trials):
        proposal = propose(SPACE, observations, key=Key(seed, number))
        assert proposal is not None
        x, k = float(str(proposal.setting["x"])), int(str(proposal.setting["k"]))
        value = (x - 0.3) ** 2 + 0.05 * abs(k - 2) + noise * rng.standard_normal()
        observations.append(Observation(proposal.setting, (value,)))
    return observations


def repeated(observations: list[Observation]) -> int:
    return len(observations) - len({tuple(o.setting.items()) for o in observations})


def test_noise_is_met_with_repeats_up_to_a_share_and_its_absence_is_not() -> None:
    shares = [repeated(run(0.3, 30, seed)) / 30 for seed in range(3)]
    assert max(shares) > 0.0
    assert max(shares) <= 0.25
    assert all(repeated(run(0.0, 20, seed)) <= 1 for seed in range(2))


def test_a_doubtful_leader_is_repeated_before_a_poor_setting_is_tried() -> None:
    # Two far settings, hence no news from one about the other; the one that leads has been seen once, with much noise.
    columns = np.array([[0.0], [1.0]])
    surrogate = Surrogate(columns, np.array([0]), np.array([-1.0, -0.9]), Hyperparameters(np.array([100.0]), 1.0, 0.5))
    poor = Surrogate(
        np.array([[0.0], [1.0], [0.5]]),
        np.array([0]),
        np.array([-1.0, -0.9, 3.0]),
        Hyperparameters(np.array([100.0]), 1.0, 0.5),
        noise=np.array([0.0, 0.0, -0.499]),
    )
    assert worth_repeating(poor, columns, np.array([[0.5]])) is not None
    quiet = Surrogate(columns, np.array([0]), np.array([-1.0, -0.9]), Hyperparameters(np.array([100.0]), 1.0, 1e-6))
    assert worth_repeating(quiet, columns, np.array([[0.5]])) is None
    assert surrogate.predict(columns)[0][0] < surrogate.predict(columns)[0][1]


def test_repeats_stop_where_they_say_the_same_or_use_up_their_share() -> None:
    keys = [bytes([i]) for i in range(8)]
    assert may_repeat(keys, np.arange(8.0))
    assert not may_repeat([*keys, keys[0]], np.r_[np.arange(8.0), 0.0]), "a repeat gave the same figure: no noise"
    assert may_repeat([*keys, keys[0]], np.r_[np.arange(8.0), 0.1])
    assert not may_repeat([*keys, *keys[:2]], np.r_[np.arange(8.0), 0.1, 1.1]), "a quarter is the most there may be"
    assert not may_repeat(keys[:4], np.arange(4.0)), "too early"


def test_the_incumbent_of_a_noisy_study_is_near_the_optimum() -> None:
    offs = []
    for seed in range(3):
        observations = run(0.05, 25, seed)
        best = observations[incumbents(SPACE, observations)[0]].setting
        offs.append((float(str(best["x"])) - 0.3) ** 2 + 0.05 * abs(int(str(best["k"])) - 2))
    assert np.mean(offs) < 0.03  # random search: about .06
