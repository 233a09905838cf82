"""What the families of densities share: the values that they model, and Gaussians.

Glossary:
    v        (n, D) float64, what is modelled: dequantised values u in [0, 1) of images, standardised vectors
    factor   of a covariance Sigma: lower triangular L (D, D) with Sigma = L L^T, or deviations (D,) of a diagonal one
    missing  (n, D) bool, true where an entry of v is not known
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..base import Batch, GenerativeModel, Likelihood, LikelihoodKind
from ..data_spec import DataSpec
from ..likelihoods import dequantise, dequantised_log_prob, levels_of, quantise
from ..nets.layers import require_kind

_CELLS = 2**22  # numbers in the largest of the matrices that conditioning holds at a time
_IN_CACHE = 2**18  # kernels summed at a time: more would wait for the memory


class DensityModel(GenerativeModel):
    """A family with a density p(v) of images and vectors, fitted in one go.

    A subclass writes `log_density`, and `_complete` where it knows E[v | what is observed].
    """

    family: ClassVar[str]

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data)
        require_kind(data, self.family)

    def log_density(self, v: Tensor) -> Tensor:
        """log p(v) in nats, float64 (n,), of values v (n, D) as the family models them."""
        raise NotImplementedError

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """Exact for vectors; for images the dequantised bound with one noise draw an example."""
        log_density = self.log_density(self._to_modelled(batch.x, self.evaluation_generator()))
        if self.data.kind == "vector":
            return Likelihood(log_density, LikelihoodKind.EXACT)
        return Likelihood(dequantised_log_prob(log_density, self.data), LikelihoodKind.DEQUANTISED)

    @torch.no_grad()
    def impute(self, batch: Batch, missing: Tensor, generator: Generator) -> Tensor:
        """x (n, *data.shape) with the entries where `missing`, bool like x, replaced by their conditional
        expectation given the others: the completion of least squared error under the model.
        """
        del generator  # nothing is drawn
        expected = from_values(self._complete(to_values(batch.x, self.data), missing.flatten(1)), self.data)
        return torch.where(missing, expected, batch.x)

    def _complete(self, v: Tensor, missing: Tensor) -> Tensor:
        """E[v | the entries that are not missing], (n, D)."""
        raise NotImplementedError

    def _to_modelled(self, x: Tensor, generator: Generator) -> Tensor:
        """Examples (n, *data.shape) to v, float64 (n, D); images with fresh noise."""
        v = dequantise(x, self.data, generator) if self.data.kind == "image" else x
        return v.flatten(1).to(torch.float64)

    def _from_modelled(self, v: Tensor) -> Tensor:
        """Values (n, D) to samples (n, *data.shape); images are rounded down to their level."""
        v = v.view(len(v), *self.data.shape)
        return quantise(v, self.data) if self.data.kind == "image" else v.float()


def to_values(x: Tensor, spec: DataSpec) -> Tensor:
    """Examples to v, float64 (n, D), without noise: images lie in the middles (k + 1/2)/L of their levels."""
    v = x.flatten(1).to(torch.float64)
    return v * _middles_scale(spec) + 0.5 if spec.kind == "image" else v


def from_values(v: Tensor, spec: DataSpec) -> Tensor:
    """The inverse of `to_values`, float32 (n, *spec.shape), cut to the data's range; images off the lattice stay so."""
    if spec.kind == "image":
        v = ((v - 0.5) / _middles_scale(spec)).clamp(-1.0, 1.0)
    return v.float().view(len(v), *spec.shape)


def _middles_scale(spec: DataSpec) -> float:
    """Of x = 2k/(L - 1) - 1 in (k + 1/2)/L = x (L - 1)/(2 L) + 1/2."""
    levels = levels_of(spec)
    return (levels - 1) / (2.0 * levels)


