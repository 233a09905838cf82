"""Whether the next trial is better spent on a setting that was tried before.

Under noise the setting that looks best is often the luckiest one, and naming a mediocre setting costs as much as never
having found a good one. What a trial is worth is then how much lower the best posterior mean is expected to be after
it (the knowledge gradient: P. Frazier, W. Powell and S. Dayanik (2009), "The knowledge-gradient policy for correlated
normal beliefs", INFORMS J. Comput. 21(4), eq. 8), whether it repeats a setting or tries a new one.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from .encoding import Floats
from .ensemble import Ensemble
from .surrogate import Surrogate

_SHARE = 0.25  # of all trials that may be repeats
_FEWEST = 8  # trials before the first repeat: what is not known yet matters more than what is not sure
_RIVALS = 10  # settings that may be repeated: those with the lowest posterior means
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def may_repeat(keys: list[bytes], values: Floats) -> bool:
    """Whether trials at settings `keys` (n) with objectives `values` (n,) leave room, and reason, for a repeat.

    No reason: a setting that was repeated gave the same figure, to the last digit.
    """
    if len(keys) < _FEWEST or (len(keys) - len(set(keys))) + 1 > _SHARE * (len(keys) + 1):
        return False
    first: dict[bytes, float] = {}
    again: Counter[bool] = Counter()
    for key, value in zip(keys, values, strict=True):
        if key in first:
            again[value == first[key]] += 1
        first.setdefault(key, value)
    return not (again[True] and not again[False])


def worth_repeating(surrogate: Surrogate | Ensemble, columns: Floats, new: Floats) -> int | None:
    """The row of tried settings `columns` (n, c), each once, better repeated than `new` (1, c) tried, if any."""
    rivals = np.argsort(surrogate.standing(columns), kind="stable")[:_RIVALS]
    gains = _knowledge_gradients(surrogate, np.concatenate([columns[rivals], new]))
    best = int(np.argmax(gains))
    return int(rivals[best]) if best < len(rivals) and gains[best] > gains[-1] else None


def _knowledge_gradients(surrogate: Surrogate | Ensemble, columns: Floats) -> Floats:
    """Expected fall of the lowest posterior mean among columns (k, c) by one more trial at each of them (k,); the last
    of them is no candidate to be named before it is tried."""
    mean, covariance = surrogate.joint(columns)  # (k,), (k, k)
    deviation = np.sqrt(np.diagonal(covariance) + surrogate.hyperparameters.noise)
    moves = covariance / deviation  # (j, a): of mean j, by one deviation of the outcome at a
    after = mean[:, None, None] + moves[:, :, None] * _NODES  # (j, a, z)
    lowest = after[:-1].min(axis=0)  # (a, z)
    lowest[-1] = np.minimum(lowest[-1], after[-1, -1])
    gains: Floats = mean[:-1].min() - lowest @ _WEIGHTS
    return gains
