"""Guidance that the diffusion families share: its scale, and the band of noise levels in which it holds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gentune.models.base import GenerativeModel
from gentune.models.data_spec import ConditionSpec, DataSpec
from gentune.models.diffusion.ddpm import DDPM
from gentune.models.diffusion.dit import DiT
from gentune.models.diffusion.flow_matching import FlowMatching
from gentune.models.diffusion.label_guidance import Guidance
from gentune.models.diffusion.score_sde import ScoreSDE

IMAGES = DataSpec("toy", "image", (1, 4, 4), levels=2**16, condition=ConditionSpec("label", classes=3))
LABELS = torch.tensor([0, 1, 2])
FAMILIES: dict[type[GenerativeModel], dict[str, Any]] = {
    DDPM: {"sampler": "ddim", "steps": 12},
    DiT: {"sampler": "ddim", "steps": 12},
    ScoreSDE: {"sampler": "ddim", "steps": 12},
    FlowMatching: {"solver": "euler", "evaluations": 12},
}
every_family = pytest.mark.parametrize("family", FAMILIES)


def random_model(family: type[GenerativeModel]) -> GenerativeModel:
    """One whose predictions depend on everything."""
    torch.manual_seed(0)
    model = family(IMAGES, width=8)  # type: ignore[call-arg]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def drawn(model: GenerativeModel, scale: float, **band: float) -> tuple[Tensor, int]:
    """Samples, and how many rows the network was run on."""
    rows = 0

    def count(_: object, given: tuple[Tensor, ...]) -> None:
        nonlocal rows
        rows += len(given[0])

    network: Any = model.network
    handle = network.register_forward_pre_hook(count)
    settings = FAMILIES[type(model)] | {"guidance_scale": scale} | band
    x = model.sample(3, condition=LABELS, generator=torch.Generator().manual_seed(0), **settings)
    handle.remove()
    return x, rows


def test_the_scale_holds_inside_the_band_alone() -> None:
    guidance = Guidance(3.0, low=0.2, high=0.6)
    for share, wanted in ((0.1, 1.0), (0.25, 3.0), (0.55, 3.0), (0.7, 1.0), (0.999, 1.0)):
        sigma = torch.full((4, 1), share / (1.0 - share))
        assert guidance.at(torch.ones(4, 1), sigma) == wanted  # data and sigma times noise
        assert guidance.at(0.3 * torch.ones(4, 1), 0.3 * sigma) == wanted  # whatever both are multiplied by
    assert guidance.given(None) == Guidance(0.0)
    assert guidance.given(LABELS) is guidance


def test_the_whole_band_reaches_pure_noise_and_pure_data() -> None:
    for signal, sigma in ((1.0, 0.0), (0.0, 1.0)):
        assert Guidance(3.0).at(torch.tensor([signal]), torch.tensor([sigma])) == 3.0


@every_family
def test_outside_the_band_samples_are_conditional_at_half_the_cost(family: type[GenerativeModel]) -> None:
    model = random_model(family)
    (whole, most), (plain, least) = drawn(model, 3.0), drawn(model, 1.0)
    assert (most, least) == (2 * 12 * 3, 12 * 3)
    assert torch.equal(drawn(model, 3.0, guidance_low=0.0, guidance_high=1.0)[0], whole)
    none, rows = drawn(model, 3.0, guidance_low=0.5, guidance_high=0.4)
    assert torch.equal(none, plain) and rows == least
    some, rows = drawn(model, 3.0, guidance_low=0.2, guidance_high=0.7)
    assert not torch.equal(some, whole) and least < rows < most


@every_family
def test_the_band_means_the_same_noise_in_every_family(family: type[GenerativeModel]) -> None:
    """Its low end alone turns guidance off in the last steps, its high end alone in the first ones."""
    model = random_model(family)
    network: Any = model.network
    guided, scales = network.guided, []

    def seen(x: Tensor, time: Tensor, labels: Tensor, scale: float) -> Tensor:
        scales.append(scale)
        out: Tensor = guided(x, time, labels, scale)
        return out

    network.guided = seen
    drawn(model, 2.0, guidance_low=0.3)
    drawn(model, 2.0, guidance_high=0.7)
    assert scales[:12] == sorted(scales[:12], reverse=True) and set(scales[:12]) == {1.0, 2.0}
    assert scales[12:] == sorted(scales[12:]) and set(scales[12:]) == {1.0, 2.0}
