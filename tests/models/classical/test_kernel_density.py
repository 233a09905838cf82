"""Kernel densities: scikit-learn's, smoothing, and examples that survive being saved."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from sklearn.neighbors import KernelDensity as Reference

from gentune.bench.data import load
from gentune.models import Batch, DataSpec
from gentune.models.classical.densities import to_values
from gentune.models.classical.kernel_density import KernelDensity
from gentune.models.likelihoods import dequantise

SPACE = DataSpec("space", "vector", (3,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _fitted(x: torch.Tensor, bandwidth: float) -> KernelDensity:
    model = KernelDensity(SPACE, bandwidth=bandwidth)
    model.fit(Batch(x), _generator())
    return model


@pytest.mark.parametrize("bandwidth", [0.01, 0.2, 1.0])
def test_density_is_scikit_learns(bandwidth: float) -> None:
    x = torch.randn(80, 3, generator=_generator())
    points = torch.cat([x[:5], torch.randn(20, 3, generator=_generator(1))])
    reference = Reference(bandwidth=bandwidth, kernel="gaussian").fit(x.double().numpy())
    expected = reference.score_samples(points.double().numpy())
    assert _fitted(x, bandwidth).log_likelihood(Batch(points)).log_prob.numpy() == pytest.approx(expected, abs=1e-6)


def test_bits_of_digits_are_scikit_learns() -> None:
    data = load("digits")
    model = KernelDensity(data.spec, bandwidth=0.13)
    model.fit(data.splits["train"].all(), _generator())
    x = data.splits["test"].x[:100]
    u = dequantise(x, data.spec, model.evaluation_generator()).flatten(1).double().numpy()
    # One leaf holds all: scikit-learn 1.9's trees are off by up to 44 nats here, their bounds underflow.
    reference = Reference(bandwidth=0.13, leaf_size=2_000).fit(to_values(data.splits["train"].x[:], data.spec).numpy())
    expected = reference.score_samples(u) - 64 * math.log(17)
    assert model.log_likelihood(Batch(x)).log_prob.numpy() == pytest.approx(expected, abs=1e-6)


def test_samples_are_examples_plus_the_kernels_noise() -> None:
    x = 5.0 * torch.eye(3)
    drawn = _fitted(x, 0.1).sample(30_000, generator=_generator(2))
    distances = torch.cdist(drawn, x)
    nearest = distances.min(1)
    assert torch.bincount(nearest.indices).double().numpy() / 30_000 == pytest.approx([1 / 3] * 3, abs=0.02)
    assert float(nearest.values.square().mean()) == pytest.approx(3 * 0.1**2, rel=0.03)


def test_parts_of_a_set_have_the_same_density(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(40, 3, generator=_generator())
    model = _fitted(x, 0.3)
    whole = model.log_likelihood(Batch(x)).log_prob
    monkeypatch.setattr("gentune.models.classical.densities._IN_CACHE", 100)
    assert torch.allclose(model.log_likelihood(Batch(x)).log_prob, whole)


def test_its_examples_are_loaded_whatever_their_number() -> None:
    model = _fitted(torch.randn(17, 3, generator=_generator()), 0.3)
    again = KernelDensity(SPACE, bandwidth=0.3)
    again.load_state_dict(load_tensors(save(model.state_dict())))
    assert torch.equal(again.centres, model.centres)


def test_a_bandwidth_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="bandwidth is 0; wanted more than 0"):
        KernelDensity(SPACE, bandwidth=0)
