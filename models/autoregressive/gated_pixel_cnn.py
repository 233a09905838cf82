"""Gated PixelCNN: two stacks of gated masked convolutions that together see all earlier pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .masked_convolutions import Head, PixelConv, RowConv, in_groups
from .pixels import PixelModel


class GatedPixelCNN(PixelModel):
    """van den Oord et al., "Conditional image generation with PixelCNN decoders", arXiv:1606.05328.

    The vertical stack sees the rows above, the horizontal stack its own row on the left and, through the vertical one,
    the rest. Every layer is gated and, with labels y, shifted by them (equation 4):

        tanh(W_f * x + V_f y) sigmoid(W_g * x + V_g y)

    channels: p, features of each stack, rounded up to a multiple of the image's channels.
    blocks: layers after the first. kernel: side of the kernels, odd; the first layer's is wider by 2.
    dropout: of what the layers' gates let through.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 6e-3,
        channels: int = 24,
        blocks: int = 3,
        kernel: int = 3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(data, "gated_pixel_cnn", learning_rate=learning_rate, conditional=True)
        groups = data.shape[0]
        features = in_groups(channels, groups)
        reach = kernel // 2
        shared = {"groups": groups, "classes": self.classes, "dropout": dropout}
        layers = [_Layer(groups, features, reach=reach + 1, first=True, **shared)]  # type: ignore[arg-type]
        layers += [_Layer(features, features, reach=reach, **shared) for _ in range(blocks)]  # type: ignore[arg-type]
        self.layers = nn.ModuleList(layers)
        self.head = Head(features, self.levels, groups=groups)

    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self._horizontal(x, self._vertical(x, labels), labels).unflatten(1, (self.data.shape[0], -1))

    def logits_at(self, x: Tensor, labels: Tensor | None, cursor: Cursor) -> Tensor:
        if cursor.begins_row:
            cursor.keep(self, torch.stack(self._vertical(x, labels, cursor)))
        above = [cursor.here(row) for row in cursor.kept(self)]
        return self._horizontal(x, above, labels, cursor).flatten(1)

    def _vertical(self, x: Tensor, labels: Tensor | None, cursor: Cursor | None = None) -> list[Tensor]:
        """What the vertical stack tells each layer of the horizontal one, (n, 2p, H, W); at a cursor, its row."""
        told = []
        for layer in self.layers:
            assert isinstance(layer, _Layer)
            x, to_horizontal = layer.vertical_step(x, labels, cursor)
            told.append(to_horizontal)
        return told

    def _horizontal(
        self, x: Tensor, above: list[Tensor], labels: Tensor | None, cursor: Cursor | None = None
    ) -> Tensor:
        """Logits (n, C L, H, W); at a cursor (n, L, 1, 1)."""
        for layer, from_vertical in zip(self.layers, above, strict=True):
            assert isinstance(layer, _Layer)
            x = layer.horizontal_step(x, from_vertical, labels, cursor)
        return self.head(x, cursor)


class _Layer(nn.Module):
    """A step of both stacks (figure 2 of the paper). first: it takes the image, and has no residual connection."""

    def __init__(
        self, inputs: int, features: int, *, groups: int, reach: int, classes: int, dropout: float, first: bool = False
    ) -> None:
        super().__init__()
        self.first, self.size = first, features // groups
        self.vertical = RowConv(inputs, 2 * features, above=reach, reach=reach, current=not first)
        self.to_horizontal = nn.Conv2d(2 * features, 2 * features, 1)
        self.horizontal = PixelConv(inputs, 2 * features, groups=groups, left=reach, strict=first)
        self.output = PixelConv(features, features, groups=groups)
        self.shifts = nn.ModuleList(nn.Embedding(classes, 2 * features) for _ in range(2 if classes else 0))
        self.dropout = nn.Dropout(dropout)

    def vertical_step(self, v: Tensor, labels: Tensor | None, cursor: Cursor | None) -> tuple[Tensor, Tensor]:
        """The stack's next features, and what the horizontal stack gets to know."""
        v = self.vertical(v, cursor)
        told = self.to_horizontal(v)
        if labels is not None:
            v = v + self.shifts[0](labels)[..., None, None]
        return self.dropout(self._gate(v)), told

    def horizontal_step(self, h: Tensor, above: Tensor, labels: Tensor | None, cursor: Cursor | None) -> Tensor:
        x = self.horizontal(h, cursor) + above
        if labels is not None:
            shift = self.shifts[1](labels)
            x = x + (shift if cursor is None else shift[:, cursor.group(shift.shape[1])])[..., None, None]
        out = self.output(self.dropout(self._gate(x)), cursor)
        return out if self.first else h + out

    def _gate(self, x: Tensor) -> Tensor:
        """tanh(f) sigmoid(g) of features f and g, the halves of each group."""
        f, g = x.unflatten(1, (-1, 2, self.size)).unbind(2)
        return (f.tanh() * g.sigmoid()).flatten(1, 2)
