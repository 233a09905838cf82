"""Samplers of a Gaussian diffusion: from noise to data by a network that estimates x_0.

All of them serve every family that has such an estimate, and are chosen when sampling. Symbols are those of
`gaussian_diffusion`; besides:
    sigma_t     sqrt(1 - abar_t), the deviation of the noise in x_t
    lambda_t    log(sqrt(abar_t) / sigma_t), half the log of the signal-to-noise ratio; infinite at level 0
    score       the gradient of log p(x_t), -eps / sigma_t

The probability-flow equation (Song et al., arXiv:2011.13456, equation 13) in y = x_t / sqrt(abar_t) and
r = sigma_t / sqrt(abar_t) is dy/dr = eps. Euler's method on it is DDIM without noise; Heun's is `heun`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor

from .gaussian_diffusion import (
    Denoiser,
    Spread,
    Variance,
    VaryingDenoiser,
    coefficients,
    noise_from_x0,
    posterior,
    step_variance,
    with_spread,
)

Sampler = Literal["ddpm", "ddim", "heun", "dpm_solver", "langevin"]

_TWICE = ("heun", "langevin")  # evaluate the network twice a step, but for the last one
_SIGNAL_TO_NOISE = 0.16  # of a Langevin step; arXiv:2011.13456, appendix G


def ddpm_step(
    x_t: Tensor, x0: Tensor, z: Tensor, abar: Tensor, s: Tensor, t: Tensor, spread: Spread = "posterior"
) -> Tensor:
    """One ancestral step from level t to s with standard normal z; the step to level 0 adds no noise.

    References: Ho et al., arXiv:2006.11239, algorithm 2.
    """
    mean, _ = posterior(x0, x_t, abar, s, t)
    noisy = (s > 0).to(x_t.dtype).view((-1,) + (1,) * (x_t.dim() - 1))
    return mean + noisy * step_variance(spread, abar, s, t, x_t).sqrt() * z


def ddim_step(x_t: Tensor, x0: Tensor, z: Tensor, abar: Tensor, s: Tensor, t: Tensor, eta: float) -> Tensor:
    """One DDIM step from level t to s. eta = 0 is deterministic, eta = 1 has the ancestral step's variance.

    References: Song et al., arXiv:2010.02502, equations 12 and 16.
    """
    signal, deviation = coefficients(abar, s, x_t)
    _, variance = posterior(x0, x_t, abar, s, t)
    sigma = eta * variance.sqrt()
    direction = (deviation**2 - sigma**2).clamp(min=0.0).sqrt()
    return signal * x0 + direction * noise_from_x0(x0, x_t, abar, t) + sigma * z


def flow_step(x_t: Tensor, noise: Tensor, abar: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """One step of the probability-flow equation along a noise estimate (n, ...): y_s = y_t + (r_s - r_t) eps.

    References: Karras et al., arXiv:2206.00364, equation 3 for sigma(t) = t.
    """
    (signal_t, deviation_t), (signal_s, deviation_s) = coefficients(abar, t, x_t), coefficients(abar, s, x_t)
    return signal_s * (x_t / signal_t + (deviation_s / signal_s - deviation_t / signal_t) * noise)


def dpm_solver_step(
    x_t: Tensor, x0: Tensor, before: tuple[Tensor, Tensor] | None, abar: Tensor, s: Tensor, t: Tensor
) -> Tensor:
    """One step of DPM-Solver++ (2M) from level t to s.

    before: the estimate of x_0 of the step before, and the level (n,) that it was made at. Without it, and in the step
    to level 0, whose length in lambda is infinite, the step is of the first order, which is DDIM's.

    References: Lu et al., arXiv:2211.01095, algorithm 2.
    """
    (signal_t, deviation_t), (signal_s, deviation_s) = coefficients(abar, t, x_t), coefficients(abar, s, x_t)
    estimate = x0
    if before is not None and bool((s > 0).all()):
        earlier, level = before
        here = _half_log_snr(abar, t)
        ratio = (here - _half_log_snr(abar, level)) / (_half_log_snr(abar, s) - here)
        half = (0.5 / ratio).to(x0.dtype).view((-1,) + (1,) * (x0.dim() - 1))
        estimate = (1.0 + half) * x0 - half * earlier
    shrunk = deviation_s / deviation_t
    # The paper's -alpha_s (e^(-h) - 1), without infinities at level 0.
    return shrunk * x_t + (signal_s - shrunk * signal_t) * estimate


def langevin_step(x: Tensor, noise: Tensor, z: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """One step of Langevin dynamics at level t along a noise estimate (n, ...), with standard normal z.

    The size is 2 (0.16 |z| / |score|)^2 with both norms at what they are expected to be, sqrt(D) and sqrt(D) / sigma_t:
    measured norms would make rows depend on one another.

    References: Song et al., arXiv:2011.13456, algorithm 5; sizes in proportion to sigma_t^2: Song and Ermon,
    arXiv:1907.05600, algorithm 1.
    """
    deviation = coefficients(abar, t, x)[1]
    size = 2.0 * (_SIGNAL_TO_NOISE * deviation) ** 2
    return x - size / deviation * noise + (2.0 * size).sqrt() * z


def strided_levels(timesteps: int, steps: int) -> list[int]:
    """Levels T = t_0 > t_1 > ... > 0, evenly strided: `steps` steps, or T where that is fewer.

    References: Nichol and Dhariwal, arXiv:2102.09672, section 4.
    """
    steps = min(steps, timesteps)
    return [round(timesteps * (1.0 - i / steps)) for i in range(steps + 1)]


def levels_for(sampler: Sampler, timesteps: int, evaluations: int) -> list[int]:
    """Levels of a chain that evaluates the network so many times at most, and at least once."""
    return strided_levels(timesteps, (evaluations + 1) // 2 if sampler in _TWICE else evaluations)


def sample_chain(
    denoise: VaryingDenoiser,
    x: Tensor,
    abar: Tensor,
    *,
    sampler: Sampler,
    steps: int,
    eta: float = 0.0,
    variance: Variance = "posterior",
    generator: Generator,
) -> Tensor:
    """From noise x ~ N(0, I) (n, ...) at level T down to level 0 with `steps` evaluations of the network.

    eta belongs to the DDIM sampler, variance, where the denoiser tells none of its own, to the ancestral one and the
    predictor of "langevin".
    """

    def of_x0(x_t: Tensor, t: Tensor) -> Tensor:
        return with_spread(denoise(x_t, t), variance)[0]

    before: tuple[Tensor, Tensor] | None = None
    for start, end in pairwise(levels_for(sampler, abar.shape[0] - 1, steps)):
        t, s = (torch.full((x.shape[0],), level, device=x.device) for level in (start, end))
        x0, spread = with_spread(denoise(x, t), variance)
        if sampler == "heun":
            x = _heun(of_x0, x, x0, abar, s, t)
        elif sampler == "dpm_solver":
            x, before = dpm_solver_step(x, x0, before, abar, s, t), (x0, t)
        elif sampler == "ddim":
            x = ddim_step(x, x0, _normal(x, generator), abar, s, t, eta)
        else:
            x = ddpm_step(x, x0, _normal(x, generator), abar, s, t, spread)
            if sampler == "langevin" and end > 0:
                noise = noise_from_x0(of_x0(x, s), x, abar, s)
                x = langevin_step(x, noise, _normal(x, generator), abar, s)
    return x


def _heun(denoise: Denoiser, x: Tensor, x0: Tensor, abar: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """Heun's step; Euler's to level 0, where the noise cannot be estimated.

    References: Karras et al., arXiv:2206.00364, algorithm 1.
    """
    noise = noise_from_x0(x0, x, abar, t)
    ahead = flow_step(x, noise, abar, s, t)
    if not bool((s > 0).all()):
        return ahead
    after = noise_from_x0(denoise(ahead, s), ahead, abar, s)
    return flow_step(x, 0.5 * (noise + after), abar, s, t)


def _normal(x: Tensor, generator: Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, device=x.device)


def _half_log_snr(abar: Tensor, t: Tensor) -> Tensor:
    """lambda (n,) of levels t > 0 (n,), in float64."""
    share = abar[t]
    return 0.5 * (share.log() - (1.0 - share).log())
