"""The beta-VAE: its bound against the truth, its schedule, and its two ways to sample."""

from __future__ import annotations

import itertools

import pytest
import torch

from gentune.bench.data import load
from gentune.bench.training import LoopSettings, train
from gentune.models import Batch, DataSpec, Progress
from gentune.models.beta_vae import BetaVAE
from gentune.models.likelihoods import (
    discretised_logistic_log_prob,
    gaussian_log_prob,
    standard_normal_log_prob,
    sum_per_example,
)

PLANE = DataSpec("plane", "vector", (2,))
TINY = DataSpec("tiny", "image", (1, 4, 4), levels=3)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(spec: DataSpec, **settings: float) -> BetaVAE:
    torch.manual_seed(0)
    return BetaVAE(spec, **{"width": 8, "latent_dim": 2, **settings}).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("spec", [PLANE, TINY], ids=lambda spec: spec.name)
@torch.no_grad()
def test_the_bound_lies_below_the_log_likelihood(spec: DataSpec) -> None:
    """log p(x) by quadrature over the two-dimensional code."""
    model = _model(spec)
    if spec.kind == "vector":
        x = torch.randn(6, 2, generator=_generator())
    else:
        x = spec.from_levels(torch.randint(3, (6, *spec.shape), generator=_generator()))
    axis = torch.linspace(-6, 6, 121)
    z = torch.cartesian_prod(axis, axis)
    mean, log_scale = model._decode(z)
    rows = []
    for example in x:
        if spec.kind == "vector":
            log_prob = gaussian_log_prob(example, mean, log_scale)
        else:
            log_prob = discretised_logistic_log_prob(spec.to_levels(example), mean, log_scale, 3)
        rows.append((sum_per_example(log_prob) + standard_normal_log_prob(z)).logsumexp(0))
    truth = torch.stack(rows) + 2 * (axis[1] - axis[0]).log()
    bounds = []
    for seed in range(20):
        model.evaluation_seed = seed
        bounds.append(model.log_likelihood(x).log_prob)
    bound = torch.stack(bounds).mean(0)
    assert (bound <= truth + 0.02).all()  # 0.02 nats: noise of 320 draws
    assert (bound >= truth - 3.0).all()  # an untrained posterior is near the prior, and codes hardly matter yet


def test_the_loss_is_the_negative_bound_per_dimension() -> None:
    model = _model(TINY)
    x = TINY.from_levels(torch.randint(3, (64, *TINY.shape), generator=_generator()))
    with torch.no_grad():
        losses = [model.loss(Batch(x), _generator(seed)).total for seed in range(50)]
        model.progress = Progress(10, 10)
        warm = [model.loss(Batch(x), _generator(seed)) for seed in range(50)]
    bound = -model.log_likelihood(x).log_prob.mean().item() / 16
    assert sum(v.total.item() for v in warm) / 50 == pytest.approx(bound, abs=2e-3)
    cold = sum(v.item() for v in losses) / 50  # beta is 0 at the start of the warm-up
    kl = warm[0].parts["kl"].item() / 16
    assert cold == pytest.approx(bound - kl, abs=2e-3)


def test_beta_rises_over_the_share_of_the_full_training() -> None:
    model = _model(PLANE, beta=4.0, kl_warmup=0.2)
    seen = []
    for step in (0, 10, 20, 100):
        model.progress = Progress(step, 100)
        seen.append(model.current_beta)
    assert seen == pytest.approx([0.0, 2.0, 4.0, 4.0])
    assert _model(PLANE, beta=4.0, kl_warmup=0.0).current_beta == 4.0


@pytest.mark.parametrize("spec", [PLANE, TINY], ids=lambda spec: spec.name)
def test_temperature_and_output(spec: DataSpec) -> None:
    model = _model(spec)
    cold = model.sample(8, generator=_generator(), temperature=0.0, output="mean")
    assert all(torch.equal(a, b) for a, b in itertools.pairwise(cold))  # one code, one mean
    drawn = model.sample(8, generator=_generator(), temperature=0.0, output="sample")
    assert not torch.equal(drawn[0], drawn[1])
    with pytest.raises(ValueError, match="output is 'median'"):
        model.sample(1, generator=_generator(), output="median")


def test_sides_that_are_not_divisible_by_four_are_refused() -> None:
    with pytest.raises(ValueError, match="sides are divisible by 4, data 'odd' has 10 x 8"):
        BetaVAE(DataSpec("odd", "image", (1, 10, 8), levels=2))


def test_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="beta_vae takes image and vector data, data 'text' is sequence"):
        BetaVAE(DataSpec("text", "sequence", (5,), vocabulary=3))


def test_short_training_beats_independent_pixels() -> None:
    """An independent histogram of digits takes 2.44 bits/dim, the VAE fewer after a quarter of its training."""
    data = load("digits")
    torch.manual_seed(0)
    model = BetaVAE(data.spec)
    train(model, data.splits["train"], LoopSettings(batch_size=64), steps=150, seed=0)
    x = data.splits["validation"].x
    bits = -model.log_likelihood(x).log_prob.mean().item() / 64 / 0.6931471805599453
    assert bits < 2.3
    error = (model.reconstruct(x) - x).square().mean()
    assert error < 0.5 * x.var(0, correction=0).mean()
