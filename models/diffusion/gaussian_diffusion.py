"""Discrete-time Gaussian diffusion: noise schedules, conversions, the reverse process and the variational bound.

Pure functions of tensors; the network enters as a function. Glossary:
    t           noise level, 0 (data) ... T (noise)
    x_t         example at level t: x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, eps ~ N(0, I)
    abar        float64 (T + 1,), the signal's share of the variance at every level; abar_0 = 1
    alpha_t     abar_t / abar_(t-1);  beta_t = 1 - alpha_t
    v           sqrt(abar_t) eps - sqrt(1 - abar_t) x_0
    s < t       the level that a step goes to; s = t - 1 unless levels are skipped
    denoise     (x_t (n, ...), t int64 (n,)) -> estimate of x_0, like x_t; with learned variances also `share`
    share       like x_t: where the log of a step's variance lies between the posterior's (0) and the forward's (1)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Generator, Tensor

from ..likelihoods import sum_per_example

Denoiser = Callable[[Tensor, Tensor], Tensor]
VaryingDenoiser = Callable[[Tensor, Tensor], Tensor | tuple[Tensor, Tensor]]
Target = Literal["noise", "v", "x0"]
Variance = Literal["posterior", "forward"]
Weighting = Literal["simple", "bound", "min_snr"]
Spread = Variance | Tensor  # a fixed variance, or `share` of a learned one

_LEAST_SIGNAL = 4e-5  # of abar
_MOST_SNR = 5.0  # arXiv:2303.09556, table 1
_SHARE_OF_SPACING = 0.4  # noise from which a lattice is decoded
_SHARE_OF_NOISE = 0.6  # the error of an estimate there


# Noise schedules


def linear_schedule(timesteps: int) -> Tensor:
    """abar (T + 1,) for betas that rise linearly from 1e-4 to 0.02 at T = 1000.

    For another T the betas are scaled by 1000 / T, so that every T covers the same range of noise.

    References: Ho et al., arXiv:2006.11239, section 4.
    """
    scale = 1000.0 / timesteps
    beta = torch.linspace(1e-4 * scale, 0.02 * scale, timesteps, dtype=torch.float64)
    return _cumulative(beta)


def cosine_schedule(timesteps: int, offset: float = 0.008) -> Tensor:
    """abar (T + 1,) = f(t) / f(0) with f(t) = cos^2((t/T + offset) / (1 + offset) pi/2).

    The betas are cut at 0.999, as in the paper, and abar at 4e-5, its last value under the linear schedule:
    an example with less signal carries no information, and dividing by less would only amplify errors.

    References: Nichol and Dhariwal, arXiv:2102.09672, equation 17.
    """
    t = torch.arange(timesteps + 1, dtype=torch.float64) / timesteps
    f = torch.cos((t + offset) / (1.0 + offset) * (torch.pi / 2)) ** 2
    return _with_least_signal(f / f[0])


def sigmoid_schedule(timesteps: int, start: float = -3.0, end: float = 3.0) -> Tensor:
    """abar (T + 1,) = (sigmoid(end) - sigmoid(g(t))) / (sigmoid(end) - sigmoid(start)), g from start to end evenly.

    Cut as `cosine_schedule` is.

    References: Chen, arXiv:2301.10972, section 3.1; Jabri et al., arXiv:2212.11972, section 2.2.
    """
    g = torch.sigmoid(torch.linspace(start, end, timesteps + 1, dtype=torch.float64))
    return _with_least_signal((g[-1] - g) / (g[-1] - g[0]))


def _with_least_signal(abar: Tensor) -> Tensor:
    least = _LEAST_SIGNAL * torch.linspace(1.0 + 1e-3, 1.0, len(abar), dtype=torch.float64)  # stays decreasing
    abar = torch.maximum(abar, least)
    return _cumulative(1.0 - abar[1:] / abar[:-1])


def _cumulative(beta: Tensor) -> Tensor:
    alpha = 1.0 - beta.clamp(max=0.999)
    return torch.cat((torch.ones(1, dtype=torch.float64), torch.cumprod(alpha, dim=0)))


SCHEDULES: dict[str, Callable[[int], Tensor]] = {
    "linear": linear_schedule,
    "cosine": cosine_schedule,
    "sigmoid": sigmoid_schedule,
}


# The forward process and what a network may predict


def coefficients(abar: Tensor, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """sqrt(abar_t) and sqrt(1 - abar_t) for levels t (n,), shaped (n, 1, ...) to multiply `like` (n, ...)."""
    share = abar[t]  # (n,) float64
    shape = (-1,) + (1,) * (like.dim() - 1)
    return share.sqrt().to(like.dtype).view(shape), (1.0 - share).sqrt().to(like.dtype).view(shape)


def diffuse(x0: Tensor, noise: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """x_t from x_0 and standard normal noise.

    References: Ho et al., arXiv:2006.11239, equation 4.
    """
    signal, deviation = coefficients(abar, t, x0)
    return signal * x0 + deviation * noise


def target_of(target: Target, x0: Tensor, noise: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """What the network is asked for: the noise, the clean example, or v.

    References: Ho et al., arXiv:2006.11239, equation 14; Salimans and Ho, arXiv:2202.00512, section 4.
    """
    if target == "noise":
        return noise
    if target == "x0":
        return x0
    signal, deviation = coefficients(abar, t, x0)
    return signal * noise - deviation * x0


def x0_from(target: Target, prediction: Tensor, x_t: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """The estimate of x_0 that a prediction of `target` at x_t stands for; the inverse of `target_of`."""
    if target == "x0":
        return prediction
    signal, deviation = coefficients(abar, t, x_t)
    if target == "noise":
        return (x_t - deviation * prediction) / signal
    return signal * x_t - deviation * prediction


def noise_from_x0(x0: Tensor, x_t: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """The noise that leads from x_0 to x_t, t > 0."""
    signal, deviation = coefficients(abar, t, x_t)
    return (x_t - signal * x0) / deviation


def x0_shift(gradient: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """E[x_0 | x_t, y] - E[x_0 | x_t] by the gradient of log p(y | x_t), like it: (1 - abar_t) / sqrt(abar_t) times it.

    The estimate of x_0 is (x_t + (1 - abar_t) score) / sqrt(abar_t), and by Bayes' rule the score of p(x_t | y) is that
    of p(x_t) and this gradient.

    References: Dhariwal and Nichol, arXiv:2105.05233, equation 14, there for the noise.
    """
    signal, deviation = coefficients(abar, t, gradient)
    return deviation**2 / signal * gradient


def loss_weights(weighting: Weighting, target: Target, abar: Tensor, t: Tensor) -> Tensor:
    """Factors (n,) of the squared error of a prediction of `target` at levels t (n,), of mean 1 over t = 1...T.

    "simple" leaves every target's error as it is. The others ask for the same error of x_0 whatever the target is:
    "bound" weighs it as the variational bound does, "min_snr" by min(SNR_t, 5), with SNR_t = abar_t / (1 - abar_t).

    References: Ho et al., arXiv:2006.11239, equations 12 and 14; Kingma et al., arXiv:2107.00630, equation 13; Hang et
    al., arXiv:2303.09556, section 3.4.
    """
    if weighting == "simple":
        return torch.ones(t.shape, device=t.device)
    snr = abar[1:] / (1.0 - abar[1:])
    if weighting == "min_snr":
        of_x0 = snr.clamp(max=_MOST_SNR)
    else:  # the first level is decoded by a Gaussian of the level's own noise
        of_x0 = torch.cat((1.0 / (1.0 - abar[1:2]), snr[:-1] - snr[1:]))
    # What the error of each target is of that of x_0: arXiv:2202.00512, appendix D.
    implied = {"x0": torch.ones_like(snr), "noise": snr, "v": snr + 1.0}[target]
    weights = of_x0 / implied
    return (weights / weights.mean())[t - 1].to(torch.float32)


# The reverse process


def posterior(x0: Tensor, x_t: Tensor, abar: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (n, ...) and variance (n, 1, ...) of q(x_s | x_t, x_0) for levels s < t (n,).

    References: Ho et al., arXiv:2006.11239, equations 6 and 7 (there s = t - 1).
    """
    shape = (-1,) + (1,) * (x_t.dim() - 1)
    abar_s, abar_t = abar[s], abar[t]
    alpha = abar_t / abar_s
    from_x0 = abar_s.sqrt() * (1.0 - alpha) / (1.0 - abar_t)
    from_x_t = alpha.sqrt() * (1.0 - abar_s) / (1.0 - abar_t)
    variance = (1.0 - abar_s) / (1.0 - abar_t) * (1.0 - alpha)
    mean = from_x0.to(x_t.dtype).view(shape) * x0 + from_x_t.to(x_t.dtype).view(shape) * x_t
    return mean, variance.to(x_t.dtype).view(shape)


