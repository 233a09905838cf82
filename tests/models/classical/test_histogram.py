"""Histograms: probabilities that sum to one, counts, tails, and the joint one of the plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gentune.bench.data import load
from gentune.models import Batch, DataSpec
from gentune.models.classical.histogram import Histogram

PAIR = DataSpec("pair", "image", (1, 1, 2), levels=5)
PLANE = DataSpec("plane", "vector", (2,))
SPACE = DataSpec("space", "vector", (3,))


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _every_pair() -> torch.Tensor:
    levels = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    return PAIR.from_levels(levels).view(25, 1, 1, 2)


def _fitted(spec: DataSpec, x: torch.Tensor, **settings: float) -> Histogram:
    model = Histogram(spec, **settings)  # type: ignore[arg-type]
    model.fit(Batch(x), _generator())
    return model


@pytest.mark.parametrize("bins", [40, 5, 3, 2])
def test_probabilities_of_all_images_sum_to_one(bins: int) -> None:
    model = _fitted(PAIR, _every_pair()[[0, 3, 3, 11, 24]], bins=bins)
    assert float(model.log_likelihood(Batch(_every_pair())).log_prob.exp().sum()) == pytest.approx(1.0)


def test_probabilities_are_smoothed_counts() -> None:
    model = _fitted(PAIR, _every_pair()[[0, 1, 1]], pseudocount=0.5)  # first pixel: 0, 0, 0; second: 0, 1, 1
    expected = [(3 + 0.5) / (3 + 2.5) * (c + 0.5) / (3 + 2.5) for c in (1, 2, 0, 0, 0)]
    assert model.log_likelihood(Batch(_every_pair()[:5])).log_prob.exp().numpy() == pytest.approx(expected)


def test_neighbouring_levels_share_a_bin() -> None:
    model = _fitted(PAIR, _every_pair()[[0, 6, 12]], bins=2, pseudocount=1e-9)  # levels 0-2 and 3-4
    probabilities = model.log_likelihood(Batch(_every_pair())).log_prob.exp().view(5, 5)
    assert probabilities[:3, :3].numpy() == pytest.approx(1 / 9)
    assert float(probabilities[3:].sum()) < 1e-8


def test_bits_of_digits_are_those_of_plain_counting() -> None:
    data = load("digits")
    model = _fitted(data.spec, data.splits["train"].x[:], pseudocount=0.1)
    train, test = (data.spec.to_levels(data.splits[s].x[:]).flatten(1).numpy() for s in ("train", "test"))
    bits = 0.0
    for d in range(64):
        counts = np.bincount(train[:, d], minlength=17) + 0.1
        bits -= np.log2(counts / counts.sum())[test[:, d]].mean() / 64
    log_prob = model.log_likelihood(data.splits["test"].all()).log_prob
    assert float(-log_prob.mean()) / 64 / math.log(2) == pytest.approx(bits)
    assert bits < 2.5  # 4.09 is uniform


@pytest.mark.parametrize("spec", [PLANE, SPACE], ids=lambda s: s.name)
def test_densities_integrate_to_one_with_their_tails(spec: DataSpec) -> None:
    x = torch.randn(40, *spec.shape, generator=_generator())
    model = _fitted(spec, x, bins=4, pseudocount=2.0)
    # The tails are exponential, so importance weights against a wide Laplace law are bounded.
    law = torch.distributions.Laplace(0.0, 3.0)
    torch.manual_seed(0)
    points = law.sample((400_000, *spec.shape))
    weights = (model.log_likelihood(Batch(points)).log_prob - law.log_prob(points.double()).sum(1)).exp()
    error = float(weights.std()) / math.sqrt(len(weights))
    assert float(weights.mean()) == pytest.approx(1.0, abs=4 * error)


def test_the_joint_histogram_sees_what_independent_ones_do_not() -> None:
    diagonal = torch.linspace(-1, 1, 2_000)[:, None].repeat(1, 2)
    model = _fitted(PLANE, diagonal, bins=8, pseudocount=1e-3)
    drawn = model.sample(500, generator=_generator(1))
    assert float((drawn[:, 0] - drawn[:, 1]).abs().max()) < 2 * 2.3 / 8  # the same cell
    assert (
        model.log_likelihood(Batch(torch.tensor([[0.9, 0.9]]))).log_prob
        > 5 + model.log_likelihood(Batch(torch.tensor([[0.9, -0.9]]))).log_prob
    )


@pytest.mark.parametrize("spec", [PAIR, PLANE, SPACE], ids=lambda s: s.name)
def test_samples_come_as_often_as_the_probabilities_say(spec: DataSpec) -> None:
    if spec is PAIR:
        model = _fitted(PAIR, _every_pair()[[0, 3, 3, 11, 24]])
        levels = PAIR.to_levels(model.sample(40_000, generator=_generator(1))).flatten(1)
        shares = torch.bincount(levels[:, 0] * 5 + levels[:, 1], minlength=25).double() / 40_000
        expected = model.log_likelihood(Batch(_every_pair())).log_prob.exp().numpy()
        assert shares.numpy() == pytest.approx(expected, abs=0.01)
        return
    model = _fitted(spec, torch.rand(300, *spec.shape, generator=_generator()).square(), bins=6, pseudocount=1.0)
    x = model.sample(40_000, generator=_generator(1))
    log_prob = model.log_likelihood(Batch(x)).log_prob
    # The expected inverse density over a box is the box's volume: E[1_box / p] = |box|.
    inside = ((x > 0.2) & (x < 0.7)).all(1)
    estimate = torch.where(inside, (-log_prob).exp(), 0.0)
    error = float(estimate.std()) / math.sqrt(len(x))
    assert float(estimate.mean()) == pytest.approx(0.5**spec.dimensions, abs=4 * error)


def test_a_constant_column_has_a_density() -> None:
    x = torch.randn(30, 3, generator=_generator())
    x[:, 1] = 2.0
    model = _fitted(SPACE, x)
    assert torch.isfinite(model.log_likelihood(Batch(x)).log_prob).all()
    assert torch.isfinite(model.log_likelihood(Batch(torch.tensor([[1e3, -1e3, 0.0]]))).log_prob).all()


def test_one_bin_is_refused_for_vectors() -> None:
    with pytest.raises(ValueError, match="bins is 1; at least 2 are needed"):
        Histogram(PLANE, bins=1)
