"""What a user believes about good values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from gentune.bench.proposal import Belief, Key, Observation, propose
from gentune.bench.proposal.beliefs import Beliefs, Likely, stated
from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces.space import Parameter, SearchSpace

SPACE = SearchSpace(
    (
        Parameter("rate", "float", 1e-3, low=1e-5, high=1e-1, log=True),
        Parameter("width", "int", 16, low=4, high=64),
        Parameter("norm", "categorical", "none", choices=("none", "layer", "batch")),
    )
)


def test_the_start_follows_a_belief_and_rules_nothing_out() -> None:
    encoding = Encoding(SPACE)
    beliefs = Beliefs(encoding, {"rate": Belief(1e-2, spread=0.05), "norm": Belief("layer", spread=0.2)}, 0)
    points = beliefs.shape(np.random.default_rng(0).random((4000, 3)))
    settings = [encoding.decode(row) for row in encoding.snap(points)]
    rates = np.log10([float(str(s["rate"])) for s in settings])
    assert 0.9 < np.mean(np.abs(rates + 2) < 4 * 0.15) < 0.99
    assert np.ptp(rates) > 3.5
    shares = [np.mean([s["norm"] == name for s in settings]) for name in ("none", "layer", "batch")]
    np.testing.assert_allclose(shares, [0.112, 0.777, 0.112], atol=0.03)
    np.testing.assert_allclose(np.std(points[:, 1]), 12**-0.5, atol=0.01)


def test_likely_values_hold_their_share_of_the_start() -> None:
    encoding = Encoding(SPACE)
    likely = {"rate": Likely((1e-3, 1e-2)), "width": Likely((8, 16)), "norm": Likely(("layer", "batch"))}
    points = Beliefs(encoding, likely, 0).shape(np.random.default_rng(0).random((4000, 3)))
    settings = [encoding.decode(row) for row in encoding.snap(points)]
    assert np.mean([1e-3 <= float(str(s["rate"])) <= 1e-2 for s in settings]) == pytest.approx(
        0.95 * 0.683 + 0.0125, abs=0.02
    )
    assert np.mean([s["norm"] != "none" for s in settings]) == pytest.approx(0.68 * 0.95 + 0.05 * 2 / 3, abs=0.02)
    assert 0.6 < np.mean([8 <= int(str(s["width"])) <= 16 for s in settings]) < 0.8


def test_a_space_states_what_its_parameters_say() -> None:
    rate = replace(SPACE["rate"], likely=(1e-3, 1e-2))
    assert stated(SearchSpace((rate, SPACE["norm"]))) == {"rate": Likely((1e-3, 1e-2))}


def loss(setting: Mapping[str, object], best: float) -> float:
    off = np.log10(float(str(setting["rate"]))) - best
    return float(off**2 + 0.001 * abs(int(str(setting["width"])) - 20) + 0.1 * (setting["norm"] != "layer"))


def regret(best: float, believed: float | None, trials: int) -> float:
    """The mean over trials and seeds of the best loss so far, where the best rate is 10^best."""
    areas = []
    for seed in range(3):
        observations: list[Observation] = []
        for k in range(trials):
            beliefs = {} if believed is None else {"rate": Belief(10.0**believed)}
            proposal = propose(SPACE, observations, key=Key(seed, k), default_first=False, beliefs=beliefs)
            assert proposal is not None
            observations.append(Observation(proposal.setting, (loss(proposal.setting, best),)))
        areas.append(np.minimum.accumulate([o.values[0] for o in observations if o.values]).mean())
    return float(np.mean(areas))


def test_a_true_belief_helps_and_a_wrong_one_is_outweighed() -> None:
    cold = regret(-4.5, None, 15)
    assert regret(-4.5, -4.5, 15) < 0.7 * cold
    observations = [
        Observation(s, (loss(s, -4.5),))
        for s in ({"rate": 10.0**r, "width": 20, "norm": "layer"} for r in np.linspace(-5, -1, 30))
    ]
    proposal = propose(
        SPACE, observations, key=Key(0, 30), default_first=False, beliefs={"rate": Belief(0.05, spread=0.1)}
    )
    assert proposal is not None
    assert float(str(proposal.setting["rate"])) < 1e-4


@pytest.mark.parametrize(
    ("beliefs", "message"),
    [
        ({"rat": Belief(1e-3)}, "did you mean 'rate'"),
        ({"rate": Belief(3.0)}, "not float from 1e-05 to 0.1"),
        ({"norm": Belief("group")}, "one of none, layer, batch"),
        ({"width": Belief(16, spread=0.0)}, "between 0 and 1"),
    ],
)
def test_a_belief_that_makes_no_sense_is_named(beliefs: dict[str, Belief], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        propose(SPACE, [], key=Key(0, 1), beliefs=beliefs)
