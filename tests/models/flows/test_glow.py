"""Glow: inverses, Jacobians, the start of its actnorms, labels, and both kinds of dequantisation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch, LikelihoodKind
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.flows.dequantisation import VariationalNoise
from gentune.models.flows.glow import ActNorm, Glow, Mixing

SHAPES = [(1, 8, 8), (3, 4, 6), (1, 5, 7), (2, 9, 5)]
TINY = {"hidden": 8, "transforms": 3, "levels": 3}


def image_spec(shape: tuple[int, int, int] = (1, 4, 4), levels: int = 5, classes: int = 0) -> DataSpec:
    condition = ConditionSpec("label", classes=classes) if classes else ConditionSpec()
    return DataSpec("toy", "image", shape, levels=levels, condition=condition)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(spec: DataSpec, n: int = 16) -> Tensor:
    assert spec.levels is not None
    return spec.from_levels(torch.randint(0, spec.levels, (n, *spec.shape), generator=generator()))


def random_model(spec: DataSpec, noise: float = 0.05, **settings: object) -> Glow:
    torch.manual_seed(0)
    model = Glow(spec, **(TINY | settings))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def relative_error(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_inverts(shape: tuple[int, int, int], dtype: torch.dtype, error: float) -> None:
    model = random_model(image_spec(shape)).to(dtype)
    y = torch.randn(8, *shape, generator=generator(), dtype=dtype)
    z = model.image_flow(y)[0]
    assert z.shape == (8, math.prod(shape))
    assert relative_error(model.image_flow.inverse(z), y) < error
    drawn = torch.randn(8, math.prod(shape), generator=generator(), dtype=dtype)
    assert relative_error(model.image_flow(model.image_flow.inverse(drawn))[0], drawn) < error


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 6), (1, 5, 7)])
def test_the_log_determinant_is_that_of_the_jacobian(shape: tuple[int, int, int]) -> None:
    model = random_model(image_spec(shape, classes=3)).double()
    x = torch.randn(1, *shape, generator=generator(), dtype=torch.float64)
    labels, size = torch.tensor([2]), math.prod(shape)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.image_flow(v, labels)[0], x).reshape(size, size)
    expected = torch.linalg.slogdet(jacobian)[1].item()
    assert abs(expected) > 0.1
    assert model.image_flow(x, labels)[1].item() == pytest.approx(expected, abs=1e-8)


def test_every_entry_of_an_odd_image_is_changed() -> None:
    """The mixing leaves the positions at the padded border alone, but couplings of both halves reach them."""
    model = random_model(image_spec((1, 5, 5)), transforms=4).double()
    y = torch.randn(1, 1, 5, 5, generator=generator(), dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: model.image_flow(v)[0], y).reshape(25, 25)
    assert ((jacobian != 0).sum(dim=0) > 3).all()


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 5, 7)])
def test_actnorms_start_at_mean_0_and_deviation_1(shape: tuple[int, int, int]) -> None:
    spec = image_spec(shape)
    torch.manual_seed(0)
    model = Glow(spec, **TINY)  # type: ignore[arg-type]
    data = Batch(images(spec, 300))
    normalisation, start, _ = model.stages()
    assert normalisation.fit is not None
    assert start.fit is not None
    normalisation.fit(data, generator())
    operations = start.fit(data, generator())
    assert operations is not None
    assert operations > 0
    outputs: list[tuple[Tensor, ActNorm]] = []
    for norm in (m for m in model.modules() if isinstance(m, ActNorm)):
        norm.register_forward_hook(lambda module, _, output: outputs.append((output[0], module)))
    model._log_density(data.x, None, generator())
    assert len(outputs) == 3 * (2 if shape == (1, 4, 4) else 3)
    for z, norm in outputs:
        some = norm.counts > 0
        n = len(data) * norm.counts[some]
        assert (z.sum((0, 2, 3))[some] / n).abs().max() < 0.05
        assert ((z.square().sum((0, 2, 3))[some] / n) - 1).abs().max() < 0.1


def test_mixing_starts_as_a_rotation() -> None:
    torch.manual_seed(0)
    step = Mixing(torch.ones(8, 2, 2, dtype=torch.bool)).double()
    x = torch.randn(3, 8, 2, 2, generator=generator(), dtype=torch.float64)
    z, log_det = step(x)
    assert torch.allclose(z.square().sum(1), x.square().sum(1))
    assert log_det.item() == pytest.approx(0.0, abs=1e-4)  # the rotation is of float32
    assert relative_error(step.inverse(z), x) < 1e-9


def test_labels_change_the_map() -> None:
    spec = image_spec(classes=2)
    model = random_model(spec)
    x = images(spec, 4)
    given = (torch.zeros(4, dtype=torch.int64), torch.ones(4, dtype=torch.int64), None)
    found = [model.log_likelihood(Batch(x, labels)).log_prob for labels in given]
    assert all((a - b).abs().min() > 1e-4 for a, b in ((found[0], found[1]), (found[0], found[2])))


def test_variational_noise_starts_uniform_and_has_the_density_that_it_says() -> None:
    spec = image_spec((1, 3, 4), levels=4)
    torch.manual_seed(0)
    noise = VariationalNoise(spec).double()
    x = images(spec, 4000).double()
    u, log_q = noise(x, generator())
    v = u * 4 - spec.to_levels(x)
    assert log_q.abs().max() < 1e-9
    assert v.min() > 0
    assert v.max() < 1
    assert v.mean().item() == pytest.approx(0.5, abs=0.01)
    with torch.no_grad():
        for parameter in noise.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    one = x[:1]
    e = torch.randn(one.shape, generator=generator(5), dtype=torch.float64)

    def to_v(e: Tensor) -> Tensor:
        return torch.special.ndtr(noise._to_noise(e, one)[0])

    jacobian = torch.autograd.functional.jacobian(to_v, e).reshape(12, 12)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(e).sum() - torch.linalg.slogdet(jacobian)[1]
    u, log_q = noise(one, generator(5))
    assert torch.allclose(u * 4 - spec.to_levels(one), to_v(e))
    assert log_q.item() == pytest.approx(expected.item(), abs=1e-8)
    assert abs(log_q.item()) > 0.1


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 5, 6)])
def test_variational_dequantisation_trains_with_the_flow(shape: tuple[int, int, int]) -> None:
    spec = image_spec(shape)
    model = random_model(spec, dequantisation="variational")
    assert model.noise is not None
    before = [parameter.clone() for parameter in model.noise.parameters()]
    run = train(model, Batch(images(spec, 64)), LoopSettings(batch_size=16, gradient_clip=10.0), steps=3, seed=0)
    assert run.steps == 3
    assert all(not torch.equal(a, b) for a, b in zip(before, model.noise.parameters(), strict=True))
    x = images(spec, 8)
    first, second = (model.log_likelihood(Batch(x)) for _ in range(2))
    assert first.kind is LikelihoodKind.DEQUANTISED
    assert torch.equal(first.log_prob, second.log_prob)
    assert relative_error(model.decode(model.encode(Batch(x))), x) < 1e-4


def test_the_bound_is_below_the_mass_of_every_level() -> None:
    """Over many draws, the mean of p(u) / q(v) is the flow's mass in a bin, whichever the noise; the bound is below its
    logarithm."""
    spec = image_spec((1, 4, 4), levels=3)
    model = random_model(spec, noise=0.04, dequantisation="variational").double()
    x = images(spec, 1).double().expand(4_000, 1, 4, 4)
    with torch.no_grad():
        varied = model._log_density(x, None, generator())
        model.noise = None
        uniform = model._log_density(x, None, generator(1))
    masses = [values.exp().mean().log().item() for values in (varied, uniform)]
    assert masses[0] == pytest.approx(masses[1], abs=0.06)
    assert varied.mean().item() < uniform.mean().item() - 0.1 < masses[1]  # here the noise is not the better one


def test_refuses_data_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="glow needs images of at least 4 x 4 pixels"):
        Glow(image_spec((1, 3, 8)))
    with pytest.raises(ValueError, match="glow takes image data, data 'toy' is vector"):
        Glow(DataSpec("toy", "vector", (2,)))
