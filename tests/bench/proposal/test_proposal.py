from __future__ import annotations

import math
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gentune.bench.proposal import Costs, Key, Observation, Proposal, incumbents, propose
from gentune.bench.proposal.encoding import Encoding
from gentune.search_spaces import Parameter, SearchSpace, Setting
from gentune.search_spaces.space import Value

MIXED = SearchSpace(
    (
        Parameter("rate", "float", 1e-2, low=1e-5, high=1e-1, log=True),
        Parameter("depth", "int", 1, low=1, high=8),
        Parameter("norm", "categorical", "none", choices=("none", "batch", "layer")),
    )
)
CONDITIONAL = SearchSpace(
    (
        Parameter("width", "int", 64, low=16, high=256, log=True),
        Parameter("norm", "categorical", "none", choices=("none", "batch")),
        Parameter("momentum", "float", 0.5, low=0.0, high=1.0, when={"norm": ("batch",)}),
        Parameter("drop", "float", 0.2, low=0.0, high=0.5, step=0.1),
    )
)


def mixed(setting: Setting) -> float:
    """Smooth, lowest (0) at rate 1e-3, depth 5, batch norm."""
    rate, depth = float(setting["rate"] or 0), float(setting["depth"] or 0)
    return (
        (math.log10(rate) + 3) ** 2
        + ((depth - 5) / 2) ** 2
        + {"none": 1.0, "batch": 0.0, "layer": 0.5}[str(setting["norm"])]
    )


def tune(
    space: SearchSpace,
    objective: Callable[[Setting], float | tuple[float, ...] | None],
    trials: int,
    *,
    seed: int = 0,
    observations: tuple[Observation, ...] = (),
) -> list[Observation]:
    done = list(observations)
    for number in range(len(done), trials):
        proposal = propose(space, done, key=Key(seed, number))
        assert proposal is not None
        value = objective(proposal.setting)
        done.append(Observation(proposal.setting, (value,) if isinstance(value, float) else value))
    return done


def random_settings(space: SearchSpace, n: int, seed: int) -> list[dict[str, Value]]:
    encoding = Encoding(space)
    rows = encoding.snap(np.random.default_rng(seed).random((n, len(encoding))))
    return [encoding.decode(row) for row in rows]


def random_space(rng: random.Random) -> SearchSpace:
    parameters: list[Parameter] = []
    for i in range(rng.randint(1, 6)):
        name, kind = f"p{i}", rng.choice(["float", "int", "categorical"])
        parents = [p for p in parameters if p.kind == "categorical" or (p.kind == "int" and p.low == p.default)]
        parent = rng.choice(parents) if parents and rng.random() < 0.5 else None
        when = {} if parent is None else {parent.name: (parent.choices[:1] or (parent.default,))}
        if kind == "categorical":
            choices = rng.choice([(True, False), ("a", "b", "c"), (1, "1", 2.5), ("only",)])
            parameters.append(Parameter(name, "categorical", choices[0], choices=choices, when=when))
        elif kind == "int":
            low = rng.choice([1, 3, 16])
            high, step = low + rng.choice([0, 1, 7, 1000]), rng.choice([None, 1, 2])
            log = rng.random() < 0.5
            parameters.append(Parameter(name, "int", low, low=low, high=high, step=step, log=log, when=when))
        else:
            low_f = rng.choice([1e-6, 0.1, 2.0])
            high_f, step_f = low_f + rng.choice([0.0, 0.3, 50.0]), rng.choice([None, 0.1])
            log = rng.random() < 0.5
            parameters.append(Parameter(name, "float", low_f, low=low_f, high=high_f, step=step_f, log=log, when=when))
    return SearchSpace(tuple(parameters))


# Encoding


