"""Bits per token, compression ratios and the baseline coders."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gentune.bench.data import load
from gentune.bench.metrics import UndefinedError
from gentune.bench.metrics.coding import baseline_ratios, bits_per_token, compression_ratio, png_bytes, zlib_bytes
from gentune.models import DataSpec, Likelihood, LikelihoodKind

IMAGES = DataSpec("pictures", "image", (1, 4, 4), levels=17)
TEXT = DataSpec("text", "sequence", (8,), vocabulary=16)
VECTORS = DataSpec("points", "vector", (2,))


def exact(log_prob: Tensor) -> Likelihood:
    return Likelihood(log_prob, LikelihoodKind.EXACT)


# Bits per token


def test_bits_per_token_of_uniform_tokens() -> None:
    tokens = torch.tensor([8, 3, 5])
    assert bits_per_token(exact(-tokens * math.log(16)), TEXT, tokens).value == pytest.approx(4.0, rel=1e-6)


def test_bits_per_token_weighs_tokens_and_not_sequences() -> None:
    result = bits_per_token(exact(torch.tensor([-8.0, -2.0])), TEXT, torch.tensor([8, 1]))
    assert result.value == pytest.approx(10 / 9 / math.log(2), rel=1e-6)


def test_bits_per_token_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Bits of single tokens uniform on 0 to 2, lengths of 1 to 8 tokens."""
    rng, held = np.random.default_rng(0), 0
    for _ in range(400):
        lengths = rng.integers(1, 9, size=100)
        log_prob = torch.tensor([-rng.uniform(0, 2, size=k).sum() * math.log(2) for k in lengths])
        result = bits_per_token(exact(log_prob), TEXT, torch.from_numpy(lengths))
        assert result.low is not None
        assert result.high is not None
        held += result.low < 1.0 < result.high
    assert 0.92 < held / 400 < 0.98


def test_bits_per_token_prefers_likely_sequences() -> None:
    tokens = torch.full((10,), 8)
    good, bad = (bits_per_token(exact(torch.full((10,), value)), TEXT, tokens).value for value in (-5.0, -9.0))
    assert good < bad


def test_bits_per_token_is_undefined_for_other_data_and_without_tokens() -> None:
    for spec, log_prob, tokens, reason in (
        (IMAGES, [-1.0], [1], "sequences"),
        (TEXT, [math.nan], [1], "not finite"),
        (TEXT, [-1.0], [0], "no token"),
        (TEXT, [], [], "no token"),
    ):
        with pytest.raises(UndefinedError, match=reason):
            bits_per_token(exact(torch.tensor(log_prob)), spec, torch.tensor(tokens))
    with pytest.raises(ValueError, match="2 token counts"):
        bits_per_token(exact(torch.zeros(1)), TEXT, torch.ones(2))
    with pytest.raises(ValueError, match="from 0 up"):
        bits_per_token(exact(torch.zeros(1)), TEXT, torch.tensor([-1]))


# Compression


def test_a_uniform_model_does_not_compress() -> None:
    uniform = exact(torch.full((5,), -16 * math.log(17), dtype=torch.float64))
    assert compression_ratio(uniform, IMAGES).value == pytest.approx(1.0, rel=1e-12)


def test_half_the_bits_are_twice_the_compression() -> None:
    log_prob = torch.tensor([-7.0, -9.0, -8.0], dtype=torch.float64) * math.log(17)
    result = compression_ratio(exact(log_prob), IMAGES)
    assert result.value == pytest.approx(2.0, rel=1e-12)
    margin = 1.959963985 / math.sqrt(3)
    assert (result.low, result.high) == pytest.approx((16 / (8 + margin), 16 / (8 - margin)), rel=1e-6)


def test_no_upper_end_where_the_code_length_may_be_zero() -> None:
    result = compression_ratio(exact(torch.tensor([-1e-3, -40.0])), IMAGES)
    assert result.low is None
    assert result.high is None


def test_compression_is_undefined_for_other_data_and_for_codes_of_no_length() -> None:
    with pytest.raises(UndefinedError, match="vector"):
        compression_ratio(exact(torch.zeros(1)), VECTORS)
    with pytest.raises(UndefinedError, match="no ratio"):
        compression_ratio(exact(torch.zeros(3)), IMAGES)
    with pytest.raises(UndefinedError, match="not finite"):
        compression_ratio(exact(torch.full((3,), -math.inf)), IMAGES)


# PNG and zlib


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_coders_keep_every_level(channels: int) -> None:
    levels = torch.randint(0, 256, (5, channels, 6, 4), generator=torch.Generator().manual_seed(0))
    sheet = np.array(Image.open(io.BytesIO(png_bytes(levels)))).astype(np.int64)
    pictures = levels.permute(0, 2, 3, 1) if channels == 3 else levels.flatten(0, 1)
    columns = sheet.shape[1] // 4
    for number, picture in enumerate(pictures):
        top, left = number // columns * 6, number % columns * 4
        assert np.array_equal(sheet[top : top + 6, left : left + 4], picture.numpy())
    assert zlib.decompress(zlib_bytes(levels)) == levels.to(torch.uint8).numpy().tobytes()


def test_baselines_on_digits_and_on_noise() -> None:
    digits = load("digits")
    ratios = baseline_ratios(digits.splits["train"].x[:], digits.spec)
    noise = digits.spec.from_levels(torch.randint(0, 17, (500, 1, 8, 8), generator=torch.Generator().manual_seed(0)))
    of_noise = baseline_ratios(noise, digits.spec)
    # An independent histogram for each pixel reaches 4.087/2.438 = 1.68; these do not know where a pixel is.
    assert 1.0 < ratios["png"] < ratios["zlib"] < 1.68
    for ratio in of_noise.values():
        assert 0.8 < ratio < 1.0  # nothing to gain, and no coder is free


def test_baselines_are_undefined_for_other_data() -> None:
    with pytest.raises(UndefinedError, match="vector"):
        baseline_ratios(torch.zeros(3, 2), VECTORS)
    with pytest.raises(UndefinedError, match="1 image"):
        baseline_ratios(torch.zeros(0, 1, 4, 4), IMAGES)
    with pytest.raises(UndefinedError, match="finite"):
        baseline_ratios(torch.full((1, 1, 4, 4), math.nan), IMAGES)
    with pytest.raises(UndefinedError, match="256"):
        baseline_ratios(torch.ones(1, 1, 4, 4), DataSpec("deep", "image", (1, 4, 4), levels=1_000))
