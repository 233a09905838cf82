"""What an evaluator of unlabelled images learns to tell: examples as they are from examples that were changed.

To rebuild images from few features, a network needs little more than their principal components, which a Gaussian of
the same covariance has as well: such features hardly tell its samples from data. Telling changed examples apart takes
what principal components leave out: edges, texture, and which parts go together.

References: Gutmann and Hyvärinen, "Noise-contrastive estimation", AISTATS 2010, section 2 (to learn a density is to
tell data from something else); Doersch and Zisserman, arXiv:1708.07860 (several such tasks on one network); Noroozi and
Favaro, arXiv:1603.09246 (shuffled parts).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

KINDS = ("as it is", "upside down", "quarters shuffled", "blurred", "noisy", "two laid over each other", "two halves")
_LEAST_NOISE, _MOST_NOISE = 0.05, 0.5  # of the examples' deviation


def changed(x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Images x (n, C, H, W), each changed in one way or left as it is, and the number of its way in `KINDS` (n,).

    Draws from a CPU generator, so that all devices see the same.
    """
    n = len(x)
    kinds = torch.randint(len(KINDS), (n,), generator=generator, device=generator.device).to(x.device)
    other = x[torch.randperm(n, generator=generator, device=generator.device).to(x.device)]
    every = torch.stack(
        (x, x.flip(2), _shuffled(x, generator), _blurred(x), _noisy(x, generator), (x + other) / 2, _halves(x, other))
    )
    return every[kinds, torch.arange(n, device=x.device)].clamp(-1.0, 1.0), kinds


def _shuffled(x: Tensor, generator: Generator) -> Tensor:
    """The quarters of each image in a drawn order; of an odd side the last row or column stays."""
    n, half, across = len(x), x.shape[2] // 2, x.shape[3] // 2
    corners = [(row, column) for row in (0, half) for column in (0, across)]
    quarters = torch.stack([x[:, :, i : i + half, j : j + across] for i, j in corners], dim=1)  # (n, 4, C, h, w)
    order = torch.rand(n, 4, generator=generator, device=generator.device).argsort(1).to(x.device)
    drawn = quarters[torch.arange(n, device=x.device)[:, None], order]
    out = x.clone()
    for place, (i, j) in enumerate(corners):
        out[:, :, i : i + half, j : j + across] = drawn[:, place]
    return out


def _blurred(x: Tensor) -> Tensor:
    """The mean over each pixel's 3 x 3 neighbours; the edges' pixels are repeated beyond them."""
    return F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _noisy(x: Tensor, generator: Generator) -> Tensor:
    """With normal noise of a deviation that is drawn for each image."""
    n = len(x)
    draws = torch.rand(n, 1, 1, 1, generator=generator, device=generator.device).to(x.device)
    noise = torch.randn(x.shape, generator=generator, device=generator.device).to(x.device)
    return x + x.std() * _LEAST_NOISE * (_MOST_NOISE / _LEAST_NOISE) ** draws * noise


def _halves(x: Tensor, other: Tensor) -> Tensor:
    """The left half of one image and the right half of another."""
    across = x.shape[3] // 2
    return torch.cat((x[..., :across], other[..., across:]), dim=3)
