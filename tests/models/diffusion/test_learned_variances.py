"""Learned variances of ancestral steps, against Gaussian data, whose reverse process is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gentune.models.base import Batch, GenerativeModel, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion import gaussian_diffusion as diffusion
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.diffusion.dit import DiT
from gentune.models.diffusion.gaussian_diffusion import Denoiser, Variance
from gentune.models.diffusion.label_guidance import guide
from gentune.models.diffusion.samplers import ddpm_step, sample_chain

Oracle = Callable[[Tensor, float, float], Denoiser]
MEAN, DEVIATION = 0.5, 0.6
LINE = DataSpec("toy", "vector", (1,))
IMAGES = DataSpec("toy", "image", (2, 4, 4), levels=17, condition=ConditionSpec("label", classes=3))
VARIANCES: tuple[Variance, Variance] = ("posterior", "forward")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def levels(n: int, t: int) -> Tensor:
    return torch.full((n,), t)


def best_share(abar: Tensor, s: int, t: int) -> float:
    """Where the variance of p(x_s | x_t) of the Gaussian data stands: the posterior's, and that of the mean by x_0."""
    here, alpha = float(abar[t]), float(abar[t] / abar[s])
    least, most = (1.0 - float(abar[s])) / (1.0 - here) * (1.0 - alpha), 1.0 - alpha
    of_x0 = float(abar[s]) ** 0.5 * (1.0 - alpha) / (1.0 - here)
    unknown = DEVIATION**2 * (1.0 - here) / (here * DEVIATION**2 + 1.0 - here)  # of x_0 given x_t
    true = torch.tensor([least + of_x0**2 * unknown, least, most], dtype=torch.float64).log()
    return float((true[0] - true[1]) / (true[2] - true[1]))


@pytest.mark.parametrize(("s", "t"), [(1, 2), (30, 31), (10, 40)])
def test_the_ends_are_the_fixed_variances(s: int, t: int) -> None:
    abar, x = diffusion.cosine_schedule(50), torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    for end, fixed in enumerate(VARIANCES):
        share = torch.full_like(x, float(end))
        wanted = diffusion.step_variance(fixed, abar, levels(4, s), levels(4, t), x).expand_as(x)
        assert torch.allclose(diffusion.step_variance(share, abar, levels(4, s), levels(4, t), x), wanted, rtol=1e-9)
        kl = diffusion.step_kl(x, 0.9 * x, abar, levels(4, t), fixed)
        assert torch.allclose(diffusion.step_kl(x, 0.9 * x, abar, levels(4, t), share), kl, rtol=1e-9)
    middle = diffusion.step_variance(torch.full_like(x, 0.5), abar, levels(4, s), levels(4, t), x)
    least, most = (diffusion.step_variance(fixed, abar, levels(4, s), levels(4, t), x) for fixed in VARIANCES)
    assert torch.allclose(middle, (least * most).sqrt().expand_as(x), rtol=1e-9)


@pytest.mark.parametrize(("s", "t"), [(1, 2), (5, 45), (20, 21)])
def test_with_the_best_variance_a_step_keeps_the_law_however_long_it_is(s: int, t: int, oracle: Oracle) -> None:
    abar = diffusion.cosine_schedule(50)
    n, start = 50_000, float(abar[t])
    noisy = (start * DEVIATION**2 + 1.0 - start) ** 0.5
    x = start**0.5 * MEAN + noisy * torch.randn(n, 1, generator=generator(), dtype=torch.float64)
    z = torch.randn(n, 1, generator=generator(1), dtype=torch.float64)
    wanted = (float(abar[s]) * DEVIATION**2 + 1.0 - float(abar[s])) ** 0.5
    x0 = oracle(abar, MEAN, DEVIATION)(x, levels(n, t))
    share = torch.full_like(x, best_share(abar, s, t))
    out = ddpm_step(x, x0, z, abar, levels(n, s), levels(n, t), share)
    assert out.mean().item() == pytest.approx(float(abar[s]) ** 0.5 * MEAN, abs=0.015)
    assert out.std().item() == pytest.approx(wanted, rel=0.01)
    if t == 45:  # the fixed ones leave too little and too much
        least, most = (ddpm_step(x, x0, z, abar, levels(n, s), levels(n, t), fixed).std().item() for fixed in VARIANCES)
        assert least < 0.9 * wanted and most > 1.1 * wanted


