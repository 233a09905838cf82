"""What a study has learned, in the objective's own units: predictions, importances and slices.

Symbols: m objectives, p parameters, n settings. Everything follows from the surrogate that proposals come from, fitted
to one objective; nothing here is random but for a Sobol sequence of a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...search_spaces.space import Parameter, SearchSpace, Setting, Value, suggest
from .encoding import Encoding, Floats
from .outputs import standardise
from .records import Observation

FEWEST = 4  # trials that must have succeeded before a surrogate explains anything
_LEVEL = 0.95  # of the intervals
_BASE_POINTS = 512  # of the Sobol' indices; a power of two
_AT_ONCE = 2048  # settings predicted in one batch
_FLAT = 1e-6  # variance of the posterior mean, in that of the observations, below which nothing is said to matter


@dataclass(frozen=True)
class Prediction:
    """For n settings, in the objective's own units, noise apart.

    mean (n,): the posterior mean taken back from the scale on which the surrogate works, hence the median where that
    scale is not linear. low, high (n,): the interval that holds the expected score with a probability of 95%.
    success (n,): the probability that a training ends with a score; None where no trial has failed.
    """

    mean: Floats
    low: Floats
    high: Floats
    success: Floats | None


@dataclass(frozen=True)
class Importance:
    """Sobol' indices of the posterior mean over the space, by parameter.

    first: the share of the variance that a parameter explains alone; total: with all its interactions. All are zero
    where the posterior mean is flat. known: the share of the variation over the space that the surrogate can tell,
    the variance of the posterior mean over its sum with the mean posterior variance; near zero, nothing is known.
    """

    first: dict[str, float]
    total: dict[str, float]
    known: float


@dataclass(frozen=True)
class Slice:
    """Predictions along one parameter or over two, the others as in `around`.

    parameters: one or two names. values: the grid of each. shape: lengths of the grids. mean, low, high, success:
    arrays of this shape, NaN where a parameter of the slice is inactive.
    """

    parameters: tuple[str, ...]
    values: tuple[tuple[Value, ...], ...]
    around: dict[str, Value]
    mean: Floats
    low: Floats
    high: Floats
    success: Floats | None


class Explanation:
    """The surrogate of one objective, ready for questions.

    observations: all finished trials, objectives to be minimised, as `propose` takes them. objective: which of them.
    direction: "higher" where the objective was negated; predictions are then in its own sign.

    Raises ValueError when fewer than four trials succeeded.
    """

    def __init__(
        self,
        space: SearchSpace,
        observations: Sequence[Observation],
        objective: int = 0,
        *,
        direction: str = "lower",
    ) -> None:
        # The surrogate is imported when one is fitted: it costs a second.
        from scipy.stats import t

        from .feasibility import of_success
        from .fitted_trials import FittedTrials

        successes = [o for o in observations if not o.failed]
        if len(successes) < FEWEST:
            raise ValueError(
                f"{len(successes)} of {len(observations)} trials succeeded; an explanation needs at least {FEWEST}"
            )
        self.space, self.observations, self.objective = space, list(observations), objective
        self._sign = 1.0 if direction == "lower" else -1.0
        self._encoding = Encoding(space)
        fitted = FittedTrials(self._encoding, observations)
        if not 0 <= objective < fitted.objectives.shape[1]:
            raise ValueError(f"objective {objective} is asked for; a trial has {fitted.objectives.shape[1]} of them")
        values = fitted.objectives[:, objective]
        y = standardise(values)
        self._invert = _inverse(values, y)
        # Location and scale come from the observations as well: with few of them normal intervals are too narrow.
        self._reach = float(t.ppf(0.5 + _LEVEL / 2, len(successes) - 1))
        self._surrogate = fitted.surrogate(values, y, objective) if len(space) else None
        self._feasibility = (
            of_success(fitted.columns, self._encoding.groups, fitted.failed)
            if fitted.failed.any() and len(space)
            else None
        )
        tried = fitted.positions[fitted.worked]
        best = int(np.argmin(np.round(self._moments(tried)[0], 9)))
        self.recommended: dict[str, Value] = self._encoding.decode(tried[best])

    def predict(self, settings: Sequence[Setting]) -> Prediction:
        """Predictions at settings; parameters that a setting leaves out are at their defaults.

        Raises ValueError for unknown parameters and values out of range.
        """
        return self._predict([self._point(setting) for setting in settings])

    def importance(self) -> Importance:
        """First-order and total Sobol' indices with every parameter uniform on its own scale.

        By the estimators of A. Saltelli et al. (2010), "Variance based sensitivity analysis of model output", Comput.
        Phys. Commun. 181(2), table 2 (b) and (f). The indices are of the surrogate's standardised scale. Where a
        parameter is inactive it changes nothing; one that switches others on and off answers for that as well.
        """
        from scipy.stats import qmc, sobol_indices, uniform

        p = len(self.space)
        nothing = dict.fromkeys(self.space.names, 0.0)
        if p == 0:
            return Importance({}, {}, 0.0)
        sample = qmc.Sobol(p, rng=np.random.default_rng(0)).random(_BASE_POINTS)
        mean, variance = self._moments(self._encoding.snap(sample))
        spread = float(mean.var())
        known = spread / (spread + float(variance.mean())) if spread > 0 else 0.0
        if spread < _FLAT:
            return Importance(nothing, dict(nothing), known)
        if p == 1:  # all of the variance is its own; SciPy's estimators take two and more
            whole = dict.fromkeys(self.space.names, 1.0)
            return Importance(whole, dict(whole), known)
        found = sobol_indices(
            func=lambda u: self._moments(self._encoding.snap(np.ascontiguousarray(u.T)))[0][None, :],
            n=_BASE_POINTS,
            dists=[uniform()] * p,
            rng=np.random.default_rng(0),
        )
        # Estimates of zero come out on either side of it.
        first, total = (np.clip(indices.ravel(), 0.0, 1.0) for indices in (found.first_order, found.total_order))
        names = self.space.names
        return Importance(
            dict(zip(names, first.tolist(), strict=True)), dict(zip(names, total.tolist(), strict=True)), known
        )

    def ped_anova(self) -> dict[str, float]:
        """PED-ANOVA importances (`importance.ped_anova`)."""
        from .importance import ped_anova

        return ped_anova(self.space, self.observations, self.objective)

    def sliceable(self, around: Setting | None = None) -> tuple[str, ...]:
        """Parameters that are active at `around` and have more than one value."""
        point = self._around(around)
        return tuple(p.name for p in self.space if p.name in point and len(grid(p, 2)) > 1)

    def slice_1d(self, parameter: str, around: Setting | None = None, *, points: int = 33) -> Slice:
        """Predictions along one parameter, on its own scale; around the recommended setting unless told.

        Integers and choices that are no more than `points` are all there. Raises ValueError for an unknown
        parameter and for one that is inactive at `around`.
        """
        return self._slice((parameter,), around, points)

    def slice_2d(self, a: str, b: str, around: Setting | None = None, *, points: int = 17) -> Slice:
        """Predictions over two parameters: arrays (values of a, values of b). As `slice_1d`, but one of the two may
        be active under some values of the other alone: elsewhere the arrays hold NaN."""
        if a == b:
            raise ValueError(f"a slice in two dimensions needs two parameters; got {a!r} twice")
        return self._slice((a, b), around, points)

    def _slice(self, names: tuple[str, ...], around: Setting | None, points: int) -> Slice:
        for name in names:
            if name not in self.space:
                raise ValueError(f"unknown parameter {name!r}" + suggest(name, self.space.names))
        point = self._around(around)
        grids = tuple(grid(self.space[name], points) for name in names)
        shape = tuple(len(values) for values in grids)
        settings = []
        for index in np.ndindex(*shape):
            moved = {name: values[i] for name, values, i in zip(names, grids, index, strict=True)}
            settings.append(self.space.activate({**point, **moved}))
        there = np.array([all(name in setting for name in names) for setting in settings])
        if not there.any() or (len(names) == 1 and not there.all()):
            needed = [f"{k} in {list(v)}" for name in names for k, v in self.space[name].when.items()]
            raise ValueError(
                f"{' and '.join(names)} cannot be sliced: inactive at the setting around which to slice "
                f"(needed: {' and '.join(needed)})"
            )
        found = self._predict(settings)

        def shaped(values: Floats) -> Floats:
            return np.where(there, values, np.nan).reshape(shape)

        success = None if found.success is None else shaped(found.success)
        return Slice(names, grids, point, shaped(found.mean), shaped(found.low), shaped(found.high), success)

    def _around(self, around: Setting | None) -> dict[str, Value]:
        return self.recommended if around is None else self._point(around)

    def _point(self, setting: Setting) -> dict[str, Value]:
        full = self.space.activate(setting)
        self.space.validate({**full, **{name: v for name, v in setting.items() if name not in self.space}})
        return full

    def _predict(self, settings: Sequence[Setting]) -> Prediction:
        positions = self._encoding.positions(settings)
        mean, variance = self._moments(positions)
        reach = self._reach * np.sqrt(variance)
        ends = [self._sign * self._invert(mean + sign * reach) for sign in (-1.0, 1.0)]
        return Prediction(
            self._sign * self._invert(mean), np.minimum(*ends), np.maximum(*ends), self._success(positions)
        )

    def _moments(self, positions: Floats) -> tuple[Floats, Floats]:
        """Posterior mean and variance (n,) of the standardised objective at positions (n, p)."""
        if self._surrogate is None:
            return np.zeros(len(positions)), np.zeros(len(positions))
        parts = [
            self._surrogate.predict(self._encoding.columns(positions[i : i + _AT_ONCE]))
            for i in range(0, max(len(positions), 1), _AT_ONCE)
        ]
        return np.concatenate([mean for mean, _ in parts]), np.concatenate([variance for _, variance in parts])

    def _success(self, positions: Floats) -> Floats | None:
        if self._feasibility is None:
            return None
        return np.exp(self._feasibility.log_probability(self._encoding.columns(positions)))


def explain(
    space: SearchSpace,
    observations: Sequence[Observation],
    objectives: Sequence[str],
    *,
    directions: Sequence[str] | None = None,
    around: Setting | None = None,
) -> dict[str, Any]:
    """Everything above as plain JSON: one entry for each objective, or `undefined` with the reason.

    Trials of models with less than a full training are passed over: their figures are of another function.

    objectives: their names, in the order of the observations' values. directions: "lower" for all unless told.
    around: the setting around which to slice; each objective's own recommendation unless told. Slices in one
    dimension are those of every parameter that can be sliced, the most important first; one in two dimensions is
    that of the first two. Numbers are kept to six digits.
    """
    observations = [o for o in observations if o.fidelity == 1.0]
    failed = sum(o.failed for o in observations)
    entries: dict[str, Any] = {}
    for i, name in enumerate(objectives):
        direction = directions[i] if directions else "lower"
        if len(observations) - failed < FEWEST:
            reason = f"{len(observations) - failed} of {len(observations)} trials succeeded; {FEWEST} are needed"
            entries[name] = {"direction": direction, "undefined": reason}
        else:
            entries[name] = {
                "direction": direction,
                **_entry(Explanation(space, observations, i, direction=direction), around),
            }
    return {"trials": len(observations), "failed": failed, "objectives": entries}


def grid(parameter: Parameter, points: int) -> tuple[Value, ...]:
    """Values of a parameter evenly spaced on its own scale, at most `points`; all of a choice's."""
    if parameter.kind == "categorical":
        return parameter.choices
    assert parameter.low is not None and parameter.high is not None
    low, high = float(parameter.low), float(parameter.high)
    raw = np.geomspace(low, high, points) if parameter.log else np.linspace(low, high, points)
    step = parameter.step if parameter.step is not None else 1.0 if parameter.kind == "int" else None
    if step is not None:
        last = np.floor((high - low) / step + 1e-9)
        steps = np.arange(last + 1) if last < points else np.clip(np.round((raw - low) / step), 0, last)
        raw = low + steps * step
    values = np.unique(np.clip(raw, low, high)).tolist()
    return tuple(round(v) for v in values) if parameter.kind == "int" else tuple(values)


