"""Probabilistic PCA: Tipping and Bishop's closed form, scikit-learn's score, codes."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA

from gentune.bench.data import load
from gentune.models import Batch, DataSpec
from gentune.models.classical.densities import to_values
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.pca import ProbabilisticPCA

SPACE = DataSpec("space", "vector", (6,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _flat(n: int = 400) -> torch.Tensor:
    """Three strong directions and noise."""
    codes = torch.randn(n, 3, generator=_generator()) * torch.tensor([3.0, 2.0, 1.0])
    directions = torch.linalg.qr(torch.randn(6, 3, generator=_generator(1))).Q
    return codes @ directions.T + 0.3 * torch.randn(n, 6, generator=_generator(2)) + 1.0


def _fitted(x: torch.Tensor, latent_dim: int = 3) -> ProbabilisticPCA:
    model = ProbabilisticPCA(SPACE, latent_dim=latent_dim)
    model.fit(Batch(x), _generator())
    return model


def test_density_is_scikit_learns() -> None:
    x = _flat()
    reference = PCA(3).fit(x.double().numpy())
    model = _fitted(x)
    # scikit-learn divides by n - 1, maximum likelihood by n.
    covariance = torch.from_numpy(reference.get_covariance() * 399 / 400)
    law = torch.distributions.MultivariateNormal(torch.from_numpy(reference.mean_), covariance)
    points = torch.randn(50, 6, generator=_generator(3)) * 2
    expected = law.log_prob(points.double())
    assert model.log_likelihood(Batch(points)).log_prob.numpy() == pytest.approx(expected.numpy(), abs=1e-6)
    # At its maximum the likelihood is flat, so on the train data the two agree to second order in 1/n.
    assert float(model.log_likelihood(Batch(x)).log_prob.mean()) == pytest.approx(
        reference.score(x.double().numpy()), abs=1e-4
    )


def test_bits_of_digits_are_scikit_learns() -> None:
    data = load("digits")
    model = ProbabilisticPCA(data.spec, latent_dim=20)
    model.fit(data.splits["train"].all(), _generator())
    x = data.splits["test"].x[:]
    v = model._to_modelled(x, model.evaluation_generator())
    train = to_values(data.splits["train"].x[:], data.spec).numpy()
    reference = PCA(20, svd_solver="full").fit(train)
    reference.noise_variance_ += 1 / (12 * 17**2)  # the dequantisation noise, which `train` has not
    reference.explained_variance_ += 1 / (12 * 17**2)
    assert float(model.log_density(v).mean()) == pytest.approx(reference.score(v.numpy()), abs=0.05)


def test_variance_and_loadings_follow_the_closed_form() -> None:
    x = _flat()
    model = _fitted(x)
    covariance = torch.cov(x.double().T, correction=0)
    eigenvalues, eigenvectors = torch.linalg.eigh(covariance)
    assert float(model.variance) == pytest.approx(float(eigenvalues[:3].mean()))
    gram = model.loadings.T @ model.loadings
    assert gram.numpy() == pytest.approx(torch.diag(eigenvalues[3:].flip(0) - model.variance).numpy(), abs=1e-9)
    outside = eigenvectors[:, :3].T @ model.loadings
    assert float(outside.abs().max()) < 1e-9


def test_train_likelihood_rises_to_the_full_gaussians() -> None:
    x = _flat()
    means = [float(_fitted(x, q).log_likelihood(Batch(x)).log_prob.mean()) for q in range(1, 6)]
    assert means == sorted(means)
    full = Gaussian(SPACE, regularisation=0.0)
    full.fit(Batch(x), _generator())
    # With D - 1 directions sigma^2 is the smallest eigenvalue: nothing is left out.
    assert means[-1] == pytest.approx(float(full.log_likelihood(Batch(x)).log_prob.mean()))


def test_codes_are_the_posterior_mean() -> None:
    x = _flat()
    model = _fitted(x)
    covariance = model.loadings @ model.loadings.T + model.variance * torch.eye(6)
    expected = (x.double() - model.mean) @ torch.linalg.inv(covariance) @ model.loadings  # W^T Sigma^-1 (v - mu)
    assert model.encode(Batch(x)).numpy() == pytest.approx(expected.numpy(), abs=1e-5)
    assert torch.equal(model.reconstruct(Batch(x)), model.decode(model.encode(Batch(x))))


def test_reconstruction_of_digits_improves_with_directions() -> None:
    data = load("digits")
    errors = []
    for q in (2, 8, 32):
        model = ProbabilisticPCA(data.spec, latent_dim=q)
        model.fit(data.splits["train"].all(), _generator())
        x = data.splits["test"].x[:]
        errors.append(float((model.reconstruct(Batch(x)) - x).square().mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.2])
def test_temperature_scales_every_deviation(temperature: float) -> None:
    model = _fitted(_flat())
    drawn = model.sample(60_000, generator=_generator(4), temperature=temperature).double()
    covariance = model.loadings @ model.loadings.T + model.variance * torch.eye(6)
    assert torch.cov(drawn.T).numpy() == pytest.approx(temperature**2 * covariance.numpy(), abs=0.12)


def test_more_directions_than_the_data_has_are_cut() -> None:
    plane = DataSpec("plane", "vector", (2,))
    model = ProbabilisticPCA(plane)
    model.fit(Batch(_flat()[:, :2]), _generator())
    assert model.encode(Batch(torch.zeros(3, 2))).shape == (3, 1)
    with pytest.raises(ValueError, match="latent_dim is 0; at least 1 is needed"):
        ProbabilisticPCA(plane, latent_dim=0)


def test_data_on_a_line_keep_a_density() -> None:
    x = torch.linspace(-1, 1, 50)[:, None] * torch.ones(1, 6)
    assert torch.isfinite(_fitted(x, 2).log_likelihood(Batch(x)).log_prob).all()
