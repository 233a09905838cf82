"""Transforms raw objectives for the surrogate."""

from __future__ import annotations

import numpy as np

from .encoding import Floats

_LOG_GAIN = 2.0  # nats by which values must look more normal on a log scale to be put there

# In distances from the best value to the median, counted from the median: where drawing in begins, and how far
# beyond it the worst value can come to lie.
_FENCE, _REACH = 2.0, 3.0


def standardise(values: Floats, *, logs: bool = True) -> Floats:
    """Objectives (n,) to be minimised, with exploded ones drawn in, at mean 0 and deviation 1.

    Positive values that are closer to a normal distribution on a log scale, as Fréchet distances are, are put there:
    their noise is then about the same everywhere. Counted from the median in units of its distance from the best,
    values beyond 2 are drawn in to between 2 and 5 by x ↦ 2 + (x − 2) / (1 + (x − 2)/3): the order stays, so that
    bad regions stay bad, but one value of 1e6 among values near 10 no longer decides the scale. Infinite values
    count as the worst (or best) finite one.

    logs: whether values may be put on a log scale. Hypervolume, an area, is another one there.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values))
    values = np.clip(values, values[finite].min(), values[finite].max())
    # Dividing first keeps the difference of two huge values finite.
    values = values / max(np.abs(values).max(), 1.0)
    if logs and values.min() > 0 and _gain_of_logs(values) > _LOG_GAIN:
        values = np.log(values)
    median = float(np.median(values))
    good = median - float(values.min())
    if good > np.finfo(float).tiny:  # below, dividing by it has no end
        excess = np.maximum((values - median) / good - _FENCE, 0.0)
        values = np.where(excess > 0, median + good * (_FENCE + excess / (1.0 + excess / _REACH)), values)
    deviation = float(values.std())
    if deviation <= 1e-12 * float(np.abs(values).max()):
        return np.zeros(len(values))
    return (values - values.mean()) / deviation


def carry(values: Floats, y: Floats, errors: Floats) -> Floats:
    """Standard errors (n,) of `values` (n,) as those of y (n,), which is a monotone function of them."""
    values = np.clip(values, *_finite_range(values))
    order = np.unique(values, return_index=True)[1]
    if len(order) < 2:
        return np.zeros(len(y))
    known, images = values[order], y[order]
    # Straight on beyond the ends, by the slope of the outer half.
    half = max(len(order) // 2, 1)
    reach = float(np.nanmax(errors)) + 1.0
    first = (images[half] - images[0]) / (known[half] - known[0])
    last = (images[-1] - images[-1 - half]) / (known[-1] - known[-1 - half])
    known = np.r_[known[0] - reach, known, known[-1] + reach]
    images = np.r_[images[0] - reach * first, images, images[-1] + reach * last]
    return np.asarray(np.interp(values + errors, known, images) - np.interp(values - errors, known, images)) / 2.0


def _finite_range(values: Floats) -> tuple[float, float]:
    """The least and the greatest finite value."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)


def _gain_of_logs(values: Floats) -> float:
    """Log-likelihood of positive values (n,) as log-normal, less that as normal, both at their best.

    The ends λ = 0 and λ = 1 of the profile likelihood of Box and Cox (1964), "An analysis of transformations",
    J. R. Stat. Soc. B 26, section 3.
    """
    logs = np.log(values)
    plain, logarithmic = float(values.std()), float(logs.std())
    if plain == 0.0 or logarithmic == 0.0:
        return 0.0
    return len(values) * (np.log(plain) - np.log(logarithmic) - float(logs.mean()))


def scalarise(objectives: Floats, rng: np.random.Generator) -> Floats:
    """Objectives (n, m) as one (n,) by the augmented Chebyshev function of random weights.

    ParEGO, J. Knowles (2006), "ParEGO: a hybrid algorithm with on-line landscape approximation for expensive
    multiobjective optimization problems", IEEE Trans. Evol. Comp. 10(1), eq. 2: max_j w_j f_j + 0.05 Σ_j w_j f_j
    with every f_j scaled to [0, 1] and w uniform on the simplex. Exploded values are drawn in first.
    """
    scaled = np.stack([standardise(column) for column in objectives.T], axis=1)  # (n, m)
    low, high = scaled.min(axis=0), scaled.max(axis=0)
    scaled = (scaled - low) / np.where(high > low, high - low, 1.0)
    weighted = scaled * rng.dirichlet(np.ones(scaled.shape[1]))
    return weighted.max(axis=1) + 0.05 * weighted.sum(axis=1)
