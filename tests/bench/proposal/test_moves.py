"""Three moves under one criterion: what is proposed, what it costs, and that luck does not win by number."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from gentune.bench.proposal import Costs, Kept, Key, Observation, Proposal, incumbents, propose
from gentune.bench.proposal.encoding import Encoding
from gentune.bench.proposal.moves import FIDELITY, at_fidelity, observed, with_fidelity, without_fidelity
from gentune.bench.proposal.surrogate import Hyperparameters, Surrogate
from gentune.search_spaces.space import Parameter, SearchSpace, Setting, Value

SPACE = SearchSpace(
    (
        Parameter("rate", "float", 1e-3, low=1e-4, high=1e-1, log=True),
        Parameter("kind", "categorical", "a", choices=("a", "b")),
        Parameter("scale", "float", 1.0, low=0.0, high=6.0, role="sample"),
        Parameter("steps", "int", 25, low=10, high=100, log=True, role="sample"),
    )
)
FIDELITIES = (0.25, 0.5, 1.0)


def number(setting: Setting, name: str) -> float:
    value = setting[name]
    assert isinstance(value, (int, float))
    return float(value)


def truth(setting: Setting, fidelity: float = 1.0) -> float:
    """Best at a rate of 0.005, kind b and a scale of 2.5; less of a training is worse, most so at bad rates."""
    trained = (math.log10(number(setting, "rate")) + 2.3) ** 2 + 0.5 * (setting["kind"] == "a")
    sampled = 0.15 * (number(setting, "scale") - 2.5) ** 2 + 0.3 * math.log10(100 / number(setting, "steps"))
    return 1.0 + trained + sampled + 0.6 * (1.0 / fidelity - 1.0) * (1.0 + 0.4 * trained)


class Tuning:
    """A study of `truth` with lucky and unlucky trainings, driven as a driver would, in memory."""

    def __init__(self, seed: int, sample_cost: float = 0.05) -> None:
        self.seed, self.sample_cost = seed, sample_cost
        self.observations: list[Observation] = []
        self.proposals: list[Proposal] = []
        self.roots: list[int] = []
        self._rng = np.random.default_rng(seed)
        self._luck: dict[int, float] = {}

    def kept(self) -> list[Kept]:
        furthest: dict[int, int] = {}
        for n, root in enumerate(self.roots):
            if root not in furthest or self.proposals[n].fidelity >= self.proposals[furthest[root]].fidelity:
                furthest[root] = n
        return [Kept(self.proposals[n].setting, r, n, self.proposals[n].fidelity) for r, n in furthest.items()]

    def ask(self, budget: float) -> Proposal | None:
        left = budget - sum(o.cost for o in self.observations)
        tried = [SPACE.default(), *(p.setting for p in self.proposals)]
        parts = tuple((setting, 1.0, self.sample_cost) for setting in tried)
        costs = Costs(left, tuple((s, t + d) for s, t, d in parts), budget, parts)
        key = Key(self.seed, len(self.proposals))
        return propose(SPACE, self.observations, (), self.kept(), costs, key, start=5, fidelities=FIDELITIES)

    def run(self, budget: float) -> None:
        while (proposal := self.ask(budget)) is not None:
            share = proposal.fidelity
            root = len(self.proposals)
            if proposal.parent is not None:
                root, share = self.roots[proposal.parent], share - self.proposals[proposal.parent].fidelity
            luck = self._luck.setdefault(root, 0.2 * float(self._rng.normal()))
            value = truth(proposal.setting, proposal.fidelity) + luck + 0.03 * float(self._rng.normal())
            self.proposals.append(proposal)
            self.roots.append(root)
            cost = max(share, 0.0) + self.sample_cost
            self.observations.append(
                Observation(proposal.setting, (value,), cost=cost, training=root, fidelity=proposal.fidelity)
            )


@pytest.fixture(scope="module")
def tuned() -> Tuning:
    tuning = Tuning(seed=0)
    tuning.run(budget=6.0)
    return tuning


@pytest.mark.slow
def test_all_three_moves_are_made_within_the_budget(tuned: Tuning) -> None:
    moves = Counter(p.move for p in tuned.proposals)
    assert set(moves) == {"train", "continue", "resample"}
    assert sum(o.cost for o in tuned.observations) <= 6.0 + 1e-9
    assert len(tuned.proposals) >= 3 * 6, "at least three settings for the cost of one training"


def test_moves_say_what_they_start_from(tuned: Tuning) -> None:
    for proposal in tuned.proposals:
        SPACE.validate(proposal.setting)
        assert proposal.fidelity in FIDELITIES
        if proposal.move == "train":
            assert proposal.parent is None
            continue
        assert proposal.parent is not None
        parent = tuned.proposals[proposal.parent]
        assert all(proposal.setting[name] == parent.setting[name] for name in ("rate", "kind"))
        if proposal.move == "resample":
            assert proposal.fidelity == parent.fidelity
            assert proposal.setting != parent.setting
        else:
            assert proposal.fidelity > parent.fidelity


def test_nothing_is_measured_twice_of_one_training(tuned: Tuning) -> None:
    seen = Counter(
        (root, p.fidelity, tuple(p.setting.items())) for root, p in zip(tuned.roots, tuned.proposals, strict=True)
    )
    assert set(seen.values()) == {1}


def test_samples_of_one_model_differ_by_more_than_a_trifle(tuned: Tuning) -> None:
    encoding = Encoding(SPACE)
    seen: dict[tuple[int, float], list[np.ndarray]] = {}
    for proposal, root in zip(tuned.proposals, tuned.roots, strict=True):
        (position,) = encoding.positions([proposal.setting])
        others = seen.setdefault((root, proposal.fidelity), [])
        if proposal.move == "resample":
            assert others
            assert min(np.abs(position - other).max() for other in others) >= 0.03 - 1e-9
        others.append(position)


def test_the_default_is_trained_in_full_and_the_rest_of_the_start_in_part(tuned: Tuning) -> None:
    assert tuned.proposals[0].setting == SPACE.default()
    assert [p.fidelity for p in tuned.proposals[:5]] == [1.0, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.slow
def test_a_study_with_the_same_history_goes_on_in_the_same_way(tuned: Tuning) -> None:
    again = Tuning(seed=0)
    again.run(budget=6.0)
    assert again.proposals == tuned.proposals


def test_where_only_samples_are_affordable_samples_are_proposed(tuned: Tuning) -> None:
    spent = sum(o.cost for o in tuned.observations[:8])
    earlier = Tuning(seed=0)
    earlier.proposals, earlier.roots, earlier.observations = (
        tuned.proposals[:8],
        tuned.roots[:8],
        tuned.observations[:8],
    )
    proposal = earlier.ask(spent + 0.06)
    assert proposal is not None
    assert proposal.move == "resample"
    assert earlier.ask(spent + 0.04) is None


@pytest.mark.slow
def test_samples_that_cost_as_much_as_trainings_are_drawn_less_often() -> None:
    expensive, cheap = Tuning(seed=1, sample_cost=1.0), Tuning(seed=1)
    for tuning in (expensive, cheap):
        tuning.run(budget=9.0)

    def share(tuning: Tuning) -> float:
        return sum(p.move == "resample" for p in tuning.proposals) / len(tuning.proposals)

    assert share(expensive) < share(cheap)


def test_samples_that_cost_nothing_wait_for_the_next_training() -> None:
    tuning = Tuning(seed=0, sample_cost=1e-4)
    tuning.run(budget=3.0)
    for n in range(1, len(tuning.proposals) + 1):
        trained = sum(p.move != "resample" for p in tuning.proposals[:n])
        assert n <= 2 * 2 * trained, "the space has two sampling parameters"


def test_one_speed_is_what_it_was() -> None:
    observations = [Observation(s, (truth(s),)) for s in _settings(9, seed=3)]
    plain = propose(SPACE, observations, key=Key(0, 9))
    assert propose(SPACE, observations, (), (), None, Key(0, 9), fidelities=(1.0,)) == plain
    assert plain is not None
    assert plain.move == "train"
    assert plain.fidelity == 1.0


def test_a_lucky_training_does_not_win_by_the_number_of_its_samples() -> None:
    # The setting of kind b is better by 0.5; one training of kind a is lucky by 1.0 and was sampled twelve times.
    rng = np.random.default_rng(0)
    observations = []
    for n, setting in enumerate(_settings(12, seed=5)):
        lucky: dict[str, Value] = {**setting, "rate": 5e-3, "kind": "a"}
        observations.append(Observation(lucky, (truth(lucky) - 1.0 + 0.02 * rng.normal(),), training="lucky"))
        usual: dict[str, Value] = {**setting, "rate": 5e-3, "kind": "b" if n % 2 else "a"}
        luck = 0.2 * rng.normal()
        for scale in (2.0, 3.0):
            one = {**usual, "scale": scale}
            observations.append(Observation(one, (truth(one) + luck + 0.02 * rng.normal(),), training=n))
    best_observed = min(observations, key=lambda o: o.values or (math.inf,))
    assert best_observed.training == "lucky"
    (chosen,) = incumbents(SPACE, observations)
    assert observations[chosen].setting["kind"] == "b"


def test_settings_are_judged_at_a_full_training() -> None:
    # Half a training of the better rate looks worse than a whole one of the worse.
    observations = [
        Observation(s | {"kind": "b"}, (truth(s | {"kind": "b"}, f),), training=(i, f), fidelity=f)
        for i, s in enumerate(_settings(14, seed=2))
        for f in (0.5, 1.0)
        if f == 0.5 or i < 10
    ]
    better: dict[str, Value] = {"rate": 5e-3, "kind": "b", "scale": 2.5, "steps": 100}
    observations.append(Observation(better, (truth(better, 0.5),), training="better", fidelity=0.5))
    values = [o.values[0] for o in observations if o.values is not None]
    assert values[-1] > min(values)
    assert incumbents(SPACE, observations) == [len(observations) - 1]


def test_correlation_is_that_of_the_joint_normal_distribution() -> None:
    encoding = Encoding(with_fidelity(SPACE))
    rng = np.random.default_rng(0)
    settings = _settings(6, seed=1)
    fidelity = [1.0, 0.5, 0.25, 1.0, 0.5, 1.0]
    columns = encoding.columns(encoding.positions([at_fidelity(s, f) for s, f in zip(settings, fidelity, strict=True)]))
    trainings = np.array([0, 1, 1, 2, 0, 3])
    h = Hyperparameters(np.array([1.0, 0.5, 2.0, 0.3, 0.8]), 1.3, 0.05, 0.4, 0.2, 0.1)
    surrogate = Surrogate(columns, encoding.groups, rng.normal(size=6), h, trainings=trainings)
    new = _settings(2, seed=9)[1]
    sought = encoding.columns(encoding.positions([at_fidelity(new)] * 3 + [at_fidelity(settings[0])]))
    shown = encoding.columns(
        encoding.positions([at_fidelity(new), at_fidelity(new, 0.25), at_fidelity(new, 0.25), at_fidelity(settings[0])])
    )
    of = np.array([-1, -1, 1, 3])
    found = np.exp(surrogate.log_correlation(sought, shown, of))

    for i in range(4):
        rows = np.concatenate([columns, sought[i : i + 1], shown[i : i + 1]])
        everything = Surrogate(rows, encoding.groups, np.zeros(8), h)
        weighted = torch.from_numpy(rows * everything._weights)
        prior = everything._kernel(weighted, weighted).numpy()
        same = (rows[:, None, :] == rows[None, :, :]).all(-1)
        prior = prior + h.character * same
        luck = np.concatenate([trainings, [-2, of[i] if of[i] >= 0 else -1]])
        prior = prior + h.luck * ((luck[:, None] == luck[None, :]) & (luck[:, None] != -2))
        noise = np.diag([*[h.noise] * 6, 0.0, h.noise])
        total = prior + noise
        after = total[6:, 6:] - total[6:, :6] @ np.linalg.solve(total[:6, :6], total[:6, 6:])
        assert found[i] == pytest.approx(after[0, 1] / math.sqrt(after[0, 0] * after[1, 1]), rel=1e-6)


def test_a_kept_training_is_sampled_again_with_another_average_of_the_weights() -> None:
    half_life = Parameter("half_life", "float", 0.05, low=0.0, high=0.2, role="average")
    space = SearchSpace((SPACE["rate"], half_life))
    rng = np.random.default_rng(0)
    settings: list[dict[str, Value]] = [
        {"rate": 10 ** rng.uniform(-4, -1), "half_life": rng.uniform(0.0, 0.2)} for _ in range(8)
    ]

    def value(setting: Setting) -> float:
        return (math.log10(number(setting, "rate")) + 2.3) ** 2 + 40 * (number(setting, "half_life") - 0.15) ** 2

    observations = [Observation(s, (value(s),), cost=1.05, training=i) for i, s in enumerate(settings)]
    kept = [Kept(s, i, i, 1.0) for i, s in enumerate(settings)]
    parts = tuple((s, 1.0, 0.05) for s in settings)
    costs = Costs(0.1, tuple((s, t + d) for s, t, d in parts), 9.0, parts)  # too little for a training
    proposal = propose(space, observations, (), kept, costs, Key(0, 8), fidelities=FIDELITIES)
    assert proposal is not None
    assert proposal.move == "resample"
    assert proposal.parent is not None
    parent = settings[proposal.parent]
    assert proposal.setting["rate"] == parent["rate"]
    assert proposal.setting["half_life"] != parent["half_life"]
    trained = SearchSpace((SPACE["rate"], replace(half_life, role="loop")))
    assert propose(trained, observations, (), kept, costs, Key(0, 8), fidelities=FIDELITIES) is None


def test_less_of_a_training_and_a_known_one_tell_less() -> None:
    encoding = Encoding(with_fidelity(SPACE))
    settings = _settings(8, seed=1)
    columns = encoding.columns(encoding.positions([at_fidelity(s) for s in settings]))
    h = Hyperparameters(np.full(5, 0.5), 1.0, 0.01, 0.2, 0.3, 0.0)
    surrogate = Surrogate(columns, encoding.groups, np.zeros(8), h, trainings=np.array([0, 0, 0, 0, 1, 2, 3, 4]))
    new = _settings(2, seed=9)[1]
    whole = encoding.columns(encoding.positions([at_fidelity(new)] * 3))
    part = encoding.columns(encoding.positions([at_fidelity(new, f) for f in (1.0, 0.5, 0.25)]))
    full, half, quarter = surrogate.log_correlation(whole, part, np.full(3, -1))
    assert full > half > quarter
    # How lucky a training is that was sampled four times is known: one more sample of it is clearer than a new one.
    known, fresh = surrogate.log_correlation(whole[:2], whole[:2], np.array([0, -1]))
    assert known > fresh


def test_the_added_parameter_comes_and_goes() -> None:
    setting = SPACE.default()
    assert without_fidelity(at_fidelity(setting, 0.5)) == setting
    observation = observed(Observation(setting, (1.0,), fidelity=0.25))
    assert observation.setting[FIDELITY] == 0.25
    with_fidelity(SPACE).validate(observation.setting)


def _settings(n: int, seed: int) -> Sequence[dict[str, Value]]:
    encoding = Encoding(SPACE)
    return [encoding.decode(row) for row in encoding.snap(np.random.default_rng(seed).random((n, len(encoding))))]
