"""FID, KID, the inception score, precision and recall, by torch-fidelity's own functions on features.

The intervals are computed here: they need what the score is without each example.

Glossary: X generated features (n, d); Y real features (m, d).
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .features import checked_pair, once_for_pair
from .frechet import frechet
from .intervals import (
    LEAST,
    LeftOut,
    jackknife,
    jackknife_share,
    normal_interval,
    variance_of_influence,
)
from .kernel_sums import squared_distance
from .support import support

NEIGHBOURS = 3  # of precision and recall, as in Kynkäänniemi et al.
_KID_SUBSETS, _KID_SUBSET_SIZE = 100, 1_000  # as in torch-fidelity
_KID_FROM_ALL = 10_000  # up to here one estimate from all samples: less noisy than subsets, and quicker
_SPLIT_SIZE, _MOST_SPLITS = 500, 10
_CHUNK = 2_048  # rows at a time, so that distance matrices stay small


def fid(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Fréchet distance |μ_X - μ_Y|² + tr(Σ_X + Σ_Y - 2 (Σ_X Σ_Y)^½); lower is better.

    Biased: two sets of n each from N(0, I_d) score (d² + d)/2n + 2d/n on average for n much larger than d, so
    only figures at equal n compare. Covariances of lower rank are fine (the square root's trace is
    that of the product's eigenvalues); round-off below zero is set to zero.

    The interval is the infinitesimal jackknife's: it holds FID's expectation at these counts, bias included. None
    where either side has fewer than 20 samples, or no more than twice as many as dimensions: the covariances
    are then too far from the laws' own for a linear expansion.

    References: Heusel et al., arXiv:1706.08500, equation 6.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    if x.shape[1] == 1:  # a constant column changes nothing, and keeps the covariance a matrix
        x, y = F.pad(x, (0, 1)), F.pad(y, (0, 1))
    library = _torch_fidelity("metric_fid")
    statistics = [library.fid_features_to_statistics(features) for features in (x, y)]
    result = library.fid_statistics_to_metric(*statistics, verbose=False)
    value = max(0.0, result[library.KEY_METRIC_FID])
    if min(len(x), len(y)) < max(LEAST, 2 * x.shape[1] + 1):
        return MetricValue(value)
    influence = frechet(x, y)
    generated, real = (variance_of_influence(side) for side in (influence.of_generated, influence.of_real))
    return normal_interval(value, generated + real, generated, lowest=0.0)


def kid(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """Unbiased squared MMD with the kernel (x·y/d + 1)³; lower is better, and it may be negative.

    Up to 10,000 of either side it is one estimate from all samples, with the delete-one jackknife's interval; beyond,
    the mean over 100 pairs of random subsets of 1,000, or of the smaller count, and no interval: the subsets overlap,
    so that their spread says nothing about other samples.

    References: Bińkowski et al., arXiv:1801.01401, section 4.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    if max(len(x), len(y)) <= _KID_FROM_ALL:
        return jackknife(squared_kernel_distance(x, y))
    library = _torch_fidelity("metric_kid")
    result = library.kid_features_to_metric(
        x,
        y,
        kid_subset_size=min(len(x), len(y), _KID_SUBSET_SIZE),
        kid_subsets=_KID_SUBSETS,
        rng_seed=_numpy_seed(seed),
        verbose=False,
    )
    return MetricValue(result[library.KEY_METRIC_KID_MEAN])


def squared_kernel_distance(x: Tensor, y: Tensor) -> LeftOut:
    """KID from all pairs of x (n, d) and y (m, d), and without each example."""
    return squared_distance(x, y, _cubic_kernel)


def _cubic_kernel(a: Tensor, b: Tensor) -> Tensor:
    base = (a @ b.T).div_(a.shape[1]).add_(1)  # (n, m)
    return base.square().mul_(base)


