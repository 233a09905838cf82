"""Sampling pixel by pixel, next to the plain loop: a pass over whole images for each number.

Both draw 500 digits from the same model and uniforms.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from gentune.bench.data import load
from gentune.models import load_class
from gentune.models.autoregressive.pixels import PixelModel
from gentune.models.nets.categorical import draw
from gentune.search_spaces import load_card, shipped_cards

Call = Callable[[], Tensor]
SAMPLES = 500


def sampling(family: str) -> tuple[Call, Call]:
    """500 digits of a family's default network with kept activations, and by full passes."""
    spec = load("digits").spec
    card = next(card for card in map(load_card, shipped_cards()) if card.name == family)
    torch.manual_seed(0)
    model = load_class(card.implementation)(spec).eval()
    assert isinstance(model, PixelModel)
    labels = torch.arange(SAMPLES) % spec.classes

    def kept() -> Tensor:
        return model.sample(SAMPLES, condition=labels, generator=torch.Generator().manual_seed(0))

    @torch.no_grad()
    def plain() -> Tensor:
        channels, height, width = spec.shape
        uniforms = torch.rand(SAMPLES, *spec.shape, generator=torch.Generator().manual_seed(0))
        x = torch.full_like(uniforms, -1.0)
        for i, j, c in product(range(height), range(width), range(channels)):
            logits = model.logits(x, labels)[:, c, :, i, j]
            x[:, c, i, j] = spec.from_levels(draw(logits, uniforms[:, c, i, j]))
        return x

    return kept, plain
