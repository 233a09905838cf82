"""The data that contracts draw: one description for each data kind and kind of condition, and conditions to match."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from gentune.models import ConditionSpec, DataSpec

LABELLED = DataSpec("labelled", "image", (1, 8, 8), levels=17, condition=ConditionSpec("label", classes=3))
COLOUR = DataSpec("colour", "image", (3, 7, 10), levels=256)  # an odd side, and one whose half is odd
PLANE = DataSpec("plane", "vector", (2,))
TOKENS = DataSpec("tokens", "sequence", (6,), vocabulary=5, padding=4)
SHORT = replace(TOKENS, shape=(4,))  # of which all sequences can be listed
PLAIN = (LABELLED, COLOUR, PLANE, TOKENS)
_CONDITIONS = (
    ConditionSpec("label", classes=3),
    ConditionSpec("image", (3, 8, 8), levels=9),
    ConditionSpec("text", (4,), vocabulary=7),
)
CONDITIONED = tuple(
    replace(spec, name=f"{spec.name}-with-{condition.kind}", condition=condition)
    for spec in (DataSpec("grey", "image", (1, 8, 8), levels=17), PLANE, TOKENS)
    for condition in _CONDITIONS
    if (spec.kind, condition.kind) != (LABELLED.kind, LABELLED.condition.kind)
)


def conditions_like(spec: DataSpec, n: int) -> Tensor | None:
    """n conditions of the kind that the data have: labels in turn, random images on their lattice, random tokens."""
    condition = spec.condition
    if condition.kind == "none":
        return None
    if condition.kind == "label":
        return torch.arange(n) % condition.classes
    values = condition.levels if condition.kind == "image" else condition.vocabulary
    assert values is not None
    drawn = torch.randint(values, (n, *condition.shape), generator=seeded(n + 1))
    return drawn * (2.0 / (values - 1)) - 1.0 if condition.kind == "image" else drawn


def all_sequences(spec: DataSpec) -> Tensor:
    """Every sequence (n, T) of a description: of all lengths, where they are padded."""
    x = torch.cartesian_prod(*[torch.arange(spec.vocabulary or 0)] * spec.shape[0])
    return x if spec.padding is None else torch.where(spec.with_end_of(x), x, spec.padding).unique(dim=0)


def seeded(seed: int) -> Generator:
    return torch.Generator().manual_seed(seed)
