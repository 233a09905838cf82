"""Score matching on a continuous variance-preserving diffusion."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, Losses, Phase, Stage
from ..data_spec import DataSpec
from .flow_density import as_data, continuous, flow_likelihood, solver_of
from .label_guidance import Guidance, evaluating, usual_network
from .samplers import Sampler, sample_chain

Weighting = Literal["variance", "likelihood"]

_SLOWEST, _FASTEST = 0.1, 20.0  # beta at t = 0 and 1; arXiv:2011.13456, appendix C
_EARLIEST = 1e-4  # the least t; before it the score of data on a few points has no bound
_LEVELS = 1_000  # of the grid that samplers stride over


class ScoreSDE(GenerativeModel):
    """A network that learns the score of noisy data, the gradient of log p_t, at every time of a diffusion

        dx = -1/2 beta(t) x dt + sqrt(beta(t)) dw,   beta(t) rising evenly from 0.1 to 20 over t in [0, 1],

    by denoising: of x_t = sqrt(abar(t)) x + sigma(t) eps it estimates eps, and the score is -eps / sigma(t). Images are
    dequantised, and samples rounded to the level whose bin they lie in. With labels the network is class-conditional;
    labels are dropped with `unconditional_probability`, for classifier-free guidance.

    References: Song et al., arXiv:2011.13456; denoising score matching: Vincent, "A connection between score matching
    and denoising autoencoders" (2011), Neural Comput. 23(7); likelihood weighting: Song et al., arXiv:2101.09258.
    """

    abar: Tensor

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 2e-3,
        weighting: Weighting = "variance",
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
        unconditional_probability: float = 0.15,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.weighting = weighting
        self.unconditional_probability = unconditional_probability
        self.register_buffer("abar", signal_share(torch.linspace(0.0, 1.0, _LEVELS + 1, dtype=torch.float64)))
        self.network = usual_network(data, width=width, depth=depth, dropout=dropout, family="score_sde")

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        return (Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Denoising score matching, each time's error weighed by sigma(t)^2 or by beta(t), the bound's weight.

        The second draws its times in proportion to beta(t) / sigma(t)^2, which has the same mean and less noise.

        References: Song et al., arXiv:2011.13456, equation 7; arXiv:2101.09258, section 4.1 and appendix B.
        """
        x, n, device = continuous(batch.x, self.data, generator), len(batch), batch.x.device
        t = self._times(n, generator)
        noise = torch.randn(x.shape, generator=generator, device=device)
        labels = self.network.dropped(
            self.network.labels(n, batch.condition), self.unconditional_probability, generator
        )
        share = signal_share(t).view(-1, *[1] * (x.dim() - 1))
        x_t = share.sqrt() * x + (1.0 - share).sqrt() * noise
        error = torch.mean((self.network(x_t, t, labels) - noise) ** 2)
        return Losses(error, {"squared_error": error.detach()})

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        sampler: Sampler = "dpm_solver",
        steps: int = 25,
        eta: float = 0.0,
        guidance_scale: float = 1.0,
        guidance_low: float = 0.0,
        guidance_high: float = 1.0,
    ) -> Tensor:
        """n samples; unconditional where `condition` is None, whatever the guidance. guidance_*: as in `Guidance`."""
        x = torch.randn(n, *self.data.shape, generator=generator, device=self.device)
        labels = self.network.labels(n, condition)
        guidance = Guidance(guidance_scale, guidance_low, guidance_high).given(condition)

        def denoise(x_t: Tensor, level: Tensor) -> Tensor:
            t = level.to(x_t.dtype) / _LEVELS
            share = signal_share(t).view(-1, *[1] * (x_t.dim() - 1))
            signal, deviation = share.sqrt(), (1.0 - share).sqrt()
            noise = self.network.guided(x_t, t, labels, guidance.at(signal, deviation))
            return (x_t - deviation * noise) / signal

        with evaluating(self):
            x = sample_chain(
                denoise, x, self.abar, sampler=sampler, steps=steps, eta=eta, variance="forward", generator=generator
            )
        return as_data(x, self.data)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """log p(x) by the probability-flow equation dx/dt = -1/2 beta(t) (x + score); log p(x|y) with labels y (n,).

        References: Song et al., arXiv:2011.13456, equation 13; otherwise `flow_likelihood`.
        """
        generator = self.evaluation_generator()
        x = continuous(batch.x, self.data, generator)
        labels, scale = self.network.labels(len(batch), batch.condition), 0.0 if batch.condition is None else 1.0

        def flow(x_t: Tensor, t: Tensor) -> Tensor:
            deviation = (1.0 - signal_share(t)).sqrt().view(-1, *[1] * (x_t.dim() - 1))
            score = -self.network.guided(x_t, t, labels, scale) / deviation
            return -0.5 * rate(t).view_as(deviation) * (x_t + score)

        with evaluating(self):
            return flow_likelihood(flow, x, self.data, rising_times(solver_of(self.data)[1]), generator)

    def _times(self, n: int, generator: Generator) -> Tensor:
        """t (n,) from 0.0001 to 1: uniform, or with the density of the bound's weight over that of the variance."""
        u = torch.rand(n, generator=generator, device=self.device)
        if self.weighting == "variance":
            return _EARLIEST + (1.0 - _EARLIEST) * u
        low, high = _cumulative_weight(torch.tensor([_EARLIEST, 1.0], device=self.device))
        return _time_of(low, high, u)


def rate(t: Tensor) -> Tensor:
    """beta(t)."""
    return _SLOWEST + t * (_FASTEST - _SLOWEST)


def signal_share(t: Tensor) -> Tensor:
    """abar(t) = exp(-integral of beta from 0 to t), the signal's share of the variance.

    References: Song et al., arXiv:2011.13456, equation 33.
    """
    return torch.exp(-_passed(t))


def rising_times(steps: int) -> list[float]:
    """Times from 0.0001 to 1 in steps that grow evenly: near the data the score changes fastest."""
    return [_EARLIEST + (1.0 - _EARLIEST) * (i / steps) ** 2 for i in range(steps + 1)]


def _passed(t: Tensor) -> Tensor:
    """B(t), the integral of beta from 0 to t."""
    return t * _SLOWEST + 0.5 * t**2 * (_FASTEST - _SLOWEST)


def _cumulative_weight(t: Tensor) -> Tensor:
    """log(e^B(t) - 1): its derivative by t is beta / (1 - e^-B) = beta(t) / sigma(t)^2."""
    passed = _passed(t)
    return passed + torch.log(-torch.expm1(-passed))


def _time_of(low: Tensor, high: Tensor, u: Tensor) -> Tensor:
    """The t (n,) at which `_cumulative_weight` is low + u (high - low)."""
    passed = torch.nn.functional.softplus(low + u * (high - low))  # B = log(1 + e^w)
    slope = _FASTEST - _SLOWEST
    return ((_SLOWEST**2 + 2.0 * slope * passed).sqrt() - _SLOWEST) / slope
