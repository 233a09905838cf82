"""Images that networks are conditioned on, beside images of another size."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from ..data_spec import DataSpec
from .sides import Size, size_of


def condition_channels(data: DataSpec, family: str) -> int:
    """C' of the images that images are conditioned on. family: named in errors.

    Raises ValueError for data without image conditions.
    """
    if data.condition.kind != "image":
        raise ValueError(
            f"{family} takes images as conditions; data {data.name!r} has {data.condition.kind} conditions"
        )
    return data.condition.shape[0]


def at_size(condition: Tensor, size: Size) -> Tensor:
    """Conditions (n, C', h, w) with sides `size`, by bilinear interpolation; as they are where these are theirs."""
    if size_of(condition) == size:
        return condition
    return F.interpolate(condition, size=size, mode="bilinear", align_corners=False)
