"""Whether samples are copies of the train set.

Glossary:
    x_j  generated features, j = 1...n;  y_i  held-out real features, i = 1...m;  t_l  train features, l = 1...N
    d(z) distance from z to its nearest train example

`train_features` should be the whole train set, or as much of it as can be held: of a copier's samples only the
share whose originals are among them can be recognised. No metric here wants equal counts from the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .alignment import wilson_interval
from .base import NORMAL_95, MetricValue, UndefinedError
from .features import checked_pair, distances, equal_counts
from .fidelity import fid

_CHUNK = 256  # rows at a time: a block against 50,000 train examples takes 100 MB
_MOST_CELLS, _EXAMPLES_PER_CELL = 10, 50  # of the rank test: enough of either sample in each for a normal law of U
_FEWEST_IN_CELL = 5


@dataclass(frozen=True)
class Nearest:
    """The nearest of the references to each query: `distance` (n,) float64 and `index` (n,) int64."""

    distance: Tensor
    index: Tensor


def authenticity(generated_features: Tensor, train_features: Tensor) -> MetricValue:
    """Share of x_j with d(x_j) > d'(t), t its nearest train example, d'(t) the distance from t to the next; higher
    means less copying.

    About one half for a perfect model, and 1 for samples far from all data, so that it says nothing without a
    metric of quality. A copy of an example that the train set holds twice is a copy. The 95% interval is
    Wilson's, over samples at this train set. Undefined for fewer than 2 train examples.

    References: Alaa et al., arXiv:2102.08921.
    """
    x, t = checked_pair(generated_features, train_features, at_least=1)
    if len(t) < 2:
        raise UndefinedError(f"needs at least 2 train examples, got {len(t)}")
    to_train = nearest(x, t)
    copied, which = to_train.index.unique(return_inverse=True)
    room = nearest(t[copied], t, exclude=copied).distance  # only of train examples that are nearest to some sample
    hits = int((to_train.distance > room[which]).sum())
    low, high = wilson_interval(hits, len(x))
    return MetricValue(hits / len(x), low, high)


def nearest_train_distance(generated_features: Tensor, train_features: Tensor, real_features: Tensor) -> MetricValue:
    """Mean of d(x_j) over mean of d(y_i): 1 for samples like held-out data, towards 0 for copies; higher means less
    copying, and above 1 it means samples farther out than real ones are.

    The 95% interval is the delta method's, over both samples at this train set. Undefined where the held-out
    examples all lie on train examples, or for fewer than 2 of either.

    References: Borji, arXiv:1802.03446 (nearest neighbours); Meehan et al., arXiv:2004.05675 (against held-out data).
    """
    x, t = checked_pair(generated_features, train_features, at_least=2)
    y, _ = checked_pair(real_features, train_features, at_least=2)
    generated, held_out = nearest(x, t).distance, nearest(y, t).distance
    if not held_out.any():
        raise UndefinedError("every held-out example equals a train example")
    above, below = float(generated.mean()), float(held_out.mean())
    # var(a / b) = (var a + (a/b)² var b) / b²
    variance = float(generated.var()) / len(x) + (above / below) ** 2 * float(held_out.var()) / len(y)
    margin = NORMAL_95 * math.sqrt(variance) / below
    error = float(generated.std()) / math.sqrt(len(x)) / below
    return MetricValue(above / below, max(0.0, above / below - margin), above / below + margin, error)


def fid_gap(generated_features: Tensor, real_features: Tensor, train_features: Tensor, seed: int) -> MetricValue:
    """FID(x, y) - FID(x, t): positive where samples are more like the train set than like new data; lower is better.

    FID is biased by its counts, so the larger of y and t is subsampled by `seed` to the count of the other. Two moments
    say little about single examples: copies show where the samples cover the train examples that they are compared
    with, and hardly where these are a small part of the train set. An evaluator that has overfitted to the train set
    moves the gap for honest samples too, so that it is judged against the floor (held-out examples as samples).

    References: Heusel et al., arXiv:1706.08500 (FID); Jiralerspong et al., arXiv:2302.04440 (train-test gaps).
    """
    y, t = equal_counts(real_features, train_features, seed)
    return MetricValue(fid(generated_features, y).value - fid(generated_features, t).value)


def data_copying(generated_features: Tensor, train_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """C_T = Σ_π p(π) Z_π / Σ_π p(π) over cells π of the feature space; higher means less copying.

    Cells are k-means clusters of the train set (one for every 50 held-out examples, at most 10); p(π) is the share of
    held-out examples in a cell, and Z_π the standardised Mann-Whitney U of d(x) against d(y) within it, d
    being the distance to the nearest train example of the cell. 0 is expected for samples like held-out ones;
    far below 0 (say -3) samples copy, far above 0 they underfit. Cells with fewer than 5 of either sample, or without a
    train example, are left out; undefined where that leaves none. Unlike the paper's, the standard deviation of U is
    corrected for ties, which copies at distance 0 bring about.

    References: Meehan, Chaudhuri and Dasgupta, arXiv:2004.05675.
    """
    x, t = checked_pair(generated_features, train_features, at_least=1)
    y, _ = checked_pair(real_features, train_features, at_least=1)
    centres = _cells(t, max(1, min(_MOST_CELLS, len(y) // _EXAMPLES_PER_CELL, len(t))), seed)
    cell_x, cell_y, cell_t = (nearest(z, centres).index for z in (x, y, t))
    weighted = total = 0.0
    for cell in range(len(centres)):
        x_in, y_in, t_in = x[cell_x == cell], y[cell_y == cell], t[cell_t == cell]
        if min(len(x_in), len(y_in)) < _FEWEST_IN_CELL or not len(t_in):
            continue
        share = len(y_in) / len(y)
        weighted += share * rank_score(nearest(x_in, t_in).distance, nearest(y_in, t_in).distance)
        total += share
    if not total:
        raise UndefinedError(f"no cell holds {_FEWEST_IN_CELL} samples and {_FEWEST_IN_CELL} held-out examples")
    return MetricValue(weighted / total)


def rank_score(a: Tensor, b: Tensor) -> float:
    """Mann-Whitney's U of a (n,) against b (m,), standardised: below 0 where a tends to be smaller.

    U - nm/2 over its standard deviation √(nm/12 · (N + 1 - Σ (g³ - g) / N(N - 1))), N = n + m and g the sizes of
    groups of equal values; 0 where all values are equal.

    References: Mann and Whitney, doi:10.1214/aoms/1177730491; for ties Lehmann, Nonparametrics (1975), appendix 4.
    """
    n, m = len(a), len(b)
    _, group, sizes = torch.cat([a, b]).unique(return_inverse=True, return_counts=True)
    size = sizes.double()
    rank = size.cumsum(0) - (size - 1) / 2  # the mean rank of equal values
    u = float(rank[group[:n]].sum()) - n * (n + 1) / 2
    ties = float((size**3 - size).sum()) / ((n + m) * (n + m - 1))
    variance = n * m / 12 * (n + m + 1 - ties)
    return (u - n * m / 2) / math.sqrt(variance) if variance > 0 else 0.0


def nearest(queries: Tensor, references: Tensor, *, exclude: Tensor | None = None, chunk: int = _CHUNK) -> Nearest:
    """A nearest one of the references (m, d) to each query (n, d); the distances do not depend on `chunk`.

    exclude: (n,) for each query the index of one reference that does not count: itself.
    """
    distance, index = [], []
    for start in range(0, len(queries), chunk):
        gap = distances(queries[start : start + chunk], references)  # (c, m)
        if exclude is not None:
            gap.scatter_(1, exclude[start : start + chunk, None], math.inf)
        closest = gap.min(dim=1)
        distance.append(closest.values)
        index.append(closest.indices)
    return Nearest(torch.cat(distance), torch.cat(index))


def _cells(t: Tensor, cells: int, seed: int) -> Tensor:
    """Centres (k, d) of k-means on the train set."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    distinct = len(np.unique(t.numpy(), axis=0)) if cells > 1 else 1
    with threadpool_limits(1):  # sums are cut by the number of threads
        found = KMeans(min(cells, distinct), n_init=4, random_state=seed % 2**32).fit(t.numpy())
    return torch.from_numpy(found.cluster_centers_)
