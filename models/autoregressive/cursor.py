"""Where the sampling of an image stands, and what its layers have kept: networks then compute single pixels.

Pixels come row by row, in a row from the left, and in a pixel channel by channel. Features are split into G groups of
equal size, one for each channel of the image: what predicts channel c lies in group c, and sees the earlier pixels,
and of its own pixel the channels before c (van den Oord et al., arXiv:1601.06759, section 3.4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class Cursor:
    """The number that is drawn next: channel `channel` of the pixel in `row` and `column`.

    groups: G. width: W of the image.
    Networks are called in the order of the pixels, once for each channel, with maps of 1 x 1 pixels that have the
    features of the channel's group alone. Layers keep what later pixels need.
    """

    def __init__(self, groups: int, width: int) -> None:
        self.groups, self.width = groups, width
        self.row = self.column = self.channel = 0
        self._kept: dict[nn.Module, Any] = {}
        self._halved: Cursor | None = None

    @property
    def begins_row(self) -> bool:
        return self.column == 0 and self.channel == 0

    @property
    def halved(self) -> Cursor:
        """The same place on maps of half the sides; there the next pixel is one in an even row and an even column."""
        if self._halved is None:
            self._halved = Cursor(self.groups, self.width // 2)
        self._halved.row, self._halved.column = self.row // 2, self.column // 2
        return self._halved

    def kept(self, layer: nn.Module, start: Callable[[], Any] | None = None) -> Any:
        """What a layer has kept; at first what `start` makes."""
        if start is not None and layer not in self._kept:
            self._kept[layer] = start()
        return self._kept[layer]

    def keep(self, layer: nn.Module, value: Any) -> None:
        self._kept[layer] = value

    def group(self, features: int) -> slice:
        """The features of the channel's group, of so many in all groups."""
        size = features // self.groups
        return slice(self.channel * size, (self.channel + 1) * size)

    def here(self, row: Tensor) -> Tensor:
        """Of a row of maps (n, features, 1, W) the pixel and the group (n, features / G, 1, 1)."""
        return row[:, self.group(row.shape[1]), :, self.column : self.column + 1]


def patch(x: Tensor, rows: tuple[int, int], columns: tuple[int, int]) -> Tensor:
    """Rows a...b-1 and columns of maps x (n, features, H, W), with zeros for those outside."""
    (top, bottom), (left, right) = rows, columns
    height, width = x.shape[-2:]
    inside = x[..., max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    outside = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
    return F.pad(inside, outside) if any(outside) else inside
