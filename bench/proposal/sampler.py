"""The engine as an Optuna sampler."""

from __future__ import annotations

import json
import math
import secrets
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import Parameter, SearchSpace, Value
from .engine import incumbents, propose
from .records import Key, Observation

_PENDING = "gentune:pending"
_ATTRIBUTE_LENGTH = 2000  # what every Optuna storage takes in one attribute


class BayesianSampler(BaseSampler):
    """Bayesian optimisation for `optuna.create_study(sampler=...)`, by the engine that tunes Gentune's own studies.

    Every draw follows from (seed, trial number) and the trials in the study: a study that is loaded again goes on as
    an unbroken one would, and workers that share a seed do not draw the same points. The parameters that all
    completed trials share are proposed together; others (and the first trial's) are drawn at random.
    Failed trials, and completed ones that violate a constraint (`trial.set_constraint`), teach where not to look;
    pruned ones are passed over. Settings of running trials are not proposed again.

    seed: None draws one, once. start: trials before the surrogate is asked; None leaves the choice to the engine.
    """

    def __init__(self, *, seed: int | None = None, start: int | None = None) -> None:
        self._seed = secrets.randbits(32) if seed is None else seed
        self._start = start
        self._space = IntersectionSearchSpace()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def reseed_rng(self) -> None:
        """Does nothing: draws differ by trial number already, and a seed that was asked for shall not be lost."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        with self._lock:
            shared = self._space.calculate(study)
        return {name: distribution for name, distribution in shared.items() if not distribution.single()}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        # Threads take turns, so that each sees what the others have just been given.
        with self._lock:
            space = _to_space(search_space)
            trials = study.get_trials(deepcopy=False)
            observations = [_observe(study, t, search_space) for t in trials if _is_finished(t, search_space)]
            running = [_params(t) for t in trials if t.state == TrialState.RUNNING and t.number != trial.number]
            proposal = propose(
                space,
                observations,
                [_to_setting(params, search_space) for params in running if search_space.keys() <= params.keys()],
                key=Key(self._seed, trial.number),
                start=self._start,
                default_first=False,
            )
            assert proposal is not None, "without a limit on costs something can always be proposed"
            params = {
                name: distribution.choices[_index(proposal.setting[name])]
                if isinstance(distribution, CategoricalDistribution)
                else proposal.setting[name]
                for name, distribution in search_space.items()
            }
            _announce(study, trial, params)
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        seed = zlib.crc32(f"{self._seed}/{trial.number}/{param_name}".encode())
        return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def recommend(self, study: Study) -> FrozenTrial | list[FrozenTrial]:
        """The trial, among the completed ones, that is best by posterior mean; with several objectives a list of at
        most three such trials on the Pareto front.

        The best observed value is often the luckiest one; the posterior mean weighs it against its neighbours.
        Trials that violate a constraint are not recommended. Raises ValueError when no other has completed.
        """
        everything = _union([t for t in study.get_trials(deepcopy=False) if t.state.is_finished()])
        trials = [t for t in study.get_trials(deepcopy=True) if t.state == TrialState.COMPLETE]
        observations = [_observe(study, t, everything) for t in trials]
        chosen = [trials[i] for i in incumbents(_to_space(everything), observations)]
        if not chosen:
            raise ValueError(f"study {study.study_name!r} has no completed trial to recommend")
        return chosen if len(study.directions) > 1 else chosen[0]


def _to_space(distributions: Mapping[str, BaseDistribution]) -> SearchSpace:
    """Optuna's distributions as a search space. Choices, which may be of any type, are known by their index."""
    parameters = []
    for name, d in sorted(distributions.items()):
        if isinstance(d, CategoricalDistribution):
            parameters.append(Parameter(name, "categorical", 0, choices=tuple(range(len(d.choices)))))
        elif isinstance(d, IntDistribution):
            step = None if d.step == 1 else d.step
            parameters.append(Parameter(name, "int", d.low, low=d.low, high=d.high, log=d.log, step=step))
        elif isinstance(d, FloatDistribution):
            parameters.append(Parameter(name, "float", d.low, low=d.low, high=d.high, log=d.log, step=d.step))
        else:
            raise NotImplementedError(f"parameter {name!r} has a distribution of type {type(d).__name__}")
    return SearchSpace(tuple(parameters))


def _to_setting(params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> dict[str, Value]:
    """A trial's parameters as a setting of `_to_space(distributions)`; those not in it are left out."""
    setting: dict[str, Value] = {}
    for name, value in params.items():
        d = distributions.get(name)
        if isinstance(d, CategoricalDistribution):
            if value in d.choices:
                setting[name] = int(d.to_internal_repr(value))
        elif d is not None:
            setting[name] = value
    return setting


def _index(value: Value) -> int:
    assert isinstance(value, int)
    return value


def _is_finished(trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> bool:
    """Whether the engine can learn from this trial; a trial that failed before its last suggestion says nothing."""
    return trial.state in (TrialState.COMPLETE, TrialState.FAIL) and distributions.keys() <= trial.params.keys()


def _observe(study: Study, trial: FrozenTrial, distributions: Mapping[str, BaseDistribution]) -> Observation:
    setting = _to_setting(trial.params, distributions)
    feasible = all(v <= 0 for v in trial.constraints.values())
    if trial.state != TrialState.COMPLETE or not feasible or any(math.isnan(v) for v in trial.values):
        return Observation(setting, None)
    signs = [-1.0 if direction == StudyDirection.MAXIMIZE else 1.0 for direction in study.directions]
    return Observation(setting, tuple(s * v for s, v in zip(signs, trial.values, strict=True)))


def _union(trials: Sequence[FrozenTrial]) -> dict[str, BaseDistribution]:
    """Every parameter of the trials, over the widest range it has had."""
    union: dict[str, BaseDistribution] = {}
    for trial in trials:
        for name, new in trial.distributions.items():
            old = union.get(name)
            if isinstance(new, FloatDistribution) and isinstance(old, FloatDistribution):
                low, high = min(old.low, new.low), max(old.high, new.high)
                new = FloatDistribution(low, high, log=new.log)
            elif isinstance(new, IntDistribution) and isinstance(old, IntDistribution):
                new = IntDistribution(min(old.low, new.low), max(old.high, new.high), log=new.log)
            union[name] = new
    return union


def _announce(study: Study, trial: FrozenTrial, params: Mapping[str, Any]) -> None:
    """Tells other workers what this trial is about to use: Optuna stores a parameter only when it is suggested."""
    text = json.dumps(params)
    for i in range(0, len(text), _ATTRIBUTE_LENGTH):
        part = text[i : i + _ATTRIBUTE_LENGTH]
        study._storage.set_trial_system_attr(trial._trial_id, f"{_PENDING}:{i // _ATTRIBUTE_LENGTH}", part)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """A running trial's parameters: those announced, under those suggested."""
    parts: list[str] = []
    while (part := trial.system_attrs.get(f"{_PENDING}:{len(parts)}")) is not None:
        parts.append(part)
    return {**(json.loads("".join(parts)) if parts else {}), **trial.params}
