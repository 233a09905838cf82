"""How predicted costs weigh on proposals, and how several are made at once."""

from __future__ import annotations

import numpy as np
import pytest

from gentune.bench.proposal import Costs, Key, Observation, propose, propose_batch
from gentune.bench.proposal.cost import CostModel
from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces.space import Parameter, SearchSpace, Setting

SPACE = SearchSpace(
    (
        Parameter("width", "int", 64, low=16, high=1024, log=True),
        Parameter("rate", "float", 0.01, low=1e-4, high=1.0, log=True),
    )
)


def cost(setting: Setting) -> float:
    return (float(str(setting["width"])) / 64) ** 1.5


def loss(setting: Setting) -> float:
    """Width does next to nothing for the score, and much for the cost."""
    return (np.log10(float(str(setting["rate"]))) + 1.5) ** 2 - 0.01 * np.log(float(str(setting["width"])))


def spend(budget: float, *, aware: bool, seed: int) -> list[Observation]:
    observations: list[Observation] = []
    for number in range(40):
        left = budget - sum(o.cost for o in observations)
        tried = [*(o.setting for o in observations), SPACE.default()]
        counted = tuple((s, cost(s)) for s in tried)
        proposal = propose(
            SPACE, observations, costs=Costs(left, counted, budget if aware else np.inf), key=Key(seed, number)
        )
        if proposal is None or cost(proposal.setting) > left:
            break
        observations.append(Observation(proposal.setting, (loss(proposal.setting),), cost=cost(proposal.setting)))
    return observations


@pytest.mark.slow
def test_of_settings_as_good_the_cheap_ones_are_tried() -> None:
    def typical(*, aware: bool) -> float:
        """The geometric mean of what the surrogate's trials cost."""
        runs = [spend(300.0, aware=aware, seed=s)[5:] for s in range(4)]
        return float(np.exp(np.mean([np.log(o.cost) for run in runs for o in run])))

    assert typical(aware=True) < 0.7 * typical(aware=False)


def test_the_slope_of_cheapness_and_its_cooling() -> None:
    rng = np.random.default_rng(0)
    encoding = Encoding(SPACE)
    settings = [encoding.decode(row) for row in encoding.snap(rng.random((12, 2)))]
    model = CostModel(encoding, Costs(10.0, tuple((s, cost(s)) for s in settings), 40.0))
    early, late = model.cheapness(0.0), model.cheapness(39.0)
    assert early is not None
    assert late is not None
    at = rng.random((5, 2))
    values, gradients = early.slope(at)
    np.testing.assert_allclose(values, early.evaluate(at))
    numeric = [(early.evaluate(at + h) - early.evaluate(at - h)) / 2e-6 for h in np.eye(2) * 1e-6]
    np.testing.assert_allclose(gradients, np.stack(numeric, axis=1), atol=1e-5)
    np.testing.assert_allclose(late.evaluate(at), values / 40)
    # A tenfold cost takes log 10 off, as dividing by it would.
    narrow, wide = encoding.columns(encoding.positions([{"width": 64, "rate": 0.01}, {"width": 640, "rate": 0.01}]))
    difference = np.diff(early.evaluate(np.stack([wide, narrow])))[0]
    assert abs(difference - 1.5 * np.log(10)) < 0.3
    assert model.cheapness(40.0) is None
    assert CostModel(encoding, Costs()).cheapness(1.0) is None


def test_a_batch_is_what_one_would_ask_for_one_by_one() -> None:
    observations = [
        Observation(s, (loss(s),))
        for s in ({"width": 16 * 2**k, "rate": 10.0**-r} for k, r in zip(range(6), (0, 1, 2, 3, 4, 1), strict=True))
    ]
    batch = propose_batch(SPACE, observations, 4, key=Key(3, 6))
    settings: list[Setting] = []
    for number in range(6, 10):
        proposal = propose(SPACE, observations, settings, key=Key(3, number))
        assert proposal is not None
        settings.append(proposal.setting)
    assert [p.setting for p in batch] == settings
    assert len({str(s) for s in settings}) == 4
    exhausted = SearchSpace((Parameter("k", "int", 1, low=1, high=2),))
    assert len(propose_batch(exhausted, [], 5, costs=Costs(1.0, (({"k": 1}, 2.0), ({"k": 2}, 3.0))))) == 0