def _entry(explanation: Explanation, around: Setting | None) -> dict[str, Any]:
    importance = explanation.importance()
    point = explanation.recommended if around is None else dict(around)
    names = sorted(explanation.sliceable(point), key=lambda name: -importance.total[name])
    predicted = explanation.predict([point])
    return {
        "around": {
            "params": point,
            **{key: _plain(getattr(predicted, key)[0]) for key in ("mean", "low", "high")},
            "success": None if predicted.success is None else _plain(predicted.success[0]),
        },
        "importance": {
            "first": {name: _plain(v) for name, v in importance.first.items()},
            "total": {name: _plain(v) for name, v in importance.total.items()},
            "ped_anova": {name: _plain(v) for name, v in explanation.ped_anova().items()},
            "known": _plain(importance.known),
        },
        "slices": [_slice_json(explanation, explanation.slice_1d(name, point)) for name in names],
        "pairs": [_slice_json(explanation, explanation.slice_2d(names[0], names[1], point))] if len(names) > 1 else [],
    }


def _slice_json(explanation: Explanation, cut: Slice) -> dict[str, Any]:
    parameters = [explanation.space[name] for name in cut.parameters]
    return {
        "parameters": list(cut.parameters),
        "scales": ["choice" if p.kind == "categorical" else "log" if p.log else "linear" for p in parameters],
        "values": [[_plain(v) if isinstance(v, float) else v for v in values] for values in cut.values],
        **{key: _plain(getattr(cut, key)) for key in ("mean", "low", "high")},
        "success": None if cut.success is None else _plain(cut.success),
    }


