"""Latent diffusion: a diffusion of an autoencoder's codes.

Glossary:
    z   codes (n, T, d) of the first stage; for images a map of T = H/f x W/f places with d channels
    u   standardised codes, (n, T d) = `latent_dim` numbers, which the second stage learns
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ..autoencoders.regularised import Regularisation, RegularisedAutoencoder, RegularisedSettings
from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import sum_per_example
from ..nets.unet import DenoisingMLP, UNet
from .denoising_diffusion import DenoisingDiffusion, DiffusionSettings
from .label_guidance import LabelledNetwork
from .samplers import Sampler

_FIRST_STAGE = (
    "learning_rate",
    "regularisation",
    "latent_channels",
    "downsampling",
    "kl_weight",
    "codes",
    "pixels",
    "width",
    "depth",
)
_CHUNK = 500  # examples encoded at a time
_TIMESTEPS = 500
_OWN_NOISE = 0.05  # deviation of q where a codebook leaves it without, in units of the codes'


class LatentDiffusion(GenerativeModel):
    """Rombach et al., "High-resolution image synthesis with latent diffusion models", arXiv:2112.10752.

    autoencoder   `RegularisedAutoencoder`: p(x|z) and q(z|x)
    scale         mean and deviation of the codes of the train split, of each channel (of vectors of each number)
    diffusion     of standardised codes, as `DenoisingDiffusion` with v for its target: a U-Net over an image's map, a
                  residual MLP for vectors; with labels class-conditional, labels dropped for guidance

    Half of the training's steps goes to the autoencoder, half to the diffusion.

    learning_rate, width, depth, pixels, regularisation, kl_weight, codes, downsampling: of the autoencoder, see
    `RegularisedSettings`. latent_channels: d. diffusion_learning_rate, diffusion_width, diffusion_depth, dropout,
    schedule, unconditional_probability: of the diffusion, as in `usual_network` and `DiffusionSettings`.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 3e-3,
        regularisation: Regularisation = "kl",
        latent_channels: int = 4,
        downsampling: int = 2,
        kl_weight: float = 0.1,
        codes: int = 256,
        pixels: str = "logistic",
        width: int = 16,
        depth: int = 2,
        diffusion_learning_rate: float = 2e-3,
        schedule: str = "cosine",
        diffusion_width: int = 32,
        diffusion_depth: int = 1,
        dropout: float = 0.0,
        unconditional_probability: float = 0.15,
    ) -> None:
        super().__init__(data)
        self.learning_rate, self.diffusion_learning_rate = learning_rate, diffusion_learning_rate
        settings = RegularisedSettings(
            regularisation=regularisation,
            channels=latent_channels,
            downsampling=downsampling,
            kl_weight=kl_weight,
            codes=codes,
            pixels=pixels,
            width=width,
            depth=depth,
        )
        # First, so that its initial weights depend on its own hyperparameters alone, and its trainings can be shared.
        self.autoencoder = RegularisedAutoencoder(data, settings, "latent_diffusion")
        shape = (latent_channels, self.autoencoder.rows, self.autoencoder.columns)
        self.latent_dim = math.prod(shape)
        scale_shape = (1 if data.kind == "image" else self.latent_dim // latent_channels, latent_channels)
        self.register_buffer("centre", torch.zeros(scale_shape))
        self.register_buffer("spread", torch.ones(scale_shape))
        codes_spec = DataSpec("codes", "vector", (self.latent_dim,), condition=data.condition)
        embedding = 4 * diffusion_width

        def body() -> nn.Module:
            if data.kind == "image":
                sizes = {"width": diffusion_width, "depth": diffusion_depth}
                return _OnMaps(shape, UNet(shape, **sizes, dropout=dropout, embedding=embedding))
            sizes = {"width": 4 * diffusion_width, "depth": 2 * diffusion_depth}
            return DenoisingMLP(self.latent_dim, **sizes, dropout=dropout, embedding=embedding)

        network = LabelledNetwork(codes_spec, body, embedding=embedding, family="latent_diffusion")
        diffusion = DiffusionSettings(
            learning_rate=diffusion_learning_rate,
            schedule=schedule,
            timesteps=_TIMESTEPS,
            target="v",
            weighting="simple",
            unconditional_probability=unconditional_probability,
        )
        self.diffusion = DenoisingDiffusion(codes_spec, network, diffusion)

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, decay="cosine", final_share=0.05)
        first = Phase(
            "autoencoder", self.autoencoder.parameters(), self.loss, optimiser, after=self.autoencoder.after_step
        )
        optimiser = Adam(self.diffusion_learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        second = Phase("diffusion", self.diffusion.parameters(), self.diffusion_loss, optimiser)
        return (
            Stage("autoencoder", phases=(first,), share=0.5, depends_on=_FIRST_STAGE),
            Stage("scale", fit=self.fit_scale, depends_on=_FIRST_STAGE),
            Stage("diffusion", phases=(second,), share=0.5),
        )

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Of the first stage."""
        return self.autoencoder.loss(batch.x, generator)

    def diffusion_loss(self, batch: Batch, generator: Generator) -> Losses:
        """The diffusion's, of a draw of each example's codes; the autoencoder stays as it is."""
        with torch.no_grad():
            u, _ = self._drawn(batch.x, generator)
        return self.diffusion.loss(Batch(u, batch.condition), generator)

    @torch.no_grad()
    def fit_scale(self, data: Batch, generator: Generator) -> None:
        """Mean and deviation of the codes of the train split, and the range of the standardised ones.

        References: Rombach et al., arXiv:2112.10752, appendix G, there one deviation for all channels.
        """
        self.eval()
        chunks = [data.x[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
        known = [self.autoencoder.gaussian(x) for x in chunks]
        mean = torch.cat([mean for mean, _ in known])  # (n, T, d)
        noise = [log_scale.exp() for _, log_scale in known if log_scale is not None]
        together = (0, 1) if len(self.centre) == 1 else (0,)
        variance = mean.var(together, correction=0, keepdim=True)[0]
        if noise:
            variance = variance + torch.cat(noise).square().mean(together, keepdim=True)[0]
        self.centre.copy_(mean.mean(together, keepdim=True)[0])
        self.spread.copy_(torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)))
        drawn = torch.cat([self._drawn(x, generator)[0] for x in chunks])
        self.diffusion.fit_range(Batch(drawn), generator)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        sampler: Sampler = "ddim",
        steps: int = 25,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        guidance_low: float = 0.0,
        guidance_high: float = 1.0,
        output: str = "sample",
    ) -> Tensor:
        """n samples (n, *data.shape); unconditional where `condition` is None, whatever the guidance.

        guidance_scale, guidance_low, guidance_high: as in `Guidance`.
        output: "mean", the decoder's mean, or "sample", a draw from p(x|z); images are rounded to the lattice.
        """
        if output not in ("mean", "sample"):
            raise ValueError(f"output is {output!r}; wanted mean or sample")
        u = self.diffusion.sample(
            n,
            condition=condition,
            generator=generator,
            sampler=sampler,
            steps=steps,
            eta=eta,
            guidance_scale=guidance_scale,
            guidance_low=guidance_low,
            guidance_high=guidance_high,
        )
        if output == "sample":
            return self.autoencoder.likelihood.draw(self._raw(u), generator)
        return self._on_lattice(self.decode(u))

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """A bound on log p(x), of p(x|y) with labels, by one draw of u from q(u|x):

            E_q [log p(x|u) - log q(u|x) + log p(u)],   with the diffusion's variational bound for log p(u)

        It holds for any q. With a codebook, whose codes have no noise, q has a deviation of its own: 0.05 of theirs.

        References: Vahdat et al., arXiv:2106.05931, equation 1.
        """
        generator = self.evaluation_generator()
        self.diffusion.evaluation_seed = self.evaluation_seed
        u, log_scale = self._drawn(batch.x, generator)
        entropy = sum_per_example(log_scale + 0.5 * math.log(2.0 * math.pi * math.e))
        reconstruction = self.autoencoder.likelihood.log_prob(self._raw(u), batch.x)
        prior = self.diffusion.log_likelihood(Batch(u, batch.condition))
        return Likelihood(reconstruction + entropy + prior.log_prob, LikelihoodKind.ELBO, samples=prior.samples)

    def encode(self, batch: Batch) -> Tensor:
        """The mean of q(z|x), standardised: (n, latent_dim)."""
        return self._standardised(self.autoencoder.gaussian(batch.x)[0])

    def decode(self, z: Tensor) -> Tensor:
        """The mean of p(x|z) of standardised codes (n, latent_dim): (n, *data.shape); images are not rounded."""
        return self.autoencoder.likelihood.mean(self._raw(z))

    @torch.no_grad()
    def draw_codes(self, n: int, generator: Generator) -> Tensor:
        """n codes (n, latent_dim) from the diffusion, as `decode` takes them."""
        return self.diffusion.sample(n, generator=generator)

    @torch.no_grad()
    def reconstruct(self, batch: Batch) -> Tensor:
        """The decoder's mean at the encoder's mean; images on the lattice."""
        return self._on_lattice(self.decode(self.encode(batch)))

    def _drawn(self, x: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """A draw from q(u|x) (n, latent_dim), and the log of q's deviation."""
        mean, log_scale = self.autoencoder.gaussian(x)
        if log_scale is None:
            log_scale = (_OWN_NOISE * self.spread).log().expand_as(mean)
        z = mean + log_scale.exp() * torch.randn(mean.shape, generator=generator, device=mean.device)
        return self._standardised(z), (log_scale - self.spread.log()).flatten(1)

    def _standardised(self, z: Tensor) -> Tensor:
        """Codes (n, T, d) to (n, latent_dim)."""
        return ((z - self.centre) / self.spread).flatten(1)

    def _raw(self, u: Tensor) -> Tensor:
        """The decoder's output for standardised codes (n, latent_dim)."""
        z = u.unflatten(1, (-1, self.autoencoder.channels))
        return self.autoencoder.raw(self.centre + self.spread * z)

    def _on_lattice(self, x: Tensor) -> Tensor:
        return self.data.to_lattice(x) if self.data.kind == "image" else x


class _OnMaps(nn.Module):
    """A network of maps (n, d, rows, columns) as one of their numbers (n, T d), place after place."""

    def __init__(self, shape: tuple[int, int, int], network: nn.Module) -> None:
        super().__init__()
        self.shape, self.network = shape, network

    def forward(self, u: Tensor, t: Tensor, condition: Tensor) -> Tensor:
        channels, rows, columns = self.shape
        maps = u.view(-1, rows, columns, channels).permute(0, 3, 1, 2)
        return self.network(maps, t, condition).permute(0, 2, 3, 1).flatten(1)
