"""Beta-VAE: an autoencoder whose codes are held to a standard normal prior.

Glossary:
    z   codes (n, latent_dim), prior N(0, I)
    q(z|x)  the encoder's diagonal Gaussian
    p(x|z)  the decoder: a discretised logistic for each pixel, a Gaussian for each entry of a vector
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from .data_spec import DataSpec
from .layers import decoder_for, encoder_for
from .likelihoods import (
    discretised_logistic_log_prob,
    gaussian_kl,
    gaussian_log_prob,
    levels_of,
    sample_logistic,
    sum_per_example,
)

_LOG_SCALE_RANGE = (-6.0, 2.0)  # of the decoder; keeps a likelihood finite while training is young
_EVALUATION_DRAWS = 16  # codes drawn for each example when the bound is evaluated


class BetaVAE(GenerativeModel):
    """Minimises  -E_q(z|x) log p(x|z) + beta_t KL(q(z|x) || N(0, I)),  in nats divided by the dimensions of x.

    beta = 1 is the variational autoencoder (Kingma and Welling, arXiv:1312.6114, equation 3; Rezende et al.,
    arXiv:1401.4082); other values trade reconstruction against the prior (Higgins et al. 2017, "beta-VAE",
    ICLR, equation 4). beta_t rises linearly from 0 over `kl_warmup` of the full training (arXiv:1602.02282).
    p(x|z) has a learned mean and scale for every value, so that no weight between the two terms is hidden in
    a fixed variance (Rybkin et al., arXiv:2006.13202). The reported likelihood is the bound at beta = 1.

    learning_rate: of Adam. latent_dim: length of z. beta: weight of the KL term. kl_warmup: share of the full
    training. width: w; 2w channels at half resolution, 4w at a quarter; vectors have 4w hidden units.
    depth: blocks at each lower resolution; vectors have depth + 1 hidden layers. weight_decay: decoupled.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 4e-3,
        latent_dim: int = 8,
        beta: float = 1.0,
        kl_warmup: float = 0.1,
        width: int = 16,
        depth: int = 2,
        weight_decay: float = 1e-5,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.latent_dim = latent_dim
        self.beta = beta
        self.kl_warmup = kl_warmup
        self.weight_decay = weight_decay
        self.encoder = encoder_for(data, 2 * latent_dim, width=width, depth=depth, family="beta_vae")
        self.decoder = decoder_for(data, latent_dim, width=width, depth=depth, family="beta_vae", outputs_per_value=2)

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, weight_decay=self.weight_decay, decay="cosine", final_share=0.05)
        return (Stage("autoencoder", phases=(Phase("bound", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """The negative bound in nats per dimension; parts in nats per example."""
        mean, log_scale = self._posterior(batch.x)
        z = mean + torch.exp(log_scale) * _noise_like(mean, generator)  # (n, latent_dim)
        reconstruction = -self._decoder_log_prob(batch.x, z).mean()
        kl = sum_per_example(gaussian_kl(mean, log_scale)).mean()
        total = (reconstruction + self.current_beta * kl) / self.data.dimensions
        return Losses(total, {"reconstruction": reconstruction, "kl": kl})

    @property
    def current_beta(self) -> float:
        """beta_t at the present point of the full training."""
        if self.kl_warmup <= 0.0:
            return self.beta
        return self.beta * min(1.0, self.progress.fraction / self.kl_warmup)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        temperature: float = 1.0,
        output: str = "sample",
    ) -> Tensor:
        """n samples (n, *data.shape).

        temperature: deviation of the codes. output: "mean", the decoder's mean, or "sample", a draw from p(x|z);
        images are rounded to the lattice either way.
        """
        if output not in ("mean", "sample"):
            raise ValueError(f"output is {output!r}; wanted mean or sample")
        z = torch.randn(n, self.latent_dim, generator=generator, device=self.device)
        mean, log_scale = self._decode(temperature * z)
        if output == "mean":
            x = mean
        elif self.data.kind == "image":
            x = sample_logistic(mean, log_scale, generator)
        else:
            x = mean + torch.exp(log_scale) * _noise_like(mean, generator)
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, condition: Tensor | None = None) -> Likelihood:
        """The bound at beta = 1, its expectation over q(z|x) by 16 draws, its KL in closed form."""
        generator = self.evaluation_generator()
        mean, log_scale = self._posterior(x)
        draws = [
            self._decoder_log_prob(x, mean + torch.exp(log_scale) * _noise_like(mean, generator))
            for _ in range(_EVALUATION_DRAWS)
        ]
        bound = torch.stack(draws).mean(0) - sum_per_example(gaussian_kl(mean, log_scale))  # (n,)
        return Likelihood(bound, LikelihoodKind.ELBO, samples=_EVALUATION_DRAWS)

    def encode(self, x: Tensor) -> Tensor:
        """The mean of q(z|x): (n, latent_dim)."""
        return self._posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): (n, *data.shape); images in [-1, 1], not rounded, so that it has a derivative."""
        mean = self._decode(z)[0]
        return mean.clamp(-1.0, 1.0) if self.data.kind == "image" else mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """The decoder's mean at the encoder's mean; images on the lattice."""
        mean = self.decode(self.encode(x))
        return self.data.to_lattice(mean) if self.data.kind == "image" else mean

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-deviation of q(z|x), each (n, latent_dim)."""
        mean, log_scale = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_scale.clamp(-8.0, 4.0)

    def _decode(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-scale of p(x|z), each (n, *data.shape)."""
        mean, log_scale = self.decoder(z).float().chunk(2, dim=1)
        return mean, log_scale.clamp(*_LOG_SCALE_RANGE)

    def _decoder_log_prob(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z): (n,)."""
        mean, log_scale = self._decode(z)
        if self.data.kind == "vector":
            return sum_per_example(gaussian_log_prob(x, mean, log_scale))
        levels = self.data.to_levels(x)
        return sum_per_example(discretised_logistic_log_prob(levels, mean, log_scale, levels_of(self.data)))


def _noise_like(values: Tensor, generator: Generator) -> Tensor:
    return torch.randn(values.shape, generator=generator, device=values.device)
