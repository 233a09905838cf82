"""Flow matching: a velocity field that carries noise to data along nearly straight paths."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Generator, Tensor

from ..base import Adam, Batch, GenerativeModel, Likelihood, Losses, Phase, Stage
from ..data_spec import DataSpec
from ..likelihoods import levels_of
from . import ode
from .couplings import Coupling, paired_noise
from .flow_density import as_data, continuous, flow_likelihood, solver_of
from .label_guidance import Guidance, evaluating, usual_network

TimeDensity = Literal["uniform", "logit_normal"]


class FlowMatching(GenerativeModel):
    """A network v(x, t) that is trained to the velocity x_1 - x_0 at x_t = (1 - t) x_0 + t x_1 for noise x_0 ~ N(0, I)
    and data x_1, so that dx/dt = v carries noise at t = 0 to data at t = 1.

    Images are dequantised, and samples rounded to the level whose bin they lie in. With labels the network is
    class-conditional; labels are dropped with `unconditional_probability`, for classifier-free guidance.

    References: Lipman et al., arXiv:2210.02747; Liu et al., arXiv:2209.03003; minibatch couplings: Tong et al.,
    arXiv:2302.00482; logit-normal times: Esser et al., arXiv:2403.03206; classifier-free guidance: arXiv:2207.12598.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 2e-3,
        coupling: Coupling = "independent",
        time_density: TimeDensity = "uniform",
        width: int = 32,
        depth: int = 1,
        dropout: float = 0.0,
        unconditional_probability: float = 0.15,
    ) -> None:
        super().__init__(data)
        self.learning_rate = learning_rate
        self.coupling, self.time_density = coupling, time_density
        self.unconditional_probability = unconditional_probability
        self.network = usual_network(data, width=width, depth=depth, dropout=dropout, family="flow_matching")

    def stages(self) -> tuple[Stage, ...]:
        optimiser = Adam(self.learning_rate, warmup_steps=20, decay="cosine", final_share=0.05)
        return (Stage("training", phases=(Phase("all", self.parameters(), self.loss, optimiser),)),)

    def loss(self, batch: Batch, generator: Generator) -> Losses:
        """Mean squared error of the velocity at random times.

        References: Lipman et al., arXiv:2210.02747, equation 23 with sigma_min = 0; Tong et al., arXiv:2302.00482,
        equation 15.
        """
        x, device = continuous(batch.x, self.data, generator), batch.x.device
        noise = torch.randn(x.shape, generator=generator, device=device)
        labels = self.network.labels(len(batch), batch.condition)
        noise = paired_noise(x, noise, labels, self.coupling)
        t = self._times(len(batch), generator)
        share = t.view(-1, *[1] * (x.dim() - 1))
        kept = self.network.dropped(labels, self.unconditional_probability, generator)
        velocity = self.network((1.0 - share) * noise + share * x, t, kept)
        error = torch.mean((velocity - (x - noise)) ** 2)
        return Losses(error, {"squared_error": error.detach()})

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Tensor | None = None,
        generator: Generator,
        solver: ode.Solver = "midpoint",
        evaluations: int = 24,
        guidance_scale: float = 1.0,
        guidance_low: float = 0.0,
        guidance_high: float = 1.0,
    ) -> Tensor:
        """n samples; unconditional where `condition` is None, whatever the guidance. guidance_*: as in `Guidance`."""
        z = torch.randn(n, *self.data.shape, generator=generator, device=self.device)
        times = ode.even_times(0.0, 1.0, evaluations, solver)
        guidance = Guidance(guidance_scale, guidance_low, guidance_high)
        with evaluating(self):
            x = ode.solve(self._field(n, condition, guidance), z, times, solver)
        return as_data(x, self.data)

    @torch.no_grad()
    def log_likelihood(self, batch: Batch) -> Likelihood:
        """log p(x_1) by the equation, from t = 1 down to 0 (`flow_likelihood`); log p(x|y) with labels y (n,)."""
        generator = self.evaluation_generator()
        x = continuous(batch.x, self.data, generator)
        with evaluating(self):
            field = self._field(len(batch), batch.condition, Guidance())
            return flow_likelihood(field, x, self.data, self._times_of_flow()[1], generator)

    @torch.no_grad()
    def encode(self, batch: Batch) -> Tensor:
        """Codes z (n, D), the noise that leads to x; images enter at the middle of their level's bin."""
        x = batch.x
        if self.data.kind == "image":
            levels = levels_of(self.data)
            x = (2.0 * self.data.to_levels(x) + 1.0) / levels - 1.0
        solver, times = self._times_of_flow()
        with evaluating(self):
            return ode.solve(self._field(len(batch), batch.condition, Guidance()), x, times, solver).flatten(1)

    @torch.no_grad()
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The inverse of `encode` up to the solver's error. Images are not rounded to the lattice."""
        solver, times = self._times_of_flow()
        with evaluating(self):
            x = z.reshape(-1, *self.data.shape)
            x = ode.solve(self._field(len(z), condition, Guidance()), x, times[::-1], solver)
        if self.data.kind != "image":
            return x
        levels = levels_of(self.data)
        return (((x + 1.0) * levels - 1.0) / (levels - 1) - 1.0).clamp(-1.0, 1.0)

    def _field(self, n: int, condition: Tensor | None, guidance: Guidance) -> ode.Field:
        """The guided velocity, unconditional without a condition."""
        labels, guidance = self.network.labels(n, condition), guidance.given(condition)
        return lambda x, t: self.network.guided(x, t, labels, guidance.at(signal=t, sigma=1.0 - t))

    def _times(self, n: int, generator: Generator) -> Tensor:
        """t (n,) in [0, 1]: uniform, or the logistic function of standard normals, which stresses the middle.

        References: Esser et al., arXiv:2403.03206, equation 19.
        """
        if self.time_density == "uniform":
            return torch.rand(n, generator=generator, device=self.device)
        return torch.sigmoid(torch.randn(n, generator=generator, device=self.device))

    def _times_of_flow(self) -> tuple[ode.Solver, list[float]]:
        """How codes and likelihoods are solved for, from data at t = 1 down to noise at t = 0."""
        solver, steps = solver_of(self.data)
        return solver, ode.even_times(1.0, 0.0, steps * ode.EVALUATIONS[solver], solver)
