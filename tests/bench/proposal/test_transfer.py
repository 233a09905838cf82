"""What earlier studies contribute to a new one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.study import StudyDirection

from gentune import BayesianSampler
from gentune.bench.proposal import Key, Observation, Proposal, propose
from gentune.bench.proposal.encoding import Encoding
from gentune.bench.proposal.ensemble import Ensemble, MeanImprovement, _draw_weights, fit_either
from gentune.bench.proposal.outputs import standardise
from gentune.bench.proposal.transfer import agreement, outlooks, portfolio, recall
from gentune.search_spaces.space import Parameter, SearchSpace

Function = Callable[[Any], float]  # of a setting

SPACE = SearchSpace(
    (
        Parameter("x", "float", 0.1, low=0.0, high=1.0),
        Parameter("z", "float", 0.1, low=0.0, high=1.0),
        Parameter("kind", "categorical", "a", choices=("a", "b")),
    )
)


def bowl(setting: Any, at: tuple[float, float] = (0.7, 0.3), kind: str = "b") -> float:
    """Least at `at` with the right kind."""
    return (setting["x"] - at[0]) ** 2 + (setting["z"] - at[1]) ** 2 + 0.1 * (setting["kind"] != kind)


def study(function: Function, *, seed: int = 0, trials: int = 25, space: SearchSpace = SPACE) -> list[Observation]:
    """Observations of a function at random settings."""
    rng = np.random.default_rng(seed)
    encoding = Encoding(space)
    settings = [encoding.decode(row) for row in encoding.snap(rng.random((trials, len(encoding))))]
    return [Observation(s, (float(function(s)),)) for s in settings]


def values(observations: Sequence[Observation]) -> list[float]:
    """The first objective of each."""
    return [o.values[0] for o in observations if o.values is not None]


def ask(
    observations: Sequence[Observation], number: int, earlier: Sequence[list[Observation]], **options: Any
) -> Proposal:
    proposal = propose(SPACE, observations, key=Key(0, number), earlier=earlier, **options)
    assert proposal is not None
    return proposal


RELATED = study(lambda s: 5.0 * bowl(s, at=(0.65, 0.35)) - 3.0, seed=1)
UNRELATED = study(lambda s: float(np.sin(9 * s["x"]) * np.cos(8 * s["z"])), seed=2)


def ensemble(observations: list[Observation], *earlier: list[Observation]) -> Ensemble:
    encoding = Encoding(SPACE)
    views = outlooks(encoding, recall(encoding, earlier), np.random.default_rng(0))
    columns = encoding.columns(encoding.positions([o.setting for o in observations]))
    y = standardise(np.array(values(observations)))
    found = fit_either(columns, encoding.groups, y, views, follow=True)
    assert isinstance(found, Ensemble)
    return found


def run(
    function: Function,
    trials: int,
    *,
    earlier: Sequence[list[Observation]] = (),
    seed: int = 0,
    space: SearchSpace = SPACE,
) -> list[Observation]:
    """Trials by the engine one after another."""
    observations: list[Observation] = []
    for k in range(trials):
        proposal = propose(space, observations, key=Key(seed, k), default_first=False, earlier=earlier)
        assert proposal is not None
        observations.append(Observation(proposal.setting, (float(function(proposal.setting)),)))
    return observations


def test_weights_go_to_the_related_study() -> None:
    found = ensemble(study(bowl, seed=3, trials=12), RELATED, UNRELATED)
    related, unrelated, _ = found.weights.mean(axis=0)
    assert related > 1.0  # in units of each study's own deviation
    assert 0.0 <= unrelated < 0.3


def test_a_study_of_the_opposite_gets_no_weight() -> None:
    opposite = study(lambda s: -bowl(s), seed=4)
    weights = ensemble(study(bowl, seed=3, trials=12), opposite).weights
    assert (weights[:, 0] == 0.0).all()


def test_related_studies_predict_where_nothing_was_tried() -> None:
    target = study(bowl, seed=3, trials=8)
    encoding = Encoding(SPACE)
    fresh = study(bowl, seed=5, trials=200)
    columns = encoding.columns(encoding.positions([o.setting for o in fresh]))
    truth = np.array(values(fresh))
    with_related, _ = ensemble(target, RELATED).predict(columns)
    with_unrelated, _ = ensemble(target, UNRELATED).predict(columns)
    assert np.corrcoef(with_related, truth)[0, 1] > 0.97
    assert np.corrcoef(with_unrelated, truth)[0, 1] > 0.6


def test_a_useless_study_is_followed_ever_less() -> None:
    encoding = Encoding(SPACE)
    followed = []
    for earlier in (RELATED, UNRELATED):
        views = outlooks(encoding, recall(encoding, [earlier]), np.random.default_rng(0))
        count = 0
        for n in range(8, 24):
            target = study(bowl, seed=3, trials=n)
            columns = encoding.columns(encoding.positions([o.setting for o in target]))
            y = standardise(np.array(values(target)))
            count += isinstance(fit_either(columns, encoding.groups, y, views), Ensemble)
        followed.append(count)
    assert followed[0] >= 15
    assert followed[1] <= 5


def test_trials_count_for_more_than_earlier_studies() -> None:
    target = study(bowl, seed=3, trials=15)
    encoding = Encoding(SPACE)
    columns = encoding.columns(encoding.positions([o.setting for o in target]))
    y = standardise(np.array(values(target)))
    mean, _ = ensemble(target, UNRELATED).predict(columns)
    assert np.corrcoef(mean, y)[0, 1] > 0.97


def test_slopes_agree_with_differences() -> None:
    found = ensemble(study(bowl, seed=3, trials=10), RELATED, UNRELATED)
    columns = np.random.default_rng(0).random((6, 4))
    mean, variance, mean_slope, variance_slope = found.slopes(columns)
    np.testing.assert_allclose(np.stack(found.marginals(columns)), np.stack([mean, variance]), rtol=1e-9)
    improvement = MeanImprovement(found, -1.0)
    value, gradient = improvement.slope(columns)
    np.testing.assert_allclose(value, improvement.evaluate(columns), rtol=1e-9)
    step = 1e-5
    for j, move in enumerate(step * np.eye(columns.shape[1])):
        above, below = found.marginals(columns + move), found.marginals(columns - move)
        np.testing.assert_allclose(mean_slope[..., j], (above[0] - below[0]) / (2 * step), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(variance_slope[..., j], (above[1] - below[1]) / (2 * step), rtol=1e-3, atol=1e-6)
        difference = improvement.evaluate(columns + move) - improvement.evaluate(columns - move)
        np.testing.assert_allclose(gradient[:, j], difference / (2 * step), rtol=1e-3, atol=1e-5)


def test_weights_are_those_of_the_kernel_with_the_studies_in_it() -> None:
    # With its weights integrated out the ensemble is a GP with mean m·φ and kernel k + φᵀAφ; the mean over draws of
    # the weights is then that GP's mean.
    rng = np.random.default_rng(0)
    basis = np.column_stack([rng.normal(size=(12, 2)), np.ones(12)])
    y = basis @ [0.8, 0.5, -0.3] + 0.2 * rng.normal(size=12)
    places = rng.random(12)
    kernel = 0.05 * np.exp(-10 * np.abs(places[:, None] - places)) + 0.01 * np.eye(12)
    mean, variance = np.array([0.35, 0.35, 0.0]), np.array([0.375, 0.375, 1.0])
    whole = kernel + (basis * variance) @ basis.T
    expected = mean + variance * (basis.T @ np.linalg.solve(whole, y - basis @ mean))
    precision = np.linalg.inv(kernel)
    np.testing.assert_allclose(_draw_weights(precision, basis, y, np.zeros(3)), expected, rtol=1e-8)
    draws = np.array([_draw_weights(precision, basis, y, z) for z in rng.normal(size=(4000, 3))])
    covariance = np.diag(variance) - (basis * variance).T @ np.linalg.solve(whole, basis * variance)
    np.testing.assert_allclose(draws.mean(axis=0), expected, atol=0.02)
    np.testing.assert_allclose(np.cov(draws[:, :2].T), covariance[:2, :2], atol=0.15 * covariance[:2, :2].max())


def test_believing_keeps_the_mean_and_lowers_the_variance() -> None:
    found = ensemble(study(bowl, seed=3, trials=10), RELATED)
    at = np.array([[0.2, 0.8, 0.0, np.sqrt(0.5)]])
    after = found.believe(at)
    np.testing.assert_allclose(after.marginals(at)[0], found.marginals(at)[0], atol=1e-6)
    assert (after.marginals(at)[1] < 0.5 * found.marginals(at)[1]).all()


def test_joint_agrees_with_predictions() -> None:
    found = ensemble(study(bowl, seed=3, trials=10), RELATED, UNRELATED)
    columns = np.random.default_rng(0).random((4, 4))
    mean, covariance = found.joint(columns)
    np.testing.assert_allclose(mean, found.predict(columns)[0], rtol=1e-9)
    assert np.linalg.eigvalsh(covariance).min() > -1e-9
    assert (np.diag(covariance) >= found.predict(columns)[1] * (1 - 1e-6)).all()
    np.testing.assert_allclose(found.standing(found.columns), found.joint(found.columns)[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("function", "origins"),
    [
        # The first three trials come out as the earlier study expects: what did well there is tried.
        (bowl, ["default", "sobol", "sobol", "earlier", "sobol", "earlier", "surrogate"]),
        # They come out in the opposite order: nothing is.
        (lambda s: -bowl(s), ["default", "sobol", "sobol", "sobol", "sobol", "sobol", "surrogate"]),
    ],
)
def test_start_has_earlier_settings_as_long_as_trials_agree(function: Function, origins: list[str]) -> None:
    observations: list[Observation] = []
    found = []
    for k in range(7):
        proposal = ask(observations, k, [RELATED], start=6)
        found.append(proposal.origin)
        observations.append(Observation(proposal.setting, (function(proposal.setting),)))
    assert found == origins
    tried = [o.setting for o in RELATED]
    assert all(o.setting in tried for o, origin in zip(observations, found, strict=True) if origin == "earlier")


def test_what_is_recalled_delays_the_start_and_takes_nothing_from_it() -> None:
    settings: dict[bool, list[Any]] = {}
    for warm in (False, True):
        observations: list[Observation] = []
        for k in range(6):
            setting = ask(observations, k, [RELATED] if warm else [], start=6).setting
            observations.append(Observation(setting, (bowl(setting),)))
        settings[warm] = [o.setting for o in observations]
    cold, warmed = settings[False], settings[True]
    assert warmed[:3] == cold[:3]
    assert warmed[4] == cold[3]


def test_agreement_is_of_the_order_alone() -> None:
    encoding = Encoding(SPACE)
    studies = recall(encoding, [study(bowl, seed=1, trials=40)])
    positions = np.array([[0.7, 0.3, 0.75], [0.5, 0.4, 0.75], [0.1, 0.9, 0.75]])
    rising = np.array([[0.0], [1.0], [1e6]])
    assert agreement(encoding, studies, positions, rising) == 1.0
    assert agreement(encoding, studies, positions, -rising) == -1.0
    assert agreement(encoding, studies, positions, rising[[1, 0, 2]]) == pytest.approx(1 / 3)
    assert agreement(encoding, studies, positions[:1], rising[:1]) == 0.0


def test_portfolio_begins_with_what_was_best_in_each_study() -> None:
    functions = (lambda s: bowl(s, at=(0.65, 0.35))), (lambda s: bowl(s, at=(0.1, 0.9), kind="a"))
    earlier = [study(function, seed=seed) for seed, function in enumerate(functions, start=1)]
    encoding = Encoding(SPACE)
    first = [encoding.decode(row) for row in portfolio(encoding, recall(encoding, earlier), 2)]
    for function, observations in zip(functions, earlier, strict=True):
        assert min(map(function, first)) <= sorted(values(observations))[1]


def test_portfolio_passes_over_settings_that_broke_a_constraint() -> None:
    broken = [
        Observation(o.setting, o.values, constraints={"size": 1.0 if i % 2 else -1.0}) for i, o in enumerate(RELATED)
    ]
    encoding = Encoding(SPACE)
    rows = portfolio(encoding, recall(encoding, [broken]), 100)
    kept = [o.setting for o in broken if not o.violates]
    assert len(rows) == len(kept)
    assert all(encoding.decode(row) in kept for row in rows)


def test_warm_start_is_ahead_of_a_cold_one() -> None:
    space = SearchSpace(tuple(Parameter(f"x{i}", "float", 0.1, low=0.0, high=1.0) for i in range(5)))

    def moved(by: float) -> Function:
        return lambda s: sum((s[f"x{i}"] - at - by) ** 2 for i, at in enumerate((0.3, 0.7, 0.5, 0.2, 0.8)))

    earlier = [study(moved(by), seed=i, space=space, trials=30) for i, by in enumerate((-0.05, 0.05))]
    cold = [min(values(run(moved(0.0), 8, seed=seed, space=space))) for seed in range(2)]
    warm = [min(values(run(moved(0.0), 8, seed=seed, space=space, earlier=earlier))) for seed in range(2)]
    assert np.mean(warm) < 0.2 * np.mean(cold)


def test_proposals_depend_on_their_arguments_alone() -> None:
    observations = study(bowl, seed=3, trials=7)
    first = propose(SPACE, observations, key=Key(3, 7), earlier=[RELATED, UNRELATED])
    np.random.default_rng(0)
    run(bowl, 7, earlier=[UNRELATED])
    assert propose(SPACE, observations, key=Key(3, 7), earlier=[RELATED, UNRELATED]) == first


@pytest.mark.parametrize(
    "earlier",
    [[], [[]], [[Observation({"x": 0.5, "z": 0.5, "kind": "a"}, None)]], [[Observation({"w": 1.0}, (1.0,))]]],
    ids=["none", "empty", "failed", "nothing in common"],
)
def test_studies_that_say_nothing_change_nothing(earlier: list[list[Observation]]) -> None:
    observations = study(bowl, seed=3, trials=7)
    for number in (2, 7):
        cold = propose(SPACE, observations, key=Key(3, number))
        assert propose(SPACE, observations, key=Key(3, number), earlier=earlier) == cold


def test_studies_of_other_parameters_are_matched_by_name() -> None:
    # The earlier study has a parameter that the present one lacks, lacks one that it has, and knows another choice.
    other = SearchSpace(
        (
            Parameter("x", "float", 0.1, low=0.0, high=1.0),
            Parameter("kind", "categorical", "a", choices=("a", "b", "c")),
            Parameter("width", "int", 4, low=1, high=9),
        )
    )
    function = lambda s: 4 * (s["x"] - 0.7) ** 2 + 0.1 * (s["kind"] != "b")  # noqa: E731
    earlier = study(function, seed=1, space=other, trials=40)
    encoding = Encoding(SPACE)
    recalled = recall(encoding, [earlier])
    assert len(recalled[0].positions) == sum(o.setting["kind"] != "c" for o in earlier)
    seen = study(function, seed=3, trials=5)
    proposal = ask(
        [Observation({k: o.setting[k] for k in SPACE.default() if k in o.setting}, o.values) for o in seen],
        3,
        [earlier],
    )
    SPACE.validate(proposal.setting)
    assert proposal.origin == "earlier"
    assert abs(float(str(proposal.setting["x"])) - 0.7) < 0.15
    mean = ensemble(study(bowl, seed=3, trials=6), earlier).predict(
        np.array([[0.7, z, 0.0, np.sqrt(0.5)] for z in (0.1, 0.5, 0.9)])
    )[0]
    assert np.isfinite(mean).all()


def test_values_out_of_range_are_passed_over() -> None:
    wider = study(lambda s: (s["x"] - 0.7) ** 2, space=SearchSpace((Parameter("x", "float", 0.0, low=-1.0, high=2.0),)))
    encoding = Encoding(SPACE)
    inside = [o for o in wider if 0 <= float(str(o.setting["x"])) <= 1]
    assert len(recall(encoding, [wider])[0].positions) == len(inside) > 0


def test_objectives_must_be_as_many() -> None:
    two = [Observation(o.setting, (value, 1.0)) for o, value in zip(RELATED, values(RELATED), strict=True)]
    with pytest.raises(ValueError, match=r"earlier study 1 has \[2\] objectives; wanted 1"):
        propose(SPACE, [], key=Key(0, 0), earlier=[RELATED, two])
    with pytest.raises(ValueError, match=r"earlier study 0 has \[1\] objectives; wanted 2"):
        propose(SPACE, two, key=Key(0, 30), earlier=[RELATED])


def test_several_objectives() -> None:
    def pair(o: Observation, at: tuple[float, float]) -> Observation:
        return Observation(o.setting, (bowl(o.setting, at), bowl(o.setting, (0.2, 0.8))))

    earlier = [pair(o, (0.7, 0.3)) for o in RELATED]
    observations = [pair(o, (0.75, 0.3)) for o in study(bowl, seed=3, trials=8)]
    for number in (2, 8):
        SPACE.validate(ask(observations, number, [earlier]).setting)


def _objective(trial: optuna.Trial, at: float = 0.7, sign: float = 1.0) -> float:
    x = trial.suggest_float("x", 0.0, 1.0)
    n = trial.suggest_int("n", 1, 9)
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return sign * ((x - at) ** 2 + 0.02 * (n - 6) ** 2 + 0.1 * (kind == "a"))


@pytest.fixture(scope="module")
def optuna_studies() -> list[optuna.Study]:
    studies = []
    for direction, sign in ((StudyDirection.MINIMIZE, 1.0), (StudyDirection.MAXIMIZE, -10.0)):
        earlier = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), direction=direction)
        earlier.optimize(functools.partial(_objective, at=0.65, sign=sign), n_trials=25)
        studies.append(earlier)
    return studies


def test_sampler_starts_from_earlier_studies_of_either_direction(optuna_studies: list[optuna.Study]) -> None:
    warm = optuna.create_study(sampler=BayesianSampler(seed=0, warm_start=optuna_studies))
    warm.optimize(_objective, n_trials=8)
    cold = optuna.create_study(sampler=BayesianSampler(seed=0))
    cold.optimize(_objective, n_trials=8)
    assert warm.trials[0].params == cold.trials[0].params
    recalled = warm.trials[3].values[0]
    assert recalled <= optuna_studies[0].best_value + 0.02
    assert recalled < cold.trials[3].values[0]
    again = optuna.create_study(sampler=BayesianSampler(seed=0, warm_start=optuna_studies))
    again.optimize(_objective, n_trials=8)
    assert [t.params for t in again.trials] == [t.params for t in warm.trials]


def test_sampler_fits_earlier_values_into_the_new_ranges(optuna_studies: list[optuna.Study]) -> None:
    study = optuna.create_study(sampler=BayesianSampler(seed=0, warm_start=optuna_studies))

    def narrower(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 0.4)
        n = trial.suggest_int("n", 2, 8, step=2)
        kind = trial.suggest_categorical("kind", ["b", "c"])
        return (x - 0.3) ** 2 + n / 10 + (kind == "c") + trial.suggest_float("new", 0.0, 1.0)

    study.optimize(narrower, n_trials=8)
    assert len(study.trials) == 8


def test_sampler_names_a_study_with_another_number_of_objectives(optuna_studies: list[optuna.Study]) -> None:
    study = optuna.create_study(
        sampler=BayesianSampler(seed=0, warm_start=optuna_studies), directions=["minimize", "minimize"]
    )
    with pytest.raises(ValueError, match="has 1 objectives; this one has 2"):
        study.optimize(lambda t: (_objective(t), 1.0), n_trials=1)
