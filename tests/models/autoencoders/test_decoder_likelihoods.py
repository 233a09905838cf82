"""Decoder likelihoods: they sum to one, and their draws and means are those of their probabilities."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gentune.models import DataSpec
from gentune.models.autoencoders.decoder_likelihoods import (
    Bernoulli,
    Categorical,
    DecoderLikelihood,
    DiscretisedLogistic,
    Gaussian,
    likelihood_for,
)

BINARY = DataSpec("binary", "image", (1, 1, 2), levels=2)
GREY = DataSpec("grey", "image", (1, 1, 2), levels=5)
COLOUR = DataSpec("colour", "image", (3, 1, 1), levels=3)
LINE = DataSpec("line", "vector", (1,))

DISCRETE = [(BINARY, "logistic"), (GREY, "logistic"), (GREY, "categorical"), (COLOUR, "categorical")]


def _raw(spec: DataSpec, likelihood: DecoderLikelihood, n: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randn(likelihood.outputs_per_value * spec.shape[0], *spec.shape[1:], generator=generator)
    return raw.expand(n, *raw.shape)


def _all_images(spec: DataSpec) -> Tensor:
    assert spec.levels is not None
    levels = torch.tensor(list(itertools.product(range(spec.levels), repeat=spec.dimensions)))
    return spec.from_levels(levels.view(-1, *spec.shape))


@pytest.mark.parametrize(("spec", "pixels"), DISCRETE)
def test_probabilities_of_all_images_sum_to_one(spec: DataSpec, pixels: str) -> None:
    likelihood, x = likelihood_for(spec, pixels), _all_images(spec)
    total = likelihood.log_prob(_raw(spec, likelihood, len(x)), x).double().exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("spec", "pixels"), DISCRETE)
def test_draws_are_as_frequent_as_they_are_probable(spec: DataSpec, pixels: str) -> None:
    likelihood, x = likelihood_for(spec, pixels), _all_images(spec)
    probable = likelihood.log_prob(_raw(spec, likelihood, len(x)), x).exp()
    n = 20_000
    drawn = likelihood.draw(_raw(spec, likelihood, n), torch.Generator().manual_seed(0))
    assert torch.equal(drawn, spec.to_lattice(drawn))
    frequent = (drawn[:, None] == x[None]).flatten(2).all(2).float().mean(0)
    error = (probable * (1 - probable) / n).sqrt()
    assert ((frequent - probable).abs() <= 4.5 * error + 1e-4).all()


@pytest.mark.parametrize(("spec", "pixels"), [(BINARY, "logistic"), (GREY, "categorical"), (COLOUR, "categorical")])
def test_means_are_those_of_the_probabilities(spec: DataSpec, pixels: str) -> None:
    likelihood, x = likelihood_for(spec, pixels), _all_images(spec)
    probable = likelihood.log_prob(_raw(spec, likelihood, len(x)), x).exp()
    mean = (probable.view(-1, 1, 1, 1) * x).sum(0)
    assert torch.allclose(likelihood.mean(_raw(spec, likelihood))[0], mean, atol=1e-5)


def test_a_density_of_vectors_integrates_to_one() -> None:
    likelihood = likelihood_for(LINE)
    x = torch.linspace(-12, 12, 4001)[:, None]
    density = likelihood.log_prob(_raw(LINE, likelihood, len(x)), x).double().exp()
    assert (density.sum() * 24 / 4000).item() == pytest.approx(1.0, abs=1e-5)
    drawn = likelihood.draw(_raw(LINE, likelihood, 20_000), torch.Generator().manual_seed(0))
    deviation = drawn.std().item()
    assert drawn.mean().item() == pytest.approx(likelihood.mean(_raw(LINE, likelihood)).item(), abs=0.04 * deviation)


def test_the_data_decides() -> None:
    assert isinstance(likelihood_for(LINE), Gaussian)
    assert isinstance(likelihood_for(BINARY, "categorical"), Bernoulli)
    assert isinstance(likelihood_for(GREY), DiscretisedLogistic)
    assert isinstance(likelihood_for(GREY, "categorical"), Categorical)
    with pytest.raises(ValueError, match="Bernoulli is for images of 2 levels, data 'grey' has 5"):
        Bernoulli(GREY)
    with pytest.raises(ValueError, match="pixels is 'beta'; wanted logistic or categorical"):
        likelihood_for(GREY, "beta")
    with pytest.raises(ValueError, match="data 'text' is sequence"):
        likelihood_for(DataSpec("text", "sequence", (4,), vocabulary=3))
