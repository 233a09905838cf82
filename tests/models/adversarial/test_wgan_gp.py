"""WGAN-GP: the penalty in closed form, what each phase trains, and the modes of a toy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gentune.bench.data import load
from gentune.bench.training.loop import train
from gentune.bench.training.setting import split_setting
from gentune.models import Batch, DataSpec
from gentune.models.adversarial.wgan_gp import WGANGP
from gentune.search_spaces import DataSize, load_card, shipped_cards

PLANE = DataSpec("plane", "vector", (2,))
IMAGE = DataSpec("image", "image", (1, 8, 8), levels=17)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _model(spec: DataSpec, **settings: float) -> WGANGP:
    torch.manual_seed(0)
    return WGANGP(spec, **{"width": 8, "latent_dim": 8, **settings})  # type: ignore[arg-type]


class _Linear(nn.Module):
    """x -> a.x, whose gradient is a everywhere."""

    def __init__(self, *slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, x: Tensor) -> Tensor:
        return (x @ self.slope)[:, None]


def test_the_penalty_of_a_linear_critic() -> None:
    model = _model(PLANE, gradient_penalty=2.0)
    model.discriminator = _Linear(3.0, 4.0)  # gradient of norm 5
    batch = Batch(torch.randn(32, 2, generator=_generator()))
    losses = model.discriminator_loss(batch, _generator(1))
    assert losses.parts["gradient_penalty"].item() == pytest.approx((5 - 1) ** 2, rel=1e-5)
    assert losses.total.item() == pytest.approx(2.0 * 16 - losses.parts["distance"].item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(losses.parts["gradient_penalty"], model.discriminator.slope)
    assert gradient.tolist() == pytest.approx([2 * 4 * 3 / 5, 2 * 4 * 4 / 5], rel=1e-5)


def test_points_of_the_penalty_lie_between_data_and_samples() -> None:
    model = _model(PLANE)
    seen: list[Tensor] = []

    class Spy(_Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach())
            return super().forward(x)

    model.discriminator = Spy(1.0, 0.0)
    real, fake = torch.zeros(500, 2), torch.ones(500, 2)
    model._penalty(real, fake, _generator())
    (points,) = seen
    assert torch.equal(points[:, 0], points[:, 1])  # one weight an example, on the line
    assert points[:, 0].mean().item() == pytest.approx(0.5, abs=0.05)
    assert points[:, 0].var().item() == pytest.approx(1 / 12, abs=0.015)


def test_each_phase_trains_its_own_network() -> None:
    model = _model(IMAGE, discriminator_steps=3)
    (stage,) = model.stages()
    critic, generator = stage.phases
    assert (critic.name, critic.steps, generator.name, generator.steps) == ("discriminator", 3, "generator", 1)
    assert {id(p) for p in critic.parameters} == {id(p) for p in model.discriminator.parameters()}
    assert {id(p) for p in generator.parameters} == {id(p) for p in model.generator.parameters()}
    batch = Batch(torch.rand(4, 1, 8, 8, generator=_generator()) * 2 - 1)
    model.discriminator_loss(batch, _generator()).total.backward()
    assert all(p.grad is None for p in model.generator.parameters())


def test_the_critic_judges_each_example_alone() -> None:
    model = _model(IMAGE)
    x = torch.rand(6, 1, 8, 8, generator=_generator()) * 2 - 1
    together = model.discriminator(x)
    alone = torch.cat([model.discriminator(row[None]) for row in x])
    assert torch.allclose(together, alone, atol=1e-6)


def test_operations_of_the_critic_can_be_counted() -> None:
    model = _model(IMAGE)
    batch = Batch(torch.rand(4, 1, 8, 8, generator=_generator()) * 2 - 1)
    with FlopCounterMode(display=False) as counter:
        model.discriminator_loss(batch, _generator()).total.backward()
    forward = FlopCounterMode(display=False)
    with forward:
        model.discriminator(batch.x)
    assert counter.get_total_flops() > 5 * forward.get_total_flops()  # three passes, and back through them


def test_truncation_scales_the_codes() -> None:
    model = _model(PLANE)
    z = torch.randn(5, 8, generator=_generator())
    expected = model.decode(0.5 * z)
    assert torch.allclose(model.sample(5, generator=_generator(), truncation=0.5), expected)
    same = model.sample(5, generator=_generator(), truncation=0.0)
    assert torch.allclose(same, same[:1].expand(5, 2))


@pytest.mark.slow
def test_eight_gaussians_are_all_covered() -> None:
    card = next(c for c in map(load_card, shipped_cards()) if c.name == "wgan_gp")
    data = load("eight_gaussians")
    torch.manual_seed(0)
    model = WGANGP(data.spec)
    setting, steps = split_setting(card, {}), card.full_steps(DataSize("vector", 2, len(data.splits["train"])))
    train(model, data.splits["train"].all(), setting.loop, steps=steps, seed=0, average=setting.average)
    assert data.spec.mean is not None
    assert data.spec.deviation is not None
    x = model.sample(4000, generator=_generator())
    x = x * torch.tensor(data.spec.deviation) + torch.tensor(data.spec.mean)
    angle = torch.arange(8) * (math.pi / 4)
    centres = 2 * torch.stack([angle.cos(), angle.sin()], dim=1)
    distance, nearest = torch.cdist(x, centres).min(1)
    close = distance < 0.4  # four deviations
    assert close.float().mean() > 0.6
    assert nearest[close].bincount(minlength=8).min() > 0.03 * 4000