def with_spread(estimate: Tensor | tuple[Tensor, Tensor], variance: Variance) -> tuple[Tensor, Spread]:
    """What a denoiser returned as its estimate of x_0 and the spread of a step: its own, or the fixed one."""
    return (estimate, variance) if isinstance(estimate, Tensor) else estimate


def step_variance(spread: Spread, abar: Tensor, s: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Variance (n, 1, ...) of an ancestral step: the posterior's, the forward kernel's 1 - abar_t / abar_s, or, like
    `like`, one between their logarithms.

    They are the smallest and the largest correct values: the first where x_t determines x_0, as it does for
    data on a lattice at little noise, the second where x_0 has a smooth density at that scale.

    References: Ho et al., arXiv:2006.11239, section 3.2; Nichol and Dhariwal, arXiv:2102.09672, equation 15.
    """
    if spread == "posterior":
        return posterior(like, like, abar, s, t)[1]
    forward = (1.0 - abar[t] / abar[s]).to(like.dtype).view((-1,) + (1,) * (like.dim() - 1))
    if not isinstance(spread, Tensor):
        return forward
    least = posterior(like, like, abar, s, t)[1].clamp(min=torch.finfo(like.dtype).tiny)  # zero on the way to level 0
    return torch.exp(spread * forward.log() + (1.0 - spread) * least.log())


# The variational bound


def prior_kl(x0: Tensor, abar: Tensor) -> Tensor:
    """KL(q(x_T | x_0) || N(0, I)) in nats, (n,).

    References: Ho et al., arXiv:2006.11239, equation 5, L_T.
    """
    share = float(abar[-1])
    log_variance = torch.log1p(torch.tensor(-share, dtype=torch.float64)).item()
    return sum_per_example(0.5 * (share * x0**2 - share - log_variance))


def step_kl(x0: Tensor, estimate: Tensor, abar: Tensor, t: Tensor, spread: Spread = "posterior") -> Tensor:
    """KL(q(x_(t-1) | x_t, x_0) || p(x_(t-1) | x_t)) in nats, (n,), for t >= 2.

    Both are Gaussian; q's variance is the posterior's, p's as `spread` says.

    References: Ho et al., arXiv:2006.11239, equations 5 and 8.
    """
    alpha = abar[t] / abar[t - 1]
    ratio = (1.0 - abar[t - 1]) / (1.0 - abar[t])  # q's variance over the forward kernel's
    # Means differ by sqrt(abar_(t-1)) beta_t / (1 - abar_t) times the error.
    over_forward = abar[t - 1] * (1.0 - alpha) / (1.0 - abar[t]) ** 2
    if isinstance(spread, Tensor):
        shape = (-1,) + (1,) * (x0.dim() - 1)
        log_larger = spread * -ratio.log().to(x0.dtype).view(shape)  # p's variance over q's
        weight = (over_forward / ratio).to(x0.dtype).view(shape)
        shrunk = torch.exp(-log_larger)
        return sum_per_example(0.5 * (log_larger + shrunk - 1.0 + shrunk * weight * (x0 - estimate) ** 2))
    error = sum_per_example((x0 - estimate) ** 2)
    if spread == "posterior":
        return (0.5 * over_forward / ratio).to(x0.dtype) * error
    wider = 0.5 * (ratio - 1.0 - ratio.log()) * x0[0].numel()
    return wider.to(x0.dtype) + (0.5 * over_forward).to(x0.dtype) * error


def learned_variance_loss(x0: Tensor, estimate: Tensor, share: Tensor, abar: Tensor, t: Tensor) -> Tensor:
    """T times `step_kl` in nats a dimension, (n,), whose mean over t = 1...T is a bound; it moves `share` alone.

    At t = 1, where the decoder has a variance of its own, it is zero.

    References: Nichol and Dhariwal, arXiv:2102.09672, section 3.1, L_vlb with a stopped gradient of the mean.
    """
    kl = step_kl(x0, estimate.detach(), abar, t.clamp(min=2), share)
    return torch.where(t > 1, kl, 0.0) * (len(abar) - 1) / x0[0].numel()


def strata(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """Levels first...last in at most `count` runs [low, high) that grow geometrically.

    The bound's terms fall steeply with t, so that equal runs would spend nearly all draws on small terms.
    """
    total = last - first + 1
    edges = {round(total ** (i / count)) for i in range(1, count + 1)} | {0}
    ordered = sorted(edges)
    return [(first + a, first + b) for a, b in pairwise(ordered)]


def stratified_step_kl(
    denoise: VaryingDenoiser,
    x0: Tensor,
    abar: Tensor,
    *,
    first: int,
    count: int,
    variance: Variance = "posterior",
    generator: Generator,
) -> tuple[Tensor, int]:
    """An unbiased estimate (n,) of the sum of `step_kl` over t = first...T, and the levels drawn per example.

    One level is drawn per stratum and example and weighted by the stratum's size.
    """
    n = x0.shape[0]
    total = torch.zeros(n, device=x0.device)
    runs = strata(first, abar.shape[0] - 1, count)
    for low, high in runs:
        draw = torch.rand(n, generator=generator, device=x0.device)
        t = low + (draw * (high - low)).long().clamp(max=high - low - 1)
        noise = torch.randn(x0.shape, generator=generator, device=x0.device)
        estimate, spread = with_spread(denoise(diffuse(x0, noise, abar, t), t), variance)
        total += (high - low) * step_kl(x0, estimate, abar, t, spread)
    return total, len(runs)


def discretised_gaussian_log_prob(k: Tensor, mean: Tensor, deviation: float, levels: int) -> Tensor:
    """log of the Gaussian's mass on each level's bin of width 2/(L-1) around its lattice point, elementwise.

    The first and last level take the tails, so that the probabilities of the L levels sum to 1.

    References: Ho et al., arXiv:2006.11239, equation 13.
    """
    half = 1.0 / (levels - 1)
    centre = (k * (2.0 * half) - 1.0 - mean) / deviation
    upper, lower = centre + half / deviation, centre - half / deviation
    # By symmetry take the side where both edges are in the lower tail, so that no digits are lost.
    flip = centre > 0
    upper, lower = torch.where(flip, -lower, upper), torch.where(flip, -upper, lower)
    log_upper, log_lower = torch.special.log_ndtr(upper), torch.special.log_ndtr(lower)
    middle = log_upper + torch.log1p(-torch.exp((log_lower - log_upper).clamp(max=-1e-12)))
    first, last = k == 0, k == levels - 1
    # The tail bins: mass below the upper edge of level 0, above the lower edge of level L-1.
    below = torch.special.log_ndtr(centre + half / deviation)
    above = torch.special.log_ndtr(-(centre - half / deviation))
    return torch.where(first, below, torch.where(last, above, middle))


def first_level(abar: Tensor, levels: int | None) -> int:
    """The level from which data on a lattice are decoded: the last whose noise is under 0.4 of the spacing.

    At least 1, which is the paper's choice and what continuous data and fine lattices get. Below that level an
    example's noise no longer hides its levels, and steps there would only add cost to the bound.
    """
    if levels is None:
        return 1
    below = (1.0 - abar).sqrt() < _SHARE_OF_SPACING * 2.0 / (levels - 1)
    return max(1, int(below.sum()) - 1)


def decoder_deviation(abar: Tensor, levels: int | None) -> float:
    """Deviation of p(x_0 | x_t) at the first level t: that of the level's noise.

    Where the noise leaves a lattice visible, 0.6 of it: the estimate then errs by less than the noise. Of any deviation
    a bound holds; the two shares maximise it on the validation split of the digits.
    """
    first = first_level(abar, levels)
    noise = float((1.0 - abar[first]).sqrt())
    visible = levels is not None and noise < _SHARE_OF_SPACING * 2.0 / (levels - 1)
    return _SHARE_OF_NOISE * noise if visible else noise
