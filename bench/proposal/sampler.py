"""The engine as an Optuna sampler."""

from __future__ import annotations

import json
import secrets
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import SearchSpace
from .answers import incumbents
from .beliefs import Belief, Beliefs
from .encoding import Encoding
from .engine import propose
from .optuna_earlier import EarlierStudies
from .optuna_space import OptunaSpace, observe, read_space, to_parameter
from .records import Key

_PENDING = "gentune:pending"
_ATTRIBUTE_LENGTH = 2000  # what every Optuna storage takes in one attribute


class BayesianSampler(BaseSampler):
    """Bayesian optimisation for `optuna.create_study(sampler=...)`, by the engine that tunes Gentune's own studies.

    Every draw follows from (seed, trial number) and the trials in the study: a study that is loaded again goes on as
    an unbroken one would, and workers that share a seed do not draw the same points. All parameters that completed
    trials show are proposed together, those that count only under some choices among them (`optuna_space.read_space`);
    the first trial's are in the middle of their ranges, and ones never seen are drawn at random.
    Failed trials, and completed ones that violate a constraint (`trial.set_constraint`), teach where not to look;
    pruned ones are passed over. Settings of running trials are not proposed again.

    seed: None draws one, once. start: trials before the surrogate is asked; None leaves the choice to the engine.
    beliefs: where good values are expected, by parameter: a value, or a `gentune.bench.proposal.Belief` that says how
    surely. A belief that does not fit the parameter raises ValueError when the parameter is first met.
    warm_start: earlier studies with as many objectives, whose completed trials are read here and now. What did well
    there is tried early, and what they say counts as far as the new trials confirm it. Parameters are matched by
    name, objectives by their order, each minimised or maximised as its own study says; trials with values that the
    new study's ranges lack are passed over.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        start: int | None = None,
        beliefs: Mapping[str, Any] | None = None,
        warm_start: Sequence[Study] = (),
    ) -> None:
        self._earlier = EarlierStudies(warm_start)
        self._seed = secrets.randbits(32) if seed is None else seed
        self._start = start
        self._beliefs = {n: b if isinstance(b, Belief) else Belief(b) for n, b in (beliefs or {}).items()}
        self._read: tuple[tuple[int, int], OptunaSpace] | None = None
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def reseed_rng(self) -> None:
        """Does nothing: draws differ by trial number already, and a seed that was asked for shall not be lost."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self._earlier.check(len(study.directions))
        return dict(self._space(study).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        # Threads take turns, so that each sees what the others have just been given.
        with self._lock:
            read = self._space(study)
            observations, pending = [], []
            for other in study.get_trials(deepcopy=False):
                if other.state in (TrialState.COMPLETE, TrialState.FAIL):
                    if (setting := read.setting(other.params, whole=other.state == TrialState.FAIL)) is not None:
                        observations.append(observe(study.directions, other, setting))
                elif (
                    other.state == TrialState.RUNNING
                    and other.number != trial.number
                    and (setting := read.setting(_params(other), whole=True)) is not None
                ):
                    pending.append(setting)
            proposal = propose(
                read.space,
                observations,
                pending,
                key=Key(self._seed, trial.number),
                start=self._start,
                default_first=False,
                beliefs=read.beliefs(self._beliefs),
                earlier=self._earlier.observations(read),
            )
            assert proposal is not None, "without a limit on costs something can always be proposed"
            params = {name: v for name, v in read.params(proposal.setting).items() if name in search_space}
            _announce(study, trial, params)
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        # The first trial goes to where good values are expected, or to the middle of every range: nothing is known yet,
        # and the middle says most about the rest. Choices have no middle.
        if trial.number == 0 and param_name in self._beliefs:
            one = {param_name: param_distribution}
            read = OptunaSpace(SearchSpace((to_parameter(param_name, param_distribution),)), one)
            Beliefs(Encoding(read.space), read.beliefs(self._beliefs), 0)  # says what is wrong with it, if anything is
            return self._beliefs[param_name].value
        if trial.number == 0 and not isinstance(param_distribution, CategoricalDistribution):
            encoding = Encoding(SearchSpace((to_parameter(param_name, param_distribution),)))
            return encoding.decode(np.array([0.5]))[param_name]
        seed = zlib.crc32(f"{self._seed}/{trial.number}/{param_name}".encode())
        return RandomSampler(seed=seed).sample_independent(study, trial, param_name, param_distribution)

    def recommend(self, study: Study) -> FrozenTrial | list[FrozenTrial]:
        """The trial, among the completed ones, that is best by posterior mean; with several objectives a list of at
        most three such trials on the Pareto front.

        The best observed value is often the luckiest one; the posterior mean weighs it against its neighbours.
        Trials that violate a constraint are not recommended. Raises ValueError when no other has completed.
        """
        trials = [t for t in study.get_trials(deepcopy=True) if t.state == TrialState.COMPLETE]
        read = read_space(trials, widest=True)
        settings = [read.setting(t.params) for t in trials]
        known = [(t, setting) for t, setting in zip(trials, settings, strict=True) if setting is not None]
        chosen = [known[i][0] for i in incumbents(read.space, [observe(study.directions, t, s) for t, s in known])]
        if not chosen:
            raise ValueError(f"study {study.study_name!r} has no completed trial to recommend")
        return chosen if len(study.directions) > 1 else chosen[0]

    def _space(self, study: Study) -> OptunaSpace:
        """The space that the study's completed trials show, read once for each number of them."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        with self._lock:
            # Studies of several storages may share an identifier; the last trial's moment tells them apart.
            version = (len(trials), hash((study.study_name, trials[-1].datetime_complete if trials else None)))
            if self._read is None or self._read[0] != version:
                self._read = version, read_space(trials)
            return self._read[1]


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
