"""The Fréchet distance between fitted Gaussians, and how each example moves it.

Glossary:
    X generated (n, d), Y real (m, d);  μ, Σ mean and covariance of each (divisor n - 1);  δ = μ_X - μ_Y
    F = |δ|² + tr(Σ_X + Σ_Y - 2 (Σ_X^½ Σ_Y Σ_X^½)^½)
    T_X the linear map that carries N(0, Σ_X) to N(0, Σ_Y) at least cost: Σ_X^-½ (Σ_X^½ Σ_Y Σ_X^½)^½ Σ_X^-½
    ψ(x) = 2 δ·(x - μ_X) + (x - μ_X)ᵀ (I - T_X) (x - μ_X), less its mean: F's derivative by the weight of x
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frechet:
    """The distance and ψ of every example of both sides: of_generated (n,), of_real (m,)."""

    value: float
    of_generated: Tensor
    of_real: Tensor


def frechet(x: Tensor, y: Tensor) -> Frechet:
    """F and its influence function; x (n, d) and y (m, d) are float64 with n, m ≥ 2.

    Inverse roots are pseudo-inverses: an example moves the covariance within the span of its own side alone.

    References: Heusel et al., arXiv:1706.08500, equation 6; Dowson & Landau, Journal of Multivariate Analysis 12
        (1982), 450-455; T_X: Peyré & Cuturi, arXiv:1803.00567, remark 2.31.
    """
    x_centred, y_centred = x - x.mean(0), y - y.mean(0)
    cov_x, cov_y = (z.T @ z / (len(z) - 1) for z in (x_centred, y_centred))  # (d, d)
    shift = x.mean(0) - y.mean(0)
    to_y, across = _transport(cov_x, cov_y)
    to_x, _ = _transport(cov_y, cov_x)
    value = float(shift.square().sum() + cov_x.trace() + cov_y.trace()) - 2 * across
    return Frechet(max(0.0, value), _influence(x_centred, shift, to_y), _influence(y_centred, -shift, to_x))


def _influence(centred: Tensor, shift: Tensor, transport: Tensor) -> Tensor:
    quadratic = ((centred - centred @ transport) * centred).sum(1)  # (n,)
    psi = 2 * centred @ shift + quadratic
    return psi - psi.mean()


def _transport(source: Tensor, target: Tensor) -> tuple[Tensor, float]:
    """T from source to target (d, d), and tr (source^½ target source^½)^½."""
    values, vectors = torch.linalg.eigh(source)
    values = values.clamp_min(0)
    root = values.sqrt()
    floor = root.max() * len(root) * torch.finfo(root.dtype).eps ** 0.5
    inverse = torch.where(root > floor, 1 / root.clamp_min(torch.finfo(root.dtype).tiny), 0.0)
    half, inverse_half = (vectors * v @ vectors.T for v in (root, inverse))
    inner, basis = torch.linalg.eigh(half @ target @ half)
    inner = inner.clamp_min(0).sqrt()
    return inverse_half @ (basis * inner @ basis.T) @ inverse_half, float(inner.sum())
