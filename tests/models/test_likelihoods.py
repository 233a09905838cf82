"""The shared likelihoods: they sum or integrate to one, and the dequantised bound is a bound."""

from __future__ import annotations

import math

import pytest
import torch

from gentune.models import DataSpec
from gentune.models.likelihoods import (
    dequantise,
    dequantised_log_prob,
    discretised_logistic_log_prob,
    gaussian_kl,
    gaussian_log_prob,
    marginal_log_prob,
    quantise,
    sample_logistic,
    standard_normal_log_prob,
)

SPEC = DataSpec("grey", "image", (1, 2, 2), levels=5)


def test_dequantised_values_lie_in_their_level_and_come_back() -> None:
    levels = torch.arange(5).repeat(100).reshape(-1, 1, 2, 2)[:120]
    x = SPEC.from_levels(levels)
    u = dequantise(x, SPEC, torch.Generator().manual_seed(0))
    assert ((u * 5).floor() == levels).all()
    assert torch.equal(quantise(u, SPEC), x)
    assert u.min() >= 0
    assert u.max() < 1


def test_a_uniform_density_costs_log_levels() -> None:
    bound = dequantised_log_prob(torch.zeros(3), SPEC)
    torch.testing.assert_close(bound, torch.full((3,), -4 * math.log(5)))


def test_the_dequantised_bound_is_a_bound() -> None:
    # One pixel with two levels under p(u) = 2u: P(k=0) = 1/4, P(k=1) = 3/4.
    spec = DataSpec("bit", "image", (1, 1, 1), levels=2)
    gaps = ((0, math.log(1 / 4) + 1 + math.log(2)), (1, math.log(3 / 4) + 1 - math.log(2)))  # by integration
    for level, expected in gaps:
        x = spec.from_levels(torch.full((50_000, 1, 1, 1), level))
        u = dequantise(x, spec, torch.Generator().manual_seed(level))
        bound = dequantised_log_prob(torch.log(2 * u).sum((1, 2, 3)), spec).mean().item()
        gap = math.log((0.25, 0.75)[level]) - bound
        assert gap > 0
        assert gap == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("levels", [2, 17, 256])
@pytest.mark.parametrize(("mean", "log_scale"), [(0.0, 0.0), (-0.9, -3.0), (3.0, -1.0), (0.3, -7.0)])
def test_discretised_logistics_sum_to_one(levels: int, mean: float, log_scale: float) -> None:
    k = torch.arange(levels)
    arguments = torch.tensor(mean, dtype=torch.float64), torch.tensor(log_scale, dtype=torch.float64)
    total = torch.logsumexp(discretised_logistic_log_prob(k, *arguments, levels), 0)
    assert total.item() == pytest.approx(0.0, abs=1e-9)


def test_discretised_logistics_have_finite_gradients_far_away() -> None:
    mean = torch.tensor([-60.0, 60.0], requires_grad=True)
    log_scale = torch.tensor([-4.0, -4.0], requires_grad=True)
    log_p = discretised_logistic_log_prob(torch.tensor([8, 8]), mean, log_scale, 17)
    log_p.sum().backward()
    assert torch.isfinite(log_p).all()
    assert mean.grad is not None
    assert torch.isfinite(mean.grad).all()


def test_logistic_draws_fall_on_levels_as_often_as_they_should() -> None:
    spec = DataSpec("one", "image", (1, 1, 1), levels=5)
    mean, log_scale = torch.tensor(0.2), torch.tensor(-1.0)
    draws = sample_logistic(mean.expand(200_000), log_scale.expand(200_000), torch.Generator().manual_seed(0))
    seen = torch.bincount(spec.to_levels(draws), minlength=5) / 200_000
    expected = discretised_logistic_log_prob(torch.arange(5), mean, log_scale, 5).exp()
    assert (seen - expected).abs().max() < 0.005


def test_gaussians_match_torch() -> None:
    x, mean, log_scale = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
    reference = torch.distributions.Normal(mean, log_scale.exp())
    torch.testing.assert_close(gaussian_log_prob(x, mean, log_scale), reference.log_prob(x))
    standard = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    torch.testing.assert_close(standard_normal_log_prob(x), standard.log_prob(x).sum(1))
    torch.testing.assert_close(gaussian_kl(mean, log_scale), torch.distributions.kl_divergence(reference, standard))
    other = torch.distributions.Normal(x, torch.tensor(0.7))
    torch.testing.assert_close(
        gaussian_kl(mean, log_scale, x, math.log(0.7)), torch.distributions.kl_divergence(reference, other)
    )


def test_the_marginal_is_the_mean_over_classes_even_where_densities_underflow() -> None:
    by_class = torch.tensor([[0.1, 0.4], [0.2, 0.2]], dtype=torch.float64).log()
    prior = torch.tensor([0.25, 0.75], dtype=torch.float64).log()
    expected = torch.tensor([0.325, 0.2], dtype=torch.float64).log()
    assert torch.allclose(marginal_log_prob(by_class, prior), expected)
    assert torch.allclose(marginal_log_prob(by_class - 1e4, prior), expected - 1e4)
    certain = torch.tensor([0.0, 1.0], dtype=torch.float64).log()  # a class that the train split lacks
    assert torch.allclose(marginal_log_prob(by_class, certain), by_class[:, 1])
