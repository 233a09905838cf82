"""The VAE and the beta-VAE: bounds against the truth, the weight's schedule, and two ways to sample."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from gentune.bench.data import load
from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, DataSpec, LikelihoodKind, Progress
from gentune.models.autoencoders.beta_vae import BetaVAE
from gentune.models.autoencoders.decoder_likelihoods import _mean_and_log_scale
from gentune.models.autoencoders.vae import VAE
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
    mean, log_scale = _mean_and_log_scale(model.decoder(z))
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
        bounds.append(model.evidence_lower_bound(x).log_prob)
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
    bound = -model.evidence_lower_bound(x).log_prob.mean().item() / 16
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


# --- a linear decoder, whose likelihood has a closed form: x ~ N(b, W W^T + s^2 I) -----------------------------------

LINE = DataSpec("line", "vector", (3,))
_SCALE = 0.5


def _linear_gaussian() -> tuple[VAE, Tensor, Tensor]:
    """A VAE with linear networks, examples from its own law, and their log-likelihoods (n,).

    The encoder's means are off by a tenth, and its deviations by a factor of 1.5, from the posterior's: the bound is
    not tight, and importance weights vary.
    """
    model = VAE(LINE, latent_dim=2).eval()
    generator = _generator(3)
    weight, shift = torch.randn(3, 2, generator=generator), torch.randn(3, generator=generator)
    precision = torch.eye(2) + weight.T @ weight / _SCALE**2
    to_mean = torch.linalg.solve(precision, weight.T / _SCALE**2)
    model.decoder, model.encoder = nn.Linear(2, 6), nn.Linear(3, 4)
    with torch.no_grad():
        model.decoder.weight.copy_(torch.cat([weight, torch.zeros(3, 2)]))
        model.decoder.bias.copy_(torch.cat([shift, torch.full((3,), math.log(_SCALE))]))
        model.encoder.weight.copy_(torch.cat([1.1 * to_mean, torch.zeros(2, 3)]))
        deviation = 1.5 * precision.inverse().diagonal().sqrt()
        model.encoder.bias.copy_(torch.cat([-1.1 * to_mean @ shift, deviation.log()]))
    law = torch.distributions.MultivariateNormal(shift, weight @ weight.T + _SCALE**2 * torch.eye(3))
    z = torch.randn(200, 2, generator=generator)
    x = z @ weight.T + shift + _SCALE * torch.randn(200, 3, generator=generator)
    return model, x, law.log_prob(x)


def _means(model: VAE, x: Tensor, samples: int, seeds: int) -> Tensor:
    """The mean importance-weighted bound over examples, for each of `seeds` draws."""
    found = []
    for seed in range(seeds):
        model.evaluation_seed = seed
        found.append(model.importance_weighted(x, samples).log_prob.mean())
    return torch.stack(found)


def test_bounds_of_a_linear_gaussian_model_lie_below_its_likelihood_and_tighten() -> None:
    """Each step by more than three standard errors over independent draws."""
    model, x, truth = _linear_gaussian()
    bound = model.evidence_lower_bound(x, 64).log_prob.mean()
    assert bound < truth.mean() - 0.1
    levels = [_means(model, x, samples, 40) for samples in (1, 4, 16)]
    error = [level.std() / math.sqrt(len(level)) for level in levels]
    assert levels[0].mean() == pytest.approx(bound.item(), abs=3 * error[0].item() + 0.02)  # K = 1 is the bound
    for (low, low_error), (high, high_error) in itertools.pairwise(zip(levels, error, strict=True)):
        assert high.mean() - low.mean() > 3 * torch.hypot(low_error, high_error)
    assert truth.mean() - levels[-1].mean() > 3 * error[-1]
    assert _means(model, x, 1024, 1).item() == pytest.approx(truth.mean().item(), abs=0.01)


@torch.no_grad()
def test_with_the_true_posterior_both_bounds_are_the_likelihood() -> None:
    model, x, truth = _linear_gaussian()
    encoder, decoder = model.encoder, model.decoder
    assert isinstance(encoder, nn.Linear)
    assert isinstance(decoder, nn.Linear)
    # The same law with codes along W's singular directions: independent given x, as the encoder has them.
    axes = torch.linalg.svd(decoder.weight[:3], full_matrices=False)
    turned = axes.U * axes.S
    decoder.weight[:3] = turned
    variance = 1.0 / (1.0 + axes.S.square() / _SCALE**2)
    to_mean = variance[:, None] * turned.T / _SCALE**2
    encoder.weight.copy_(torch.cat([to_mean, torch.zeros(2, 3)]))
    encoder.bias.copy_(torch.cat([-to_mean @ decoder.bias[:3], 0.5 * variance.log()]))
    assert torch.allclose(model.importance_weighted(x, 1).log_prob, truth, atol=1e-4)  # weights are all equal
    assert model.evidence_lower_bound(x, 512).log_prob.mean() == pytest.approx(truth.mean().item(), abs=0.02)


def test_the_ranked_figure_is_importance_weighted_and_says_how_many_samples() -> None:
    model = _model(PLANE)
    x = torch.randn(5, 2, generator=_generator())
    ranked, bound = model.log_likelihood(Batch(x)), model.evidence_lower_bound(x)
    assert (ranked.kind, ranked.samples) == (LikelihoodKind.IMPORTANCE_WEIGHTED, 64)
    assert (bound.kind, bound.samples) == (LikelihoodKind.ELBO, 16)
    assert torch.equal(ranked.log_prob, model.importance_weighted(x, 64).log_prob)
    with pytest.raises(ValueError, match="0 importance samples"):
        model.importance_weighted(x, 0)


def test_a_beta_vae_with_weight_one_is_a_vae() -> None:
    x = TINY.from_levels(torch.randint(3, (8, *TINY.shape), generator=_generator()))
    torch.manual_seed(0)
    plain = VAE(TINY, width=8, latent_dim=2)
    weighted = _model(TINY, beta=1.0)
    assert torch.equal(plain.loss(Batch(x), _generator()).total, weighted.loss(Batch(x), _generator()).total)


def test_sides_below_four_are_refused() -> None:
    with pytest.raises(ValueError, match="beta_vae needs images of at least 4 x 4 pixels, data 'thin' has 10 x 3"):
        BetaVAE(DataSpec("thin", "image", (1, 10, 3), levels=2))


def test_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match="beta_vae takes image and vector data, data 'text' is sequence"):
        BetaVAE(DataSpec("text", "sequence", (5,), vocabulary=3))


@pytest.mark.slow
def test_short_training_beats_independent_pixels() -> None:
    """An independent histogram of digits takes 2.44 bits/dim, the VAE fewer after a quarter of its training."""
    data = load("digits")
    torch.manual_seed(0)
    model = BetaVAE(data.spec)
    train(model, data.splits["train"].all(), LoopSettings(batch_size=64), steps=150, seed=0)
    x = data.splits["validation"].x[:]
    bits = -model.evidence_lower_bound(x).log_prob.mean().item() / 64 / math.log(2)
    assert bits < 2.3
    error = (model.reconstruct(Batch(x)) - x).square().mean()
    assert error < 0.5 * x.var(0, correction=0).mean()
