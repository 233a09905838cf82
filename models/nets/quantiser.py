"""A codebook that follows what is assigned to it.

Glossary:
    e   codebook (codes, d): e_k the k-th vector
    N, m   running counts (codes,) and sums (codes, d) of the vectors assigned to each code
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn

_DEAD = 0.1  # share of an equal share of the assignments below which a code is dead
_SMOOTHING = 1e-5  # keeps an unused code's division finite


@dataclass(frozen=True)
class _NotedBatch:
    """A batch: vectors (n, d), their codes (n,), and for every code the row of the vector to restart it from."""

    vectors: Tensor
    indices: Tensor
    restarts: Tensor


class Codebook(nn.Module):
    """Vectors to the nearest of `codes` vectors of length d, which are exponential averages of their vectors:

        N_k <- gamma N_k + (1 - gamma) n_k,   m_k <- gamma m_k + (1 - gamma) sum of the batch's,   e_k = m_k / N_k

    (van den Oord et al., arXiv:1711.00937, appendix A.1). A code whose count falls under a tenth of an equal share is
    dead and starts again from a vector of the batch (Dhariwal et al., arXiv:2005.00341, section 3.1), with an equal
    share as its count, so that it does not restart at once. Counts begin at 0: the first batch places all codes.

    decay: gamma.
    """

    vectors: Tensor  # (codes, d) e
    counts: Tensor  # (codes,) N
    sums: Tensor  # (codes, d) m

    def __init__(self, codes: int, dimensions: int, *, decay: float) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("vectors", torch.randn(codes, dimensions))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, dimensions))
        self._noted: _NotedBatch | None = None  # between a loss and its `update` alone

    def nearest(self, z: Tensor) -> Tensor:
        """Indices (...) of the codes nearest to vectors z (..., d)."""
        flat = z.reshape(-1, z.shape[-1]).float()
        with torch.autocast(z.device.type, enabled=False):  # lower precision would find other codes than evaluation
            square = self.vectors.square().sum(1) - 2 * flat @ self.vectors.T  # (n, codes), less |z|^2
        return square.argmin(1).view(z.shape[:-1])

    def look_up(self, indices: Tensor) -> Tensor:
        """Vectors (..., d) of codes (...)."""
        return self.vectors[indices]

    def note(self, z: Tensor, indices: Tensor, generator: Generator) -> None:
        """Keeps a batch's vectors z (..., d) and their codes (...) for the next `update`."""
        flat = z.detach().reshape(-1, z.shape[-1])
        restarts = torch.randint(len(flat), (len(self.vectors),), generator=generator, device=z.device)
        self._noted = _NotedBatch(flat, indices.reshape(-1), restarts)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the codes after the batch that was noted, and restarts dead ones."""
        assert self._noted is not None, "update without a batch"
        z, indices, restarts = self._noted.vectors, self._noted.indices, self._noted.restarts
        self._noted = None
        rate = 1.0 - self.decay
        counts = torch.zeros_like(self.counts).index_add_(0, indices, torch.ones_like(indices, dtype=z.dtype))
        sums = torch.zeros_like(self.sums).index_add_(0, indices, z)
        self.counts.lerp_(counts, rate)
        self.sums.lerp_(sums, rate)
        equal = len(z) / len(self.counts)
        dead = self.counts < _DEAD * equal
        self.counts.copy_(torch.where(dead, equal, self.counts))
        self.sums.copy_(torch.where(dead[:, None], equal * z[restarts], self.sums))
        self.vectors.copy_(self.sums / self.counts.clamp_min(_SMOOTHING)[:, None])


def quantised(codebook: Codebook, z: Tensor, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors z (..., d) replaced by their codes' for a step of training, which the codebook notes for its `update`.

    Returns the codes' vectors (..., d), through which gradients pass to z as if they were equal; the mean squared
    distance that commits z to its codes; and the perplexity of the codes that these vectors use.

    References: van den Oord et al., arXiv:1711.00937, sections 3.2 and 4, equation 3.
    """
    k = codebook.nearest(z)
    codebook.note(z, k, generator)
    q = codebook.look_up(k)
    used = torch.bincount(k.flatten(), minlength=len(codebook.counts)) / k.numel()
    return z + (q - z).detach(), (z - q).square().mean(), torch.exp(torch.special.entr(used).sum())
