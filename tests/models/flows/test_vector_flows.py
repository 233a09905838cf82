"""Flows over vectors: inverses, Jacobians, densities, labels."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gentune.bench.training.loop import LoopSettings, train
from gentune.models.base import Batch
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.flows.iaf import IAF
from gentune.models.flows.maf import MAF
from gentune.models.flows.mixture_base import MixtureBase
from gentune.models.flows.neural_spline_flow import NeuralSplineFlow
from gentune.models.flows.nice import NICE
from gentune.models.flows.vector_flow import VectorFlow

FAMILIES: list[tuple[type[VectorFlow], dict[str, object]]] = [
    (MAF, {"components": 1}),
    (MAF, {"components": 4}),
    (IAF, {}),
    (NICE, {}),
    (NeuralSplineFlow, {"scheme": "autoregressive"}),
    (NeuralSplineFlow, {"scheme": "coupling"}),
]
NAMES = ["maf", "maf-mixture", "iaf", "nice", "spline-autoregressive", "spline-coupling"]
TINY = {"hidden": 16, "depth": 1, "transforms": 3}
every_family = pytest.mark.parametrize(("family", "own"), FAMILIES, ids=NAMES)


def vectors(dimensions: int, classes: int = 0) -> DataSpec:
    condition = ConditionSpec("label", classes=classes) if classes else ConditionSpec()
    return DataSpec("toy", "vector", (dimensions,), condition=condition)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_model(family: type[VectorFlow], own: dict[str, object], spec: DataSpec, noise: float = 0.2) -> VectorFlow:
    torch.manual_seed(0)
    model = family(spec, **(TINY | own))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model


def relative_error(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-4), (torch.float64, 1e-9)])
@pytest.mark.parametrize("dimensions", [1, 2, 7])
@every_family
def test_it_inverts(
    family: type[VectorFlow], own: dict[str, object], dimensions: int, dtype: torch.dtype, error: float
) -> None:
    model = random_model(family, own, vectors(dimensions), noise=0.1).to(dtype)
    x = 2.0 * torch.randn(64, dimensions, generator=generator(), dtype=dtype)
    assert relative_error(model.decode(model.encode(Batch(x))), x) < error
    assert relative_error(model.encode(Batch(model.decode(x))), x) < error
    assert not torch.allclose(model.encode(Batch(x)), x, atol=0.1)


@every_family
def test_the_log_determinant_is_that_of_the_jacobian(family: type[VectorFlow], own: dict[str, object]) -> None:
    spec = vectors(5, classes=3)
    model = random_model(family, own, spec).double()
    x = torch.randn(1, 5, generator=generator(), dtype=torch.float64)
    for label in (torch.tensor([1]), None):
        labels = model._labels(1, label)
        jacobian = torch.autograd.functional.jacobian(lambda v, y=labels: model._forward(v, y)[0], x)
        expected = torch.linalg.slogdet(jacobian.reshape(5, 5))[1].item()
        assert abs(expected) > 0.1
        assert model._forward(x, labels)[1].item() == pytest.approx(expected, abs=1e-9)


@every_family
def test_densities_of_every_label_integrate_to_1(family: type[VectorFlow], own: dict[str, object]) -> None:
    model = random_model(family, own, vectors(2, classes=2), noise=0.1).double()
    axis = torch.linspace(-9.0, 9.0, 181, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    masses = []
    for labels in (torch.zeros(len(grid), dtype=torch.int64), torch.ones(len(grid), dtype=torch.int64), None):
        log_prob = model.log_likelihood(Batch(grid, labels)).log_prob
        masses.append(log_prob.exp().sum().item() * (axis[1] - axis[0]).item() ** 2)
    assert masses == pytest.approx([1.0] * 3, abs=2e-3)


@every_family
def test_the_map_depends_on_labels(family: type[VectorFlow], own: dict[str, object]) -> None:
    model = random_model(family, own, vectors(3, classes=2))
    x = torch.randn(8, 3, generator=generator())
    first, second, none = (
        model.log_likelihood(Batch(x, labels)).log_prob
        for labels in (torch.zeros(8, dtype=torch.int64), torch.ones(8, dtype=torch.int64), None)
    )
    assert all((a - b).abs().min() > 1e-4 for a, b in ((first, second), (first, none), (second, none)))
    first, second = (model.sample(8, condition=torch.full((8,), y), generator=generator()) for y in (0, 1))
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match=r"needs one label an example, shape \(8,\), got \(3,\)"):
        model.sample(8, condition=torch.zeros(3, dtype=torch.int64), generator=generator())


def test_labels_move_what_is_learned() -> None:
    spec = vectors(2, classes=2)
    labels = torch.arange(512) % 2
    x = 0.3 * torch.randn(512, 2, generator=generator()) + torch.where(labels == 0, -1.0, 1.0)[:, None]
    model = MAF(spec, hidden=32, depth=1, transforms=1, learning_rate=2e-2)
    train(model, Batch(x, labels), LoopSettings(batch_size=64), steps=60, seed=0)
    assert model.sample(200, condition=torch.zeros(200, dtype=torch.int64), generator=generator()).mean() < -0.7
    assert model.sample(200, condition=torch.ones(200, dtype=torch.int64), generator=generator()).mean() > 0.7
    assert model.sample(400, generator=generator()).mean().abs() < 0.4


@pytest.mark.parametrize("family", [MAF, NeuralSplineFlow])
def test_no_code_depends_on_a_later_coordinate(family: type[VectorFlow]) -> None:
    own: dict[str, object] = {"scheme": "autoregressive"} if family is NeuralSplineFlow else {"components": 1}
    model = random_model(family, own | {"transforms": 1}, vectors(6))
    x = torch.randn(1, 6, generator=generator())
    jacobian = torch.autograd.functional.jacobian(lambda v: model._forward(v, None)[0], x).reshape(6, 6)
    assert torch.equal(jacobian.triu(1), torch.zeros(6, 6))
    assert (jacobian.tril(-1) != 0).sum() == 15


def test_samples_of_the_mixture_have_its_density() -> None:
    torch.manual_seed(0)
    base = MixtureBase(2, 1, components=3, hidden_features=(16,)).double()
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    n = 20_000
    context = torch.ones(n, 1, dtype=torch.float64)
    noise = torch.randn(n, 2, generator=generator(), dtype=torch.float64)
    with torch.no_grad():
        z = base.sample(noise, context, generator())
        axis = torch.linspace(-10.0, 10.0, 141, dtype=torch.float64)
        grid = torch.cartesian_prod(axis, axis)
        mass = base.log_prob(grid, context[: len(grid)]).exp() * (axis[1] - axis[0]) ** 2
        assert mass.sum().item() == pytest.approx(1.0, abs=1e-3)
        assert torch.allclose(z.mean(0), mass @ grid, atol=0.05)
        assert torch.allclose(
            z.T.cov(), (grid * mass[:, None]).T @ grid - torch.outer(mass @ grid, mass @ grid), atol=0.2
        )
        assert (base.sample(0.0 * noise, context, generator())[:, 0].unique()).numel() == 3  # one centre a component


def test_iaf_samples_depend_on_earlier_codes_alone() -> None:
    model = random_model(IAF, {"transforms": 1}, vectors(6))
    z = torch.randn(1, 6, generator=generator())
    jacobian = torch.autograd.functional.jacobian(lambda v: model._inverse(v, None), z).reshape(6, 6)
    assert torch.equal(jacobian.triu(1), torch.zeros(6, 6))
    assert (jacobian.tril(-1) != 0).sum() == 15


def test_nice_keeps_volumes_but_for_its_scales() -> None:
    model = random_model(NICE, {}, vectors(4)).double()
    scales = dict(model.named_parameters())["vector_flow.transform.transforms.3.log_scale"]
    x = torch.randn(16, 4, generator=generator(), dtype=torch.float64)
    assert scales.sum().abs() > 1e-4
    assert torch.allclose(model._forward(x, None)[1], scales.sum().expand(16))


def test_images_are_vectors_of_logits() -> None:
    spec = DataSpec("toy", "image", (1, 4, 4), levels=5)
    model = random_model(MAF, {}, spec, noise=0.05)
    x = spec.from_levels(torch.randint(0, 5, (64, 1, 4, 4), generator=generator()))
    fit = model.stages()[0].fit
    assert fit is not None
    fit(Batch(x), generator())
    assert relative_error(model.decode(model.encode(Batch(x))), x) < 1e-4
    model = model.double()
    u = torch.rand(1, 1, 4, 4, generator=generator(), dtype=torch.float64)

    def to_code(u: Tensor) -> Tensor:
        return model._forward(model._normalise(u)[0], None)[0]

    jacobian = torch.autograd.functional.jacobian(to_code, u).reshape(16, 16)
    y, log_det = model._normalise(u)
    got = (log_det + model._forward(y, None)[1]).item()
    assert got == pytest.approx(torch.linalg.slogdet(jacobian)[1].item(), abs=1e-8)
    assert math.isfinite(got)


def test_refuses_data_it_cannot_take() -> None:
    with pytest.raises(ValueError, match="maf takes images of at most 1,024 numbers, data 'toy' has 3,072"):
        MAF(DataSpec("toy", "image", (3, 32, 32), levels=256))
    with pytest.raises(ValueError, match="iaf takes vectors, got image data 'toy'"):
        IAF(DataSpec("toy", "image", (1, 8, 8), levels=17))
    with pytest.raises(ValueError, match="nice takes images and vectors, got sequence data 'toy'"):
        NICE(DataSpec("toy", "sequence", (5,), vocabulary=4))
