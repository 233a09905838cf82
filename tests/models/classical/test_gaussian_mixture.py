"""The Gaussian mixture: densities against scikit-learn's, the fit, and sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture as Reference

from gentune.bench.data import load
from gentune.models import Batch, DataSpec
from gentune.models.classical.gaussian_mixture import GaussianMixture
from gentune.models.likelihoods import dequantise

PLANE = DataSpec("plane", "vector", (2,))
COVARIANCES = ("full", "diag", "tied")


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _blobs(n: int = 300) -> torch.Tensor:
    centres = torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.0, -2.0]])
    return centres.repeat(n // 3, 1) + 0.3 * torch.randn(n, 2, generator=_generator())


def _as_reference(model: GaussianMixture) -> Reference:
    """scikit-learn's mixture with this model's parameters."""
    reference = Reference(model.components, covariance_type=model.covariance)
    factors = model.factors.numpy()
    if model.covariance == "diag":
        reference.covariances_, precision = factors**2, 1 / factors
    else:
        reference.covariances_ = factors @ np.swapaxes(factors, -1, -2)
        precision = np.swapaxes(np.linalg.inv(factors), -1, -2)
    reference.weights_, reference.means_ = model.weights.numpy(), model.means.numpy()
    reference.precisions_cholesky_ = precision
    return reference


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_log_density_agrees_with_scikit_learn(covariance: str) -> None:
    model = GaussianMixture(PLANE, components=4, covariance=covariance)
    model.fit(Batch(_blobs()), _generator())
    points = torch.linspace(-4, 4, 40).reshape(20, 2)
    expected = _as_reference(model).score_samples(points.double().numpy())
    assert model.log_likelihood(Batch(points)).log_prob.numpy() == pytest.approx(expected, abs=1e-6)


def test_bits_per_dimension_of_digits_agree_with_scikit_learn() -> None:
    data = load("digits")
    model = GaussianMixture(data.spec)
    model.fit(data.splits["train"].all(), _generator())
    x = data.splits["test"].x[:]
    u = dequantise(x, data.spec, model.evaluation_generator()).flatten(1).double().numpy()
    expected = _as_reference(model).score(u) / 64 - math.log(17)
    measured = model.log_likelihood(Batch(x)).log_prob.mean().item() / 64
    assert measured == pytest.approx(expected, abs=1e-6)
    assert 2.6 < -measured / math.log(2) < 2.9  # bits/dim; 4.09 is uniform


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_samples_have_the_mixtures_moments(covariance: str) -> None:
    model = GaussianMixture(PLANE, components=3, covariance=covariance)
    model.fit(Batch(_blobs()), _generator())
    x = model.sample(40_000, generator=_generator(1)).double()
    factors = model.factors
    scatter = {
        "full": lambda: (model.weights[:, None, None] * (factors @ factors.mT)).sum(0),
        "tied": lambda: factors @ factors.T,
        "diag": lambda: torch.diag((model.weights[:, None] * factors**2).sum(0)),
    }[covariance]()
    mean = model.weights @ model.means
    centred = model.means - mean
    covariance_matrix = scatter + centred.T @ (model.weights[:, None] * centred)
    assert x.mean(0) == pytest.approx(mean.numpy(), abs=0.03)
    assert torch.cov(x.T).numpy() == pytest.approx(covariance_matrix.numpy(), abs=0.06)


def test_the_fit_is_determined_by_its_generator() -> None:
    batch = Batch(_blobs())
    fits = []
    for seed in (3, 3, 4):
        model = GaussianMixture(PLANE, components=12)
        model.fit(batch, _generator(seed))
        fits.append(model.means)
    assert torch.equal(fits[0], fits[1])
    assert not torch.equal(fits[0], fits[2])


def test_one_component_is_the_maximum_likelihood_gaussian() -> None:
    x = _blobs()
    model = GaussianMixture(PLANE, components=1, regularisation=1e-6)
    model.fit(Batch(x), _generator())
    assert model.means[0].numpy() == pytest.approx(x.double().mean(0).numpy(), abs=1e-6)
    covariance = torch.cov(x.double().T, correction=0) + 1e-6 * torch.eye(2)
    assert (model.factors[0] @ model.factors[0].T).numpy() == pytest.approx(covariance.numpy(), abs=1e-6)


def test_operations_are_counted_by_the_stated_formula() -> None:
    x = _blobs()
    model = GaussianMixture(PLANE, components=1)  # one Gaussian: the second iteration sees no change
    assert model.fit(Batch(x), _generator()) == pytest.approx(2 * (4 * 300 * 4 + 4 / 3 * 8))
    assert model.converged


def test_a_fit_that_does_not_converge_is_kept_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gentune.models.classical.gaussian_mixture._MAX_ITERATIONS", 1)
    model = GaussianMixture(PLANE, components=8)
    model.fit(Batch(_blobs()), _generator())
    assert model.converged is False
    assert torch.isfinite(model.log_likelihood(Batch(_blobs())).log_prob).all()


def test_more_components_than_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="mixture of 10 components needs as many examples, got 9"):
        GaussianMixture(PLANE).fit(Batch(_blobs()[:9]), _generator())


def test_unknown_covariance_is_refused() -> None:
    with pytest.raises(ValueError, match="'spherical'; wanted one of full, diag, tied"):
        GaussianMixture(PLANE, covariance="spherical")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("components", [2, 3, 4])
def test_a_mixture_contains_those_with_fewer_components(components: int, seed: int) -> None:
    x = _blobs() + 0.5 * torch.randn(300, 2, generator=_generator(seed)).abs()
    fewer = GaussianMixture(PLANE, components=components - 1, regularisation=0.0)
    fewer.fit(Batch(x), _generator(seed))
    # The same law with one component split in two halves.
    more = GaussianMixture(PLANE, components=components, regularisation=0.0)
    last = fewer.weights[-1:] / 2
    more.weights.copy_(torch.cat([fewer.weights[:-1], last, last]))
    more.means.copy_(torch.cat([fewer.means, fewer.means[-1:]]))
    more.factors.copy_(torch.cat([fewer.factors, fewer.factors[-1:]]))
    before = fewer.log_likelihood(Batch(x)).log_prob
    assert more.log_likelihood(Batch(x)).log_prob.numpy() == pytest.approx(before.numpy())
    # Expectation-maximisation from there, the halves a little apart, ends no lower.
    covariances = more.factors @ more.factors.mT
    estimator = Reference(
        components,
        weights_init=more.weights.numpy(),
        means_init=(more.means + 0.01 * torch.arange(components)[:, None]).numpy(),
        precisions_init=torch.linalg.inv(covariances).numpy(),
        reg_covar=0.0,
        max_iter=300,
        tol=1e-7,
    )
    after = estimator.fit(x.double().numpy()).score(x.double().numpy())
    assert after >= float(before.mean()) - 1e-4
