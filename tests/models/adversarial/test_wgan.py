"""WGAN: what the clipping bounds, and the distance that the critic estimates."""

from __future__ import annotations

import pytest
import torch

from gentune.bench.training.loop import LoopSettings, train
from gentune.models import Batch, DataSpec
from gentune.models.adversarial.wgan import WGAN

LINE = DataSpec("line", "vector", (1,))
IMAGE = DataSpec("image", "image", (1, 8, 8), levels=17)


@pytest.mark.parametrize("clip", [0.01, 0.3])
def test_clipping_bounds_the_weights(clip: float) -> None:
    torch.manual_seed(0)
    model = WGAN(IMAGE, width=8, latent_dim=8, clip=clip, discriminator_norm="batch")

    def largest() -> float:
        return max(p.abs().max().item() for p in model.discriminator.parameters())

    assert largest() <= clip + 1e-7
    x = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    train(model, Batch(x), LoopSettings(batch_size=16), steps=5, seed=0)
    assert largest() == pytest.approx(clip)
    assert max(p.abs().max().item() for p in model.generator.parameters()) > clip


def test_the_objectives_are_those_of_the_dual() -> None:
    model = WGAN(LINE, width=8, latent_dim=8)
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 1.0])
    assert model.discriminator_objective(real, fake).item() == pytest.approx(-3.0)
    assert model.generator_objective(fake).item() == pytest.approx(-1.0)


def test_a_critic_orders_generators_by_their_distance() -> None:
    """Data at 0 and samples at a: W_1 = |a|, up to the Lipschitz constant that the clipping allows."""

    def estimate(a: float) -> float:
        torch.manual_seed(0)
        model = WGAN(LINE, width=8, latent_dim=8, clip=0.1)
        real, fake = torch.zeros(8, 1), torch.full((8, 1), a)
        optimiser = torch.optim.Adam(model.discriminator.parameters(), 1e-2)
        loss = torch.zeros(())
        for _ in range(200):
            optimiser.zero_grad()
            loss = model.discriminator_objective(model._score(real, None), model._score(fake, None))
            loss.backward()
            optimiser.step()
            model.clip_weights()
        return -loss.item()

    near, far = estimate(0.5), estimate(1.5)
    assert 0 < near < far
