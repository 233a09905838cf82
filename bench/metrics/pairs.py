"""Metrics on pairs of an original and its reconstruction: reconstruction, super-resolution, inpainting.

Glossary: a originals, b reconstructions, both (n, *shape); images (n, C, H, W) in [-1, 1].
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import MetricValue, UndefinedError
from .means import mean_interval

DATA_RANGE = 2.0  # of images in [-1, 1]
_WINDOW, _SIGMA = 11, 1.5
_K1, _K2 = 0.01, 0.03
_CHUNK = 256


def reconstruction_error(originals: Tensor, reconstructions: Tensor) -> MetricValue:
    """Squared error per number of the data, averaged over all examples; lower is better.

    In squared units of the data convention: images in [-1, 1], vectors standardised. The interval is normal, over
    examples.

    References: Hinton & Salakhutdinov, doi:10.1126/science.1127647.
    """
    return mean_interval(_squared_errors(*checked_pairs(originals, reconstructions)))


def psnr(originals: Tensor, reconstructions: Tensor) -> MetricValue:
    """10 log₁₀(range² / MSE) in dB of images in [-1, 1], so with a range of 2; higher is better.

    MSE is the mean over all images, so that single exact reconstructions do not make it infinite; it lies a little
    below the mean of each image's own figure. Undefined where all are exact. The interval is that of the MSE.

    References: Wang et al., doi:10.1109/TIP.2003.819861, section I.
    """
    a, b = checked_images(originals, reconstructions)
    error = mean_interval(_squared_errors(a, b))
    if error.value == 0:
        raise UndefinedError("every reconstruction is exact, so that the ratio is infinite")
    if error.low is None or error.high is None:
        return MetricValue(_decibel(error.value))
    half = 10 / math.log(10) * (error.high - error.value) / error.value  # the logarithm's, to first order
    return MetricValue(_decibel(error.value), _decibel(error.value) - half, _decibel(error.value) + half)


def ssim(originals: Tensor, reconstructions: Tensor) -> MetricValue:
    """Structural similarity of images in [-1, 1], at most 1; higher is better.

    Gaussian weights of deviation 1.5 in a window of 11 × 11, or the largest odd one that fits a smaller image (7 × 7
    on the 8 × 8 digits); K₁ = .01, K₂ = .03, range 2, population moments. The mean over the windows that lie
    wholly within the image, then over channels and images. The interval is normal, over images.

    References: Wang et al., doi:10.1109/TIP.2003.819861, equations 13 to 17.
    """
    a, b = checked_images(originals, reconstructions)
    parts = [_ssim_of_images(*pair) for pair in zip(a.split(_CHUNK), b.split(_CHUNK), strict=True)]
    return mean_interval(torch.cat(parts))


def checked_pairs(originals: Tensor, reconstructions: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float64 on the CPU. Raises ValueError for shapes that differ, UndefinedError for what has no distance."""
    if originals.shape != reconstructions.shape or originals.ndim < 2:
        raise ValueError(
            f"originals of shape {tuple(originals.shape)} and reconstructions of shape "
            f"{tuple(reconstructions.shape)}; wanted the same shape (n, ...)"
        )
    if not (originals.is_floating_point() and reconstructions.is_floating_point()):
        raise UndefinedError("only data of real numbers has a squared error")
    if not len(originals):
        raise UndefinedError("needs at least 1 pair, got 0")
    a, b = (x.detach().to("cpu", torch.float64) for x in (originals, reconstructions))
    if not a.isfinite().all():
        raise UndefinedError("originals are not finite")
    if not b.isfinite().all():
        raise UndefinedError("reconstructions are not finite")
    return a, b


def checked_images(originals: Tensor, reconstructions: Tensor) -> tuple[Tensor, Tensor]:
    a, b = checked_pairs(originals, reconstructions)
    if a.ndim != 4:
        raise UndefinedError("defined for images only")
    return a, b


def _squared_errors(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).mean(1)  # (n,)


def _decibel(error: float) -> float:
    return 10 * math.log10(DATA_RANGE**2 / error)


def _ssim_of_images(a: Tensor, b: Tensor) -> Tensor:
    smallest = min(a.shape[2:])
    window = min(_WINDOW, smallest - 1 + smallest % 2)
    offset = torch.arange(window, dtype=a.dtype) - window // 2
    weight = torch.exp(-0.5 * (offset / _SIGMA) ** 2)
    weight = weight / weight.sum()

    def smooth(x: Tensor) -> Tensor:
        n, channels, height, width = x.shape
        x = x.reshape(n * channels, 1, height, width)
        x = F.conv2d(F.conv2d(x, weight[None, None, :, None]), weight[None, None, None, :])
        return x.reshape(n, channels, *x.shape[2:])

    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * DATA_RANGE) ** 2, (_K2 * DATA_RANGE) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity = similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
    return similarity.flatten(1).mean(1)  # (n,)
