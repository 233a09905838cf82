"""Distributions of single coordinates, independent within a class: the parts of histograms and naive Bayes.

Glossary:
    values  (n, D): int64 levels of images, float64 standardised vectors
    K       number of classes; y (n,) int64 labels
    L       levels of images
    B       bins
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from ..data_spec import DataSpec
from ..likelihoods import levels_of
from ..nets.buffers import KeepsData
from .densities import log_kernel_sum, noise_variance, standard_normal, to_values

Law = Callable[[Tensor], Tensor]  # counts of levels (K, D, L) to probabilities


class Marginals(nn.Module):
    """One distribution for each class and coordinate. A class without examples takes those of all examples."""

    def fit(self, values: Tensor, y: Tensor) -> float:
        """Fits to values (n, D) with labels y; returns the operations."""
        raise NotImplementedError

    def log_prob(self, values: Tensor) -> Tensor:
        """(n, K, D) log-probabilities of levels, or log-densities, in nats, float64."""
        raise NotImplementedError

    def class_log_probs(self, values: Tensor) -> Tensor:
        """log p(x|y), (n, K): the sum of `log_prob` over the coordinates, which are independent given the class."""
        return self.log_prob(values).sum(2)

    def sample(self, y: Tensor, generator: Generator) -> Tensor:
        """Values (n, D), a row for each label."""
        raise NotImplementedError

    def expectation(self) -> Tensor:
        """(K, D) expected values, float64; of levels, expected levels."""
        raise NotImplementedError


def values_of(x: Tensor, spec: DataSpec) -> Tensor:
    """Examples (n, *spec.shape) to values: levels of images, vectors as they are."""
    return spec.to_levels(x).flatten(1) if spec.kind == "image" else to_values(x, spec)


def examples_of(values: Tensor, spec: DataSpec) -> Tensor:
    """The inverse of `values_of`, float32; expected levels need not be whole."""
    values = values.view(len(values), *spec.shape)
    return spec.from_levels(values) if spec.kind == "image" else values.float()


class LevelMarginals(Marginals):
    """A table of probabilities of the L levels of images, made by `law` from their counts. Exact, and sums to 1."""

    table: Tensor  # (K, D, L) float64, log-probabilities

    def __init__(self, classes: int, spec: DataSpec, law: Law) -> None:
        super().__init__()
        levels = levels_of(spec)
        uniform = torch.full((classes, spec.dimensions, levels), -math.log(levels), dtype=torch.float64)
        self.register_buffer("table", uniform)
        self._law = law

    def fit(self, values: Tensor, y: Tensor) -> float:
        K, D, L = self.table.shape
        place = (y[:, None] * D + torch.arange(D, device=y.device)) * L + values  # (n, D)
        counts = torch.bincount(place.flatten(), minlength=K * D * L).view(K, D, L).to(torch.float64)
        counts = torch.where(counts.sum((1, 2), keepdim=True) > 0, counts, counts.sum(0))
        self.table.copy_(self._law(counts).log())
        return float(values.numel() + self.table.numel())

    def log_prob(self, values: Tensor) -> Tensor:
        coordinates = torch.arange(values.shape[1], device=values.device)
        return self.table[:, coordinates, values].transpose(0, 1)

    def class_log_probs(self, values: Tensor) -> Tensor:
        K, D, L = self.table.shape
        rows = values + L * torch.arange(D, device=values.device)  # of the table as (D L, K), whose rows lie together
        chosen = self.table.view(K, D * L).T.contiguous().index_select(0, rows.flatten())
        return chosen.view(len(values), D, K).sum(1)

    def sample(self, y: Tensor, generator: Generator) -> Tensor:
        drawn = torch.empty(len(y), self.table.shape[1], dtype=torch.int64, device=y.device)
        for c in y.unique():
            rows = torch.nonzero(y == c).flatten()
            drawn[rows] = torch.multinomial(self.table[c].exp(), len(rows), replacement=True, generator=generator).T
        return drawn

    def expectation(self) -> Tensor:
        return self.table.exp() @ torch.arange(self.table.shape[2], dtype=torch.float64, device=self.table.device)


def counted(pseudocount: float, bins: int) -> Law:
    """(count + pseudocount) / sum of them; of more than `bins` levels, neighbours share a bin evenly."""

    def law(counts: Tensor) -> Tensor:
        L = counts.shape[2]
        B = min(bins, L)
        bin_of = torch.arange(L, device=counts.device) * B // L  # (L,)
        shared = torch.zeros(*counts.shape[:2], B, dtype=counts.dtype, device=counts.device)
        shared.index_add_(2, bin_of, counts)
        mass = (shared + pseudocount) / (shared + pseudocount).sum(2, keepdim=True)
        return (mass / torch.bincount(bin_of, minlength=B))[:, :, bin_of]

    return law


def gaussian_levels(regularisation: float, spec: DataSpec) -> Law:
    """A Gaussian's mass on each level's interval [k/L, (k+1)/L), the tails at the ends.

    Its moments are those of the dequantised values.
    """

    def law(counts: Tensor) -> Tensor:
        L = counts.shape[2]
        middles = (torch.arange(L, dtype=counts.dtype, device=counts.device) + 0.5) / L
        n = counts.sum(2)
        mean = counts @ middles / n  # (K, D)
        variance = counts @ middles.square() / n - mean.square() + noise_variance(spec) + regularisation
        return _masses(mean, variance.sqrt(), L)

    return law


def kernel_levels(bandwidth: float) -> Law:
    """A Gaussian kernel around the middle of each example's level, its mass on each level, tails at the ends."""

    def law(counts: Tensor) -> Tensor:
        L = counts.shape[2]
        middles = (torch.arange(L, dtype=counts.dtype, device=counts.device) + 0.5) / L
        kernel = _masses(middles, torch.full_like(middles, bandwidth), L)  # (L, L)
        return counts @ kernel / counts.sum(2, keepdim=True)

    return law


