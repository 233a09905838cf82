"""Histograms of real values: equal bins over the data's range, and a tail on either side.

Glossary: models/marginals.py. Bin 0 is the lower tail, 1...B are the bins, B + 1 is the upper tail.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from .marginals import Marginals, members


class Edges(nn.Module):
    """Where the bins of each coordinate lie: the first and last are centred on the smallest and largest value fitted.

    Tails are exponential with the bins' width as their scale, so that the density is positive everywhere.
    """

    low: Tensor  # (D,) float64
    width: Tensor  # (D,) float64

    def __init__(self, dimensions: int, bins: int) -> None:
        super().__init__()
        if bins < 2:
            raise ValueError(f"bins is {bins}; at least 2 are needed")
        self.register_buffer("low", torch.zeros(dimensions, dtype=torch.float64))
        self.register_buffer("width", torch.ones(dimensions, dtype=torch.float64))
        self.bins = bins

    def fit(self, values: Tensor) -> None:
        smallest, largest = values.min(0).values, values.max(0).values
        width = (largest - smallest) / (self.bins - 1)
        self.width.copy_(torch.where(width > 0, width, 1.0))
        self.low.copy_(smallest - self.width / 2)

    def place(self, values: Tensor) -> Tensor:
        """The bin of each value, int64 (n, D)."""
        return ((values - self.low) / self.width).floor().clamp(-1, self.bins).long() + 1

    def log_within(self, values: Tensor) -> Tensor:
        """Log-density of each value given its bin, (n, D): uniform in a bin, exponential in a tail."""
        steps = (values - self.low) / self.width
        beyond = torch.maximum(-steps, steps - self.bins).clamp_min(0.0)
        return -beyond - self.width.log()

    def draw(self, places: Tensor, generator: Generator) -> Tensor:
        """Values (n, D) within the bins `places`."""
        share = torch.rand(places.shape, dtype=torch.float64, generator=generator, device=places.device)
        beyond = -torch.log1p(-share)
        steps = torch.where(
            places == 0, -beyond, torch.where(places > self.bins, self.bins + beyond, places - 1 + share)
        )
        return self.low + self.width * steps

    def middles(self) -> Tensor:
        """(B + 2, D) expected values within each bin."""
        steps = torch.arange(self.bins + 2, dtype=torch.float64, device=self.low.device) - 0.5
        steps[0], steps[-1] = -1.0, self.bins + 1.0  # the tails' means
        return self.low + steps[:, None] * self.width


class BinnedMarginals(Marginals):
    """A histogram for each class and coordinate; the classes share their edges."""

    log_mass: Tensor  # (K, D, B + 2) float64

    def __init__(self, classes: int, dimensions: int, *, bins: int, pseudocount: float) -> None:
        super().__init__()
        self.edges = Edges(dimensions, bins)
        self.register_buffer("log_mass", torch.zeros(classes, dimensions, bins + 2, dtype=torch.float64))
        self._pseudocount = pseudocount

    def fit(self, values: Tensor, y: Tensor) -> float:
        self.edges.fit(values)
        places = self.edges.place(values)  # (n, D)
        for c in range(len(self.log_mass)):
            counts = nn.functional.one_hot(places[members(y, c)], self.log_mass.shape[2]).sum(0)  # (D, B + 2)
            smoothed = counts + self._pseudocount
            self.log_mass[c] = (smoothed / smoothed.sum(1, keepdim=True)).log()
        return float(values.numel() + self.log_mass.numel())

    def log_prob(self, values: Tensor) -> Tensor:
        coordinates = torch.arange(values.shape[1], device=values.device)
        masses = self.log_mass[:, coordinates, self.edges.place(values)].transpose(0, 1)
        return masses + self.edges.log_within(values)[:, None]

    def sample(self, y: Tensor, generator: Generator) -> Tensor:
        places = torch.empty(len(y), self.log_mass.shape[1], dtype=torch.int64, device=y.device)
        for c in y.unique():
            rows = torch.nonzero(y == c).flatten()
            places[rows] = torch.multinomial(self.log_mass[c].exp(), len(rows), replacement=True, generator=generator).T
        return self.edges.draw(places, generator)

    def expectation(self) -> Tensor:
        return (self.log_mass.exp() * self.edges.middles().T).sum(2)


class JointBins(nn.Module):
    """A histogram of the plane: (B + 2)^2 cells."""

    log_mass: Tensor  # (B + 2, B + 2) float64

    def __init__(self, *, bins: int, pseudocount: float) -> None:
        super().__init__()
        self.edges = Edges(2, bins)
        self.register_buffer("log_mass", torch.zeros(bins + 2, bins + 2, dtype=torch.float64))
        self._pseudocount = pseudocount

    def fit(self, values: Tensor) -> float:
        self.edges.fit(values)
        first, second = self.edges.place(values).unbind(1)
        side = len(self.log_mass)
        counts = torch.bincount(first * side + second, minlength=side**2).view(side, side)
        smoothed = counts.to(torch.float64) + self._pseudocount
        self.log_mass.copy_((smoothed / smoothed.sum()).log())
        return float(values.numel() + self.log_mass.numel())

    def log_prob(self, values: Tensor) -> Tensor:
        """(n,) log-density in nats."""
        first, second = self.edges.place(values).unbind(1)
        return self.log_mass[first, second] + self.edges.log_within(values).sum(1)

    def sample(self, n: int, generator: Generator) -> Tensor:
        side = len(self.log_mass)
        cells = torch.multinomial(self.log_mass.exp().flatten(), n, replacement=True, generator=generator)
        return self.edges.draw(torch.stack([cells // side, cells % side], dim=1), generator)

    def complete(self, values: Tensor, missing: Tensor) -> Tensor:
        """E[value | the other coordinate's bin] where missing; where both are, the mean."""
        mass, middles, places = self.log_mass.exp(), self.edges.middles(), self.edges.place(values)
        means = []
        for d, table in enumerate((mass.T, mass)):  # rows: the other coordinate's bin; columns: this one's
            given = table @ middles[:, d] / table.sum(1)  # (B + 2,)
            overall = table.sum(0) @ middles[:, d]
            means.append(torch.where(missing[:, 1 - d], overall, given[places[:, 1 - d]]))
        return torch.where(missing, torch.stack(means, dim=1), values)
