"""Samplers of Gaussian diffusions, against Gaussian data, whose denoiser and law are known."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gentune.models.diffusion import gaussian_diffusion as diffusion
from gentune.models.diffusion.gaussian_diffusion import Denoiser
from gentune.models.diffusion.samplers import (
    Sampler,
    ddim_step,
    ddpm_step,
    dpm_solver_step,
    flow_step,
    langevin_step,
    levels_for,
    sample_chain,
    strided_levels,
)

SCHEDULES = list(diffusion.SCHEDULES)
Oracle = Callable[[Tensor, float, float], Denoiser]
MEAN, DEVIATION = 0.5, 0.6  # of the Gaussian data whose denoiser is known


def levels(n: int, t: int) -> Tensor:
    return torch.full((n,), t)


@pytest.mark.parametrize(("s", "t"), [(1, 2), (30, 31), (10, 40), (0, 20)])
def test_ddim_with_eta_1_is_the_ancestral_step(s: int, t: int) -> None:
    abar = diffusion.linear_schedule(50)
    generator = torch.Generator().manual_seed(0)
    x_t, x0, z = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    s_, t_ = levels(5, s), levels(5, t)
    ancestral = ddpm_step(x_t, x0, z, abar, s_, t_)
    assert torch.allclose(ddim_step(x_t, x0, z, abar, s_, t_, eta=1.0), ancestral, atol=1e-6)


def test_deterministic_ddim_keeps_the_noise() -> None:
    abar = diffusion.cosine_schedule(50)
    generator = torch.Generator().manual_seed(0)
    x0, noise, z = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    x_t = diffusion.diffuse(x0, noise, abar, levels(5, 40))
    stepped = ddim_step(x_t, x0, z, abar, levels(5, 12), levels(5, 40), eta=0.0)
    assert torch.allclose(stepped, diffusion.diffuse(x0, noise, abar, levels(5, 12)), atol=1e-9)


def test_strided_levels_run_from_noise_to_data() -> None:
    assert strided_levels(100, 4) == [100, 75, 50, 25, 0]
    assert strided_levels(5, 50) == [5, 4, 3, 2, 1, 0]
    for steps in (10, 33, 99):
        chain = strided_levels(100, steps)
        assert len(chain) == steps + 1
        assert len(set(chain)) == len(chain)


@pytest.mark.parametrize(
    ("sampler", "eta", "variance"),
    [
        ("ddpm", 0.0, "posterior"),
        ("ddpm", 0.0, "forward"),
        ("ddim", 0.0, "posterior"),
        ("ddim", 1.0, "posterior"),
        ("heun", 0.0, "posterior"),
        ("dpm_solver", 0.0, "posterior"),
        ("langevin", 0.0, "forward"),
    ],
)
@pytest.mark.parametrize("name", SCHEDULES)
def test_samplers_reproduce_a_gaussian(
    sampler: Sampler, eta: float, variance: diffusion.Variance, name: str, oracle: Oracle
) -> None:
    abar = diffusion.SCHEDULES[name](400)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10_000, 1, generator=generator)
    x = sample_chain(
        oracle(abar, MEAN, DEVIATION),
        x,
        abar,
        sampler=sampler,
        steps=400,
        eta=eta,
        variance=variance,
        generator=generator,
    )
    # The standard error of the deviation is 0.0042; steps of finite length bias it by up to 1%.
    assert x.mean().item() == pytest.approx(MEAN, abs=0.015)
    assert x.std().item() == pytest.approx(DEVIATION, abs=0.012)


@pytest.mark.parametrize(("sampler", "order"), [("ddim", 1), ("heun", 2)])
def test_samplers_of_the_flow_converge_at_their_order(sampler: Sampler, order: int, oracle: Oracle) -> None:
    """To where the probability-flow equation leads, which keeps every Gaussian's standardised position.

    On levels whose noise-to-signal ratio is even: where it falls like the root of t, as in the usual schedules, the
    last step is the longest.
    """
    ratio = torch.linspace(0.0, 20.0, 2_049, dtype=torch.float64)
    abar = 1.0 / (1.0 + ratio**2)
    share = float(abar[-1])
    x = torch.tensor([[-2.0], [-0.5], [0.3], [1.7]], dtype=torch.float64)
    wanted = MEAN + DEVIATION * (x - share**0.5 * MEAN) / (share * DEVIATION**2 + 1.0 - share) ** 0.5
    errors = []
    for steps in (128, 256):
        evaluations = 2 * steps - 1 if sampler == "heun" else steps
        found = sample_chain(
            oracle(abar, MEAN, DEVIATION), x, abar, sampler=sampler, steps=evaluations, generator=torch.Generator()
        )
        errors.append(float((found - wanted).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.1)


def test_dpm_solver_is_of_the_second_order(oracle: Oracle) -> None:
    """On levels whose lambda is even; level 0, which is infinitely far, is left out."""

    def carried(x: Tensor, here: float, there: float) -> Tensor:
        standard = (x - here**0.5 * MEAN) / (here * DEVIATION**2 + 1.0 - here) ** 0.5
        return there**0.5 * MEAN + standard * (there * DEVIATION**2 + 1.0 - there) ** 0.5

    x = torch.tensor([[-2.0], [1.7]], dtype=torch.float64)
    errors = []
    for steps in (32, 64):
        half_log_snr = torch.linspace(2.0, -2.0, steps + 1, dtype=torch.float64)
        abar = torch.cat((torch.ones(1, dtype=torch.float64), torch.sigmoid(2.0 * half_log_snr)))
        at, before = x, None
        for level in range(steps + 1, 1, -1):
            t, s = levels(2, level), levels(2, level - 1)
            x0 = oracle(abar, MEAN, DEVIATION)(at, t)
            at, before = dpm_solver_step(at, x0, before, abar, s, t), (x0, t)
        errors.append(float((at - carried(x, float(abar[-1]), float(abar[1]))).abs().max()))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun", "dpm_solver", "langevin"])
@pytest.mark.parametrize("steps", [1, 2, 5, 12])
def test_steps_are_evaluations_of_the_network(sampler: Sampler, steps: int, oracle: Oracle) -> None:
    abar, calls = diffusion.cosine_schedule(50), 0
    known = oracle(abar, MEAN, DEVIATION)

    def counting(x_t: Tensor, t: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return known(x_t, t)

    x = torch.randn(3, 1, generator=torch.Generator().manual_seed(0))
    sample_chain(counting, x, abar, sampler=sampler, steps=steps, generator=torch.Generator().manual_seed(0))
    assert steps - 1 <= calls <= steps
    assert levels_for(sampler, 50, steps)[-1] == 0


def test_a_flow_step_is_ddim_without_noise() -> None:
    abar = diffusion.linear_schedule(50)
    generator = torch.Generator().manual_seed(0)
    x_t, x0, z = (torch.randn(5, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    s, t = levels(5, 12), levels(5, 40)
    noise = diffusion.noise_from_x0(x0, x_t, abar, t)
    assert torch.allclose(flow_step(x_t, noise, abar, s, t), ddim_step(x_t, x0, z, abar, s, t, eta=0.0))


def test_langevin_steps_keep_the_law_of_their_level(oracle: Oracle) -> None:
    abar = diffusion.cosine_schedule(100)
    known, generator = oracle(abar, MEAN, DEVIATION), torch.Generator().manual_seed(0)
    t = levels(40_000, 60)
    share = float(abar[60])
    deviation = (share * DEVIATION**2 + 1.0 - share) ** 0.5
    x = share**0.5 * MEAN + deviation * torch.randn(40_000, 1, generator=generator)
    started_elsewhere = x + 2.0
    for _ in range(60):
        noises = [diffusion.noise_from_x0(known(at, t), at, abar, t) for at in (x, started_elsewhere)]
        z = torch.randn(x.shape, generator=generator)
        x, started_elsewhere = (
            langevin_step(at, noise, z, abar, t) for at, noise in zip((x, started_elsewhere), noises, strict=True)
        )
    assert x.mean().item() == pytest.approx(share**0.5 * MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(deviation, rel=0.02)
    assert (started_elsewhere - x).mean().item() < 1.0  # it forgets where it came from
