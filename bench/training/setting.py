"""Splits a setting by role, and builds the model that it describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ...models.base import GenerativeModel
from ...models.data_spec import DataSpec
from ...search_spaces import FamilyCard
from ..seeds import derive
from .loop import LoopSettings


@dataclass(frozen=True)
class SettingByRole:
    """What a setting says to the constructor, to `sample`, to the training loop, and about the end of a training.

    average: half-life of the weights' average with which a training ends.
    """

    train: dict[str, Any]
    sample: dict[str, Any]
    loop: LoopSettings
    average: float

    def check_loop(self) -> None:
        """Raises ValueError for what no training loop can have; the card's own ranges hold nothing of the kind."""
        loop = self.loop
        if loop.batch_size < 1 or loop.gradient_clip <= 0 or not 0.0 <= self.average <= 1.0:
            raise ValueError(
                f"batch_size {loop.batch_size}, gradient_clip {loop.gradient_clip}, ema_half_life {self.average}; "
                "wanted 1 or more, more than 0, and 0 to 1"
            )


def split_setting(card: FamilyCard, params: Mapping[str, Any]) -> SettingByRole:
    """A setting by role; what the space does not search stays at the family's default."""
    by_role: dict[str, dict[str, Any]] = {"train": {}, "sample": {}}
    by_role |= {"loop": card.loop.only("loop").default(), "average": card.loop.only("average").default()}
    for name, value in params.items():
        by_role[card.space[name].role][name] = value
    loop = LoopSettings(**by_role["loop"], averages=card.averaged)
    return SettingByRole(by_role["train"], by_role["sample"], loop, by_role["average"]["ema_half_life"])


def build_model(
    family: type[GenerativeModel], spec: DataSpec, arguments: Mapping[str, Any], seed: int
) -> GenerativeModel:
    """A fresh model; its initial weights are drawn on the CPU, so that they are the same on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "weights"))
        return family(spec, **arguments)
