"""The engine as an Optuna sampler."""

from __future__ import annotations

import operator
import secrets
import threading
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ...search_spaces.space import SearchSpace
from .answers import incumbents
from .beliefs import Belief, Beliefs
from .encoding import Encoding
from .engine import propose
from .optuna_earlier import EarlierStudies
from .optuna_space import OptunaSpace, read_space, to_parameter
from .optuna_trials import announce, known, least_used, observe, queued
from .records import Key

_DRAWS = 32  # of a value at random, of which one is taken that few trials like this one have


class BayesianSampler(BaseSampler):
    """Bayesian optimisation for `optuna.create_study(sampler=...)`, by the engine that tunes Gentune's own studies.

    Every draw follows from (seed, trial number) and the trials in the study: a study that is loaded again goes on as
    an unbroken one would, and workers that share a seed do not draw the same points. All parameters that trials show
    are proposed together, those that count only under some choices among them (`optuna_space.read_space`); the first
    trial's are in the middle of their ranges, and ones never seen are drawn at random, where few trials are like it.

    What is fixed is kept, and the rest is proposed given that: parameters that the trial was put in the queue with
    (`study.enqueue_trial`, retries), that it has already, or that `PartialFixedSampler` fixes. Parameters that another
    wrapper draws itself are left out of the model.

    What trials teach (`optuna_trials.known`), those of all of Hyperband's brackets and of all workers:
    - completed: their values. An infinite one counts as the worst, or best, finite one, as an infinite constraint does.
      Ones that violate a constraint (`trial.set_constraint`) teach where not to look.
    - pruned: the value that they would have come to, by where they stood at their last report; without a report they
      count as failed.
    - failed: where not to look. One that failed before its last suggestion failed at the setting that it was given.
    - running, and waiting in the queue with a whole setting: not proposed again, and expected to turn out as predicted.
    A setting that was given to any trial is proposed again only where noise makes a second look worth more than
    anything new, which happens no more than twice in a row, or when no other is left.

    seed: an integer, or None to draw one, once. start: trials before the surrogate is asked; None leaves the choice to
    the engine. Raises TypeError where either is no integer.
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
        seed: SupportsIndex | None = None,
        start: SupportsIndex | None = None,
        beliefs: Mapping[str, Any] | None = None,
        warm_start: Sequence[Study] = (),
    ) -> None:
        self._earlier = EarlierStudies(warm_start)
        self._seed = secrets.randbits(32) if seed is None else _integer("seed", seed)
        self._start = None if start is None else _integer("start", start)
        self._beliefs = {n: b if isinstance(b, Belief) else Belief(b) for n, b in (beliefs or {}).items()}
        self._read: tuple[int, OptunaSpace] | None = None
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
        return dict(self._space(study, _others(study, trial)).distributions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        # Threads take turns, so that each sees what the others have just been given.
        with self._lock:
            others = _others(study, trial)
            read = self._space(study, others)
            fixed = {
                name: number
                for name, value in {**_kept_by_wrappers(study.sampler), **queued(trial), **trial.params}.items()
                if name in read.space and (number := read.value(name, value)) is not None
            }
            read = read.only({*search_space, *fixed})
            so_far = known(read, study.directions, others, trial.number)
            proposal = propose(
                read.space,
                so_far.observations,
                so_far.pending,
                key=Key(self._seed, trial.number),
                start=self._start,
                default_first=False,
                beliefs=read.beliefs(self._beliefs),
                earlier=self._earlier.observations(read),
                fixed=fixed,
                closed=so_far.closed,
            )
            assert proposal is not None, "without a limit on costs something can always be proposed"
            announce(study, trial, proposal.setting)
        return {name: value for name, value in read.params(proposal.setting).items() if name in search_space}

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
        sampler = RandomSampler(seed=seed)
        draws = [sampler.sample_independent(study, trial, param_name, param_distribution) for _ in range(_DRAWS)]
        return least_used(draws, param_name, param_distribution, trial, _others(study, trial))

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

    def _space(self, study: Study, trials: Sequence[FrozenTrial]) -> OptunaSpace:
        """The space that trials show, read once for what they have been asked."""
        asked = tuple((t.number, t.state, t.datetime_complete, tuple(t.distributions)) for t in trials)
        version = hash((study.study_name, asked))
        with self._lock:
            if self._read is None or self._read[0] != version:
                self._read = version, read_space(trials)
            return self._read[1]


def _integer(name: str, value: object) -> int:
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} is {value!r}; wanted an integer, or None") from None


def _others(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """All other trials, by number. A study under Hyperband would show those of one bracket."""
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    return [t for t in trials if t.number != trial.number]


def _kept_by_wrappers(sampler: BaseSampler) -> dict[str, Any]:
    """The values that samplers around this one fix: of those that Optuna has, only this one does so."""
    values: dict[str, Any] = {}
    while isinstance(sampler, PartialFixedSampler):
        values = {**sampler._fixed_params, **values}
        sampler = sampler._base_sampler
    return values