@pytest.mark.parametrize("t", [2, 10, 25, 50])
def test_the_bound_is_least_at_the_best_variance(t: int, oracle: Oracle) -> None:
    abar = diffusion.cosine_schedule(50)
    n = 100_000
    x0 = MEAN + DEVIATION * torch.randn(n, 1, generator=generator(), dtype=torch.float64)
    noise = torch.randn(n, 1, generator=generator(1), dtype=torch.float64)
    estimate = oracle(abar, MEAN, DEVIATION)(diffusion.diffuse(x0, noise, abar, levels(n, t)), levels(n, t))
    best = best_share(abar, t - 1, t)

    def bound(share: float | Tensor) -> Tensor:
        return diffusion.step_kl(x0, estimate, abar, levels(n, t), share * torch.ones_like(x0)).mean()

    share = torch.tensor(best, dtype=torch.float64, requires_grad=True)
    ends = [torch.tensor(end, dtype=torch.float64, requires_grad=True) for end in (0.0, 1.0)]
    here, below, above = (float(torch.autograd.grad(bound(at), at)[0]) for at in (share, *ends))
    assert below < 0.0 < above
    assert abs(here) < 0.02 * min(-below, above)
    assert float(bound(best)) < min(float(bound(0.0)), float(bound(1.0)))


def test_the_bound_moves_variances_alone() -> None:
    abar, t = diffusion.cosine_schedule(50), torch.tensor([1, 2, 30, 50])
    x0, estimate = (torch.randn(4, 3, generator=generator(seed)).requires_grad_(True) for seed in (0, 1))
    share = torch.full((4, 3), 0.5, requires_grad=True)
    loss = diffusion.learned_variance_loss(x0.detach(), estimate, share, abar, t)
    assert loss[0] == 0.0 and (loss[1:] > 0.0).all()
    gradients = torch.autograd.grad(loss.sum(), (estimate, share), allow_unused=True)
    assert gradients[0] is None
    assert (gradients[1][0] == 0.0).all() and (gradients[1][1:] != 0.0).all()
    terms = diffusion.step_kl(x0, estimate, abar, t[1:2].expand(4), share)
    assert loss[1].item() == pytest.approx(50 * terms[1].item() / 3)


def test_a_chain_takes_its_spread_from_the_denoiser(oracle: Oracle) -> None:
    abar, known = diffusion.cosine_schedule(50), oracle(diffusion.cosine_schedule(50), MEAN, DEVIATION)
    x = torch.randn(5, 1, generator=generator())
    for end, fixed in enumerate(VARIANCES):

        def varying(x_t: Tensor, t: Tensor, end: float = end) -> tuple[Tensor, Tensor]:
            return known(x_t, t), torch.full_like(x_t, end)

        for sampler in ("ddpm", "langevin", "ddim", "heun", "dpm_solver"):
            settings: dict[str, Any] = {"sampler": sampler, "steps": 9}
            told = sample_chain(varying, x, abar, **settings, generator=generator(3))
            wanted = sample_chain(known, x, abar, **settings, variance=fixed, generator=generator(3))
            assert torch.allclose(told, wanted, atol=1e-5)


def random_model(family: type[GenerativeModel], spec: DataSpec, **settings: Any) -> Any:
    torch.manual_seed(0)
    model = family(spec, variance="learned", width=8, timesteps=20, **settings)  # type: ignore[call-arg]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize(("family", "spec"), [(DDPM, LINE), (DDPM, IMAGES), (DiT, IMAGES)])
def test_models_train_sample_and_are_scored_with_them(family: type[GenerativeModel], spec: DataSpec) -> None:
    model = random_model(family, spec)
    x = torch.randn(6, 1, generator=generator())
    if spec.levels is not None:
        x = spec.from_levels(torch.randint(0, spec.levels, (6, *spec.shape), generator=generator()))
    batch = Batch(x, torch.arange(6) % 3 if spec.classes else None)
    losses = model.loss(batch, generator())
    losses.total.backward()
    assert losses.parts["bound"] > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.network.body.last.parameters())
    drawn = model.sample(6, condition=batch.condition, generator=generator(), sampler="ddpm", steps=5)
    assert drawn.shape == x.shape and torch.isfinite(drawn).all()
    likelihood = model.log_likelihood(batch)
    assert likelihood.kind is LikelihoodKind.ELBO and torch.isfinite(likelihood.log_prob).all()


def test_guidance_leaves_variances_as_the_label_has_them() -> None:
    network = random_model(DDPM, IMAGES).network
    x, time, labels = torch.randn(3, 2, 4, 4, generator=generator()), torch.full((3,), 0.4), torch.tensor([0, 1, 2])
    given, none = network(x, time, labels), network(x, time, torch.full_like(labels, 3))
    guided = network.guided(x, time, labels, 3.0)
    assert torch.allclose(guided[:, :2], guide(none, given, 3.0)[:, :2], atol=1e-5)
    assert torch.allclose(guided[:, 2:], given[:, 2:], atol=1e-5)


def test_the_bound_has_at_most_the_mass_of_a_distribution() -> None:
    model = random_model(DDPM, LINE)
    grid, repeats = torch.linspace(-12.0, 12.0, 201), 60
    bound = model.log_likelihood(Batch(grid.repeat(repeats)[:, None])).log_prob.double().view(repeats, -1)
    mass = torch.trapezoid(bound.mean(dim=0).exp(), grid.double()).item()  # only the estimate's mean is a bound
    assert 0.01 < mass <= 1.0
