"""Convolutions that see earlier pixels alone, on whole images and at a cursor.

Shapes: maps (n, features, H, W); features are in G groups, group by group (`cursor`). With a cursor a convolution over
pixels takes and gives (n, features / G, 1, 1), and one over rows takes and gives whole rows (n, features, 1, W).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cursor import Cursor, patch


def in_groups(features: int, groups: int) -> int:
    """A number of features, rounded up to a multiple of the groups."""
    return groups * -(-features // groups)


class PixelConv(nn.Module):
    """A masked convolution of (above + 1) rows, and of `left` and `right` columns next to the pixel's own.

    Of a pixel's own row it sees what lies on the left, and of its own features in group c those of the groups before c
    and, unless `strict`, of c (masks A and B of van den Oord et al., arXiv:1601.06759, section 3.4). Rows below the
    pixel, which a mask would blank out, are left out of the kernel.

    inputs, outputs: features in all groups. groups: G.
    strict: mask A. Its input is the image, which with a cursor it takes as far as it is drawn: (n, C, H, W).
    stride: of rows and columns. With a cursor it is asked where both are multiples, and else told what to `remember`.
    """

    mask: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        groups: int,
        above: int = 0,
        left: int = 0,
        right: int = 0,
        strict: bool = False,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.groups = inputs, outputs, groups
        self.above, self.left, self.right = above, left, right
        self.strict, self.stride = strict, stride
        shape = (outputs, inputs, above + 1, left + 1 + right)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mask", self._mask(shape), persistent=False)
        seen = inputs * (above * shape[3] + left + (0.5 if strict else 1.0))
        bound = math.sqrt(3.0 / max(1.0, seen))
        nn.init.uniform_(self.weight, -bound, bound)

    def _mask(self, shape: tuple[int, int, int, int]) -> Tensor:
        outputs, inputs = shape[:2]
        mask = torch.ones(shape)
        mask[:, :, -1, self.left + 1 :] = 0.0
        to = torch.arange(outputs) * self.groups // outputs
        of = torch.arange(inputs) * self.groups // inputs
        mask[:, :, -1, self.left] = (of < to[:, None] if self.strict else of <= to[:, None]).float()
        return mask

    def forward(self, x: Tensor, cursor: Cursor | None = None) -> Tensor:
        if cursor is not None:
            return self._at(x, cursor)
        if self.above or self.left:
            x = F.pad(x, (self.left, self.right, self.above, 0))
        return F.conv2d(x, self.weight * self.mask, self.bias, self.stride)

    def _at(self, x: Tensor, cursor: Cursor) -> Tensor:
        """x: the image for mask A, else the pixel's features of the cursor's group."""
        rows = (cursor.row - self.above, cursor.row + 1)
        columns = (cursor.column - self.left, cursor.column + self.right + 1)
        seen = patch(x, rows, columns) if self.strict else self.remember(x, cursor)
        group = cursor.group(self.outputs)
        weight = (self.weight[group] * self.mask[group]).flatten(1)
        return F.linear(seen.flatten(1), weight, self.bias[group])[..., None, None]

    def remember(self, x: Tensor, cursor: Cursor) -> Tensor:
        """Keeps the pixel; returns what the kernel covers so far, (n, inputs, above + 1, left + 1 + right)."""
        if self.groups == 1 and not self.above and not self.left:
            return x
        width = self.left + cursor.width + self.right
        memory = cursor.kept(self, lambda: x.new_zeros(len(x), self.inputs, self.above + 1, width))
        if cursor.begins_row:
            memory[:, :, :-1] = memory[:, :, 1:].clone()
            memory[:, :, -1] = 0.0
        memory[:, cursor.group(self.inputs), -1, cursor.column + self.left] = x.flatten(1)
        return memory[..., cursor.column : cursor.column + self.left + 1 + self.right]


class RowConv(nn.Conv2d):
    """A convolution over whole rows: the `above` rows above a pixel's own and, left and right of it, `reach` columns.

    current: whether it sees the pixel's own row, too. It may where its input at that row knows earlier rows alone, as
    the vertical stack's (van den Oord et al., arXiv:1606.05328, section 2.2), and may not where that is the image.
    stride: of rows and columns. With a cursor it is asked in rows that are multiples, and else told what to `remember`.
    """

    def __init__(
        self, inputs: int, outputs: int, *, above: int, reach: int, current: bool = True, stride: int = 1
    ) -> None:
        super().__init__(inputs, outputs, (above + current, 2 * reach + 1), stride)
        self.above, self.reach, self.current = above, reach, current

    def forward(self, x: Tensor, cursor: Cursor | None = None) -> Tensor:
        """With a cursor: the row at the cursor. x: that row of the input, or of the image all that is drawn."""
        if cursor is not None:
            return super().forward(F.pad(self.remember(x, cursor), (self.reach, self.reach)))
        if not self.current:
            x = x[:, :, :-1]
        return super().forward(F.pad(x, (self.reach, self.reach, self.above, 0)))

    def remember(self, x: Tensor, cursor: Cursor) -> Tensor:
        """Keeps the row; returns the rows that the kernel covers, (n, inputs, above + current, W)."""
        if not self.current:
            return patch(x, (cursor.row - self.above, cursor.row), (0, cursor.width))
        shape = (*x.shape[:2], self.above, cursor.width)
        rows = torch.cat([cursor.kept(self, lambda: x.new_zeros(shape)), x], dim=2)
        cursor.keep(self, rows[:, :, 1:])
        return rows


class FirstConv(PixelConv):
    """The image to features: 7 x 7, mask A (table 1 of arXiv:1601.06759). groups: the image's channels."""

    def __init__(self, groups: int, outputs: int) -> None:
        super().__init__(groups, outputs, groups=groups, above=3, left=3, right=3, strict=True)


class Head(nn.Module):
    """Features to logits (n, C L, H, W), channel by channel, as all PixelCNNs end: ReLU, 1 x 1, ReLU, 1 x 1.

    With a cursor (n, L, 1, 1), of its channel.
    """

    def __init__(self, features: int, levels: int, *, groups: int) -> None:
        super().__init__()
        self.first = PixelConv(features, features, groups=groups)
        self.second = PixelConv(features, groups * levels, groups=groups)

    def forward(self, h: Tensor, cursor: Cursor | None = None) -> Tensor:
        logits: Tensor = self.second(self.first(h.relu(), cursor).relu(), cursor)
        return logits
