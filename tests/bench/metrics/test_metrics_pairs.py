"""Metrics on pairs: agreement with reference implementations, orientation, edges."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate1d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from gentune.bench._torchvision import make_importable
from gentune.bench.metrics import MetricValue, UndefinedError
from gentune.bench.metrics.pairs import psnr, reconstruction_error, ssim
from gentune.bench.metrics.perceptual import WEIGHTS_VARIABLE, lpips, lpips_distances, lpips_in_domain

ON_IMAGES = (reconstruction_error, psnr, ssim)


def images(n: int, channels: int, side: int, seed: int) -> Tensor:
    """Smooth pictures in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, channels, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").tanh()


def spoilt(x: Tensor, amount: float, seed: int = 9) -> Tensor:
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return (x + amount * noise).clamp(-1, 1)


# Agreement


@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 24)])
def test_ssim_agrees_with_scikit_image(channels: int, side: int) -> None:
    a = images(6, channels, side, 1)
    b = spoilt(a, 0.2)
    expected = [
        structural_similarity(
            p.double().numpy(),
            q.double().numpy(),
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=2.0,
        )
        for p, q in zip(a, b, strict=True)
    ]
    result = ssim(a, b)
    assert result.value == pytest.approx(np.mean(expected), rel=1e-9)
    half = 1.959964 * np.std(expected, ddof=1) / math.sqrt(6)
    assert (result.low, result.high) == pytest.approx((result.value - half, result.value + half), rel=1e-6)


def test_ssim_of_small_images_by_its_definition() -> None:
    """Digits are 8 × 8, less than the window of 11: the largest odd window that fits is 7 × 7."""
    a = images(3, 1, 8, 2)
    b = spoilt(a, 0.3)
    weight = np.exp(-0.5 * (np.arange(-3, 4) / 1.5) ** 2)
    weight /= weight.sum()

    def smooth(x: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(x, weight, axis=0), weight, axis=1)[3:-3, 3:-3]

    expected = []
    for p, q in zip(a[:, 0].double().numpy(), b[:, 0].double().numpy(), strict=True):
        m, k = smooth(p), smooth(q)
        within_p, within_q, across = smooth(p * p) - m * m, smooth(q * q) - k * k, smooth(p * q) - m * k
        luminance = (2 * m * k + 0.02**2) / (m * m + k * k + 0.02**2)
        structure = (2 * across + 0.06**2) / (within_p + within_q + 0.06**2)
        expected.append((luminance * structure).mean())
    assert ssim(a, b).value == pytest.approx(np.mean(expected), rel=1e-9)


def test_psnr_agrees_with_scikit_image() -> None:
    a = images(5, 3, 12, 3)
    b = spoilt(a, 0.1)
    expected = peak_signal_noise_ratio(a.double().numpy(), b.double().numpy(), data_range=2.0)
    assert psnr(a, b).value == pytest.approx(expected, rel=1e-9)
    one = psnr(a[:1], b[:1])
    single = peak_signal_noise_ratio(a[0].double().numpy(), b[0].double().numpy(), data_range=2.0)
    assert one.value == pytest.approx(single, rel=1e-9)
    assert one.low is None and one.high is None


def test_psnr_of_a_known_error_is_in_decibels() -> None:
    """An error of 0.02 is a hundredth of the range: 40 dB."""
    a = torch.zeros(4, 1, 8, 8, dtype=torch.float64)
    assert psnr(a, a + 0.02).value == pytest.approx(40.0)


def test_psnr_interval_is_that_of_the_error() -> None:
    a = images(400, 1, 8, 4)
    b = a + 0.1 * torch.rand(400, 1, 1, 1, generator=torch.Generator().manual_seed(1))
    result, error = psnr(a, b), reconstruction_error(a, b)
    assert result.low is not None and result.high is not None and error.low is not None and error.high is not None
    assert result.low == pytest.approx(10 * math.log10(4 / error.high), abs=0.05)
    assert result.high == pytest.approx(10 * math.log10(4 / error.low), abs=0.05)


def test_reconstruction_error_is_per_number() -> None:
    a = torch.zeros(2, 3, 4, dtype=torch.float64)
    b = torch.stack([torch.full((3, 4), 0.5), torch.full((3, 4), 1.0)])
    result = reconstruction_error(a, b)
    assert result.value == pytest.approx((0.25 + 1.0) / 2)
    assert result.high == pytest.approx(result.value + 1.959964 * 0.75 / math.sqrt(2) / math.sqrt(2), rel=1e-6)


@pytest.mark.parametrize(("channels", "side"), [(3, 64), (1, 70)])
def test_lpips_agrees_with_the_lpips_package(channels: int, side: int) -> None:
    """With a random backbone and the package's own fitted heads."""
    make_importable()
    package = import_module("lpips")  # it carries no types
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision on `pretrained=`
        oracle = package.LPIPS(net="alex", pnet_rand=True, verbose=False).double()
    backbone: dict[str, Tensor] = {}
    for part in (oracle.net.slice1, oracle.net.slice2, oracle.net.slice3, oracle.net.slice4, oracle.net.slice5):
        backbone |= {f"features.{name}": value for name, value in part.state_dict().items()}
    heads = [head.model[-1].weight.detach().flatten() for head in oracle.lins]
    a = images(3, channels, side, 5).double()
    b = spoilt(a.float(), 0.3).double()
    expected = oracle(*(x.expand(-1, 3, -1, -1) for x in (a, b))).detach().flatten()
    assert expected.min() > 0
    # The package keeps the colours' means and scales rounded to float32.
    torch.testing.assert_close(lpips_distances(a, b, backbone, heads), expected, rtol=1e-6, atol=0)