def inception_score(generated_probabilities: Tensor, seed: int) -> MetricValue:
    """exp E_x KL(p(y|x) || p(y)), between 1 and the number of classes; higher is better.

    The mean over splits of at least 500 samples, at most ten splits; below 1,000 samples one split. The interval is
    the infinitesimal jackknife's, of the score's logarithm; biased like the score itself.

    References: Salimans et al., arXiv:1606.03498, section 4.
    """
    p = generated_probabilities.detach().to("cpu", torch.float64)  # (n, classes)
    if p.ndim != 2:
        raise ValueError(f"probabilities of shape {tuple(p.shape)}; wanted (n, classes)")
    n, classes = p.shape
    if classes < 2:
        raise UndefinedError("needs at least 2 classes")
    if n < 2:
        raise UndefinedError(f"needs at least 2 samples, got {n}")
    if not p.isfinite().all():
        raise UndefinedError("probabilities are not finite")
    library = _torch_fidelity("metric_isc")
    log_p = p.clamp_min(torch.finfo(torch.float64).tiny).log()  # the library takes logits; softmax(log p) = p
    splits = min(_MOST_SPLITS, max(1, n // _SPLIT_SIZE))
    result = library.isc_features_to_metric(log_p, splits=splits, shuffle=True, rng_seed=_numpy_seed(seed))
    value = result[library.KEY_METRIC_ISC_MEAN]
    if n < LEAST:
        return MetricValue(value)
    mean = p.mean(0).clamp_min(torch.finfo(torch.float64).tiny)
    divergence = (p * (log_p - mean.log())).sum(1)  # (n,) KL(p(y|x) || p(y)), also the derivative by a sample's weight
    error = math.sqrt(variance_of_influence(divergence))
    ratio = math.exp(NORMAL_95 * error)
    return MetricValue(value, max(1.0, value / ratio), min(float(classes), value * ratio), value * error)


def precision(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Share of generated samples within the ball of some real one, whose radius reaches its third neighbour.

    References: Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2.
    """
    figure = precision_left_out(generated_features, real_features)
    value = _precision_and_recall(generated_features, real_features)[0]
    return replace(jackknife_share(figure, len(figure.without_generated)), value=value)


def recall(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Share of real examples within the ball of some generated one, whose radius reaches its third neighbour.

    References: Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2.
    """
    figure = recall_left_out(generated_features, real_features)
    value = _precision_and_recall(generated_features, real_features)[1]
    return replace(jackknife_share(figure, len(figure.without_real)), value=value)


@once_for_pair
def _precision_and_recall(generated: Tensor, real: Tensor) -> tuple[float, float]:
    x, y = checked_pair(generated, real, at_least=NEIGHBOURS + 1)
    library = _torch_fidelity("metric_prc")
    result = library.prc_features_to_metric(
        x, y, prc_neighborhood=NEIGHBOURS, prc_batch_size=_CHUNK, save_cpu_ram=True, verbose=False
    )
    return result[library.KEY_METRIC_PRECISION], result[library.KEY_METRIC_RECALL]


@once_for_pair
def precision_left_out(generated_features: Tensor, real_features: Tensor) -> LeftOut:
    """Precision, and what it is without each example. Results do not depend on how the work is cut into chunks."""
    x, y = checked_pair(generated_features, real_features, at_least=NEIGHBOURS + 1)
    found = support(x, y, NEIGHBOURS)
    return LeftOut(found.share, found.without_point, found.without_ball)


@once_for_pair
def recall_left_out(generated_features: Tensor, real_features: Tensor) -> LeftOut:
    """Recall, and what it is without each example."""
    x, y = checked_pair(generated_features, real_features, at_least=NEIGHBOURS + 1)
    found = support(y, x, NEIGHBOURS)
    return LeftOut(found.share, found.without_ball, found.without_point)


def _torch_fidelity(module: str) -> ModuleType:
    """Importing torch-fidelity takes seconds, so it waits for the first metric that needs it."""
    from importlib import import_module

    from .._torchvision import make_importable

    make_importable()
    return import_module(f"torch_fidelity.{module}")


def _numpy_seed(seed: int) -> int:
    return seed % 2**32
