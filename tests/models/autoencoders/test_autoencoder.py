"""Autoencoder and denoising autoencoder: the codes' density, and what noise does to a reconstruction."""

from __future__ import annotations

import pytest
import torch

from gentune.bench.data import load
from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, DataSpec
from gentune.models.autoencoders.autoencoder import Autoencoder
from gentune.models.autoencoders.code_density import CodeDensity
from gentune.models.autoencoders.denoising_autoencoder import DenoisingAutoencoder

PLANE = DataSpec("plane", "vector", (2,))
TINY = DataSpec("tiny", "image", (1, 4, 4), levels=3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _two_heaps(n: int = 600) -> torch.Tensor:
    """Codes (n, 2) of deviation .1 around (10, 0) and (30, 0)."""
    noise = 0.1 * torch.randn(n, 2, generator=_generator())
    return noise + torch.tensor([[10.0, 0.0], [30.0, 0.0]]).repeat(n // 2, 1)


def test_one_gaussian_of_codes_has_their_mean_and_covariance() -> None:
    codes = torch.randn(500, 3, generator=_generator()) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, 0, 0.1]]) + 5.0
    density = CodeDensity(3, kind="gaussian", components=7)
    density.fit(codes, _generator())
    law = torch.distributions.MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0))
    assert torch.allclose(density.log_density(codes), law.log_prob(codes), atol=5e-3)
    drawn = density.draw(40_000, _generator(1))
    assert torch.allclose(drawn.mean(0), codes.mean(0), atol=0.05)
    assert torch.allclose(torch.cov(drawn.T), torch.cov(codes.T), atol=0.12)


def test_a_mixture_tells_heaps_of_codes_apart_where_one_gaussian_does_not() -> None:
    codes = _two_heaps()
    single, mixture = CodeDensity(2, kind="gaussian", components=2), CodeDensity(2, kind="mixture", components=2)
    for density in (single, mixture):
        density.fit(codes, _generator())
    assert mixture.log_density(codes).mean() > single.log_density(codes).mean() + 2.0
    between = [
        ((density.draw(1000, _generator(2))[:, 0] - 20.0).abs() < 5.0).float().mean() for density in (single, mixture)
    ]
    assert between[0] > 0.2
    assert between[1] == 0.0


def test_temperature_draws_codes_towards_their_heaps() -> None:
    density = CodeDensity(2, kind="mixture", components=2)
    density.fit(_two_heaps(), _generator())
    cold = density.draw(200, _generator(), temperature=0.0)
    assert torch.unique(cold.round(decimals=3), dim=0).shape == (2, 2)
    warm, half = (density.draw(200, _generator(), temperature=t) for t in (1.0, 0.5))
    assert torch.allclose(half - cold, 0.5 * (warm - cold), atol=1e-4)


def test_a_constant_code_does_not_break_the_density() -> None:
    codes = torch.cat([torch.randn(50, 1, generator=_generator()), torch.full((50, 1), 3.0)], dim=1)
    density = CodeDensity(2, kind="gaussian", components=1)
    density.fit(codes, _generator())
    drawn = density.draw(100, _generator())
    assert torch.allclose(drawn[:, 1], torch.tensor(3.0), atol=0.1)


def test_unknown_densities_and_too_few_codes_are_refused() -> None:
    with pytest.raises(ValueError, match="code_density is 'normal'; wanted gaussian or mixture"):
        Autoencoder(TINY, code_density="normal")
    with pytest.raises(ValueError, match="a mixture of 5 components needs as many examples, got 3"):
        CodeDensity(2, kind="mixture", components=5).fit(torch.randn(3, 2), _generator())


def test_the_density_is_fitted_to_codes_of_clean_examples() -> None:
    torch.manual_seed(0)
    model = DenoisingAutoencoder(PLANE, width=8, latent_dim=2, noise=0.5, code_density="gaussian")
    x = torch.randn(300, 2, generator=_generator())
    model.fit_codes(Batch(x), _generator())
    with torch.no_grad():
        assert torch.allclose(model.density.centre, model.encode(Batch(x)).mean(0), atol=1e-5)


def test_noise_is_of_the_given_deviation_and_from_the_given_generator() -> None:
    x = torch.zeros(2000, 1, 4, 4)
    model = DenoisingAutoencoder(TINY, width=8, noise=0.3)
    noise = model.corrupted(x, _generator())
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert torch.equal(noise, model.corrupted(x, _generator()))
    assert torch.equal(Autoencoder(TINY, width=8).corrupted(x, _generator()), x)


def test_a_denoising_autoencoder_moves_points_towards_the_data() -> None:
    """Of points on a line with noise across it, the best reconstruction is nearer to the line (arXiv:1211.4246)."""
    along = torch.randn(2000, 1, generator=_generator())
    data = Batch(torch.cat([along, along], dim=1))
    torch.manual_seed(0)
    model = DenoisingAutoencoder(PLANE, width=8, latent_dim=2, noise=0.3, learning_rate=1e-2)
    train(model, data, LoopSettings(batch_size=64), steps=200, seed=0)
    noisy = data.x[:500] + 0.3 * torch.randn(500, 2, generator=_generator(5))
    across = [(x[:, 0] - x[:, 1]).square().mean().sqrt() for x in (noisy, model.reconstruct(Batch(noisy)))]
    assert across[1] < 0.4 * across[0]


def test_short_training_reconstructs_digits_and_samples_like_them() -> None:
    data = load("digits")
    torch.manual_seed(0)
    model = Autoencoder(data.spec, width=8, depth=1)
    train(model, data.splits["train"].all(), LoopSettings(batch_size=64), steps=150, seed=0)
    x = data.splits["validation"].x[:]
    error = (model.reconstruct(Batch(x)) - x).square().mean()
    assert error < 0.5 * x.var(0, correction=0).mean()
    drawn = model.sample(400, generator=_generator())
    again = model.reconstruct(Batch(x))  # samples are as varied as reconstructions are, which are a little pale
    assert (drawn.mean(0) - again.mean(0)).abs().mean() < 0.05
    assert drawn.std(0).mean().item() == pytest.approx(again.std(0).mean().item(), rel=0.15)
