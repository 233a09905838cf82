"""Denoising autoencoder: an autoencoder that removes noise from its input."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..data_spec import DataSpec
from .autoencoder import AutoencoderModel, AutoencoderSettings


class DenoisingAutoencoder(AutoencoderModel):
    """Minimises |g(f(x + noise e)) - x|^2 per dimension, e ~ N(0, I); the density is fitted to codes of clean examples.

    The best such map moves a noisy example towards more probable ones, by noise^2 times the score (Alain and Bengio,
    arXiv:1211.4246, theorem 1), so the codes keep structure that is robust to noise.

    noise: deviation, in units of x: images span [-1, 1], vectors have deviation 1. Others: as in `AutoencoderSettings`.

    References: Vincent et al. 2008, doi:10.1145/1390156.1390294; Gaussian noise, Vincent et al. 2010, JMLR 11.
    """

    family = "denoising_autoencoder"
    first_stage = (*AutoencoderModel.first_stage, "noise")

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
        settings = AutoencoderSettings(
            learning_rate=learning_rate,
            latent_dim=latent_dim,
            code_density=code_density,
            components=components,
            width=width,
            depth=depth,
            weight_decay=weight_decay,
        )
        super().__init__(data, settings)
        self.noise = noise

    def corrupted(self, x: Tensor, generator: Generator) -> Tensor:
        """x with Gaussian noise of deviation `noise`."""
        return x + self.noise * torch.randn(x.shape, generator=generator, device=x.device)