def _plain(value: Any) -> Any:
    """A number, or an array as nested lists, to six digits; None for what is not finite."""
    if np.ndim(value):
        return [_plain(part) for part in value]
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _inverse(values: Floats, y: Floats) -> Callable[[Floats], Floats]:
    """The way back from standardised objectives y (n,) to values (n,), a monotone function.

    Linear between observations, on the logarithmic scale of positive values where that is closer to a line; beyond
    them it goes on at the mean slope of the quarter of observations nearest to that end.
    """
    finite = np.isfinite(values)
    values = np.clip(values, values[finite].min(), values[finite].max()) if finite.any() else np.zeros(len(values))
    # Dividing first keeps the difference of two huge values finite.
    unit = max(float(np.abs(values).max()), 1e-300)
    at, first = np.unique(np.round(y, 12), return_index=True)
    back = np.sort(values[first]) / unit
    if len(at) < 2:
        return lambda new: np.full(len(new), back[0] * unit)
    logarithmic = bool(back[0] > 0) and _correlation(at, np.log(back)) > _correlation(at, back)
    if logarithmic:
        back = np.log(back)
    k = max(1, len(at) // 4)
    below, above = (back[k] - back[0]) / (at[k] - at[0]), (back[-1] - back[-1 - k]) / (at[-1] - at[-1 - k])

    def invert(new: Floats) -> Floats:
        moved = np.interp(new, at, back) + below * np.minimum(new - at[0], 0.0) + above * np.maximum(new - at[-1], 0.0)
        with np.errstate(over="ignore"):
            return unit * (np.exp(moved) if logarithmic else moved)

    return invert


def _correlation(a: Floats, b: Floats) -> float:
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-300))
