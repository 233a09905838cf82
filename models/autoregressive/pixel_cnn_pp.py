"""PixelCNN++: pixels as mixtures of discretised logistics, by a causal network at several resolutions."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .logistic_mixtures import LogisticMixture, mixture_outputs
from .masked_convolutions import PixelConv, RowConv
from .pixels import PixelModel


class PixelCNNpp(PixelModel):
    """Salimans et al., "PixelCNN++", arXiv:1701.05517.

    A stream of rows sees the rows above a pixel, a stream of pixels its own row on the left, and the first stream. Both
    run down to lower resolutions and up again, with shortcuts, in gated residual blocks (section 2.4 and figure 2). A
    pixel's channels are a mixture of discretised logistics, each around a linear function of those before it.

    channels: features of each stream. blocks: residual ones at each resolution, on the way down as on the way up.
    scales: resolutions, each half of the one before; fewer where a side is odd, or half of it below 2.
    mixtures: components. dropout: within residual blocks.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 6e-3,
        channels: int = 24,
        blocks: int = 1,
        scales: int = 2,
        mixtures: int = 5,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(data, "pixel_cnn_pp", learning_rate=learning_rate, conditional=True)
        inputs, height, width = data.shape
        self.rows = RowConv(inputs + 1, channels, above=2, reach=1, current=False)
        self.row_above = RowConv(inputs + 1, channels, above=1, reach=1, current=False)
        self.pixels = PixelConv(inputs + 1, channels, groups=1, above=1, left=1, strict=True)
        halvings = min(scales - 1, possible_halvings((height, width)))
        self.network = _Resolution(channels, blocks, halvings, classes=self.classes, dropout=dropout)
        self.head = nn.Conv2d(channels, mixture_outputs(inputs, mixtures), 1)

    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        mixture = self._mixture(x, labels)
        every = [mixture.level_logits(x, channel, self.levels) for channel in range(x.shape[1])]
        return torch.stack(every, dim=1)

    def log_prob_by_place(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self._mixture(x, labels).log_prob(x, self.levels)

    def logits_at(self, x: Tensor, labels: Tensor | None, cursor: Cursor) -> Tensor:
        """The network runs once for a pixel, whose channels then follow from each other in the mixture."""
        if cursor.channel == 0:
            cursor.keep(self, self._mixture(x, labels, cursor))
        pixel = x[:, :, cursor.row : cursor.row + 1, cursor.column : cursor.column + 1]
        mixture: LogisticMixture = cursor.kept(self)
        return mixture.level_logits(pixel, cursor.channel, self.levels).flatten(1)

    def cursor(self) -> Cursor:
        return Cursor(1, self.data.shape[2])

    def _mixture(self, x: Tensor, labels: Tensor | None, cursor: Cursor | None = None) -> LogisticMixture:
        """Of all pixels; at a cursor, of its own."""
        # Ones tell the image from the zeros around it (the paper's code).
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
        if cursor is None:
            told = self._told(x, labels, None)
        else:
            if cursor.begins_row:
                cursor.keep(self.network, self._told(x, labels, cursor))
            told = cursor.kept(self.network)
        start = self.pixels(x, cursor) + _here(told.row_above, cursor)
        pixels = self.network.pass_pixels(start, told.rows, labels, cursor)
        return LogisticMixture.of(self.head(F.elu(pixels)), self.data.shape[0])

    def _told(self, x: Tensor, labels: Tensor | None, cursor: Cursor | None) -> _Told:
        _, rows = self.network.pass_rows(self.rows(x, cursor), labels, cursor)
        return _Told(self.row_above(x, cursor), rows)


def possible_halvings(size: tuple[int, int]) -> int:
    """How often both sides can be halved without a rest, down to sides of at least 2."""
    height, width = size
    if height % 2 or width % 2 or min(height, width) < 4:
        return 0
    return 1 + possible_halvings((height // 2, width // 2))


class _Rows(NamedTuple):
    """What the stream of rows tells that of pixels at one resolution: its features on the way down and on the way up,
    and the same of the next resolution; at a cursor those of its row, and nothing of the next where that row is odd."""

    down: list[Tensor]
    up: list[Tensor]
    lower: _Rows | None


class _Told(NamedTuple):
    """All that the pixels of a row get to know of the rows above. row_above: of the row above, for the first layer."""

    row_above: Tensor
    rows: _Rows


class _Resolution(nn.Module):
    """Both streams at one resolution, and within them at the lower ones. deeper: how many of these there are."""

    def __init__(self, features: int, blocks: int, deeper: int, *, classes: int, dropout: float) -> None:
        super().__init__()
        # The way up has a shortcut from every block of the way down, and where there are lower ones from its start.
        ups = blocks + bool(deeper)

        def of_rows(side: int) -> _Block:
            first, second = (RowConv(2 * features, k * features, above=1, reach=1) for k in (1, 2))
            return _Block(first, second, features, side=side, classes=classes, dropout=dropout)

        def of_pixels(side: int) -> _Block:
            first, second = (PixelConv(2 * features, k * features, groups=1, above=1, left=1) for k in (1, 2))
            return _Block(first, second, features, side=side, classes=classes, dropout=dropout)

        self.rows_down = nn.ModuleList(of_rows(0) for _ in range(blocks))
        self.rows_up = nn.ModuleList(of_rows(features) for _ in range(ups))
        self.pixels_down = nn.ModuleList(of_pixels(features) for _ in range(blocks))
        self.pixels_up = nn.ModuleList(of_pixels(2 * features) for _ in range(ups))
        self.lower: _Lower | None = None
        if deeper:
            inner = _Resolution(features, blocks, deeper - 1, classes=classes, dropout=dropout)
            self.lower = _Lower(features, inner)

    def pass_rows(self, u: Tensor, labels: Tensor | None, cursor: Cursor | None) -> tuple[Tensor, _Rows]:
        """The stream of rows from its start u (n, features, H, W), at a cursor a row; and what it tells."""
        down, up, lower = [u], [], None
        for block in self.rows_down:
            down.append(block(down[-1], None, labels, cursor))
        shortcuts = list(down)
        if self.lower is None:
            u = shortcuts.pop()
        else:
            u, lower = self.lower.pass_rows(down[-1], labels, cursor)
        for block in self.rows_up:
            u = block(u, shortcuts.pop(), labels, cursor)
            up.append(u)
        return u, _Rows(down, up, lower)

    def pass_pixels(self, p: Tensor, rows: _Rows, labels: Tensor | None, cursor: Cursor | None) -> Tensor:
        """The stream of pixels from its start p (n, features, H, W), at a cursor a pixel."""
        down = [p]
        for block, u in zip(self.pixels_down, rows.down[1:], strict=True):
            down.append(block(down[-1], _here(u, cursor), labels, cursor))
        shortcuts = list(down)
        p = shortcuts.pop() if self.lower is None else self.lower.pass_pixels(down[-1], rows.lower, labels, cursor)
        for block, u in zip(self.pixels_up, rows.up, strict=True):
            p = block(p, torch.cat([_here(u, cursor), shortcuts.pop()], dim=1), labels, cursor)
        return p


class _Lower(nn.Module):
    """The way to half the resolution, through what is there, and back.

    At a cursor that happens in even rows, and for pixels in even columns of these; the others take what was kept.
    """

    def __init__(self, features: int, inner: _Resolution) -> None:
        super().__init__()
        self.inner = inner
        self.halve_rows = RowConv(features, features, above=1, reach=1, stride=2)
        self.halve_pixels = PixelConv(features, features, groups=1, above=1, left=1, stride=2)
        self.double_rows = nn.ConvTranspose2d(features, features, (2, 3), 2, padding=(0, 1), output_padding=(0, 1))
        self.double_pixels = nn.ConvTranspose2d(features, features, 2, 2)

    def pass_rows(self, u: Tensor, labels: Tensor | None, cursor: Cursor | None) -> tuple[Tensor, _Rows | None]:
        if cursor is None:
            u, told = self.inner.pass_rows(self.halve_rows(u), labels, None)
            return self.double_rows(u), told
        if cursor.row % 2:
            self.halve_rows.remember(u, cursor)
            return cursor.kept(self.double_rows)[:, :, 1:], None
        u, told = self.inner.pass_rows(self.halve_rows(u, cursor), labels, cursor.halved)
        cursor.keep(self.double_rows, self.double_rows(u))  # of this row and the next
        return cursor.kept(self.double_rows)[:, :, :1], told

    def pass_pixels(self, p: Tensor, rows: _Rows | None, labels: Tensor | None, cursor: Cursor | None) -> Tensor:
        if cursor is None:
            assert rows is not None
            doubled: Tensor = self.double_pixels(self.inner.pass_pixels(self.halve_pixels(p), rows, labels, None))
            return doubled
        i, j = cursor.row % 2, cursor.column
        if rows is None or j % 2:
            self.halve_pixels.remember(p, cursor)
        else:
            p = self.inner.pass_pixels(self.halve_pixels(p, cursor), rows, labels, cursor.halved)
            pair = cursor.kept(self.double_pixels, lambda: p.new_zeros(*p.shape[:2], 2, cursor.width))
            pair[..., j : j + 2] = self.double_pixels(p)  # of two rows and columns
        there: Tensor = cursor.kept(self.double_pixels)[:, :, i : i + 1, j : j + 1]
        return there


class _Block(nn.Module):
    """x + a sigmoid(g), where a and g follow from x and from a side input, shifted by labels (section 2.4).

    side: features of the side input, a shortcut or the other stream; 0: none.
    """

    def __init__(
        self,
        first: RowConv | PixelConv,
        second: RowConv | PixelConv,
        features: int,
        *,
        side: int,
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.first, self.second = first, second
        with torch.no_grad():
            second.weight.mul_(0.1)  # the paper's code: blocks begin close to the identity
        self.side = nn.Conv2d(2 * side, features, 1) if side else None
        self.shift = nn.Embedding(classes, 2 * features) if classes else None
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, side: Tensor | None, labels: Tensor | None, cursor: Cursor | None) -> Tensor:
        h = self.first(_two_sided(x), cursor)
        if self.side is not None:
            assert side is not None
            h = h + self.side(_two_sided(side))
        h = self.second(self.dropout(_two_sided(h)), cursor)
        if self.shift is not None and labels is not None:
            h = h + self.shift(labels)[..., None, None]
        a, gate = h.chunk(2, dim=1)
        return x + a * gate.sigmoid()


def _two_sided(x: Tensor) -> Tensor:
    """elu of x and of -x, side by side (the paper's code)."""
    return F.elu(torch.cat([x, -x], dim=1))


def _here(u: Tensor, cursor: Cursor | None) -> Tensor:
    """Of the stream of rows what stands at the pixels: all of it, or at a cursor one pixel of a row."""
    return u if cursor is None else cursor.here(u)