def _masses(mean: Tensor, deviation: Tensor, levels: int) -> Tensor:
    """(..., L) masses of N(mean, deviation^2), both (...,), on the levels' intervals.

    Never 0, so that logarithms are finite.
    """
    edges = torch.arange(1, levels, dtype=mean.dtype, device=mean.device) / levels
    z = (edges - mean[..., None]) / deviation[..., None]  # (..., L - 1)
    below, above = torch.special.ndtr(z), torch.special.ndtr(-z)
    one = torch.ones_like(below[..., :1])
    start = torch.cat([0 * one, below], -1)  # mass below each interval
    lower = torch.cat([below, one], -1) - start
    upper = torch.cat([one, above], -1) - torch.cat([above, 0 * one], -1)
    # Equal but for the rounding next to 1, on opposite sides.
    masses = torch.where(start < 0.5, lower, upper).clamp_min(1e-300)
    return masses / masses.sum(-1, keepdim=True)


class GaussianMarginals(Marginals):
    """N(mean, variance + regularisation) of real values, by maximum likelihood."""

    means: Tensor  # (K, D) float64
    variances: Tensor  # (K, D) float64

    def __init__(self, classes: int, dimensions: int, regularisation: float) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(classes, dimensions, dtype=torch.float64))
        self.register_buffer("variances", torch.ones(classes, dimensions, dtype=torch.float64))
        self._regularisation = regularisation

    def fit(self, values: Tensor, y: Tensor) -> float:
        for c in range(len(self.means)):
            mine = values[members(y, c)]
            self.means[c] = mine.mean(0)
            self.variances[c] = mine.var(0, correction=0) + self._regularisation
        return 3.0 * values.numel()

    def log_prob(self, values: Tensor) -> Tensor:
        centred = values[:, None] - self.means  # (n, K, D)
        return -0.5 * (centred.square() / self.variances + self.variances.log() + math.log(2 * math.pi))

    def class_log_probs(self, values: Tensor) -> Tensor:
        # The square multiplied out, about a common centre so that little cancels: matrix products alone.
        centre = self.means.mean(0)
        v, means, precision = values - centre, self.means - centre, 1.0 / self.variances
        distances = v.square() @ precision.T - 2.0 * v @ (means * precision).T + (means.square() * precision).sum(1)
        return -0.5 * (distances + self.variances.log().sum(1) + self.means.shape[1] * math.log(2 * math.pi))

    def sample(self, y: Tensor, generator: Generator) -> Tensor:
        noise = standard_normal(len(y), self.means.shape[1], generator)
        return self.means[y] + self.variances[y].sqrt() * noise

    def expectation(self) -> Tensor:
        return self.means


class KernelMarginals(KeepsData, Marginals):
    """1/n sum_i N(c_i, bandwidth^2) over the class's n examples of real values."""

    sized_by_data = ("centres", "labels")
    centres: Tensor  # (n, D) float64
    labels: Tensor  # (n,) int64

    def __init__(self, classes: int, dimensions: int, bandwidth: float) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(1, dimensions, dtype=torch.float64))
        self.register_buffer("labels", torch.zeros(1, dtype=torch.int64))
        self._classes, self._bandwidth = classes, bandwidth

    def fit(self, values: Tensor, y: Tensor) -> float:
        self.centres, self.labels = values.clone(), y.clone()
        return float(values.numel())

    def log_prob(self, values: Tensor) -> Tensor:
        h = self._bandwidth
        joint = values.new_empty(len(values), self._classes, values.shape[1])
        for c in range(self._classes):
            mine = self.centres[members(self.labels, c)]  # (n_c, D)
            normaliser = math.log(len(mine)) + 0.5 * math.log(2 * math.pi * h**2)
            for d in range(values.shape[1]):
                column = slice(d, d + 1)
                joint[:, c, d] = log_kernel_sum(values[:, column], mine[:, column], h) - normaliser
        return joint

    def sample(self, y: Tensor, generator: Generator) -> Tensor:
        n, D = len(y), self.centres.shape[1]
        centres = torch.empty(n, D, dtype=torch.float64, device=y.device)
        for c in y.unique():
            mine, rows = self.centres[members(self.labels, int(c))], torch.nonzero(y == c).flatten()
            # Coordinates are independent: each takes an example of its own.
            chosen = torch.randint(len(mine), (len(rows), D), generator=generator, device=y.device)
            centres[rows] = mine.gather(0, chosen)
        noise = standard_normal(n, D, generator)
        return centres + self._bandwidth * noise

    def expectation(self) -> Tensor:
        return torch.stack([self.centres[members(self.labels, c)].mean(0) for c in range(self._classes)])


def members(y: Tensor, c: int) -> Tensor:
    """Rows (bool) of class c; all of them where it has none."""
    mine = y == c
    return mine if mine.any() else torch.ones_like(mine)
