"""Artifacts of a finalist that was asked by texts: samples beside their texts, and which parts of these they show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..runs.run_folder import RecordFolder
from ..scoring.context import ScoringContext
from ..scoring.sampling import draw_samples
from ..scoring.text_attributes import attribute_shares
from .pictures import write_captioned_sheet

_TEXTS, _EACH = 10, 8  # texts in the picture, and samples of each


def write_text_samples(
    folder: RecordFolder, name: str, maker: str, context: ScoringContext, sampling: Mapping[str, Any], *, seed: int
) -> None:
    """texts/NAME.png: held-out texts, a real image of each and samples of it; texts/NAME.json: the texts, and the
    shares of samples and of real images that show each attribute as it was asked for (`attribute_shares`).

    maker: the family. sampling: sampling hyperparameters. seed: of the samples that are drawn for the picture.
    """
    spec, model, held_out = context.data.spec, context.model, context.reference
    if spec.kind != "image" or spec.condition.kind != "text" or model is None or held_out.condition is None:
        return
    some = held_out[torch.linspace(0, len(held_out) - 1, min(_TEXTS, len(held_out))).round().long()]
    assert some.condition is not None
    asked = some.condition.repeat_interleave(_EACH, dim=0)
    drawn = draw_samples(model, len(asked), asked, settings=sampling, seed=seed).x.unflatten(0, (-1, _EACH))
    written = [spec.condition.written(text) for text in some.condition.tolist()]
    images = torch.cat((some.x[:, None], drawn), dim=1)
    write_captioned_sheet(folder.artifact("texts", f"{name}.png"), written, images, spec, maker=maker)
    folder.write_json(f"texts/{name}.json", {"texts": written, "shares": attribute_shares(context)})
