"""Score matching in continuous time, against Gaussian data, whose score is known."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.samplers import Sampler
from gentune.models.diffusion.score_sde import ScoreSDE, Weighting, rate, rising_times, signal_share

MEAN, DEVIATION = 0.7, 0.4  # of the Gaussian data whose score is known
VECTORS = DataSpec("toy", "vector", (2,))
LABELLED = DataSpec("toy", "vector", (2,), condition=ConditionSpec("label", classes=3))
IMAGES = DataSpec("toy", "image", (1, 4, 4), levels=5, condition=ConditionSpec("label", classes=3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Known(torch.nn.Module):
    """E[eps | x_t] for x ~ N(MEAN, DEVIATION^2), by Gaussian conditioning."""

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        return torch.zeros(n, dtype=torch.int64)

    def guided(self, x: Tensor, time: Tensor, labels: Tensor, scale: float) -> Tensor:
        share = signal_share(time).view(-1, *[1] * (x.dim() - 1))
        return (1 - share).sqrt() * (x - share.sqrt() * MEAN) / (share * DEVIATION**2 + 1 - share)


def knowing(spec: DataSpec) -> ScoreSDE:
    model = ScoreSDE(spec, width=8)
    model.network = Known()  # type: ignore[assignment]
    return model


def test_the_signal_falls_at_the_rate_of_the_diffusion() -> None:
    t = torch.linspace(0.01, 1.0, 50, dtype=torch.float64).requires_grad_(True)
    slope = torch.autograd.grad(signal_share(t).log().sum(), t)[0]
    assert torch.allclose(slope, -rate(t))
    assert 1e-5 < float(signal_share(torch.tensor(1.0))) < 1e-4
    times = rising_times(10)
    assert (times[0], times[-1]) == (1e-4, 1.0)
    assert all(a < b for a, b in pairwise(times))


def test_the_known_score_gives_the_known_density() -> None:
    x = MEAN + DEVIATION * torch.randn(50, 2, generator=generator())
    likelihood = knowing(VECTORS).log_likelihood(Batch(x))
    wanted = torch.distributions.Normal(MEAN, DEVIATION).log_prob(x).sum(1)
    assert likelihood.kind is LikelihoodKind.ODE_ESTIMATE
    assert likelihood.standard_error is None
    # At t = 1 a trace of the data is left, which the standard normal there does not have: 0.007 of the mean.
    assert torch.allclose(likelihood.log_prob, wanted, atol=0.03)
    assert likelihood.log_prob.mean().item() == pytest.approx(wanted.mean().item(), abs=2e-3)


def test_many_dimensions_get_an_estimate_with_its_error() -> None:
    x = MEAN + DEVIATION * torch.randn(5, 7, generator=generator())
    likelihood = knowing(DataSpec("toy", "vector", (7,))).log_likelihood(Batch(x))
    wanted = torch.distributions.Normal(MEAN, DEVIATION).log_prob(x).sum(1)
    assert torch.allclose(likelihood.log_prob, wanted, atol=0.05)
    assert likelihood.standard_error is not None  # zero here, where the Jacobian is a multiple of the identity
    assert (likelihood.standard_error < 1e-3).all()


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun", "dpm_solver", "langevin"])
def test_the_known_score_gives_samples_of_the_known_law(sampler: Sampler) -> None:
    x = knowing(VECTORS).sample(10_000, generator=generator(), sampler=sampler, steps=200)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.03)


def test_the_bounds_weight_is_kept_in_the_density_of_times() -> None:
    """Drawn times have the density beta / sigma^2, with which sigma^2-weighted errors have the bound's weight, beta."""
    model = ScoreSDE(VECTORS, weighting="likelihood", width=8)
    drawn = model._times(200_000, generator()).double().sort().values
    assert 1e-4 <= float(drawn[0]) < float(drawn[-1]) <= 1.0 + 1e-6
    t = torch.linspace(1e-4, 1.0, 200_001, dtype=torch.float64)
    density = rate(t) / (1.0 - signal_share(t))
    cumulative = torch.cumulative_trapezoid(density, t)
    for share in (0.1, 0.5, 0.9):
        wanted = t[int((cumulative < share * cumulative[-1]).sum())]
        assert drawn[int(share * len(drawn))].item() == pytest.approx(float(wanted), rel=0.03)


@pytest.mark.parametrize("spec", [VECTORS, LABELLED, IMAGES])
@pytest.mark.parametrize("weighting", ["variance", "likelihood"])
def test_every_weight_is_trained(spec: DataSpec, weighting: Weighting) -> None:
    torch.manual_seed(0)
    model = ScoreSDE(spec, weighting=weighting, width=8)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(24, 2, generator=generator())
    if spec.levels is not None:
        x = spec.from_levels(torch.randint(0, spec.levels, (24, *spec.shape), generator=generator()))
    batch = Batch(x, torch.arange(24) % 3 if spec.classes else None)
    model.loss(batch, generator()).total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    drawn = model.sample(3, condition=None, generator=generator(), steps=4)
    assert torch.equal(drawn, spec.to_lattice(drawn)) if spec.levels else torch.isfinite(drawn).all()
    assert torch.isfinite(model.log_likelihood(batch[:2]).log_prob).all()


@pytest.mark.slow
def test_it_learns_a_mixture() -> None:
    """Two narrow modes: the mean log-density of held-out draws comes near the true one."""
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])

    def draw(n: int, seed: int) -> Tensor:
        which = torch.randint(0, 2, (n,), generator=generator(seed))
        return centres[which] + 0.2 * torch.randn(n, 2, generator=generator(seed + 1))

    torch.manual_seed(0)
    model = ScoreSDE(VECTORS, width=16, depth=1)
    train(model, Batch(draw(4_000, 1)), LoopSettings(batch_size=256), steps=800, seed=0)
    x = draw(1_000, 5)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        torch.distributions.Independent(torch.distributions.Normal(centres, torch.full((2, 2), 0.2)), 1),
    )
    gap = float((law.log_prob(x) - model.log_likelihood(Batch(x)).log_prob).mean())
    assert gap < 0.2