@pytest.mark.parametrize("seed", range(20))
def test_encode_and_decode_are_inverses(seed: int) -> None:
    space = random_space(random.Random(seed))
    encoding = Encoding(space)
    settings = random_settings(space, 30, seed)
    positions = encoding.positions(settings)
    for setting, row in zip(settings, positions, strict=True):
        space.validate(setting)
        again = encoding.decode(row)
        assert again.keys() == setting.keys()
        for name, value in setting.items():
            assert type(again[name]) is type(value)
            assert again[name] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value)
    assert encoding.keys(encoding.snap(np.where(np.isnan(positions), 0.5, positions))) == encoding.keys(positions)


def test_uniform_positions_are_uniform_choices() -> None:
    settings = random_settings(MIXED, 8000, 0)
    depths = np.bincount([int(s["depth"] or 0) for s in settings], minlength=9)[1:]
    assert np.abs(depths / 1000 - 1).max() < 0.15
    norms = np.array([s["norm"] for s in settings])
    assert all(abs((norms == n).mean() - 1 / 3) < 0.03 for n in ("none", "batch", "layer"))


def test_distances_are_hamming_for_choices_and_zero_among_inactive() -> None:
    encoding = Encoding(CONDITIONAL)
    base: dict[str, Value] = {"width": 64, "norm": "none", "drop": 0.2}
    other: dict[str, Value] = {**base, "norm": "batch", "momentum": 0.5}
    far: dict[str, Value] = {**base, "norm": "batch", "momentum": 1.0}
    a, b, c = encoding.columns(encoding.positions([base, other, far]))
    assert np.square(a - b).sum() == pytest.approx(1.0)  # only the choice differs: the inactive value is neutral
    assert np.square(b - c).sum() == pytest.approx(0.25)


def test_grid_holds_every_setting_of_a_finite_space() -> None:
    space = SearchSpace(
        (
            Parameter("n", "int", 1, low=1, high=3),
            Parameter("kind", "categorical", "a", choices=("a", "b")),
            Parameter("extra", "categorical", True, choices=(True, False), when={"kind": ("b",)}),
        )
    )
    encoding = Encoding(space)
    assert len({key for row in encoding.grid() for key in encoding.keys(row[None])}) == 3 * (1 + 2)
    assert not list(Encoding(MIXED).grid())


# The engine: purity


def test_a_proposal_depends_on_its_arguments_alone() -> None:
    done = tune(MIXED, mixed, 8)
    first = propose(MIXED, done, [{"rate": 1e-4, "depth": 2, "norm": "none"}], key=Key(3, 8))
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global generator is what is looked at)
    torch.manual_seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]  # noqa: NPY002
    second = propose(MIXED, done, [{"rate": 1e-4, "depth": 2, "norm": "none"}], key=Key(3, 8))
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states  # type: ignore[index]  # noqa: NPY002
    assert first == second
    torch.rand(7)
    with torch.no_grad():
        assert propose(MIXED, done, [{"rate": 1e-4, "depth": 2, "norm": "none"}], key=Key(3, 8)) == first


def test_the_key_decides_the_start() -> None:
    settings = {
        str(propose(MIXED, [], key=Key(seed, number)).setting)  # type: ignore[union-attr]
        for seed in (0, 1)
        for number in range(1, 5)
    }
    assert len(settings) == 8


def test_default_first_then_sobol_then_surrogate() -> None:
    done: list[Observation] = []
    origins = []
    for number in range(7):
        proposal = propose(MIXED, done, key=Key(0, number), start=4)
        assert proposal is not None
        origins.append(proposal.origin)
        done.append(Observation(proposal.setting, (mixed(proposal.setting),)))
    assert origins == ["default", "sobol", "sobol", "sobol", "surrogate", "surrogate", "surrogate"]
    assert done[0].setting == MIXED.default()
    skipped = propose(MIXED, [], key=Key(0, 0), default_first=False)
    assert skipped is not None
    assert skipped.origin == "sobol"


