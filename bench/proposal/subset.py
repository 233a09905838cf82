"""Which observations count where they are too many for an exact Gaussian process."""

from __future__ import annotations

import numpy as np

from .encoding import Floats, Ints

LEARN, EXACT = 120, 512  # observations that hyperparameters are learned from, and that the posterior rests on


def spread_and_low(y: Floats, at_most: int, *, low: bool) -> Ints:
    """Rows of objectives (n,) that stand for all where these are more than `at_most`, in their order: half of them
    the lowest where `low` is wanted, the others taken at equal steps from the rest."""
    if len(y) <= at_most:
        return np.arange(len(y))
    lowest = np.argsort(y, kind="stable")[: at_most // 2 if low else 0]
    return _with_steps(lowest, len(y), at_most)


def near_and_low(columns: Floats, y: Floats, relevance: Floats) -> Ints:
    """Rows of columns (n, c), of relevance (c,), that decide what is next, in their order.

    Of `EXACT` a third are the lowest, a third those nearest to the lowest of all, and a third from everywhere, so that
    what has been looked at does not look unknown.
    """
    if len(y) <= EXACT:
        return np.arange(len(y))
    lowest = np.argsort(y, kind="stable")[: EXACT // 3]
    squared = np.square(columns - columns[lowest[0]]) @ relevance
    near = np.argsort(squared, kind="stable")[: 2 * EXACT // 3]
    near = near[~np.isin(near, lowest)][: EXACT // 3]
    return _with_steps(np.concatenate([lowest, near]), len(y), EXACT)


def _with_steps(chosen: Ints, n: int, at_most: int) -> Ints:
    """Rows chosen of n, filled up to `at_most` at equal steps from the others, in their order."""
    rest = np.setdiff1d(np.arange(n), chosen)
    steps = np.linspace(0, len(rest) - 1, at_most - len(chosen)).round().astype(int)
    return np.sort(np.concatenate([chosen, rest[steps]]))
