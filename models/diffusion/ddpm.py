"""Denoising diffusion probabilistic models with classifier-free guidance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Generator, Tensor, nn

from ..base import Adam, Batch, GenerativeModel, Likelihood, LikelihoodKind, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import sum_per_example
from ..nets.sides import image_shape
from ..nets.unet import DenoisingMLP, UNet
from . import gaussian_diffusion as diffusion


class DDPM(GenerativeModel):
    """A network that removes Gaussian noise, trained at all noise levels at once.

    Images get a small U-Net, vectors a residual MLP. With labels the network is class-conditional; labels are
    dropped with `unconditional_probability`, so that one network also models p(x).

    References: Ho et al., arXiv:2006.11239; cosine schedule: arXiv:2102.09672; v-prediction: arXiv:2202.00512;
    DDIM: arXiv:2010.02502; classifier-free guidance: arXiv:2207.12598.
    """

    abar: Tensor
    limit: Tensor
    noise_levels = 16  # levels drawn per example for the likelihood bound

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 2e-3,
        schedule: str = "cosine",
        timesteps: int = 500,
        target: diffusion.Target = "v",
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
        unconditional_probability: float = 0.15,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.target: diffusion.Target = target
        self.unconditional_probability = unconditional_probability
        self.labels = data.classes
        self.register_buffer("abar", diffusion.SCHEDULES[schedule](timesteps))
        # Estimates of x_0 are clipped to the data's range while sampling; vectors' range is read off the train split.
        self.register_buffer("limit", torch.full(data.shape, 1.0 if data.kind == "image" else 10.0))
        self._variance: diffusion.Variance = "posterior" if data.kind == "image" else "forward"
        self._first = diffusion.first_level(self.abar, data.levels)
        embedding = 4 * width
        self.label_embedding = nn.Embedding(self.labels + 1, embedding)  # the last row: no label
        nn.init.normal_(self.label_embedding.weight, std=0.5)
        self.network: nn.Module
        if data.kind == "image":
            self.network = UNet(
                image_shape(data, "ddpm"), width=width, depth=depth, dropout=dropout, embedding=embedding
            )
        elif data.kind == "vector":
            self.network = DenoisingMLP(
                data.dimensions, width=4 * width, depth=2 * depth, dropout=dropout, embedding=embedding
            )
        else:
            raise ValueError(f"ddpm takes images and vectors, got {data.kind} data {data.name!r}")

    @property
    def timesteps(self) -> int:
        return self.abar.shape[0] - 1

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        training = Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),))
        if self.data.kind == "image":
            return (training,)
        return (Stage("range", fit=self._fit_range, depends_on=()), training)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean squared error of the predicted target at levels drawn uniformly from 1...T.

        References: Ho et al., arXiv:2006.11239, equation 14.
        """
        n = len(batch)
        t = torch.randint(1, self.timesteps + 1, (n,), generator=generator, device=batch.x.device)
        noise = torch.randn(batch.x.shape, generator=generator, device=batch.x.device)
        x_t = diffusion.diffuse(batch.x, noise, self.abar, t)
        labels = self._label_indices(n, batch.condition)
        dropped = torch.rand(n, generator=generator, device=batch.x.device) < self.unconditional_probability
        prediction = self._predict(x_t, t, torch.where(dropped, self.labels, labels))
        wanted = diffusion.target_of(self.target, batch.x, noise, self.abar, t)
        error = torch.mean((prediction - wanted) ** 2)
        return Losses(error, {"squared_error": error.detach()})

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        sampler: diffusion.Sampler = "ddim",
        steps: int = 25,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
    ) -> Tensor:
        """n samples; unconditional where `condition` is None, whatever the guidance scale."""
        x = torch.randn(n, *self.data.shape, generator=generator, device=self.device)
        labels = self._label_indices(n, condition)

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            x0 = self._guided_x0(x_t, t, labels, 0.0 if condition is None else guidance_scale)
            return torch.maximum(torch.minimum(x0, self.limit), -self.limit)

        with evaluating(self):
            x = diffusion.sample_chain(
                denoise,
                x,
                self.abar,
                sampler=sampler,
                steps=steps,
                eta=eta,
                variance=self._variance,
                generator=generator,
            )
        return self.data.to_lattice(x) if self.data.kind == "image" else x

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """The variational bound in nats: prior KL, KL of every step, and a decoder for the first level.

        With labels y (n,) a bound on log p(x|y). Without, one of the branch for no label, which is trained on few
        examples; a tighter one on log p(x) is `marginal_log_prob` of the classes' bounds.
        The sum over steps is estimated without bias from `samples` stratified noise levels per example.

        References: Ho et al., arXiv:2006.11239, equations 5 and 13.
        """
        x = batch.x
        labels = self._label_indices(len(batch), batch.condition)
        generator = self.evaluation_generator()

        def denoise(x_t: Tensor, t: Tensor) -> Tensor:
            x0 = diffusion.x0_from(self.target, self._predict(x_t, t, labels), x_t, self.abar, t)
            return x0.clamp(-1.0, 1.0) if self.data.kind == "image" else x0

        with evaluating(self):
            kl, drawn = diffusion.stratified_step_kl(
                denoise,
                x,
                self.abar,
                first=self._first + 1,
                count=self.noise_levels - 1,
                variance=self._variance,
                generator=generator,
            )
            decoded = self._decoder_log_prob(denoise, x, generator)
        bound = decoded - kl - diffusion.prior_kl(x, self.abar)
        return Likelihood(bound, LikelihoodKind.ELBO, samples=drawn + 1)

    def _decoder_log_prob(self, denoise: diffusion.Denoiser, x: Tensor, generator: Generator) -> Tensor:
        """log p(x_0 | x_t) (n,) at the first level: a Gaussian around the estimate, cut into bins for images."""
        t = torch.full((x.shape[0],), self._first, device=x.device)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        mean = denoise(diffusion.diffuse(x, noise, self.abar, t), t)
        deviation = diffusion.decoder_deviation(self.abar, self.data.levels)
        if self.data.levels is None:
            return sum_per_example(torch.distributions.Normal(mean, deviation).log_prob(x))
        k = self.data.to_levels(x)
        return sum_per_example(diffusion.discretised_gaussian_log_prob(k, mean, deviation, self.data.levels))

    def _guided_x0(self, x_t: Tensor, t: Tensor, labels: Tensor, scale: float) -> Tensor:
        """The guided estimate of x_0; the network runs once where one branch is enough."""
        none = torch.full_like(labels, self.labels)
        if scale == 0.0 or self.labels == 0:
            prediction = self._predict(x_t, t, none)
        elif scale == 1.0:
            prediction = self._predict(x_t, t, labels)
        else:
            both = self._predict(torch.cat((x_t, x_t)), torch.cat((t, t)), torch.cat((none, labels)))
            unconditional, conditional = both.chunk(2)
            prediction = diffusion.guide(unconditional, conditional, scale)
        return diffusion.x0_from(self.target, prediction, x_t, self.abar, t)

    def _fit_range(self, data: Batch, generator: Generator) -> float:
        """The largest magnitude of every number over the train split, and a tenth; returns the operations it took."""
        self.limit.copy_(1.1 * data.x.abs().amax(dim=0))
        return 2.0 * data.x.numel()

    def _predict(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        return self.network(x_t, t.to(x_t.dtype) / self.timesteps, self.label_embedding(labels))

    def _label_indices(self, n: int, condition: Tensor | None) -> Tensor:
        """Labels (n,) int64; the index of "no label" where there are none."""
        if condition is None or self.labels == 0:
            return torch.full((n,), self.labels, device=self.device)
        if condition.shape != (n,):
            raise ValueError(f"ddpm needs one label an example, shape ({n},), got {tuple(condition.shape)}")
        return condition.to(self.device)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode (no dropout) inside the block; the mode before it is restored."""
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)
