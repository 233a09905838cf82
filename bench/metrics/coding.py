"""Code lengths: of a likelihood, and of common compressors."""

from __future__ import annotations

import io
import math
import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

from ...models.base import Likelihood
from ...models.data_spec import DataSpec
from .base import MetricValue, UndefinedError
from .likelihood import bits_per_dim
from .means import mean_interval, require_vectors

_MOST_COMPRESSION = 9  # zlib's slowest and smallest


def bits_per_token(likelihood: Likelihood, spec: DataSpec, tokens: Tensor) -> MetricValue:
    """-Σ log p(x_i) / (log 2 · Σ t_i): bits for each of the tokens that count; lower is better.

    tokens: (n,) how many tokens t_i of each held-out sequence count, as its mask says. That a shorter sequence ends is
        part of log p(x_i), and no token.

    The 95% interval is that of a ratio of sums over sequences, by linearisation. Perplexity is 2 to this power.

    References: Shannon, doi:10.1002/j.1538-7305.1951.tb01366.x; the interval, Cochran, Sampling Techniques, section 6.
    """
    if spec.kind != "sequence":
        raise UndefinedError(f"bits per token is for sequences, not for {spec.kind} data")
    log_prob, counts = require_vectors(log_likelihoods=likelihood.log_prob, token_counts=tokens)
    if log_prob.shape != counts.shape:
        raise ValueError(f"{len(log_prob)} log-likelihoods and {len(counts)} token counts")
    if not log_prob.isfinite().all():
        raise UndefinedError("the log-likelihood is not finite")
    if not (counts.isfinite().all() and (counts >= 0).all()):
        raise ValueError("token counts are not numbers from 0 up")
    if not counts.sum() > 0:
        raise UndefinedError("no token counts")
    bits = -log_prob / math.log(2)
    ratio = float(bits.sum() / counts.sum())
    residuals = mean_interval((bits - ratio * counts) / counts.mean())  # its mean is zero
    if residuals.low is None or residuals.high is None:
        return MetricValue(ratio)
    return MetricValue(ratio, ratio + residuals.low, ratio + residuals.high)


def compression_ratio(likelihood: Likelihood, spec: DataSpec) -> MetricValue:
    """Raw size of images at log2(levels) bits a value over the model's code length, log2(levels) / bits_per_dim.

    Higher is better; 1 is no compression. The code length is the ideal one, which arithmetic coding reaches to within
    2 bits a file where the likelihood is exact, and bits-back coding nearly where it is a bound from latent variables.

    References: MacKay, Information Theory, Inference, and Learning Algorithms, section 6.2; Townsend et al.,
        arXiv:1901.04866.
    """
    if spec.kind != "image":
        raise UndefinedError(f"images are compressed here, not {spec.kind} data")
    raw = _raw_bits(spec)
    coded = bits_per_dim(likelihood, spec)
    if not coded.value > 0.0:
        raise UndefinedError(f"a code of {coded.value:.3g} bits/dim gives no ratio")
    if coded.low is None or coded.high is None or not 0.0 < coded.low < coded.high:
        return MetricValue(raw / coded.value)
    return MetricValue(raw / coded.value, raw / coded.high, raw / coded.low)


def baseline_ratios(real_x: Tensor, spec: DataSpec) -> Mapping[str, float]:
    """What `compression_ratio` is for PNG and for zlib on the images (n, C, H, W), in one file for all of them.

    Raises UndefinedError for what is not an image of at most 256 levels, and where there is no image.
    """
    if spec.kind != "image":
        raise UndefinedError(f"images are compressed here, not {spec.kind} data")
    if not len(real_x):
        raise UndefinedError("needs at least 1 image, got 0")
    if not real_x.isfinite().all():
        raise UndefinedError("images are not finite")
    levels = spec.to_levels(real_x)
    raw = levels.numel() * _raw_bits(spec)
    return {name: raw / (8 * len(code(levels))) for name, code in (("png", png_bytes), ("zlib", zlib_bytes))}


def png_bytes(levels: Tensor) -> bytes:
    """One PNG of images (n, C, H, W) of levels 0...255: RGB for three channels, else grey.

    On one sheet, row by row, ⌈√n⌉ images a row, so that the header and the filter byte of each line hardly count. The
    channels of what is not RGB are images of their own.
    """
    from PIL import Image

    values = _bytes_of(levels)
    if values.shape[1] != 3:
        values = values.flatten(0, 1)[:, None]  # (n C, 1, H, W)
    n, channels, height, width = values.shape
    columns = math.isqrt(n - 1) + 1
    rows = -(-n // columns)
    sheet = values.new_zeros(rows * columns, channels, height, width)
    sheet[:n] = values
    sheet = sheet.reshape(rows, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    picture = sheet.reshape(rows * height, columns * width, channels).squeeze(2)
    file = io.BytesIO()
    Image.fromarray(picture.numpy()).save(file, format="PNG", optimize=True)
    return file.getvalue()


def zlib_bytes(levels: Tensor) -> bytes:
    """zlib's code, at its highest setting, of levels 0...255 (n, C, H, W) in their order, a byte each."""
    return zlib.compress(_bytes_of(levels).contiguous().numpy().tobytes(), _MOST_COMPRESSION)


def _bytes_of(levels: Tensor) -> Tensor:
    if levels.ndim != 4 or not levels.numel():
        raise ValueError(f"levels of shape {tuple(levels.shape)}; wanted images (n, C, H, W)")
    if int(levels.min()) < 0 or int(levels.max()) > 255:
        raise UndefinedError("PNG and zlib are given one byte a value; the images have more than 256 levels")
    return levels.detach().to("cpu", torch.uint8)


def _raw_bits(spec: DataSpec) -> float:
    if spec.levels is None:
        raise UndefinedError("the images have no levels")
    return math.log2(spec.levels)
