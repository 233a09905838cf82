"""Tasks made of tables of real trials: quick stand-ins on which hundreds of tuning runs cost minutes.

The log of the objective is a regression of the table's, its noise what trainings of the default differ by, and a trial
fails with the probability that a classifier gives. So a rule of tuning meets the shapes, noise and failures of real
families, at none of their cost.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from tuning.pairs import Pair

from gentune.bench.proposal.encoding import Encoding, Floats

FINALS_NOISE = 0.6  # of a trial's: retrainings are scored on ten times as many samples
_FEWEST_FAILURES = 3  # from which on failures are modelled
_TREES = 100


class SurrogateTask:
    """What trials of a pair would measure, by a table of such trials.

    noise: standard deviation of the log of the objective between trainings. error: of the regression, the share of the
    variance between settings that it does not explain, cross-validated.

    Raises ValueError for a table without at least three successful trials of the default.
    """

    def __init__(self, pair: Pair, entries: Sequence[Mapping[str, Any]]) -> None:
        self.pair, self.card, self.entries = pair, pair.resolved().card, entries
        self.encoding = Encoding(self.card.space)
        worked = [e for e in entries if e["value"] is not None and e["value"] > 0]
        repeats = np.log([e["value"] for e in worked if e["kind"] == "default"])
        if len(repeats) < 3:
            raise ValueError(f"{pair.name}: {len(repeats)} trials of the default gave a score; wanted at least 3")
        self.noise = float(repeats.std(ddof=1))
        others = [e for e in worked if e["kind"] != "default"]
        columns = self._columns([self.card.space.default(), *(e["setting"] for e in others)])
        y = np.r_[repeats.mean(), np.log([e["value"] for e in others])]
        self._model, self.error = _best_regression(columns, y)
        self._failure = self._classifier(entries)
        self._known: dict[str, tuple[float, float]] = {}

    def truth(self, setting: Mapping[str, Any]) -> float:
        """The mean of the log of the objective over trainings that work."""
        return self._at(setting)[0]

    def truths(self, settings: Sequence[Mapping[str, Any]]) -> Floats:
        """`truth` of many settings at once (n,)."""
        return np.asarray(self._model.predict(self._columns(settings)), dtype=float)

    def measure(self, setting: Mapping[str, Any], rng: np.random.Generator, noise: float = 1.0) -> float | None:
        """A trial's objective, or None where it fails. noise: a factor on the task's."""
        mean, failure = self._at(setting)
        # Both are drawn whatever happens, so that runs that share a generator stay paired.
        uniform, normal = rng.random(), rng.standard_normal()
        return None if uniform < failure else math.exp(mean + noise * self.noise * normal)

    def _at(self, setting: Mapping[str, Any]) -> tuple[float, float]:
        """The mean, and the probability of failure."""
        key = repr(sorted(setting.items()))
        if key not in self._known:
            columns = self._columns([setting])
            failure = 0.0 if self._failure is None else float(self._failure.predict_proba(columns)[0, 1])
            self._known[key] = float(self._model.predict(columns)[0]), failure
        return self._known[key]

    def _columns(self, settings: Sequence[Mapping[str, Any]]) -> Floats:
        return self.encoding.columns(self.encoding.positions(settings))

    def _classifier(self, entries: Sequence[Mapping[str, Any]]) -> Any:
        from sklearn.ensemble import ExtraTreesClassifier

        failed = np.array([e["value"] is None for e in entries])
        if failed.sum() < _FEWEST_FAILURES:
            return None
        forest = ExtraTreesClassifier(_TREES, min_samples_leaf=3, random_state=0)
        return forest.fit(self._columns([e["setting"] for e in entries]), failed)


def _best_regression(columns: Floats, y: Floats) -> tuple[Any, float]:
    """The regression, of a forest and a Gaussian process, with the lower cross-validated error, and that error as a
    share of the variance."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
    from sklearn.model_selection import KFold, cross_val_predict

    kernel = ConstantKernel(1.0) * Matern(np.ones(columns.shape[1]), (0.05, 100.0), nu=1.5) + WhiteKernel(0.1)
    candidates = [
        ExtraTreesRegressor(_TREES, min_samples_leaf=2, random_state=0),
        GaussianProcessRegressor(kernel, normalize_y=True, random_state=0),
    ]
    folds = KFold(5, shuffle=True, random_state=0)
    with warnings.catch_warnings():
        # A lengthscale at its bound is that of a parameter without influence.
        warnings.simplefilter("ignore", ConvergenceWarning)
        errors = [float(np.mean((cross_val_predict(c, columns, y, cv=folds) - y) ** 2)) for c in candidates]
        best = int(np.argmin(errors))
        return candidates[best].fit(columns, y), errors[best] / float(y.var())
