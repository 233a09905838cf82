"""Latent control: disentanglement, and the smoothness of the map from codes to images.

Glossary: codes z (n, c), real numbers; factors v (n, f), integers that generated the data; constant factors, which
nothing can tell, are left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .base import NORMAL_95, MetricValue, UndefinedError
from .means import around

_BINS = 20  # equal steps over each code's range, as in Locatello et al.
_FEWEST = 100  # examples: below, 20 bins are mostly empty
_TREES, _FEWEST_IN_LEAF = 30, 3
_LOWEST, _HIGHEST = 1.0, 99.0  # percentiles between which path lengths count

_Array = NDArray[np.float64]
_Labels = NDArray[np.int64]

Interpolation = Literal["lerp", "slerp"]


@dataclass(frozen=True)
class Dci:
    """All three of Eastwood and Williams; higher is better for each.

    disentanglement: whether each code speaks of one factor only, 0 to 1.
    completeness: whether each factor is told by one code only, 0 to 1; 1 of a single code.
    informativeness: mean accuracy over factors of telling them from the codes of held-out examples.
    """

    disentanglement: float
    completeness: float
    informativeness: float


def mig(codes: Tensor, factors: Tensor) -> MetricValue:
    """(1/f) Σ_k (I(z_a; v_k) - I(z_b; v_k)) / H(v_k), a and b the two codes that tell most of v_k; higher is better.

    0 to 1. Codes are cut into 20 equal steps over their range; one code alone has a rival that tells nothing. The
    mutual information of counts is too large by about (steps - 1)(values - 1)/2n nats, which the difference
    mostly cancels. No interval: the bootstrap is biased for mutual information.

    References: Chen et al., arXiv:1802.04942, equation 6; the steps, Locatello et al., arXiv:1811.12359, appendix C.
    """
    z, v = _checked(codes, factors)
    binned = [np.unique(_steps(column), return_inverse=True)[1] for column in z.T]
    gaps = []
    for factor in v.T:
        value = np.unique(factor, return_inverse=True)[1]
        informations = sorted([0.0, *(_mutual_information(code, value) for code in binned)])
        gaps.append((informations[-1] - informations[-2]) / _entropy(np.bincount(value)))
    return MetricValue(float(np.mean(gaps)))


def dci(codes: Tensor, factors: Tensor, seed: int) -> MetricValue:
    """Disentanglement of `dci_scores`: whether each code speaks of one factor only, 0 to 1; higher is better.

    References: Eastwood and Williams, ICLR 2018, section 2; against others, Locatello et al., arXiv:1811.12359.
    """
    return MetricValue(dci_scores(codes, factors, seed).disentanglement)


def dci_scores(codes: Tensor, factors: Tensor, seed: int) -> Dci:
    """Disentanglement, completeness and informativeness by random forests of 30 trees, one forest a factor.

    A forest learns a factor from the codes of half the examples, chosen by seed; its impurity importances say which
    codes it used, and its accuracy on the other half is the informativeness.

    References: Eastwood and Williams, ICLR 2018, sections 2 and 4.3.
    """
    from sklearn.ensemble import RandomForestClassifier

    z, v = _checked(codes, factors)
    if v.shape[1] < 2:
        raise UndefinedError(f"needs at least 2 factors that vary, got {v.shape[1]}")
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(z))
    train, test = order[: len(z) // 2], order[len(z) // 2 :]
    importances, accuracies = [], []
    for factor in v.T:
        # All codes are weighed at every split: choosing among a few would use codes that tell nothing.
        forest = RandomForestClassifier(
            _TREES,
            max_features=None,
            min_samples_leaf=_FEWEST_IN_LEAF,
            random_state=int(generator.integers(2**31)),
        ).fit(z[train], factor[train])
        importances.append(forest.feature_importances_)
        accuracies.append(float((forest.predict(z[test]) == factor[test]).mean()))
    disentanglement, completeness = disentanglement_and_completeness(np.stack(importances, axis=1))
    return Dci(disentanglement, completeness, float(np.mean(accuracies)))


def disentanglement_and_completeness(importances: _Array) -> tuple[float, float]:
    """From the importances R (c, f) of codes for factors, f ≥ 2.

        D = Σ_i ρ_i (1 - H_f(P_i)),     P_ik = R_ik / Σ_k R_ik,   ρ_i = Σ_k R_ik / Σ R
        C = (1/f) Σ_k (1 - H_c(Q_k)),   Q_ik = R_ik / Σ_i R_ik

    with entropies H to the base f or c. A row or column of zeros counts as 0.

    References: Eastwood and Williams, ICLR 2018, section 2; against others, Locatello et al., arXiv:1811.12359.
    """
    codes, factors = importances.shape
    total = float(importances.sum())
    if total == 0.0:
        return 0.0, 0.0
    disentanglement = sum(
        float(row.sum()) / total * (1.0 - _entropy(row) / math.log(factors)) for row in importances if row.any()
    )
    columns = [column for column in importances.T if column.any()]
    scale = math.log(codes) if codes > 1 else 1.0
    completeness = sum(1.0 - _entropy(column) / scale for column in columns) / factors
    return float(disentanglement), float(completeness)


def path_length(path_features_a: Tensor, path_features_b: Tensor, epsilon: float) -> MetricValue:
    """The mean over pairs of |a - b|²/ε², by percentiles 1 to 99 of it; lower is better.

    Features (n, d) of decoded codes and of codes a step of ε further along the line to others. Decode to
    continuous values: on a lattice nearly all pairs are equal and the others a whole step apart, so that the figure
    says 1/ε more than anything else; where most pairs are equal it is undefined. The 95% interval is Tukey and
    McLaughlin's for a trimmed mean. Figures of different evaluators or ε do not compare.

    References: Karras et al., arXiv:1812.04948, section 4.1, with features of an evaluator in place of VGG16's.
    """
    if path_features_a.ndim != 2 or path_features_a.shape != path_features_b.shape:
        raise ValueError(
            f"features of shapes {tuple(path_features_a.shape)} and {tuple(path_features_b.shape)}; "
            "wanted (n, d) of both"
        )
    if not epsilon > 0.0:
        raise ValueError(f"ε of {epsilon}; wanted more than 0")
    if len(path_features_a) < 2:
        raise UndefinedError(f"needs at least 2 pairs, got {len(path_features_a)}")
    a, b = (x.detach().to("cpu", torch.float64) for x in (path_features_a, path_features_b))
    if not (a.isfinite().all() and b.isfinite().all()):
        raise UndefinedError("features are not finite")
    lengths = ((a - b).square().sum(dim=1) / epsilon**2).numpy()  # (n,)
    if float((lengths == 0.0).mean()) > 0.5:
        raise UndefinedError("most pairs are equal: the samples lie on a lattice, or do not depend on the codes")
    low = float(np.percentile(lengths, _LOWEST, method="lower"))
    high = float(np.percentile(lengths, _HIGHEST, method="higher"))
    kept = lengths[(lengths >= low) & (lengths <= high)]
    deviation = float(lengths.clip(low, high).std(ddof=1))
    margin = NORMAL_95 * deviation * math.sqrt(len(lengths)) / len(kept)
    return around(float(kept.mean()), margin, lowest=0.0)


def interpolate(a: Tensor, b: Tensor, t: float, *, mode: Interpolation = "lerp") -> Tensor:
    """The point at t of 0...1 between rows a and b (n, c): on the line, or on the great circle (`slerp`).

    slerp: sin((1-t)ω)/sin ω · a + sin(tω)/sin ω · b, ω the angle between a and b; the line where sin ω is about 0.

    References: White, arXiv:1609.04468, section 2.1.
    """
    line = a + (b - a) * t
    if mode == "lerp":
        return line
    tiny = 1e-7
    lengths = (a.norm(dim=1, keepdim=True) * b.norm(dim=1, keepdim=True)).clamp_min(tiny)
    cosine = (a * b).sum(dim=1, keepdim=True) / lengths  # (n, 1)
    angle = cosine.clamp(-1.0, 1.0).acos()
    arc = (((1.0 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin().clamp_min(tiny)
    return torch.where((cosine.abs() > 1.0 - tiny) | (lengths <= tiny), line, arc)


def _checked(codes: Tensor, factors: Tensor) -> tuple[_Array, _Labels]:
    """Codes (n, c) and those factors (n, f') that vary."""
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ValueError(
            f"codes of shape {tuple(codes.shape)} and factors of shape {tuple(factors.shape)}; wanted (n, c) and (n, f)"
        )
    if factors.is_floating_point():
        raise ValueError(f"factors of type {factors.dtype}; wanted integers")
    if len(codes) < _FEWEST:
        raise UndefinedError(f"needs at least {_FEWEST} examples, got {len(codes)}")
    z = codes.detach().to("cpu", torch.float64).numpy()
    v = factors.detach().to("cpu", torch.int64).numpy()
    if not np.isfinite(z).all():
        raise UndefinedError("codes are not finite")
    if (z == z[0]).all():
        raise UndefinedError("all codes are equal")
    v = v[:, (v != v[0]).any(axis=0)]
    if not v.shape[1]:
        raise UndefinedError("no factor varies")
    return z, v


def _steps(column: _Array) -> _Labels:
    """The step (n,) of 0...19 in which each value of a code lies."""
    low, high = column.min(), column.max()
    if low == high:
        return np.zeros(len(column), dtype=np.int64)
    return np.minimum(((column - low) / (high - low) * _BINS).astype(np.int64), _BINS - 1)


def _mutual_information(a: _Labels, b: _Labels) -> float:
    """Nats, of the joint counts of labels 0, 1, ... (n,)."""
    joint = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(joint, (a, b), 1.0)
    return max(0.0, _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint.ravel()))


def _entropy(weights: NDArray[np.floating] | _Labels) -> float:
    """Nats, of the law in proportion to weights that are not all zero."""
    p = weights[weights > 0] / weights.sum()
    return float(-(p * np.log(p)).sum())
