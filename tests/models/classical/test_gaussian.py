"""A single Gaussian: its closed form, and that a full covariance contains a diagonal one."""

from __future__ import annotations

import math

import pytest
import torch

from gentune.bench.data import load
from gentune.models import Batch, DataSpec
from gentune.models.classical.gaussian import Gaussian
from gentune.models.classical.gaussian_mixture import GaussianMixture

SPACE = DataSpec("space", "vector", (4,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _correlated(n: int = 200, seed: int = 0) -> torch.Tensor:
    mixing = torch.randn(4, 4, generator=_generator(seed))
    return torch.rand(n, 4, generator=_generator(seed + 100)) @ mixing + 1.0


def _fitted(x: torch.Tensor, covariance: str, regularisation: float = 0.0) -> Gaussian:
    model = Gaussian(SPACE, covariance=covariance, regularisation=regularisation)
    model.fit(Batch(x), _generator())
    return model


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_train_likelihood_is_the_closed_form(covariance: str) -> None:
    # At the maximum the mean of the quadratic form is D/2, whatever the data (Bishop 2006, exercise 2.34).
    x = _correlated()
    matrix = torch.cov(x.double().T, correction=0)
    log_det = float(matrix.logdet() if covariance == "full" else matrix.diagonal().log().sum())
    expected = -0.5 * (4 * math.log(2 * math.pi) + log_det + 4)
    assert float(_fitted(x, covariance).log_likelihood(Batch(x)).log_prob.mean()) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_full_is_no_worse_than_diagonal_on_train_data(seed: int) -> None:
    x = _correlated(60, seed)
    full, diag = (_fitted(x, c).log_likelihood(Batch(x)).log_prob.mean() for c in ("full", "diag"))
    assert full > diag
    # Where the sample correlations are zero they are the same model.
    x = torch.cat([x * signs for signs in torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 4)])
    full, diag = (_fitted(x, c).log_likelihood(Batch(x)).log_prob.mean() for c in ("full", "diag"))
    assert float(full) == pytest.approx(float(diag), abs=1e-6)


def test_full_is_no_worse_than_diagonal_on_digits() -> None:
    data = load("digits")
    bits = {}
    for covariance in ("full", "diag"):
        model = Gaussian(data.spec, covariance=covariance, regularisation=0.0)
        model.fit(data.splits["train"].all(), _generator())
        log_prob = model.log_likelihood(Batch(data.splits["train"].x[:])).log_prob.mean()
        bits[covariance] = float(-log_prob / 64 / math.log(2))
    assert bits["full"] < bits["diag"] < math.log2(17)  # the last: uniform levels


def test_it_is_a_mixture_of_one() -> None:
    x = _correlated()
    mixture = GaussianMixture(SPACE, components=1, regularisation=1e-3)
    mixture.fit(Batch(x), _generator())
    ours = _fitted(x, "full", 1e-3)
    assert ours.log_likelihood(Batch(x)).log_prob.numpy() == pytest.approx(
        mixture.log_likelihood(Batch(x)).log_prob.numpy()
    )


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_samples_have_its_moments(covariance: str) -> None:
    x = _correlated()
    model = _fitted(x, covariance)
    drawn = model.sample(50_000, generator=_generator(1))
    assert drawn.mean(0).numpy() == pytest.approx(x.mean(0).numpy(), abs=0.03)
    wanted = torch.cov(x.T, correction=0)
    wanted = wanted if covariance == "full" else torch.diag(wanted.diagonal())
    assert torch.cov(drawn.T).numpy() == pytest.approx(wanted.numpy(), abs=0.05)


def test_operations_follow_the_stated_formula() -> None:
    assert Gaussian(SPACE).fit(Batch(_correlated()), _generator()) == pytest.approx(2 * 200 * 16 + 64 / 3)
    assert Gaussian(SPACE, covariance="diag").fit(Batch(_correlated()), _generator()) == 3 * 200 * 4


def test_unknown_covariance_and_other_data_are_refused() -> None:
    with pytest.raises(ValueError, match="'tied'; wanted one of full, diag"):
        Gaussian(SPACE, covariance="tied")
    with pytest.raises(ValueError, match="gaussian takes image and vector data, data 'tokens' is sequence"):
        Gaussian(DataSpec("tokens", "sequence", (6,), vocabulary=5))