def moments(x: Tensor, spec: DataSpec) -> tuple[Tensor, Tensor]:
    """Mean (D,) and maximum likelihood covariance (D, D) of v.

    For images in expectation over the dequantisation noise, which adds 1/(12 L^2) to every variance: a Gaussian with
    these moments maximises the dequantised bound of the examples, no noise drawn.
    """
    v = to_values(x, spec)
    mean = v.mean(0)
    centred = v - mean
    covariance = centred.T @ centred / len(v)
    covariance.diagonal().add_(noise_variance(spec))
    return mean, covariance


def noise_variance(spec: DataSpec) -> float:
    """Of the dequantisation noise, U[0, 1)/L; 0 for vectors."""
    return 1.0 / (12.0 * levels_of(spec) ** 2) if spec.kind == "image" else 0.0


def gaussian_log_density(v: Tensor, mean: Tensor, factor: Tensor) -> Tensor:
    """log N(v; mean, Sigma) in nats, (n,)."""
    centred = v - mean
    if factor.ndim == 1:
        whitened, log_det = centred / factor, factor.log().sum()
    else:
        whitened = torch.linalg.solve_triangular(factor, centred.T, upper=False).T  # (n, D)
        log_det = factor.diagonal().log().sum()
    return -0.5 * whitened.square().sum(1) - log_det - 0.5 * v.shape[1] * math.log(2 * math.pi)


def log_kernel_sum(v: Tensor, centres: Tensor, bandwidth: float) -> Tensor:
    """log sum_i exp(-||v - c_i||^2 / 2 h^2), (n,), of centres (N, D).

    The square is multiplied out, so that distances are one matrix product: float64 leaves its rounding far below h^2.
    """
    halves = 0.5 * centres.square().sum(1)  # (N,)
    parts = []
    for part in v.split(max(1, _IN_CACHE // len(centres))):
        exponents = torch.addmm(halves, part, centres.T, beta=-1.0).div_(bandwidth**2)  # but for v's own square
        parts.append(exponents.logsumexp(1) - 0.5 * part.square().sum(1) / bandwidth**2)
    return torch.cat(parts)


def standard_normal(n: int, dimensions: int, generator: Generator) -> Tensor:
    """(n, D) float64 draws on the generator's device; made as float32, which is a fourth of the time and as fine as
    samples are in the end.
    """
    return torch.randn(n, dimensions, generator=generator, device=generator.device).double()


def coloured(noise: Tensor, factor: Tensor) -> Tensor:
    """Standard normal noise (n, D) to draws from N(0, Sigma)."""
    return noise * factor if factor.ndim == 1 else noise @ factor.T


def condition_gaussian(v: Tensor, missing: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """E[v | observed entries], (n, D), and the log-density of the observed entries, (n,), under N(mean, covariance).

    covariance: (D, D). Every row may miss other entries. With o the observed ones, r = (v - mean)_o and
    S = Sigma_oo (1 in the place of each missing entry): E[v] = mean + Sigma_:o S^-1 r.

    References: Bishop 2006, Pattern Recognition and Machine Learning, equation 2.81.
    """
    d = v.shape[1]
    parts = [
        _condition(v_rows, ~missing_rows, mean, covariance)
        for v_rows, missing_rows in zip(*(t.split(max(1, _CELLS // d**2)) for t in (v, missing)), strict=True)
    ]
    completed, log_density = (torch.cat(part) for part in zip(*parts, strict=True))
    return torch.where(missing, completed, v), log_density


def _condition(v: Tensor, observed: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    o = observed.to(v.dtype)  # (n, D)
    r = torch.where(observed, v - mean, 0.0)
    S = covariance * o[:, :, None] * o[:, None, :] + torch.diag_embed(1.0 - o)  # (n, D, D)
    L = torch.linalg.cholesky(S)
    solved = torch.cholesky_solve(r[:, :, None], L).squeeze(2)  # S^-1 r, 0 where missing
    log_det = 2.0 * L.diagonal(dim1=1, dim2=2).log().sum(1)
    log_density = -0.5 * ((r * solved).sum(1) + log_det + o.sum(1) * math.log(2 * math.pi))
    return mean + solved @ covariance, log_density