def test_lpips_from_a_weights_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the whole metric: the file is found, small images are enlarged, a copy scores 0."""
    make_importable()
    from torchvision.models import alexnet

    torch.manual_seed(1)
    file = tmp_path / "alexnet.pth"
    torch.save({k: v for k, v in alexnet(weights=None).state_dict().items() if k.startswith("features")}, file)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(file))
    a = images(4, 1, 8, 6)
    assert lpips(a, a).value == 0.0
    near, far = lpips(a, spoilt(a, 0.05)), lpips(a, spoilt(a, 0.5))
    assert 0 < near.value < far.value
    assert far.low is not None and far.high is not None and far.low < far.value < far.high


@pytest.mark.filterwarnings("error")
def test_lpips_without_weights_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = images(2, 1, 8, 6)
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "none.pth"))
    with pytest.raises(UndefinedError, match=r"no file .*none\.pth"):
        lpips(a, a)
    torch.save({"other": torch.zeros(1)}, tmp_path / "wrong.pth")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "wrong.pth"))
    with pytest.raises(UndefinedError, match="holds no AlexNet weights"):
        lpips(a, a)
    (tmp_path / "broken.pth").write_bytes(b"no checkpoint")
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "broken.pth"))
    with pytest.raises(UndefinedError, match="cannot be read"):
        lpips(a, a)
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(UndefinedError, match="alexnet-owt"):
        lpips(a, a)
    with pytest.raises(UndefinedError, match="1 or 3 channels, got 2"):
        lpips(a.expand(-1, 2, -1, -1), a.expand(-1, 2, -1, -1))


def test_lpips_in_domain_is_an_angle() -> None:
    """2 - 2 cos: 0 for the same direction, 2 for a right angle, 4 for opposite ones."""
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    assert lpips_in_domain(a, 5 * a).value == pytest.approx(0.0, abs=1e-12)
    assert lpips_in_domain(a, a.flip(1)).value == pytest.approx(2.0)
    assert lpips_in_domain(a, -a).value == pytest.approx(4.0)
    sixty = torch.tensor([[0.5, 0.75**0.5]]).repeat(3, 1)
    east = torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    east[0] *= 2  # lengths do not matter, and constant originals have no scale to measure by
    assert lpips_in_domain(east, sixty).value == pytest.approx(1.0)


# Orientation


def test_worse_reconstructions_score_worse() -> None:
    """Analytic collapse: every reconstruction is the mean image."""
    a = images(50, 1, 8, 7)
    near, mean = spoilt(a, 0.05), a.mean(0, keepdim=True).expand_as(a)
    assert reconstruction_error(a, near).value < reconstruction_error(a, mean).value
    assert psnr(a, near).value > psnr(a, mean).value
    assert ssim(a, near).value > ssim(a, mean).value
    assert lpips_in_domain(a.flatten(1), near.flatten(1)).value < lpips_in_domain(a.flatten(1), mean.flatten(1)).value


def test_perfect_pairs() -> None:
    a = images(4, 1, 8, 8)
    assert reconstruction_error(a, a) == MetricValue(0.0)
    assert ssim(a, a).value == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(UndefinedError, match="exact"):
        psnr(a, a)
    b = a.clone()
    b[0] += 0.1  # one image off, three exact
    assert math.isfinite(psnr(a, b).value)


def test_results_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    a = images(20, 1, 8, 9)
    whole = ssim(a, spoilt(a, 0.2))
    monkeypatch.setattr("gentune.bench.metrics.pairs._CHUNK", 7)
    cut = ssim(a, spoilt(a, 0.2))
    assert (whole.value, whole.low, whole.high) == pytest.approx((cut.value, cut.low, cut.high), rel=1e-12)


# Edges


@pytest.mark.parametrize("metric", ON_IMAGES)
def test_bad_pairs(metric: Callable[[Tensor, Tensor], MetricValue]) -> None:
    a = images(3, 1, 8, 1)
    with pytest.raises(ValueError, match="wanted the same shape"):
        metric(a, a[:2])
    with pytest.raises(UndefinedError, match="at least 1 pair"):
        metric(a[:0], a[:0])
    with pytest.raises(UndefinedError, match="reconstructions are not finite"):
        metric(a, a / 0)
    with pytest.raises(UndefinedError, match="originals are not finite"):
        metric(a * math.nan, a)
    with pytest.raises(UndefinedError, match="real numbers"):
        metric(a.long(), a.long())
    if metric is not reconstruction_error:
        with pytest.raises(UndefinedError, match="images only"):
            metric(a.flatten(1), a.flatten(1) + 1)


def test_lpips_in_domain_edges() -> None:
    a = torch.eye(4)
    with pytest.raises(ValueError, match="same pairs"):
        lpips_in_domain(a, a[:2])
    with pytest.raises(UndefinedError, match="at least 2"):
        lpips_in_domain(a[:1], a[:1])
    with pytest.raises(UndefinedError, match="not finite"):
        lpips_in_domain(a, a * math.nan)
    with pytest.raises(UndefinedError, match="all real features are equal"):
        lpips_in_domain(torch.ones(4, 4), a)
