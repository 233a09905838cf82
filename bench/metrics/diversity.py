"""Diversity of samples beyond precision and recall."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .fidelity import precision_left_out, recall_left_out
from .intervals import LEAST, LeftOut, jackknife_share, variance_of_influence

_DEVIATIONS = 3.0  # within which a sample belongs to a mode
_SHARE = 0.2  # of its equal share of the samples, which a covered mode gets at least


class Modes(Protocol):
    """centres (k, D) and the deviation (D,) around each, standardised like the samples."""

    @property
    def centres(self) -> Tensor: ...

    @property
    def deviation(self) -> Tensor: ...


def f_score(generated_features: Tensor, real_features: Tensor) -> MetricValue:
    """Harmonic mean of `precision` and `recall`, 0 where both are 0; higher is better.

    Like recall it is blind to samples far from the data that have each other for neighbours. The interval is the
    delete-one jackknife's, of both together.

    References: Sajjadi et al., arXiv:1806.00035, section 4 (F_1); Kynkäänniemi et al., arXiv:1904.06991.
    """
    p, r = (measure(generated_features, real_features) for measure in (precision_left_out, recall_left_out))
    value, without_generated, without_real = (
        _harmonic(torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64))
        for a, b in (
            (p.value, r.value),
            (p.without_generated, r.without_generated),
            (p.without_real, r.without_real),
        )
    )
    figure = LeftOut(float(value), without_generated, without_real)
    return jackknife_share(figure, min(len(without_generated), len(without_real)))


def vendi(generated_features: Tensor) -> MetricValue:
    """exp of the entropy of the eigenvalues of K/n, K the samples' cosine similarities: how many samples differ.

    From 1 (all alike) to the smaller of the counts of samples and of dimensions; higher is better. It knows nothing of
    the real data, so only figures through one evaluator compare. Features of length zero are alike among themselves and
    unlike all others. The interval is the infinitesimal jackknife's, of the logarithm.

    Costs O(n min(n, d)²): K/n has the same eigenvalues but zeros as the (d, d) second moment.

    References: Friedman & Dieng, arXiv:2210.02410, definition 3.1 and section 3.
    """
    x = generated_features.detach().to("cpu", torch.float64)
    if x.ndim != 2:
        raise ValueError(f"features of shape {tuple(x.shape)}; wanted (n, d)")
    n = len(x)
    if n < 2:
        raise UndefinedError(f"needs at least 2 samples, got {n}")
    if not x.isfinite().all():
        raise UndefinedError("features are not finite")
    length = x.norm(dim=1, keepdim=True)
    unit = torch.where(length > 0, x / length.clamp_min(torch.finfo(x.dtype).tiny), 0.0)
    if (length == 0).any():
        unit = torch.cat([unit, (length == 0).double()], dim=1)
    # unit / √n = U diag(√λ) Vᵀ; x_i's weight moves the entropy by -Σ_c (u_i · v_c)² log λ_c.
    _, singular, basis = torch.linalg.svd(unit / math.sqrt(n), full_matrices=False)
    eigenvalues = singular.square()
    kept = eigenvalues > torch.finfo(x.dtype).eps
    eigenvalues, basis = eigenvalues[kept], basis[kept]
    entropy = -float((eigenvalues * eigenvalues.log()).sum())
    value = math.exp(entropy)
    if n < LEAST:
        return MetricValue(value)
    influence = -(unit @ basis.T).square() @ eigenvalues.log()  # (n,)
    ratio = math.exp(NORMAL_95 * math.sqrt(variance_of_influence(influence)))
    return MetricValue(value, max(1.0, value / ratio), min(float(n), value * ratio))


def modes_covered(generated_x: Tensor, modes: Modes) -> MetricValue:
    """How many modes get at least a fifth of their equal share of the samples; higher is better.

    A sample belongs to the nearest centre, if it lies within three deviations of it (Euclidean, each coordinate in
    units of its deviation). Undefined below 5 samples for each mode, where a fifth of a share is less than one sample.

    References: Srivastava et al., arXiv:1705.07761, section 4 (number of modes captured).
    """
    centres, deviation = (z.to("cpu", torch.float64) for z in (modes.centres, modes.deviation))
    x = generated_x.detach().to("cpu", torch.float64)
    k = len(centres)
    if x.ndim != 2 or x.shape[1] != centres.shape[1]:
        raise ValueError(f"samples of shape {tuple(x.shape)}; wanted (n, {centres.shape[1]})")
    least = math.ceil(k / _SHARE)
    if len(x) < least:
        raise UndefinedError(f"needs at least {least} samples for {k} modes, got {len(x)}")
    if not x.isfinite().all():
        raise UndefinedError("samples are not finite")
    gap, nearest = torch.cdist(x / deviation, centres / deviation).min(dim=1)  # (n,)
    count = torch.bincount(nearest[gap <= _DEVIATIONS], minlength=k)
    return MetricValue(float((count >= _SHARE * len(x) / k).sum()))


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(a + b > 0, 2 * a * b / (a + b).clamp_min(torch.finfo(a.dtype).tiny), 0.0)
