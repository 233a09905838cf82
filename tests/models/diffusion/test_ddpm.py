"""The diffusion family."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.diffusion.label_guidance import LabelledNetwork

TINY = {"width": 8, "depth": 1, "timesteps": 20}


def image_spec(shape: tuple[int, int, int] = (1, 8, 8), levels: int = 17) -> DataSpec:
    return DataSpec("toy", "image", shape, levels=levels, condition=ConditionSpec("label", classes=3))


def vector_spec(dimensions: int = 2) -> DataSpec:
    return DataSpec("toy", "vector", (dimensions,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_model(spec: DataSpec, **settings: object) -> DDPM:
    """A model whose last layers are not zero, so that its predictions depend on everything."""
    torch.manual_seed(0)
    model = DDPM(spec, **(TINY | settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def images(spec: DataSpec, n: int = 6) -> Batch:
    assert spec.levels is not None
    k = torch.randint(0, spec.levels, (n, *spec.shape), generator=generator())
    return Batch(spec.from_levels(k), torch.arange(n) % 3)


def counted(model: DDPM) -> Callable[[], int]:
    rows = 0

    def count(module: object, arguments: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += arguments[0].shape[0]

    model.network.register_forward_pre_hook(count)
    return lambda: rows


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 16), (2, 4, 4), (1, 16, 12)])
@pytest.mark.parametrize("target", ["noise", "v", "x0"])
def test_trains_samples_and_scores_images(shape: tuple[int, int, int], target: str) -> None:
    spec = image_spec(shape)
    model = random_model(spec, target=target, schedule="linear", dropout=0.1, depth=2, width=9)
    batch = images(spec)
    model.loss(batch, generator()).total.backward()
    assert all(p.grad is not None for p in model.network.parameters())
    x = model.sample(6, condition=batch.condition, generator=generator(), steps=4, guidance_scale=2.0)
    assert x.shape == (6, *shape)
    assert torch.equal(x, spec.to_lattice(x))
    likelihood = model.log_likelihood(batch)
    assert likelihood.kind is LikelihoodKind.ELBO
    assert likelihood.log_prob.shape == (6,)
    assert torch.isfinite(likelihood.log_prob).all()


@pytest.mark.parametrize("dimensions", [1, 2, 7])
@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_trains_samples_and_scores_vectors(dimensions: int, sampler: str) -> None:
    model = random_model(vector_spec(dimensions))
    batch = Batch(torch.randn(5, dimensions, generator=generator()))
    model.loss(batch, generator()).total.backward()
    x = model.sample(5, generator=generator(), sampler=sampler, steps=6)  # type: ignore[arg-type]
    assert x.shape == (5, dimensions)
    assert torch.isfinite(model.log_likelihood(Batch(batch.x)).log_prob).all()


def test_noise_comes_from_generators_alone_even_in_training_mode() -> None:
    spec = image_spec()
    model = random_model(spec, dropout=0.3).train()
    labels = torch.tensor([0, 1, 2])
    for settings in ({"sampler": "ddpm"}, {"eta": 0.7}):
        first = model.sample(3, condition=labels, generator=generator(), steps=5, **settings)
        again = model.sample(3, condition=labels, generator=generator(), steps=5, **settings)
        other = model.sample(3, condition=labels, generator=generator(1), steps=5, **settings)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    x = images(spec).x
    assert torch.equal(model.log_likelihood(Batch(x)).log_prob, model.log_likelihood(Batch(x)).log_prob)
    before = model.log_likelihood(Batch(x)).log_prob
    model.evaluation_seed = 1
    assert not torch.equal(before, model.log_likelihood(Batch(x)).log_prob)
    assert model.training


def test_guidance_runs_one_branch_where_one_is_enough() -> None:
    model = random_model(image_spec())
    labels = torch.tensor([0, 1, 2, 0])
    rows = counted(model)
    spent = []
    for scale in (0.0, 1.0, 2.0):
        before = rows()
        model.sample(4, condition=labels, generator=generator(), steps=5, guidance_scale=scale)
        spent.append(rows() - before)
    assert spent == [20, 20, 40]


def test_guidance_scale_0_is_unconditional_and_1_conditional() -> None:
    model = random_model(image_spec(levels=256))

    def sample(scale: float, labels: Tensor | None) -> Tensor:
        return model.sample(4, condition=labels, generator=generator(), steps=5, guidance_scale=scale)

    labels, others = torch.tensor([0, 1, 2, 0]), torch.tensor([1, 2, 0, 1])
    unconditional = sample(1.0, None)
    assert torch.equal(sample(0.0, labels), unconditional)
    assert torch.equal(sample(0.0, others), unconditional)
    assert not torch.equal(sample(1.0, labels), sample(1.0, others))
    # Next to 1, where both branches run, the result is next to the conditional one.
    assert (sample(1.0 + 1e-6, labels) - sample(1.0, labels)).abs().max().item() <= 2 / 255 + 1e-6


def test_labels_are_dropped_as_often_as_asked() -> None:
    spec = image_spec()
    batch = images(spec, n=400)
    for probability in (0.05, 0.3):
        model = random_model(spec, unconditional_probability=probability)
        seen: list[Tensor] = []
        assert isinstance(model.network, LabelledNetwork)
        model.network.label_embedding.register_forward_pre_hook(lambda _, labels, seen=seen: seen.append(labels[0]))
        model.loss(batch, generator())
        dropped = seen[0] == spec.classes
        assert dropped.float().mean().item() == pytest.approx(probability, abs=0.06)
        assert batch.condition is not None
        assert torch.equal(seen[0][~dropped], batch.condition[~dropped])


def test_a_condition_changes_the_likelihood_and_must_fit() -> None:
    spec = image_spec()
    model = random_model(spec)
    batch = images(spec)
    without, given = model.log_likelihood(Batch(batch.x)), model.log_likelihood(batch)
    assert not torch.equal(without.log_prob, given.log_prob)
    with pytest.raises(ValueError, match="one label an example"):
        model.sample(4, condition=torch.tensor([1]), generator=generator())


def test_works_without_labels() -> None:
    spec = DataSpec("toy", "image", (1, 8, 8), levels=17)
    model = random_model(spec)
    assert torch.isfinite(model.loss(Batch(images(spec).x), generator()).total)
    assert model.sample(2, generator=generator(), steps=3).shape == (2, 1, 8, 8)


def test_the_bound_has_at_most_the_mass_of_a_distribution() -> None:
    model = random_model(vector_spec(1), timesteps=10)
    grid = torch.linspace(-12.0, 12.0, 601)
    repeats = 200
    x = grid.repeat(repeats)[:, None]
    bound = model.log_likelihood(Batch(x)).log_prob.double().view(repeats, -1)
    # Averaging before the exponential matters: only the mean of the estimate is a bound.
    density = bound.mean(dim=0).exp()
    mass = torch.trapezoid(density, grid.double()).item()
    assert 0.01 < mass <= 1.0


def test_the_likelihood_estimate_settles_with_more_levels() -> None:
    spec = image_spec()
    model = random_model(spec)
    x = images(spec, n=2).x.repeat_interleave(300, dim=0)
    means, spreads = [], []
    for count in (4, 16):
        model.noise_levels = count
        estimate = model.log_likelihood(Batch(x))
        assert estimate.samples is not None
        assert estimate.samples <= count
        means.append(estimate.log_prob.view(2, -1).mean(dim=1))
        spreads.append(estimate.log_prob.view(2, -1).std(dim=1))
    assert torch.all(spreads[1] < spreads[0])
    error = 4 * (spreads[0] + spreads[1]) / 300**0.5
    assert torch.all((means[0] - means[1]).abs() < error)


def test_saves_and_loads() -> None:
    model = random_model(image_spec())
    other = DDPM(image_spec(), **TINY)  # type: ignore[arg-type]
    other.load_state_dict(model.state_dict())
    a, b = (m.sample(2, generator=generator(), steps=3) for m in (model, other))
    assert torch.equal(a, b)


def test_refuses_data_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="ddpm needs images of at least 4 x 4 pixels, data 'toy' has 3 x 8"):
        DDPM(image_spec((1, 3, 8)), **TINY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images and vectors"):
        DDPM(DataSpec("toy", "sequence", (5,), vocabulary=4), **TINY)  # type: ignore[arg-type]


def test_learns_two_clusters() -> None:
    n = 2000
    signs = 2.0 * torch.randint(0, 2, (n, 1), generator=generator()) - 1.0
    x = torch.cat((signs, torch.zeros(n, 1)), dim=1) + 0.2 * torch.randn(n, 2, generator=generator(1))
    model = DDPM(vector_spec(), width=16, timesteps=100)
    settings = LoopSettings(batch_size=128, gradient_clip=1.0, averages=True)
    train(model, Batch(x), settings, steps=300, seed=0, average=0.05)
    samples = model.sample(1000, generator=generator(), steps=25)
    assert samples[:, 0].abs().mean().item() == pytest.approx(1.0, abs=0.1)
    assert (samples[:, 0] > 0).float().mean().item() == pytest.approx(0.5, abs=0.1)
    assert samples[:, 1].std().item() == pytest.approx(0.2, abs=0.1)
    # One Gaussian reaches -1.24 nats on these data.
    assert model.log_likelihood(Batch(x[:1000])).log_prob.mean().item() > -1.1
