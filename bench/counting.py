"""What a family's setting costs on a data set, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import registry
from .data import DataSet
from .operations import Operations, count_operations
from .setting import build_model, split_setting


def count_setting(name: str, data: DataSet, params: Mapping[str, Any]) -> Operations | None:
    """Operations of a full training and of one sample; None for a setting that cannot take a step.

    name: of a registered family. A setting that fails here fails in its trial, which records why.
    """
    family = registry.family(name)
    card = family.require_card()
    setting = split_setting(card, params)
    spec = data.spec
    try:
        return count_operations(
            lambda: build_model(family.load(), spec, setting.train, 0),
            data.splits["train"],
            setting.loop,
            steps=card.full_steps(spec.name, spec.kind),
            sampling=setting.sample,
            conditional=card.conditional == "label" and spec.condition == "label",
        )
    except Exception:  # noqa: BLE001 - the family's own fault, which its trial will meet and record
        return None
