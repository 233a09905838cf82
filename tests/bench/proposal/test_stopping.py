"""Whether a training goes on: both rules, one objective and several, and what a study makes of a stopped trial."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from gentune.bench.proposal import Curve, Observation, Point, StoppingRule
from gentune.bench.proposal.stopping import chance_of_better
from gentune.search_spaces.space import Parameter, SearchSpace, Setting

SPACE = SearchSpace(
    (
        Parameter("rate", "float", 1e-3, low=1e-4, high=1e-1, log=True),
        Parameter("kind", "categorical", "a", choices=("a", "b")),
    )
)
SHARES = (0.125, 0.25, 0.5, 1.0)


def loss(setting: Setting, share: float) -> float:
    """Falls with training to a level that is lowest at a rate of 0.003."""
    rate = setting["rate"]
    assert isinstance(rate, float)
    return 1.0 + 2.0 * (math.log10(rate) + 2.5) ** 2 + 0.3 * (1.0 / share - 1.0)


def curve(rate: float, training: object, shares: Sequence[float] = SHARES, noise: float = 0.0) -> Curve:
    setting: Setting = {"rate": rate, "kind": "a"}
    rng = np.random.default_rng(int(rate * 1e7))
    points = (Point(f, (loss(setting, f) * math.exp(noise * rng.normal()),)) for f in shares)
    return Curve(setting, training, tuple(points))


WHOLE = tuple(curve(10.0**x, i, noise=0.03) for i, x in enumerate(np.linspace(-3.6, -1.2, 9)))


def reason(kind: str, own: Curve, curves: Sequence[Curve] = WHOLE, space: SearchSpace = SPACE) -> str | None:
    rule = StoppingRule(kind, space, tuple(curves), own.training)  # type: ignore[arg-type]
    return rule.reason_to_stop(own.setting, own.points, seed=0)


@pytest.mark.parametrize("kind", ["curves", "halving"])
def test_a_bad_training_is_stopped_and_a_good_one_goes_on(kind: str) -> None:
    bad, good = (curve(rate, "own", SHARES[:2]) for rate in (1.5e-4, 2.8e-3))
    assert reason(kind, bad) is not None
    assert reason(kind, good) is None


@pytest.mark.parametrize("kind", ["curves", "halving"])
def test_the_first_trainings_go_on(kind: str) -> None:
    bad = curve(1.5e-4, "own", SHARES[:2])
    assert reason(kind, bad, []) is None


def test_a_surrogate_of_few_curves_stops_nothing() -> None:
    bad = curve(1.5e-4, "own", SHARES[:2])
    assert reason("curves", bad, WHOLE[:2]) is None
    assert reason("curves", bad, [curve(1e-3 * 2**i, i, SHARES[:3]) for i in range(9)]) is None, "none is fully trained"


def test_a_slow_starter_is_told_from_a_bad_one_by_its_kind() -> None:
    # Trainings of kind b begin worse and end better: the curves say so, where halving looks at the moment alone.
    def slow(rate: float, training: object, shares: Sequence[float]) -> Curve:
        setting: Setting = {"rate": rate, "kind": "b"}
        points = (Point(f, (0.6 * loss(setting, 1.0) + 2.5 * (1.0 / f - 1.0),)) for f in shares)
        return Curve(setting, training, tuple(points))

    seen = [*WHOLE, *(slow(10.0**x, f"b{x}", SHARES) for x in np.linspace(-3.3, -1.7, 5))]
    own = slow(3.0e-3, "own", SHARES[:2])
    assert reason("curves", own, seen) is None
    assert reason("halving", own, seen) is not None


def test_halving_keeps_the_better_half_of_those_that_came_as_far() -> None:
    def at(value: float, training: object) -> Curve:
        return Curve(SPACE.default(), training, (Point(0.25, (value,)),))

    seen = [at(float(v), v) for v in (1, 2, 3, 4, 5)]
    assert reason("halving", at(2.5, "own"), seen) is None  # third of six, and three go on
    said = reason("halving", at(3.5, "own"), seen)
    assert said == "3 of 6 trainings were better at this point, and 3 go on"
    again = [*seen, *(at(0.5, 1) for _ in range(5))]  # samples of one training are not as many trainings
    assert reason("halving", at(2.5, "own"), again) is None
    elsewhere = [*seen, *(Curve(SPACE.default(), f"x{v}", (Point(0.5, (float(v),)),)) for v in range(5))]
    assert reason("halving", at(2.5, "own"), elsewhere) is None


def test_halving_of_several_objectives_goes_by_pareto_fronts() -> None:
    def at(values: tuple[float, float], training: object) -> Curve:
        return Curve(SPACE.default(), training, (Point(0.25, values),))

    seen = [at((float(v), 5.0 - v), v) for v in range(4)] + [at((6.0, 6.0), "bad"), at((7.0, 7.0), "worse")]
    assert reason("halving", at((1.5, 3.4), "own"), seen) is None, "on the front"
    assert reason("halving", at((5.0, 5.5), "own"), seen) is not None, "four of seven are better, three go on"


def test_curves_of_several_objectives_stop_what_can_win_in_none() -> None:
    # The second objective is worst where the first is best, so that all whole trainings are on the front.
    def both(rate: float, training: object, shares: Sequence[float], worse: float = 0.0) -> Curve:
        setting: Setting = {"rate": rate, "kind": "b" if worse else "a"}
        points = (Point(f, (loss(setting, f) + worse, 4.0 + math.log10(rate) + worse)) for f in shares)
        return Curve(setting, training, tuple(points))

    seen = [both(10.0**x, i, SHARES) for i, x in enumerate(np.linspace(-3.0, -2.0, 8))]
    seen += [both(10.0**x, f"b{i}", SHARES[:2], worse=3.0) for i, x in enumerate(np.linspace(-2.9, -2.1, 4))]
    assert reason("curves", both(1.5e-3, "own", SHARES[:2]), seen) is None
    assert reason("curves", both(1.5e-3, "own", SHARES[:2], worse=3.0), seen) is not None


def test_an_undefined_score_stops_nothing() -> None:
    own = Curve({"rate": 1.5e-4, "kind": "a"}, "own", (Point(0.125, None),))
    assert reason("curves", own) is None
    assert reason("halving", own) is None


def test_a_rule_needs_a_score() -> None:
    with pytest.raises(ValueError, match="no intermediate score"):
        StoppingRule("halving", SPACE, (), 0).reason_to_stop(SPACE.default(), (), 0)


def test_the_chance_is_that_of_the_posterior() -> None:
    # One parameter, no noise to speak of: at settings that were seen, the better one is known.
    space = SearchSpace((Parameter("x", "float", 0.5, low=0.0, high=1.0),))
    observations = [
        Observation({"x": float(x)}, (float((x - 0.3) ** 2),), training=i) for i, x in enumerate(np.linspace(0, 1, 11))
    ]
    best, worst = 3, 10
    assert chance_of_better(space, observations, best, [worst], 0) > 0.99
    assert chance_of_better(space, observations, worst, [best], 0) < 0.01
    assert chance_of_better(space, observations, best, [best], 0) == 1.0, "a setting is no rival of itself"
    # The mirror image of a setting is as good: neither is known to be better.
    assert 0.2 < chance_of_better(space, observations, 2, [4], 0) < 0.8
