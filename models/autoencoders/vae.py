"""Variational autoencoder: an autoencoder whose codes have a standard normal prior.

Glossary:
    z   codes (n, latent_dim), prior N(0, I)
    q(z|x)  the encoder's diagonal Gaussian
    p(x|z)  the decoder: a distribution for each pixel or each entry of a vector (`decoder_likelihoods`)
    K   importance samples, or draws of a code, for each example
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import gaussian_kl, gaussian_log_prob, standard_normal_log_prob, sum_per_example
from ..nets.layers import Activation, decoder_for, encoder_for
from .decoder_likelihoods import likelihood_for

_BOUND_DRAWS = 16  # codes drawn for each example when the bound is evaluated
_IMPORTANCE_SAMPLES = 64


@dataclass(frozen=True)
class VariationalSettings:
    """What every variational autoencoder needs of its hyperparameters.

    learning_rate: of Adam.
    latent_dim: length of z.
    kl_warmup: share of the full training over which the KL term's weight rises from 0.
    pixels: "logistic" or "categorical", for images of more than two levels.
    width: w; 2w channels at half resolution, 4w at a quarter; vectors have 4w hidden units.
    depth: blocks at each lower resolution; vectors have depth + 1 hidden layers.
    weight_decay: decoupled.
    beta: weight of the KL term after the warm-up.
    """

    learning_rate: float
    latent_dim: int
    kl_warmup: float
    pixels: str
    width: int
    depth: int
    weight_decay: float
    beta: float = 1.0


class VariationalModel(GenerativeModel):
    """Minimises  -E_q(z|x) log p(x|z) + beta_t KL(q(z|x) || N(0, I)),  in nats divided by the dimensions of x.

    At beta = 1 that is the negative evidence lower bound (Kingma and Welling, arXiv:1312.6114, equation 3; Rezende et
    al., arXiv:1401.4082). beta_t rises linearly from 0 over `kl_warmup` of the full training (arXiv:1602.02282).
    p(x|z) has a learned scale for every value, so that no weight between the two terms is hidden in a fixed variance
    (Rybkin et al., arXiv:2006.13202). Whatever beta, the reported likelihood is of the model with beta = 1.

    A family's constructor takes its hyperparameters as keywords and hands them on as `settings`.
    """

    family: ClassVar[str]

    def __init__(self, data: DataSpec, settings: VariationalSettings) -> None:
        super().__init__(data)
        self.settings = settings
        self.latent_dim = latent_dim = settings.latent_dim
        width, depth = settings.width, settings.depth
        # On vectors the decoder has to part modes by steep slopes, which rectifiers learn in fewer steps of training.
        activation: Activation = nn.ReLU if data.kind == "vector" else nn.SiLU
        self.encoder = encoder_for(
            data, 2 * latent_dim, width=width, depth=depth, family=self.family, activation=activation
        )
        self.likelihood = likelihood_for(data, settings.pixels)
        self.decoder = decoder_for(
            data,
            latent_dim,
            width=width,
            depth=depth,
            family=self.family,
            outputs_per_value=self.likelihood.outputs_per_value,
            activation=activation,
        )

    def stages(self) -> tuple[Stage, ...]:
        rate, weight_decay = self.settings.learning_rate, self.settings.weight_decay
        optimiser = Adam(rate, weight_decay=weight_decay, decay="cosine", final_share=0.05)
        return (Stage("autoencoder", phases=(Phase("bound", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """The negative bound in nats per dimension; parts in nats per example."""
        mean, log_scale = self._posterior(batch.x)
        z = mean + torch.exp(log_scale) * _noise_like(mean, generator)  # (n, latent_dim)
        reconstruction = -self.likelihood.log_prob(self.decoder(z), batch.x).mean()
        kl = sum_per_example(gaussian_kl(mean, log_scale)).mean()
        total = (reconstruction + self.current_beta * kl) / self.data.dimensions
        return Losses(total, {"reconstruction": reconstruction, "kl": kl})

    @property
    def current_beta(self) -> float:
        """beta_t at the present point of the full training."""
        beta, warmup = self.settings.beta, self.settings.kl_warmup
        return beta if warmup <= 0.0 else beta * min(1.0, self.progress.fraction / warmup)

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
        if output == "sample":
            return self.likelihood.draw(self.decoder(temperature * z), generator)
        return self._on_lattice(self.decode(temperature * z))

    def log_likelihood(self, batch: Batch) -> Likelihood:
        """`importance_weighted` with K = 64."""
        return self.importance_weighted(batch.x)

    @torch.no_grad()
    def importance_weighted(self, x: Tensor, samples: int = _IMPORTANCE_SAMPLES) -> Likelihood:
        """A bound on log p(x): log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k from q(z|x).

        Its expectation grows with K from that of the evidence lower bound at K = 1 towards log p(x).

        References: Burda et al., arXiv:1509.00519, equation 8 and theorem 1.
        """
        if samples < 1:
            raise ValueError(f"{samples} importance samples; at least 1 is needed")
        generator = self.evaluation_generator()
        mean, log_scale = self._posterior(x)
        total = torch.full((len(x),), -math.inf, dtype=torch.float64, device=x.device)
        for _ in range(samples):
            z = mean + torch.exp(log_scale) * _noise_like(mean, generator)
            log_q = sum_per_example(gaussian_log_prob(z, mean, log_scale))
            log_weight = self.likelihood.log_prob(self.decoder(z), x) + standard_normal_log_prob(z) - log_q
            total = torch.logaddexp(total, log_weight.double())
        bound = (total - math.log(samples)).float()
        return Likelihood(bound, LikelihoodKind.IMPORTANCE_WEIGHTED, samples=samples)

    @torch.no_grad()
    def evidence_lower_bound(self, x: Tensor, samples: int = _BOUND_DRAWS) -> Likelihood:
        """The bound at beta = 1, its expectation over q(z|x) by K draws, its KL in closed form."""
        generator = self.evaluation_generator()
        mean, log_scale = self._posterior(x)
        draws = [
            self.likelihood.log_prob(
                self.decoder(mean + torch.exp(log_scale) * _noise_like(mean, generator)),
                x,
            )
            for _ in range(samples)
        ]
        bound = torch.stack(draws).mean(0) - sum_per_example(gaussian_kl(mean, log_scale))  # (n,)
        return Likelihood(bound, LikelihoodKind.ELBO, samples=samples)

    def encode(self, batch: Batch) -> Tensor:
        """The mean of q(z|x): (n, latent_dim)."""
        return self._posterior(batch.x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): (n, *data.shape); images in [-1, 1], not rounded, so that it has a derivative."""
        return self.likelihood.mean(self.decoder(z))

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """The decoder's mean at the encoder's mean; images on the lattice."""
        return self._on_lattice(self.decode(self.encode(batch)))

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-deviation of q(z|x), each (n, latent_dim)."""
        mean, log_scale = self.encoder(x).float().chunk(2, dim=1)
        return mean, log_scale.clamp(-8.0, 4.0)

    def _on_lattice(self, x: Tensor) -> Tensor:
        return self.data.to_lattice(x) if self.data.kind == "image" else x


class VAE(VariationalModel):
    """The variational autoencoder, beta = 1; the hyperparameters are those of `VariationalSettings`."""

    family = "vae"

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 4e-3,
        latent_dim: int = 8,
        kl_warmup: float = 0.1,
        pixels: str = "logistic",
        width: int = 16,
        depth: int = 2,
        weight_decay: float = 1e-5,
    ) -> None:
        settings = VariationalSettings(
            learning_rate=learning_rate,
            latent_dim=latent_dim,
            kl_warmup=kl_warmup,
            pixels=pixels,
            width=width,
            depth=depth,
            weight_decay=weight_decay,
        )
        super().__init__(data, settings)


def _noise_like(values: Tensor, generator: Generator) -> Tensor:
    return torch.randn(values.shape, generator=generator, device=values.device)
