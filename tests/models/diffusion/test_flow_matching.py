"""Flow matching, against Gaussian data, for which the velocity is known."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.couplings import paired_noise
from gentune.models.diffusion.flow_matching import FlowMatching

MEAN, DEVIATION = 0.7, 0.4  # of the Gaussian data whose velocity is known
VECTORS = DataSpec("toy", "vector", (2,))
LABELLED = DataSpec("toy", "vector", (2,), condition=ConditionSpec("label", classes=3))
IMAGES = DataSpec("toy", "image", (1, 4, 4), levels=5, condition=ConditionSpec("label", classes=3))
TINY = {"width": 8, "depth": 1}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Known(torch.nn.Module):
    """E[x_1 - x_0 | x_t] for x_1 ~ N(MEAN, DEVIATION^2) and x_0 ~ N(0, 1) independent, by Gaussian conditioning."""

    def labels(self, n: int, condition: Tensor | None) -> Tensor:
        return torch.zeros(n, dtype=torch.int64)

    def guided(self, x: Tensor, time: Tensor, labels: Tensor, scale: float) -> Tensor:
        t = time.view(-1, *[1] * (x.dim() - 1))
        variance = (1 - t) ** 2 + (t * DEVIATION) ** 2
        gain = (t * DEVIATION**2 - (1 - t)) / variance
        return MEAN + gain * (x - t * MEAN)


def knowing(spec: DataSpec) -> FlowMatching:
    model = FlowMatching(spec, **TINY)  # type: ignore[arg-type]
    model.network = Known()  # type: ignore[assignment]
    return model


def random_model(spec: DataSpec, **settings: object) -> FlowMatching:
    torch.manual_seed(0)
    model = FlowMatching(spec, **(TINY | settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def test_the_known_velocity_gives_the_known_density() -> None:
    model = knowing(VECTORS)
    x = MEAN + DEVIATION * torch.randn(50, 2, generator=generator())
    likelihood = model.log_likelihood(Batch(x))
    wanted = torch.distributions.Normal(MEAN, DEVIATION).log_prob(x).sum(1)
    assert likelihood.kind is LikelihoodKind.ODE_ESTIMATE
    assert likelihood.standard_error is None  # in two dimensions the divergence is exact
    assert torch.allclose(likelihood.log_prob, wanted, atol=1e-4)


@pytest.mark.parametrize(("solver", "evaluations"), [("euler", 100), ("midpoint", 24), ("heun", 24), ("rk4", 24)])
def test_the_known_velocity_gives_samples_of_the_known_law(solver: str, evaluations: int) -> None:
    model = knowing(VECTORS)
    x = model.sample(20_000, generator=generator(), solver=solver, evaluations=evaluations)  # type: ignore[arg-type]
    assert x.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert x.std().item() == pytest.approx(DEVIATION, rel=0.03)


def test_many_dimensions_get_an_estimate_with_its_error() -> None:
    """Where the Jacobian is a multiple of the identity, as here, random signs are exact."""
    spec = DataSpec("toy", "vector", (7,))
    model = knowing(spec)
    x = MEAN + DEVIATION * torch.randn(5, 7, generator=generator())
    likelihood = model.log_likelihood(Batch(x))
    wanted = torch.distributions.Normal(MEAN, DEVIATION).log_prob(x).sum(1)
    assert torch.allclose(likelihood.log_prob, wanted, atol=1e-3)
    assert likelihood.standard_error is not None
    assert (likelihood.standard_error < 1e-3).all()
    other = random_model(spec).log_likelihood(Batch(x)).standard_error
    assert other is not None
    assert (other > 0).all()


def test_images_have_the_probability_of_their_bin() -> None:
    """Under a known density that is flat within each bin the bound is tight: log p(x) = log density + D log width."""
    model = knowing(IMAGES)
    k = torch.randint(0, 5, (64, 1, 4, 4), generator=generator())
    x = IMAGES.from_levels(k)
    draws = []
    for seed in range(40):
        model.evaluation_seed = seed
        draws.append(model.log_likelihood(Batch(x)).log_prob)
    normal = torch.distributions.Normal(MEAN, DEVIATION)
    low = 2.0 * torch.arange(6).double() / 5 - 1.0  # edges of the bins in [-1, 1]
    points = torch.linspace(0.0, 1.0, 2_001, dtype=torch.float64)
    inside = low[:-1, None] + points * 0.4
    of_level = torch.trapezoid(normal.log_prob(inside), points, dim=1) + torch.log(torch.tensor(0.4))
    wanted = of_level[k].flatten(1).sum(1)
    found = torch.stack(draws).double()
    error = found.std(0) / 40**0.5
    assert ((found.mean(0) - wanted).abs() < 4.5 * error + 0.02).all()


@pytest.mark.parametrize("spec", [VECTORS, LABELLED, IMAGES])
@pytest.mark.parametrize("coupling", ["independent", "optimal_transport"])
@pytest.mark.parametrize("time_density", ["uniform", "logit_normal"])
def test_every_weight_is_trained(spec: DataSpec, coupling: str, time_density: str) -> None:
    model = random_model(spec, coupling=coupling, time_density=time_density)
    n = 24
    x = torch.randn(n, 2, generator=generator())
    if spec.levels is not None:
        x = spec.from_levels(torch.randint(0, spec.levels, (n, *spec.shape), generator=generator()))
    model.loss(Batch(x, torch.arange(n) % 3 if spec.classes else None), generator()).total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_codes_lead_back_to_examples() -> None:
    for spec in (LABELLED, IMAGES):
        model = random_model(spec)
        x = torch.randn(6, 2, generator=generator())
        if spec.levels is not None:
            x = spec.from_levels(torch.randint(0, spec.levels, (6, *spec.shape), generator=generator()))
        batch = Batch(x, torch.arange(6) % 3)
        z = model.encode(batch)
        assert z.shape == (6, spec.dimensions)
        assert torch.allclose(model.decode(z, batch.condition), x, atol=2e-3)


def test_optimal_pairs_are_the_best_of_all_permutations() -> None:
    x, noise = torch.randn(5, 2, generator=generator(1)), torch.randn(5, 2, generator=generator(2))
    same = torch.zeros(5, dtype=torch.int64)
    paired = paired_noise(x, noise, same, "optimal_transport")
    least = min(float(((x - noise[list(p)]) ** 2).sum()) for p in itertools.permutations(range(5)))
    assert float(((x - paired) ** 2).sum()) == pytest.approx(least)
    assert torch.equal(paired_noise(x, noise, same, "independent"), noise)


def test_labels_do_not_choose_each_others_noise() -> None:
    x, noise = torch.randn(12, 2, generator=generator(1)), torch.randn(12, 2, generator=generator(2))
    labels = torch.arange(12) % 3
    paired = paired_noise(x, noise, labels, "optimal_transport")
    for label in range(3):
        mine = labels == label
        assert torch.equal(paired[mine].sort(0).values, noise[mine].sort(0).values)


def test_guidance_scale_0_is_unconditional_and_1_conditional() -> None:
    model = random_model(LABELLED)
    labels = torch.tensor([0, 1, 2, 0])

    def draw(scale: float, given: Tensor | None) -> Tensor:
        return model.sample(4, condition=given, generator=generator(), evaluations=4, guidance_scale=scale)

    assert torch.equal(draw(0.0, labels), draw(1.0, None))
    assert not torch.equal(draw(1.0, labels), draw(1.0, labels.flip(0)))
    assert torch.allclose(draw(1.0 + 1e-6, labels), draw(1.0, labels), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("coupling", ["independent", "optimal_transport"])
def test_it_learns_a_mixture(coupling: str) -> None:
    """Two narrow modes: the mean log-density of held-out draws comes near the true one."""
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])

    def draw(n: int, seed: int) -> Tensor:
        which = torch.randint(0, 2, (n,), generator=generator(seed))
        return centres[which] + 0.2 * torch.randn(n, 2, generator=generator(seed + 1))

    torch.manual_seed(0)
    model = FlowMatching(VECTORS, coupling=coupling, width=16, depth=1)  # type: ignore[arg-type]
    train(model, Batch(draw(4_000, 1)), LoopSettings(batch_size=256), steps=800, seed=0)
    x = draw(1_000, 5)
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        torch.distributions.Independent(torch.distributions.Normal(centres, torch.full((2, 2), 0.2)), 1),
    )
    gap = float((law.log_prob(x) - model.log_likelihood(Batch(x)).log_prob).mean())
    assert gap < 0.1
