"""The flow family: inverses, Jacobians, densities."""

import math

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch, LikelihoodKind
from gentune.models.data_spec import DataSpec
from gentune.models.flows.couplings import MaskedFlow
from gentune.models.flows.mixture_base import MixtureBase
from gentune.models.flows.realnvp import RealNVP

SHAPES = [(1, 8, 8), (3, 12, 16), (2, 4, 4), (1, 16, 16), (1, 14, 14), (2, 5, 6), (1, 9, 17)]
TINY = {"hidden": 8, "transforms": 4}


def image_spec(shape: tuple[int, int, int] = (1, 8, 8), levels: int = 17) -> DataSpec:
    return DataSpec("toy", "image", shape, levels=levels)


def vector_spec(dimensions: int = 2) -> DataSpec:
    return DataSpec("toy", "vector", (dimensions,))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_model(spec: DataSpec, noise: float = 0.1, **settings: object) -> RealNVP:
    """A model that is not the identity it starts as."""
    torch.manual_seed(0)
    model = RealNVP(spec, **(TINY | settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def images(spec: DataSpec, n: int = 16) -> Tensor:
    assert spec.levels is not None
    return spec.from_levels(torch.randint(0, spec.levels, (n, *spec.shape), generator=generator()))


def relative_error(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transforms", [3, 10])
def test_the_image_flow_inverts(shape: tuple[int, int, int], transforms: int) -> None:
    spec = image_spec(shape)
    model = random_model(spec, noise=0.3 / transforms, transforms=transforms)
    x = images(spec)
    z = model.encode(Batch(x))
    assert z.shape == (16, spec.dimensions)
    assert relative_error(model.decode(z), x) < 1e-4
    drawn = torch.randn(16, spec.dimensions, generator=generator())
    y = model.image_flow.inverse(drawn)
    assert relative_error(model.image_flow(y)[0], drawn) < 1e-4
    assert not torch.allclose(y.flatten(1), drawn, atol=0.1)


@pytest.mark.slow
def test_a_trained_flow_inverts_at_the_end_of_its_ranges() -> None:
    spec = image_spec()
    data = Batch(images(spec, 64))
    model = RealNVP(spec, transforms=10, hidden=24, depth=2, learning_rate=1e-2)
    train(model, data, LoopSettings(batch_size=32, gradient_clip=10.0), steps=40, seed=0)
    z = model.encode(Batch(data.x))
    assert relative_error(model.decode(z), data.x) < 1e-4
    y = torch.randn(8, 1, 8, 8, generator=generator())
    assert model.image_flow(y)[1].abs().min().item() > 1.0  # far from the identity it starts as


@pytest.mark.parametrize("dimensions", [1, 2, 3, 10])
def test_the_vector_flow_inverts(dimensions: int) -> None:
    model = random_model(vector_spec(dimensions))
    x = 2.0 * torch.randn(64, dimensions, generator=generator())
    assert relative_error(model.decode(model.encode(Batch(x))), x) < 1e-4
    z = torch.randn(64, dimensions, generator=generator())
    assert relative_error(model.encode(Batch(model.decode(z))), z) < 1e-4


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 8), (1, 5, 7), (2, 6, 4), (1, 9, 5)])
def test_the_log_determinant_is_that_of_the_jacobian(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    flow = MaskedFlow(shape, transforms=5, hidden=6, depth=2).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x = torch.randn(1, *shape, generator=generator(), dtype=torch.float64)
    size = math.prod(shape)
    jacobian = torch.autograd.functional.jacobian(lambda v: flow(v)[0], x).reshape(size, size)
    _, expected = torch.linalg.slogdet(jacobian)
    assert abs(expected.item()) > 0.1
    assert flow(x)[1].item() == pytest.approx(expected.item(), abs=1e-6)


def test_the_image_log_density_is_that_of_the_jacobian_from_u_to_z() -> None:
    spec = image_spec((1, 4, 4))
    model = random_model(spec)
    fit = model.stages()[0].fit
    assert fit is not None
    fit(Batch(images(spec, 200)), generator())
    model = model.double()
    u = torch.rand(1, 1, 4, 4, generator=generator(), dtype=torch.float64)

    def to_code(u: Tensor) -> Tensor:
        return model.image_flow(model._normalise(u)[0])[0]

    jacobian = torch.autograd.functional.jacobian(to_code, u).reshape(16, 16)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(to_code(u)).sum()
    expected = (base + torch.linalg.slogdet(jacobian)[1]).item()
    y, log_det = model._normalise(u)
    z, change = model.image_flow(y)
    got = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum() + log_det + change
    assert got.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("components", [1, 4])
def test_the_density_of_vectors_integrates_to_1(components: int) -> None:
    model = random_model(vector_spec(2), components=components)
    axis = torch.linspace(-12.0, 12.0, 401)
    grid = torch.cartesian_prod(axis, axis)
    likelihood = model.log_likelihood(Batch(grid))
    assert likelihood.kind is LikelihoodKind.EXACT
    mass = likelihood.log_prob.double().exp().sum().item() * (axis[1] - axis[0]).item() ** 2
    assert mass == pytest.approx(1.0, abs=2e-3)


def test_all_images_together_have_the_mass_that_the_flow_puts_on_them() -> None:
    # Every image of 4 x 4 pixels and 2 levels. One draw of noise in each bin makes the sum an unbiased estimate of
    # the flow's mass on the unit cube of u; the rest of it lies outside, beyond the logit's margin.
    spec = image_spec((1, 4, 4), levels=2)
    model = random_model(spec, noise=0.03)
    bits = (torch.arange(2**16)[:, None] >> torch.arange(16)) & 1
    x = spec.from_levels(bits.view(-1, 1, 4, 4))
    likelihood = model.log_likelihood(Batch(x))
    assert likelihood.kind is LikelihoodKind.DEQUANTISED
    mass = likelihood.log_prob.double().exp().sum().item()
    z = torch.randn(100_000, 16, generator=generator())
    with torch.no_grad():
        x = model._to_data(model._inverse(z, None))
    inside = (x.abs() <= 2.0).flatten(1).all(dim=1)  # u in [0, 1] is x in [-2, 2] for 2 levels
    assert 0.01 < mass < 1.0
    assert mass == pytest.approx(inside.double().mean().item(), rel=0.05)


@pytest.mark.parametrize("shape", SHAPES)
def test_trains_and_samples_images(shape: tuple[int, int, int]) -> None:
    spec = image_spec(shape)
    model = random_model(spec)
    model.loss(Batch(images(spec)), generator()).total.backward()
    assert all(p.grad is not None for p in model.parameters())
    x = model.sample(5, generator=generator())
    assert x.shape == (5, *shape)
    assert torch.equal(x, spec.to_lattice(x))
    assert torch.equal(x, model.sample(5, generator=generator()))


def test_temperature_scales_the_base() -> None:
    model = random_model(vector_spec(2))
    z = torch.randn(500, 2, generator=generator())
    assert torch.equal(model.sample(500, generator=generator(), temperature=0.5), model.decode(0.5 * z))


def test_samples_over_a_mixture_are_of_the_density() -> None:
    torch.manual_seed(0)
    model = RealNVP(vector_spec(2), **TINY, components=3)
    assert isinstance(model.base, MixtureBase)
    with torch.no_grad():
        model.base.centres.mul_(3.0)  # modes far from one another
    x = model.sample(2_000, generator=generator())
    halves = x > 0
    axis = torch.linspace(-30.0, 30.0, 301)
    grid = torch.cartesian_prod(axis, axis)
    density = model.log_likelihood(Batch(grid)).log_prob.exp() * (axis[1] - axis[0]) ** 2
    for number in (0, 1):
        expected = density[grid[:, number] > 0].sum().item()
        assert halves[:, number].float().mean().item() == pytest.approx(expected, abs=0.04)
    assert model.loss(Batch(x), generator()).total.item() == pytest.approx(
        -model.log_likelihood(Batch(x)).log_prob.mean().item() / 2, rel=1e-5
    )


def test_images_have_a_normal_base() -> None:
    with pytest.raises(ValueError, match="realnvp of images has a normal base, components = 1; got 4"):
        RealNVP(image_spec(), **TINY, components=4)


def test_the_flow_starts_as_the_normalised_logit() -> None:
    spec = image_spec()
    model = RealNVP(spec, **TINY)
    data = Batch(images(spec, 500))
    fit = model.stages()[0].fit
    assert fit is not None
    fit(data, generator())
    z = model.encode(Batch(data.x))
    assert z.mean(dim=0).abs().max().item() < 0.1
    assert z.std(dim=0).mean().item() == pytest.approx(1.0, abs=0.1)


def test_normalisation_is_saved_and_loaded() -> None:
    spec = image_spec()
    model = random_model(spec)
    train(model, Batch(images(spec, 64)), LoopSettings(batch_size=16), steps=3, seed=0)
    other = RealNVP(spec, **TINY)
    other.load_state_dict(model.state_dict())
    x = images(spec)
    assert torch.equal(model.log_likelihood(Batch(x)).log_prob, other.log_likelihood(Batch(x)).log_prob)
    assert not torch.equal(model.centre, torch.zeros_like(model.centre))


def test_likelihood_noise_follows_the_evaluation_seed() -> None:
    spec = image_spec()
    model = random_model(spec)
    x = images(spec)
    first = model.log_likelihood(Batch(x)).log_prob
    assert torch.equal(first, model.log_likelihood(Batch(x)).log_prob)
    model.evaluation_seed = 1
    assert not torch.equal(first, model.log_likelihood(Batch(x)).log_prob)


def test_learns_what_a_gaussian_cannot() -> None:
    first = torch.randn(2000, 1, generator=generator())
    x = torch.cat((first, first**2 / 2 + 0.2 * torch.randn(2000, 1, generator=generator(1))), dim=1)
    x = (x - x.mean(dim=0)) / x.std(dim=0)
    model = RealNVP(vector_spec(), hidden=16, transforms=4)
    train(model, Batch(x), LoopSettings(batch_size=128, gradient_clip=10.0), steps=300, seed=0)
    # Uncorrelated and standardised: the best Gaussian reaches -log(2 pi e) = -2.84 nats.
    assert model.log_likelihood(Batch(x)).log_prob.mean().item() > -2.2


def test_refuses_data_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="realnvp needs images of at least 4 x 4 pixels"):
        RealNVP(image_spec((1, 3, 8)))
    with pytest.raises(ValueError, match="images and vectors"):
        RealNVP(DataSpec("toy", "sequence", (5,), vocabulary=4))
