"""FID, KID, the inception score, precision and recall, by torch-fidelity's own functions on features.

Glossary: X generated features (n, d); Y real features (m, d).
"""

from __future__ import annotations

from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import MetricValue, UndefinedError
from .features import checked_pair

NEIGHBOURS = 3  # of precision and recall, as in Kynkäänniemi et al.
_KID_SUBSETS, _KID_SUBSET_SIZE = 100, 1_000  # as in torch-fidelity
_KID_FROM_ALL = 2_500  # up to here one estimate from all samples: less noisy than subsets, and quicker
_SPLIT_SIZE, _MOST_SPLITS = 500, 10
_CHUNK = 2_048  # rows at a time, so that distance matrices stay small


def fid(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Fréchet distance |μ_X - μ_Y|² + tr(Σ_X + Σ_Y - 2 (Σ_X Σ_Y)^½); lower is better.

    Biased: two sets of n each from N(0, I_d) score (d² + d)/2n + 2d/n on average for n much larger than d, so
    only figures at equal n compare. Covariances of lower rank are fine (the square root's trace is
    that of the product's eigenvalues); round-off below zero is set to zero.

    References: Heusel et al., arXiv:1706.08500, equation 6.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    if x.shape[1] == 1:  # a constant column changes nothing, and keeps the covariance a matrix
        x, y = F.pad(x, (0, 1)), F.pad(y, (0, 1))
    library = _torch_fidelity("metric_fid")
    statistics = [library.fid_features_to_statistics(features) for features in (x, y)]
    result = library.fid_statistics_to_metric(*statistics, verbose=False)
    return MetricValue(max(0.0, result[library.KEY_METRIC_FID]))


def kid(generated_features: Tensor, real_features: Tensor, seed: int) -> MetricValue:
    """Unbiased squared MMD with the kernel (x·y/d + 1)³; lower is better, and it may be negative.

    At equal counts up to 2,500 it is one estimate from all samples; otherwise the mean over 100 pairs of random
    subsets of 1,000, or of the smaller count.

    References: Bińkowski et al., arXiv:1801.01401, section 4.
    """
    x, y = checked_pair(generated_features, real_features, at_least=2)
    library = _torch_fidelity("metric_kid")
    fewest = min(len(x), len(y))
    from_all = len(x) == len(y) <= _KID_FROM_ALL
    result = library.kid_features_to_metric(
        x,
        y,
        kid_subset_size=fewest if from_all else min(fewest, _KID_SUBSET_SIZE),
        kid_subsets=1 if from_all else _KID_SUBSETS,
        rng_seed=_numpy_seed(seed),
        verbose=False,
    )
    return MetricValue(result[library.KEY_METRIC_KID_MEAN])


def inception_score(generated_probabilities: Tensor, seed: int) -> MetricValue:
    """exp E_x KL(p(y|x) || p(y)), between 1 and the number of classes; higher is better.

    The mean over splits of at least 500 samples, at most ten splits; below 1,000 samples one split.

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
    return MetricValue(result[library.KEY_METRIC_ISC_MEAN])


def precision(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Share of generated samples within the ball of some real one, whose radius reaches its third neighbour.

    References: Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2.
    """
    return MetricValue(_precision_and_recall(generated_features, real_features)[0])


def recall(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Share of real examples within the ball of some generated one, whose radius reaches its third neighbour.

    References: Kynkäänniemi et al., arXiv:1904.06991, equations 1 and 2.
    """
    return MetricValue(_precision_and_recall(generated_features, real_features)[1])


def _precision_and_recall(generated: Tensor, real: Tensor, chunk: int = _CHUNK) -> tuple[float, float]:
    x, y = checked_pair(generated, real, at_least=NEIGHBOURS + 1)
    library = _torch_fidelity("metric_prc")
    result = library.prc_features_to_metric(
        x, y, prc_neighborhood=NEIGHBOURS, prc_batch_size=chunk, save_cpu_ram=True, verbose=False
    )
    return result[library.KEY_METRIC_PRECISION], result[library.KEY_METRIC_RECALL]


def _torch_fidelity(module: str) -> ModuleType:
    """Importing torch-fidelity takes seconds, so it waits for the first metric that needs it."""
    from importlib import import_module

    from .._torchvision import make_importable

    make_importable()
    return import_module(f"torch_fidelity.{module}")


def _numpy_seed(seed: int) -> int:
    return seed % 2**32
