"""The probability that a setting can be trained at all, and that it keeps the constraints."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import erfcx, log_ndtr, ndtri

from .encoding import Bools, Floats, Ints
from .learning import fit
from .surrogate import Surrogate

# Labels jump where a lengthscale would rather be short; but what fails here mostly fails beyond as well.
_MOST_RELEVANT = 4.0

# The best setting often lies next to what fails, and expected improvement beyond the border, by the trend on this side
# of it, can be any number of times larger than elsewhere. The more trials have failed for each that worked, the more
# the chance of success counts: this power on it keeps the share of failures at about a fifth.
_CAUTION = 8.0


class Chance:
    """A term of the acquisition function: `power` times log P(x), with

    P(x) = Φ(shift + (f(x) + offset) / √(variance of f(x) + noise))   of a GP f.
    """

    def __init__(self, model: Surrogate, *, shift: float = 0.0, offset: float = 0.0, power: float = 1.0) -> None:
        self._model, self._shift, self._offset, self._power = model, shift, offset, power

    def log_probability(self, columns: Floats) -> Floats:
        """log P (b,) at columns (b, c)."""
        mean, variance = self._model.predict(columns)
        deviation = np.sqrt(variance + self._model.hyperparameters.noise)
        return np.asarray(log_ndtr(self._shift + (mean + self._offset) / deviation))

    def evaluate(self, columns: Floats) -> Floats:
        """The term (b,) at columns (b, c)."""
        return self._power * self.log_probability(columns)

    def slope(self, columns: Floats) -> tuple[Floats, Floats]:
        """The term (b,) at columns (b, c), and its gradient (b, c)."""
        mean, variance, mean_slope, variance_slope = self._model.slopes(columns)
        deviation = np.sqrt(variance + self._model.hyperparameters.noise)
        ratio = (mean + self._offset) / deviation
        z = self._shift + ratio
        log_probability = log_ndtr(z)
        # φ(z) / Φ(z), whose exponent would be the difference of two huge numbers far out.
        by_z = math.sqrt(2.0 / math.pi) / erfcx(-z / math.sqrt(2.0))
        of_z = mean_slope / deviation[:, None] - (0.5 * ratio / deviation**2)[:, None] * variance_slope
        return self._power * log_probability, self._power * by_z[:, None] * of_z


def of_success(columns: Floats, groups: Ints, failed: Bools) -> Chance:
    """The chance of success, from columns (n, c) of all finished trials and which of them failed (n,).

    Least-squares classification, C. E. Rasmussen and C. K. I. Williams (2006), Gaussian Processes for Machine
    Learning, §6.5: the regression on labels ±1 learns which parameters matter, and the normal distribution function
    turns its figure into a probability. Where nothing is known this is the share of successes, drawn towards one half.
    """
    labels = np.where(failed, -1.0, 1.0)
    # One more of each kind: a single failure among three trials is no evidence of one in three.
    share = ((labels > 0).sum() + 1.0) / (len(labels) + 2.0)
    model = fit(columns, groups, labels - labels.mean(), most_relevant=_MOST_RELEVANT, favour_low=False)
    caution = 1.0 + _CAUTION * (failed.sum() + 1.0) / ((~failed).sum() + 1.0)
    return Chance(model, shift=float(ndtri(share)), power=caution)


def of_constraint(columns: Floats, groups: Ints, values: Floats) -> Chance:
    """The chance that a constraint's figure is at most zero, from its values (n,) at columns (n, c).

    Values are drawn in at three times their median size, so that a gross violation leaves the border in sight.
    """
    values = values / (np.abs(values).max() or 1.0)  # squares of huge figures have no end
    size = 3.0 * max(float(np.median(np.abs(values))), 1e-12)
    values = size * np.tanh(values / size)
    # Their size, not their spread: few values that happen to be alike say little of how far others lie apart.
    deviation = max(float(np.sqrt(np.mean(values**2))), 1e-12)
    model = fit(columns, groups, (values.mean() - values) / deviation, favour_low=False)
    return Chance(model, offset=-float(values.mean()) / deviation)
