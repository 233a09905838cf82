"""Three moves under one criterion: train from the start, train a kept run further, sample a kept run again.

The share of a full training that a trial takes, its fidelity, is one more parameter of the surrogate, `FIDELITY`; what
is sought is always the best setting at a full training. A move that measures y in order to learn about the objective
f(x) of a full training with setting x is worth

    EI(x) ρ / c,   ρ = corr(y, f(x) | data),   c = what it costs, given what is kept.

This is the augmented expected improvement of D. Huang, T. Allen, W. Notz and R. Miller (2006), "Sequential kriging
optimization using multiple-fidelity evaluations", Struct. Multidisc. Optim. 32, eq. 8, with marginal costs. A sample of
a kept run shares its training's luck: where much of that luck is already in the data, ρ says how much is still learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...search_spaces.space import Parameter, SearchSpace, Setting, Value
from .acquisition import Acquisition, Term, climb
from .candidates import perturbations, sobol
from .cost import CostModel
from .encoding import Bools, Encoding, Floats, Ints
from .ensemble import Ensemble
from .fitted_trials import FittedTrials
from .records import Costs, Kept, Observation, Proposal
from .surrogate import Surrogate

FREE = ("sample", "average")  # roles of the parameters that a kept run can be sampled again with
FIDELITY = "(fidelity)"  # no family's parameter can have this name
_LOWEST = 1.0 / 16.0  # fidelity at the end of the parameter's range
_KEPT = 8  # runs that may be sampled again or trained further: those with the lowest posterior means
# Samples cost some families next to nothing, but none is free of what is around it, which no count of operations holds:
_LEAST = 0.02  # of a training's cost that any move counts as
# Trials at most of one training for each time that it was trained: two for each sampling parameter, no fewer than four.
# What more of them could tell is less than how they differ by chance, though each costs next to nothing.
_SAMPLINGS, _FEWEST_SAMPLINGS = 2, 4
_APART = 0.03  # of its range, by which a sampling parameter has to differ from all samples of the same model
_SPREAD, _NEAR, _CLIMBED = 64, 64, 2  # candidates of one run's sampling parameters, and those moved uphill


def with_fidelity(space: SearchSpace) -> SearchSpace:
    """The space with `FIDELITY` as its last parameter."""
    return SearchSpace((*space, Parameter(FIDELITY, "float", 1.0, low=_LOWEST, high=1.0, log=True, role="loop")))


def at_fidelity(setting: Setting, fidelity: float = 1.0) -> dict[str, Value]:
    """A setting of the space with `FIDELITY`."""
    return {**setting, FIDELITY: max(fidelity, _LOWEST)}


def without_fidelity(setting: Setting) -> dict[str, Value]:
    """A setting of the space itself."""
    return {name: value for name, value in setting.items() if name != FIDELITY}


def at_full(positions: Floats) -> Floats:
    """Positions (n, p) of the space with `FIDELITY`, at a full training."""
    positions = positions.copy()
    positions[:, -1] = 1.0
    return positions


def observed(observation: Observation) -> Observation:
    """An observation in the space with `FIDELITY`."""
    return replace(observation, setting=at_fidelity(observation.setting, observation.fidelity))


@dataclass(frozen=True)
class _Options:
    """Moves one might make: positions (k, p) of what would be measured, cost (k,), the rows (k,) in the list of kept
    runs (−1: none), the fidelity to reach (k,), and whether something is trained (k,)."""

    positions: Floats
    cost: Floats
    kept: Ints
    fidelity: Floats
    trains: Bools

    def __len__(self) -> int:
        return len(self.positions)


class Moves:
    """What a proposal may be, given what is kept.

    encoding: of the space with `FIDELITY`. kept: runs; fidelities: shares of a full training that a training may have,
    rising to 1. costs: with `parts`.
    """

    def __init__(self, encoding: Encoding, kept: Sequence[Kept], fidelities: Sequence[float], costs: Costs) -> None:
        self._encoding, self._fidelities = encoding, tuple(fidelities)
        self._kept = list(kept)
        self._plain = Encoding(SearchSpace(tuple(p for p in encoding.space if p.name != FIDELITY)))
        self._remaining = costs.remaining
        train = tuple((without_fidelity(s), train) for s, train, _ in costs.parts)
        sample = tuple((without_fidelity(s), sample) for s, _, sample in costs.parts)
        self._train, self._sample = (CostModel(self._plain, Costs(counted=part)) for part in (train, sample))
        # A family without sampling parameters gains nothing from sampling again.
        self._sampling = np.array([p.role in FREE for p in encoding.space], dtype=bool)

    @property
    def lowest(self) -> float:
        """The lowest fidelity of a new training."""
        return self._fidelities[0]

    def best(
        self,
        new: Floats,
        everywhere: Sequence[Term],
        success: Sequence[Term],
        surrogates: Sequence[Surrogate | Ensemble],
        fitted: FittedTrials,
        rng: np.random.Generator,
    ) -> Proposal | None:
        """The move that is worth most; None where nothing is affordable.

        new (1, p) or (0, p): what would be trained from the start.
        everywhere: terms of the acquisition, about a full training;
        success: those about whether a trial works, at the share of a training that it measures. A kept run has shown
        that its training works so far, not that its samples do with any sampling parameters.
        """
        acquisition = Acquisition(everywhere)
        promising = self._promising(surrogates[0])
        parts = [self._from_the_start(new), *(self._of_kept(row, acquisition, fitted, rng) for row in promising)]
        options = _Options(*(np.concatenate(each) for each in zip(*(vars(p).values() for p in parts), strict=True)))
        possible = options.cost <= self._remaining * (1.0 + 1e-9)
        # The last entry is for what starts from no kept run, of row −1, which always trains.
        exhausted = np.array([*(self._exhausted(kept, fitted) for kept in self._kept), False])
        possible &= options.trains | ~exhausted[options.kept]
        options = _Options(*(each[possible] for each in vars(options).values()))
        if not len(options):
            return None
        sought = self._encoding.columns(at_full(options.positions))
        shown = self._encoding.columns(options.positions)
        numbers = fitted.training_numbers()
        trainings = np.array([-1 if k < 0 else numbers.get(self._kept[k].training, -1) for k in options.kept])
        least = _LEAST * float(self._train.predict(options.positions[:, :-1]).max())
        score = acquisition.evaluate(sought) - np.log(np.maximum(options.cost, max(least, 1e-300)))
        score += Acquisition(success).evaluate(shown) if success else 0.0
        score += np.mean([_process(s).log_correlation(sought, shown, trainings) for s in surrogates], axis=0)
        chosen = int(np.argmax(score))
        return self._proposal(options, chosen)

    def _proposal(self, options: _Options, chosen: int) -> Proposal:
        setting = without_fidelity(self._encoding.decode(options.positions[chosen]))
        row, fidelity = int(options.kept[chosen]), float(options.fidelity[chosen])
        if row < 0:
            return Proposal(setting, fidelity=fidelity)
        kept = self._kept[row]
        # What the run was trained with, to the last digit, and not what the encoding makes of it.
        setting |= {p.name: kept.setting[p.name] for p in self._plain.space if p.role not in FREE and p.name in setting}
        return Proposal(setting, "continue" if fidelity > kept.fidelity else "resample", kept.trial, fidelity)

    def _from_the_start(self, new: Floats) -> _Options:
        """The new setting at every fidelity."""
        k = len(self._fidelities) if len(new) else 0
        positions = np.repeat(new, k, axis=0) if k else new
        fidelity = np.array(self._fidelities[:k])
        return self._options(positions, np.full(k, -1), np.zeros(k), fidelity)

    def _of_kept(self, row: int, acquisition: Acquisition, fitted: FittedTrials, rng: np.random.Generator) -> _Options:
        """Sampling a kept run again, and training it further."""
        kept = self._kept[row]
        own = self._encoding.positions([at_fidelity(kept.setting, kept.fidelity)])
        points = self._samplings(own, acquisition, rng)
        sampled = fitted.positions[[o.training == kept.training for o in fitted.observations]]
        positions, fidelities = [], []
        for fidelity in (kept.fidelity, *(f for f in self._fidelities if kept.fidelity < f < kept.failed_at)):
            at = points.copy()
            at[:, -1] = self._encoding.position(FIDELITY, fidelity)
            at = at[_apart(at, sampled)]
            positions.append(at)
            fidelities.append(np.full(len(at), fidelity))
        at = np.concatenate(positions)
        return self._options(at, np.full(len(at), row), np.full(len(at), kept.fidelity), np.concatenate(fidelities))

    def _options(self, positions: Floats, kept: Ints, done: Floats, fidelity: Floats) -> _Options:
        """Options with their costs: of what is trained beyond the share that is done, and of sampling."""
        positions = positions.copy()
        if len(positions):
            positions[:, -1] = [self._encoding.position(FIDELITY, f) for f in fidelity]
        plain = positions[:, :-1]
        cost = self._train.predict(plain) * np.maximum(fidelity - done, 0.0) + self._sample.predict(plain)
        return _Options(positions, cost, kept, fidelity, fidelity > done)

    def _samplings(self, own: Floats, acquisition: Acquisition, rng: np.random.Generator) -> Floats:
        """Positions (n, p) of a run at `own` (1, p) with other sampling parameters, its own among them."""
        if not self._sampling.any():
            return own
        free = np.flatnonzero(self._sampling)
        spread = np.repeat(own, _SPREAD, axis=0)
        spread[:, free] = sobol(_SPREAD, len(free), int(rng.integers(2**31)))
        near = perturbations(self._encoding, own, _NEAR, rng)
        fixed = np.flatnonzero(~self._sampling)
        near[:, fixed] = own[:, fixed]
        near[:, free] = np.where(np.isnan(near[:, free]), 0.5, near[:, free])
        points = self._encoding.snap(np.concatenate([own, spread, near]))
        values = acquisition.evaluate(self._encoding.columns(at_full(points)))
        best = points[np.argsort(-values, kind="stable")[:_CLIMBED]]
        climbed = climb(acquisition, self._encoding, at_full(best), only=self._sampling)
        climbed[:, -1] = own[0, -1]
        return np.concatenate([points, climbed])

    def _exhausted(self, kept: Kept, fitted: FittedTrials) -> bool:
        """Whether a training has been sampled as often as its samples are taken to tell something."""
        fidelities = [o.fidelity for o in fitted.observations if o.training == kept.training]
        most = max(_SAMPLINGS * int(self._sampling.sum()), _FEWEST_SAMPLINGS)
        return len(fidelities) >= most * len(set(fidelities))

    def _promising(self, surrogate: Surrogate | Ensemble) -> list[int]:
        """The kept runs with the lowest posterior means at a full training."""
        if not self._kept:
            return []
        settings = [at_fidelity(kept.setting) for kept in self._kept]
        means = surrogate.standing(self._encoding.columns(self._encoding.positions(settings)))
        return [int(i) for i in np.argsort(means, kind="stable")[:_KEPT]]


def _process(surrogate: Surrogate | Ensemble) -> Surrogate:
    return surrogate.rests[0] if isinstance(surrogate, Ensemble) else surrogate


def _apart(positions: Floats, sampled: Floats) -> Bools:
    """Which positions (n, p) differ in some parameter by a share of its range from all of those sampled (m, p)."""
    # An inactive parameter has no position: there is no distance between two of them, and all between it and another.
    differences = np.abs(positions[:, None, :] - sampled[None, :, :])
    one, other = np.isnan(positions)[:, None, :], np.isnan(sampled)[None, :, :]
    differences = np.where(one & other, 0.0, np.where(one | other, 1.0, differences))
    return (differences.max(axis=2) >= _APART).all(axis=1)
