"""The Gaussian process behind the proposals, what it is given, and the probability of success."""

from __future__ import annotations

import math

import numpy as np
import torch

from gentune.bench.proposal.feasibility import Feasibility
from gentune.bench.proposal.outputs import standardise
from gentune.bench.proposal.surrogate import Hyperparameters, Surrogate, _loss, fit


def test_one_exploded_value_leaves_the_others_apart_and_the_order_as_it_was() -> None:
    values = np.array([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 1e9])
    transformed = standardise(values)
    assert (np.diff(transformed) > 0).all()
    assert transformed[5] - transformed[0] > 0.3
    plain = (values - values.mean()) / values.std()
    assert plain[5] - plain[0] < 1e-6
    assert np.isfinite(standardise(np.array([1.0, math.inf, -math.inf, 2.0]))).all()
    assert np.isfinite(standardise(np.array([1e308, -1e308, 0.0]))).all()


def test_standardise_leaves_well_behaved_values_linear() -> None:
    values = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(standardise(values), (values - values.mean()) / values.std(), atol=1e-12)


def test_gradient_of_the_posterior_mode() -> None:
    rng = np.random.default_rng(0)
    columns, y = rng.random((12, 3)), rng.standard_normal(12)
    squared = np.stack([np.square(c[:, None] - c[None, :]) for c in columns.T])
    at = rng.standard_normal(5)
    numeric = [(_loss(at + h, squared, y)[0] - _loss(at - h, squared, y)[0]) / 2e-6 for h in np.eye(5) * 1e-6]
    np.testing.assert_allclose(_loss(at, squared, y)[1], numeric, rtol=1e-5, atol=1e-6)


def test_posterior_agrees_with_gpytorch() -> None:
    import gpytorch

    rng = np.random.default_rng(1)
    columns, y, new = rng.random((15, 2)), rng.standard_normal(15), rng.random((4, 2))
    theta, scale, noise = np.array([3.0, 0.5]), 1.7, 0.05

    class Exact(gpytorch.models.ExactGP):
        def __init__(self) -> None:
            super().__init__(torch.from_numpy(columns), torch.from_numpy(y), gpytorch.likelihoods.GaussianLikelihood())
            self.mean_module = gpytorch.means.ZeroMean()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(nu=2.5, ard_num_dims=2))

        def forward(self, x: torch.Tensor) -> gpytorch.distributions.MultivariateNormal:
            return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))

    exact = Exact().double().eval()
    exact.covar_module.base_kernel.lengthscale = torch.from_numpy(theta**-0.5)
    exact.covar_module.outputscale, exact.likelihood.noise = scale, noise
    with torch.no_grad():
        wanted = exact(torch.from_numpy(new))
        ours = Surrogate(columns, np.arange(2), y, Hyperparameters(theta, scale, noise)).posterior(
            torch.from_numpy(new)
        )
    np.testing.assert_allclose(ours.mean[:, 0], wanted.mean, atol=1e-6)
    np.testing.assert_allclose(ours.distribution.covariance_matrix, wanted.covariance_matrix, atol=1e-6)


def test_the_fit_finds_what_matters_and_how_noisy_it_is() -> None:
    rng = np.random.default_rng(0)
    columns = rng.random((60, 3))
    clean = np.sin(6 * columns[:, 0])
    y = standardise(clean + 0.5 * rng.standard_normal(60))
    found = fit(columns, np.arange(3), y).hyperparameters
    assert found.relevance[0] > 5 * found.relevance[1:].max()
    share = 0.25 / (clean.var() + 0.25)
    assert share / 2 < found.noise < share * 2


def test_a_believed_point_keeps_the_mean_and_loses_its_variance() -> None:
    rng = np.random.default_rng(0)
    columns = rng.random((10, 2))
    surrogate = fit(columns, np.arange(2), standardise(columns.sum(1)))
    pending, elsewhere = np.array([[0.9, 0.1]]), rng.random((5, 2))
    believed = surrogate.believe(pending)
    np.testing.assert_allclose(believed.predict(elsewhere)[0], surrogate.predict(elsewhere)[0], atol=1e-6)
    assert (believed.predict(elsewhere)[1] <= surrogate.predict(elsewhere)[1] + 1e-9).all()
    assert believed.predict(pending)[1] < surrogate.predict(pending)[1]


def test_feasibility_learns_the_failing_half() -> None:
    columns = np.random.default_rng(0).random((40, 3))
    feasibility = Feasibility(columns, np.arange(3), columns[:, 0] > 0.5)
    at = torch.tensor([[[0.1, 0.5, 0.5]], [[0.9, 0.5, 0.5]]], dtype=torch.float64)
    works, fails = feasibility.log_probability(at).exp().tolist()
    assert works > 0.9
    assert fails < 0.1


def test_values_spread_by_factors_are_compared_by_ratio() -> None:
    values = standardise(np.array([2.0**k for k in range(1, 9)]))
    assert np.allclose(np.diff(values), values[1] - values[0])


def test_small_distances_from_zero_are_not_blown_up() -> None:
    values = np.random.default_rng(1).random(30) ** 2
    values[3] = 1e-12
    standardised = standardise(values)
    assert standardised.min() > -3.0
