"""Schedules and samplers next to those of diffusers, on the known denoiser of Gaussian data.

Their timestep t is our level t + 1, and their sigma the noise over the signal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gentune.bench._torchvision import make_importable
from gentune.models.diffusion import gaussian_diffusion as diffusion
from gentune.models.diffusion.gaussian_diffusion import Denoiser
from gentune.models.diffusion.samplers import Sampler, sample_chain

pytestmark = pytest.mark.slow  # their import takes seconds

Oracle = Callable[[Tensor, float, float], Denoiser]
TIMESTEPS, STEPS = 60, 12
MEAN, DEVIATION = 0.5, 0.6


@pytest.fixture(scope="module")
def theirs() -> Any:
    make_importable()
    import diffusers

    return diffusers


@pytest.fixture(scope="module")
def abar() -> Tensor:
    return diffusion.linear_schedule(TIMESTEPS)


@pytest.fixture
def start() -> Tensor:
    return torch.randn(40, 1, generator=torch.Generator().manual_seed(0))


def scheduler(kind: Any, abar: Tensor, steps: int = STEPS, **options: Any) -> Any:
    """One of theirs on our levels, strided as ours are."""
    betas = (1.0 - abar[1:] / abar[:-1]).numpy()
    made = kind(TIMESTEPS, trained_betas=betas, timestep_spacing="trailing", **options)
    made.set_timesteps(steps)
    return made


def noise_of(x_t: Tensor, timestep: Tensor, abar: Tensor, denoise: Denoiser) -> Tensor:
    t = (timestep.long() + 1).expand(len(x_t))
    return diffusion.noise_from_x0(denoise(x_t, t), x_t, abar, t)


def ours(sampler: Sampler, x: Tensor, abar: Tensor, denoise: Denoiser, **options: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return sample_chain(denoise, x, abar, sampler=sampler, generator=generator, **({"steps": STEPS} | options))


@pytest.mark.parametrize("timesteps", [100, 1000])
def test_schedules_agree(theirs: Any, timesteps: int) -> None:
    scale = 1000 / timesteps
    linear = theirs.DDPMScheduler(timesteps, beta_start=1e-4 * scale, beta_end=0.02 * scale).alphas_cumprod
    assert torch.allclose(diffusion.linear_schedule(timesteps)[1:].float(), linear, rtol=0.0, atol=1e-5)
    cosine = theirs.DDPMScheduler(timesteps, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    mine = diffusion.cosine_schedule(timesteps)[1:].float()
    kept = mine > 4.1e-5  # ours ends there
    assert int(kept.sum()) > 0.98 * timesteps
    assert torch.allclose(mine[kept], cosine[kept], rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    ("theirs_is", "ours_is", "steps"),
    [
        ("fixed_small", "posterior", STEPS),
        ("fixed_small", "posterior", TIMESTEPS),
        ("fixed_large", "forward", TIMESTEPS),  # in fewer steps theirs adds noise in the last one
    ],
)
def test_ancestral_steps_agree(
    theirs: Any, abar: Tensor, start: Tensor, oracle: Oracle, theirs_is: str, ours_is: diffusion.Variance, steps: int
) -> None:
    denoise = oracle(abar, MEAN, DEVIATION)
    made = scheduler(theirs.DDPMScheduler, abar, steps, variance_type=theirs_is, clip_sample=False)
    x, generator = start, torch.Generator().manual_seed(1)
    for t in made.timesteps:
        x = made.step(noise_of(x, t, abar, denoise), t, x, generator=generator).prev_sample
    assert torch.allclose(x, ours("ddpm", start, abar, denoise, steps=steps, variance=ours_is), rtol=0.0, atol=1e-5)


def test_learned_variances_agree(theirs: Any, abar: Tensor, start: Tensor, oracle: Oracle) -> None:
    """Where the network puts a step's variance at 0.3 between the logarithms of the two, which is -0.4 in [-1, 1]."""
    denoise = oracle(abar, MEAN, DEVIATION)
    made = scheduler(theirs.DDPMScheduler, abar, variance_type="learned_range", clip_sample=False)
    x, generator = start, torch.Generator().manual_seed(1)
    for t in made.timesteps:
        output = torch.cat((noise_of(x, t, abar, denoise), torch.full_like(x, -0.4)), dim=1)
        x = made.step(output, t, x, generator=generator).prev_sample
    found = sample_chain(
        lambda x_t, t: (denoise(x_t, t), torch.full_like(x_t, 0.3)),
        start,
        abar,
        sampler="ddpm",
        steps=STEPS,
        generator=torch.Generator().manual_seed(1),
    )
    assert torch.allclose(x, found, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_agrees(theirs: Any, abar: Tensor, start: Tensor, oracle: Oracle, eta: float) -> None:
    denoise = oracle(abar, MEAN, DEVIATION)
    made = scheduler(theirs.DDIMScheduler, abar, clip_sample=False, set_alpha_to_one=True)
    x, generator = start, torch.Generator().manual_seed(1)
    for t in made.timesteps:
        x = made.step(noise_of(x, t, abar, denoise), t, x, eta=eta, generator=generator).prev_sample
    assert torch.allclose(x, ours("ddim", start, abar, denoise, eta=eta), rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(("name", "sampler"), [("EulerDiscreteScheduler", "ddim"), ("HeunDiscreteScheduler", "heun")])
def test_solvers_of_the_flow_agree(
    theirs: Any, abar: Tensor, start: Tensor, oracle: Oracle, name: str, sampler: Sampler
) -> None:
    """Theirs carry y = x_t / signal."""
    denoise = oracle(abar, MEAN, DEVIATION)
    made = scheduler(getattr(theirs, name), abar)
    y = start / float(abar[-1]) ** 0.5
    for t in made.timesteps:
        x = y * float(abar[int(t) + 1]) ** 0.5
        y = made.step(noise_of(x, t, abar, denoise), t, y).prev_sample
    evaluations = len(made.timesteps)
    assert evaluations == (2 * STEPS - 1 if sampler == "heun" else STEPS)
    assert torch.allclose(y, ours(sampler, start, abar, denoise, steps=evaluations), rtol=0.0, atol=1e-5)


def test_dpm_solver_agrees(theirs: Any, abar: Tensor, start: Tensor, oracle: Oracle) -> None:
    denoise = oracle(abar, MEAN, DEVIATION)
    made = scheduler(theirs.DPMSolverMultistepScheduler, abar, algorithm_type="dpmsolver++", solver_order=2)
    x = start
    for t in made.timesteps:
        x = made.step(noise_of(x, t, abar, denoise), t, x).prev_sample
    assert torch.allclose(x, ours("dpm_solver", start, abar, denoise), rtol=0.0, atol=1e-5)
