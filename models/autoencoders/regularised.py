"""An autoencoder whose codes another model is to learn: by weak variational noise, or by a codebook.

Glossary:
    z   codes (n, T, d), d numbers at each of T places (`place_networks`)
    q(z|x)  a diagonal Gaussian around the encoder's output
    p(x|z)  the decoder: a distribution for each pixel or each entry of a vector (`decoder_likelihoods`)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from ..base import Losses
from ..data_spec import DataSpec
from ..likelihoods import gaussian_kl, sum_per_example
from ..nets.place_networks import place_networks, places_of
from ..nets.quantiser import Codebook, quantised
from .decoder_likelihoods import likelihood_for

Regularisation = Literal["kl", "vq"]

_COMMITMENT = 0.25  # arXiv:1711.00937, section 3.2
_CODEBOOK_DECAY = 0.97


@dataclass(frozen=True)
class RegularisedSettings:
    """regularisation: "kl" or "vq". channels: d. downsampling: 2 or 4, an image's sides by those of its map of codes.

    kl_weight: of the KL divergence from N(0, I), for "kl". codes: length of the codebook, for "vq".
    pixels: as `likelihood_for`. width, depth: as `place_networks`.
    """

    regularisation: Regularisation
    channels: int
    downsampling: int
    kl_weight: float
    codes: int
    pixels: str
    width: int
    depth: int


class RegularisedAutoencoder(nn.Module):
    """Codes that stay near N(0, I), or near the vectors of a codebook:

        kl   -E_q(z|x) log p(x|z) + kl_weight KL(q(z|x) || N(0, I)),  in nats divided by the dimensions of x
        vq   as `VQVAE`, where z is the encoder's output and the decoder begins with the step to the nearest code

    References: Rombach et al., arXiv:2112.10752, section 3.1.

    Raises ValueError for another regularisation, and for data that its networks cannot take.
    """

    def __init__(self, data: DataSpec, settings: RegularisedSettings, family: str) -> None:
        super().__init__()
        if settings.regularisation not in ("kl", "vq"):
            raise ValueError(f"regularisation is {settings.regularisation!r}; wanted kl or vq")
        self.dimensions, self.channels, self.kl_weight = data.dimensions, settings.channels, settings.kl_weight
        self.rows, self.columns = places_of(data, settings.downsampling, family)
        self.likelihood = likelihood_for(data, settings.pixels)
        variational = settings.regularisation == "kl"
        self.encoder, self.decoder = place_networks(
            data,
            written=2 * self.channels if variational else self.channels,
            read=self.channels,
            outputs_per_value=self.likelihood.outputs_per_value,
            downsampling=settings.downsampling,
            width=settings.width,
            depth=settings.depth,
            family=family,
        )
        self.codebook = None if variational else Codebook(settings.codes, self.channels, decay=_CODEBOOK_DECAY)

    def loss(self, x: Tensor, generator: Generator) -> Losses:
        """In nats per dimension of x; parts in nats per example, `perplexity` of the codes that the batch uses."""
        if self.codebook is not None:
            q, commitment, perplexity = quantised(self.codebook, self.encoder(x).float(), generator)
            reconstruction = -self.likelihood.log_prob(self.decoder(q), x).mean()
            total = reconstruction / self.dimensions + _COMMITMENT * commitment
            parts = {"reconstruction": reconstruction, "commitment": commitment, "perplexity": perplexity}
            return Losses(total, parts)
        mean, log_scale = self.gaussian(x)
        assert log_scale is not None
        z = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
        reconstruction = -self.likelihood.log_prob(self.decoder(z), x).mean()
        kl = sum_per_example(gaussian_kl(mean, log_scale)).mean()
        total = (reconstruction + self.kl_weight * kl) / self.dimensions
        return Losses(total, {"reconstruction": reconstruction, "kl": kl})

    def after_step(self) -> None:
        """To be called after each optimiser step: moves the codebook."""
        if self.codebook is not None:
            self.codebook.update()

    def gaussian(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Mean and log-deviation of q(z|x), each (n, T, d); with a codebook no deviation."""
        output = self.encoder(x).float()
        if self.codebook is not None:
            return output, None
        mean, log_scale = output.chunk(2, dim=2)
        return mean, log_scale.clamp(-8.0, 4.0)

    def raw(self, z: Tensor) -> Tensor:
        """The decoder's output for codes z (n, T, d), as `likelihood` takes it."""
        return self.decoder(z if self.codebook is None else self.codebook.look_up(self.codebook.nearest(z)))
