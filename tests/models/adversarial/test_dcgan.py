"""DCGAN: its plan of layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gentune.models import Batch, DataSpec
from gentune.models.adversarial.dcgan import DCGAN

IMAGE = DataSpec("image", "image", (3, 8, 12), levels=17)


def _model(**settings: int) -> DCGAN:
    torch.manual_seed(0)
    return DCGAN(IMAGE, width=8, latent_dim=8, **settings)  # type: ignore[arg-type]


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_plan_of_the_paper() -> None:
    model = _model()
    generator = [type(m) for m in model.generator.body.modules() if not list(m.children())]  # type: ignore[union-attr]
    assert sum(issubclass(kind, nn.ConvTranspose2d) for kind in generator) == 2
    assert generator.count(nn.BatchNorm2d) == 2
    assert issubclass(generator[-1], nn.ConvTranspose2d), "no normalisation of the output"
    discriminator = [m for m in model.discriminator.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d, nn.Linear))]
    plan = [nn.Conv2d, nn.Conv2d, nn.BatchNorm2d, nn.Linear]
    assert all(isinstance(m, kind) for m, kind in zip(discriminator, plan, strict=True))
    assert all(m.stride == (2, 2) for m in discriminator if isinstance(m, nn.Conv2d))


def test_depth_adds_convolutions() -> None:
    deeper = _model(depth=2)
    assert sum(isinstance(m, nn.Conv2d) for m in deeper.generator.modules()) == 2
    assert deeper.sample(2, generator=_random()).shape == (2, 3, 8, 12)


def test_initial_weights_keep_the_signal() -> None:
    """What goes into each normalisation has a variance near the running one, which starts at 1."""
    model, seen = _model(), []
    for module in model.generator.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].var().item()))
    model.generator(torch.randn(256, 8, generator=_random()))
    assert len(seen) == 2
    assert all(0.3 < variance < 4.0 for variance in seen)


def test_samples_depend_on_no_other_samples() -> None:
    """A generator that normalises by its batch while sampling would make one sample depend on the rest."""
    model = _model()
    batch = Batch(torch.rand(16, 3, 8, 12, generator=_random()) * 2 - 1)
    for seed in range(3):
        model.generator_loss(batch, _random(seed))
    model.eval()
    z = torch.randn(6, 8, generator=_random())
    assert torch.allclose(model.decode(z), torch.cat([model.decode(row[None]) for row in z]), atol=1e-5)


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match="dcgan takes image data, data 'plane' is vector"):
        DCGAN(DataSpec("plane", "vector", (2,)))