def test_records_import_no_heavy_library() -> None:
    code = (
        "import sys; from gentune.bench.proposal import Costs, Key, Observation, Proposal; "
        "print([m for m in ('torch', 'botorch', 'gpytorch', 'scipy', 'numpy', 'optuna') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


# The engine: validity


@pytest.mark.parametrize("seed", range(15))
def test_proposals_are_valid_and_plain_in_random_spaces(seed: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng)
    done: list[Observation] = []
    for number in range(9):
        proposal = propose(space, done, key=Key(seed, number), start=4)
        assert proposal is not None
        space.validate(proposal.setting)
        assert all(type(v) in (float, int, str, bool) for v in proposal.setting.values())
        done.append(Observation(proposal.setting, rng.choice([(rng.random(),), (rng.gauss(0, 1e6),), None])))


def test_odd_spaces_and_histories() -> None:
    assert propose(SearchSpace(()), [], key=Key(0, 3)) == Proposal({}, origin="default")
    point = SearchSpace((Parameter("x", "float", 2.0, low=2.0, high=2.0), Parameter("n", "int", 3, low=3, high=3)))
    for number in (0, 1, 9):
        proposal = propose(point, [Observation(point.default(), (1.0,))], key=Key(0, number))
        assert proposal is not None
        assert proposal.setting == {"x": 2.0, "n": 3}
    odd = [
        Observation(setting, values)
        for setting, values in zip(
            random_settings(MIXED, 4, 0), [(math.nan,), (math.inf,), (-math.inf,), (1.0,)], strict=True
        )
    ]
    # A choice, a value and a parameter that the space no longer has.
    odd.append(Observation({"rate": 5.0, "depth": 3, "norm": "group", "old": 1}, (2.0,)))
    for history in (odd, odd[:1], odd[1:2], [Observation(MIXED.default(), (1.0,))] * 12):
        proposal = propose(MIXED, history, key=Key(0, 20))
        assert proposal is not None
        MIXED.validate(proposal.setting)
    failed = [Observation(s, None) for s in random_settings(MIXED, 12, 1)]
    proposal = propose(MIXED, failed, key=Key(0, 12))
    assert proposal is not None
    assert proposal.origin == "sobol"
    with pytest.raises(ValueError, match="wanted the same number"):
        propose(MIXED, [replace(odd[1], values=(1.0, 2.0)), odd[3]], key=Key(0, 20))


# The engine: what it passes over


def test_pending_and_observed_settings_are_not_proposed_again() -> None:
    space = SearchSpace(
        (
            Parameter("n", "int", 1, low=1, high=4),
            Parameter("kind", "categorical", "a", choices=("a", "b", "c")),
        )
    )

    def value(setting: Setting) -> float:
        return float(setting["n"] or 0) + {"a": 0.0, "b": 1.0, "c": 2.0}[str(setting["kind"])]

    observed: list[Observation] = []
    pending: list[Setting] = []
    seen = set()
    for number in range(12):
        proposal = propose(space, observed, pending, key=Key(0, number))
        assert proposal is not None
        seen.add(str(proposal.setting))
        if number % 3:
            pending.append(proposal.setting)
        else:
            observed.append(Observation(proposal.setting, (value(proposal.setting),)))
    assert len(seen) == 12  # the whole space, each setting once
    repeat = propose(space, observed, pending, key=Key(0, 12))
    assert repeat is not None
    assert repeat.setting in [o.setting for o in observed]  # exhausted: repeats what is not under trial


def test_pending_settings_push_the_next_one_away() -> None:
    done = tune(MIXED, mixed, 10)
    encoding = Encoding(MIXED)

    def spread(*, known: bool) -> float:
        """The mean distance among four proposals in a row, by whether each knows of those before it."""
        pending: list[Setting] = []
        for number in range(10, 14):
            proposal = propose(MIXED, done, pending if known else (), key=Key(0, number))
            assert proposal is not None
            pending.append(proposal.setting)
        columns = encoding.columns(encoding.positions(pending))
        return float(np.sqrt(np.square(columns[:, None] - columns[None]).sum(-1))[np.triu_indices(4, 1)].mean())

    assert spread(known=True) > 2 * spread(known=False)


@pytest.mark.parametrize("number", [0, 2, 12])
def test_unaffordable_settings_are_not_proposed(number: int) -> None:
    space = SearchSpace(
        (
            Parameter("width", "int", 256, low=16, high=256, log=True),
            Parameter("depth", "int", 4, low=1, high=8),
            Parameter("rate", "float", 0.1, low=0.0, high=1.0),
        )
    )

    def cost(setting: Setting) -> float:
        return float(setting["width"] or 0) ** 2 * float(setting["depth"] or 0)

    tried = [space.default(), *random_settings(space, 11, 0)]
    counted = tuple((s, cost(s)) for s in tried)
    # Wide and deep pays here, so that only the cost holds the engine back.
    done = [Observation(s, (-math.log(cost(s)),)) for s in tried[1:]] if number else []
    for remaining in (5_000.0, 50_000.0):
        proposal = propose(space, done, costs=Costs(remaining, counted), key=Key(0, number))
        assert proposal is not None
        assert cost(proposal.setting) <= 1.3 * remaining
    assert propose(space, done, costs=Costs(1e-3, counted), key=Key(0, number)) is None


def test_a_counted_setting_costs_what_was_counted() -> None:
    space = SearchSpace((Parameter("kind", "categorical", "a", choices=("a", "b", "c")),))
    costs = Costs(2.0, (({"kind": "a"}, 3.0), ({"kind": "b"}, 2.0), ({"kind": "c"}, 3.0)))
    first = propose(space, [], costs=costs, key=Key(0, 0))
    assert first is not None
    assert first.setting == {"kind": "b"}
    assert propose(space, [], costs=replace(costs, remaining=1.9), key=Key(0, 0)) is None


# The engine: does it work


def test_beats_random_search() -> None:
    seeds = range(3)
    ours = [min(o.values[0] for o in tune(MIXED, mixed, 25, seed=seed) if o.values) for seed in seeds]
    chance = [min(mixed(s) for s in random_settings(MIXED, 25, seed)) for seed in range(200)]
    assert max(ours) < np.quantile(chance, 0.25)
    assert np.mean(ours) < 0.25 * np.mean(chance)


def test_conditional_parameters_are_tuned_where_they_count() -> None:
    def objective(setting: Setting) -> float:
        if setting["norm"] == "none":
            return 0.5
        return (float(setting["momentum"] or 0) - 0.3) ** 2 + float(setting["drop"] or 0)

    best = min((o for o in tune(CONDITIONAL, objective, 20) if o.values), key=lambda o: o.values or ())
    assert best.setting["norm"] == "batch"
    assert best.values is not None
    assert best.values[0] < 0.01


def test_failures_are_avoided() -> None:
    space = SearchSpace(tuple(Parameter(n, "float", 0.25, low=0.0, high=1.0) for n in "xyz"))

    def objective(setting: Setting) -> float | None:
        if float(setting["x"] or 0) > 0.5:
            return None
        return sum((float(setting[n] or 0) - at) ** 2 for n, at in (("x", 0.4), ("y", 0.7), ("z", 0.2)))

    shares = []
    for seed in range(2):
        done = tune(space, objective, 20, seed=seed)
        shares.append(np.mean([o.failed for o in done[5:]]))
        assert min(o.values[0] for o in done if o.values) < 0.02
    assert np.mean(shares) < 0.3  # random search: 0.5


def test_several_objectives_reach_along_the_front() -> None:
    space = SearchSpace(tuple(Parameter(n, "float", 0.9, low=0.0, high=1.0) for n in "xy"))

    def objective(setting: Setting) -> tuple[float, ...]:
        # The front: y = 0, x from 0 to 1, where the two objectives sum to 1 at least in their roots.
        x, y = float(setting["x"] or 0), float(setting["y"] or 0)
        return (x**2 + y, 100.0 * ((1 - x) ** 2 + y))

    done = tune(space, objective, 25)
    front = [o.values for o in done if o.values and o.setting["y"] is not None and float(o.setting["y"]) < 0.05]
    assert len(front) >= 8
    xs = sorted(v[0] ** 0.5 for v in front)
    assert xs[0] < 0.25
    assert xs[-1] > 0.75
    chosen = incumbents(space, done)
    assert 1 < len(chosen) <= 3
    assert len({round(float(done[i].setting["x"] or 0), 1) for i in chosen}) == len(chosen)
    for i in chosen:
        for j in chosen:
            a, b = done[i].values, done[j].values
            assert a is not None
            assert b is not None
            assert i == j or not (a[0] < b[0] - 0.05 and a[1] < b[1] - 5)


def test_very_many_trials_are_proposed_from_and_named() -> None:
    rng = np.random.default_rng(0)
    settings = [
        MIXED.activate(Encoding(MIXED).decode(row)) for row in Encoding(MIXED).snap(rng.random((3000, len(MIXED))))
    ]
    observations = [Observation(s, None if i % 7 == 0 else (mixed(s),)) for i, s in enumerate(settings)]
    best = min(o.values[0] for o in observations if o.values)
    proposal = propose(MIXED, observations, settings[:2], key=Key(0, 3000))
    assert proposal is not None
    assert mixed(proposal.setting) < np.quantile([o.values[0] for o in observations if o.values], 0.02)
    chosen = observations[incumbents(MIXED, observations)[0]]
    assert chosen.values is not None
    assert chosen.values[0] <= best + 0.05


def test_a_bound_grossly_broken_is_kept_after_few_trials() -> None:
    """The best scores lie where a density collapses: its bits grow by orders of magnitude over a part of the range."""
    space = SearchSpace(tuple(Parameter(n, "float", 0.2, low=0.0, high=1.0) for n in "xy"))

    def judged(setting: Setting) -> tuple[float, float]:
        x, y = float(setting["x"] or 0), float(setting["y"] or 0)
        bits = math.exp(12.0 * (x - 0.5))
        return (x - 0.9) ** 2 + (y - 0.4) ** 2, (bits - 1.0) / (bits + 1.0)

    def study(bounded: bool) -> list[Observation]:
        done: list[Observation] = []
        for number in range(12):
            proposal = propose(space, done, key=Key(0, number))
            assert proposal is not None
            score, excess = judged(proposal.setting)
            done.append(Observation(proposal.setting, (score,), constraints={"bits": excess} if bounded else {}))
        return done

    bounded, free = study(True), study(False)
    broken = [sum(judged(o.setting)[1] > 0 for o in done[5:]) for done in (bounded, free)]
    assert broken[0] <= 3 < broken[1]
    (best,) = incumbents(space, bounded)
    assert judged(bounded[best].setting)[1] <= 0
    assert judged(bounded[best].setting)[0] < 0.21, "0.16 is the best that keeps the bound"


def test_several_objectives_under_a_constraint_that_nothing_keeps() -> None:
    settings: list[Setting] = [{"n": n, "kind": "a"} for n in range(1, 5)]
    space = SearchSpace(
        (Parameter("n", "int", 1, low=1, high=9), Parameter("kind", "categorical", "a", choices=("a", "b", "c")))
    )
    observations = [Observation(s, (1.0, -1.0 * i), constraints={"size": 5.0 - i}) for i, s in enumerate(settings)]
    proposal = propose(space, observations, key=Key(0, 12))
    assert proposal is not None
    assert int(str(proposal.setting["n"])) > 4, "towards where the constraint may hold"
    assert incumbents(space, observations) == []
