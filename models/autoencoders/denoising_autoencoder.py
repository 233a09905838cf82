"""Denoising autoencoder: an autoencoder that has to undo noise."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..data_spec import DataSpec
from .autoencoder import Autoencoder


class DenoisingAutoencoder(Autoencoder):
    """Minimises |g(f(x + noise e)) - x|^2 per dimension, e ~ N(0, I); the density is fitted to codes of clean examples.

    The best such map moves a noisy example towards more probable ones, by noise^2 times the score (Alain and Bengio,
    arXiv:1211.4246, theorem 1), so the codes keep what noise cannot fake.

    noise: deviation, in units of x: images span [-1, 1], vectors have deviation 1. Others: as `Autoencoder`.

    References: Vincent et al. 2008, doi:10.1145/1390156.1390294; Gaussian noise, Vincent et al. 2010, JMLR 11.
    """

    family: ClassVar[str] = "denoising_autoencoder"
    training_settings: ClassVar[tuple[str, ...]] = (*Autoencoder.training_settings, "noise")

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        latent_dim: int = 8,
        noise: float = 0.1,
        code_density: str = "mixture",
        components: int = 10,
        width: int = 16,
        depth: int = 2,
        weight_decay: float = 1e-5,
    ) -> None:
        super().__init__(
            data,
            learning_rate=learning_rate,
            latent_dim=latent_dim,
            code_density=code_density,
            components=components,
            width=width,
            depth=depth,
            weight_decay=weight_decay,
        )
        self.noise = noise

    def corrupted(self, x: Tensor, generator: Generator) -> Tensor:
        """x with Gaussian noise of deviation `noise`."""
        return x + self.noise * torch.randn(x.shape, generator=generator, device=x.device)
