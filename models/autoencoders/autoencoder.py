"""Autoencoder, made generative by a density of its codes.

Glossary:
    f   the encoder, codes z = f(x) of shape (n, latent_dim);  g  the decoder
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..nets.layers import decoder_for, encoder_for, he_initialise
from .code_density import CodeDensity

_CHUNK = 500  # examples encoded at a time


@dataclass(frozen=True)
class AutoencoderSettings:
    """What every autoencoder with a fitted density of its codes needs of its hyperparameters.

    learning_rate: of Adam.
    latent_dim: length of z (Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647).
    code_density: "gaussian", or "mixture" of `components` Gaussians.
    width: w; 2w channels at half resolution, 4w at a quarter; vectors have 4w hidden units.
    depth: blocks at each lower resolution; vectors have depth + 1 hidden layers.
    weight_decay: decoupled.
    """

    learning_rate: float
    latent_dim: int
    code_density: str
    components: int
    width: int
    depth: int
    weight_decay: float


class AutoencoderModel(GenerativeModel):
    """First minimises |g(f(x)) - x|^2 per dimension, then fits p(z) to the codes of the train split.

    No prior constrains the codes; sampling draws z from the fitted density and decodes it (Ghosh et al.,
    arXiv:1903.12436, section 4, "ex-post density estimation"). There is no likelihood of x.

    A family's constructor takes its hyperparameters as keywords and hands the common ones on as `settings`.
    """

    family: ClassVar[str]
    first_stage: ClassVar[tuple[str, ...]] = ("learning_rate", "latent_dim", "width", "depth", "weight_decay")

    def __init__(self, data: DataSpec, settings: AutoencoderSettings) -> None:
        super().__init__(data)
        self.settings = settings
        self.latent_dim = latent_dim = settings.latent_dim
        width, depth = settings.width, settings.depth
        self.encoder = encoder_for(data, latent_dim, width=width, depth=depth, family=self.family)
        self.decoder = decoder_for(data, latent_dim, width=width, depth=depth, family=self.family)
        he_initialise(self.encoder)
        he_initialise(self.decoder)
        self.density = CodeDensity(latent_dim, kind=settings.code_density, components=settings.components)

    def stages(self) -> tuple[Stage, ...]:
        rate, weight_decay = self.settings.learning_rate, self.settings.weight_decay
        optimiser = Adam(rate, weight_decay=weight_decay, decay="cosine", final_share=0.05)
        networks = (*self.encoder.parameters(), *self.decoder.parameters())
        return (
            Stage(
                "autoencoder",
                phases=(Phase("reconstruction", networks, self.loss, optimiser),),
                depends_on=self.first_stage,
            ),
            Stage("code density", fit=self.fit_codes),
        )

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """The mean squared error of a reconstruction from `corrupted` examples."""
        output = self.decoder(self.encoder(self.corrupted(batch.x, generator)))
        return Losses((output.float() - batch.x).square().mean())

    def corrupted(self, x: Tensor, generator: Generator) -> Tensor:
        """The encoder's input in training; families may add noise to the examples, here they are unchanged."""
        return x

    @torch.no_grad()
    def fit_codes(self, data: Batch, generator: Generator) -> float:
        """Fits the density to the codes of uncorrupted examples; returns the operations of the fit."""
        self.eval()
        parts = [self.encode(data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK)]
        return self.density.fit(torch.cat(parts), generator)

    @torch.no_grad()
    def sample(
        self, n: int, *, condition: Tensor | None = None, generator: Generator, temperature: float = 1.0
    ) -> Tensor:
        """n samples (n, *data.shape), images rounded to the lattice; temperature: of the code density."""
        return self._on_lattice(self.decode(self.density.draw(n, generator, temperature=temperature)))

    def draw_codes(self, n: int, generator: Generator) -> Tensor:
        """n codes (n, latent_dim) from the fitted density."""
        return self.density.draw(n, generator)

    def encode(self, batch: Batch) -> Tensor:
        """f(x): (n, latent_dim)."""
        return self.encoder(batch.x).float()

    def decode(self, z: Tensor) -> Tensor:
        """g(z): (n, *data.shape); images in [-1, 1], not rounded, so that it has a derivative."""
        x = self.decoder(z).float()
        return x.clamp(-1.0, 1.0) if self.data.kind == "image" else x

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """g(f(x)); images on the lattice."""
        return self._on_lattice(self.decode(self.encode(batch)))

    def _on_lattice(self, x: Tensor) -> Tensor:
        return self.data.to_lattice(x) if self.data.kind == "image" else x


class Autoencoder(AutoencoderModel):
    """The plain autoencoder; the hyperparameters are those of `AutoencoderSettings`."""

    family = "autoencoder"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        latent_dim: int = 8,
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
