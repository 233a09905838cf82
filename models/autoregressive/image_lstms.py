"""LSTMs whose states are maps: each pixel's state follows from those of earlier pixels.

Shapes: maps (n, features, H, W); features are in G groups, group by group, gates within a group (`cursor`).

References: van den Oord et al., arXiv:1601.06759, sections 3.1 to 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cursor import Cursor
from .masked_convolutions import PixelConv


def updated(gates: Tensor, cell: Tensor, size: int, dim: int = 1) -> tuple[Tensor, Tensor]:
    """The next state and cell (..., units, ...) from four gates each, (..., 4 units, ...), before their activations.

    size: units in a group. dim: where units lie. References: equation 3 of the paper.
    """
    output, forget, write, content = gates.unflatten(dim, (-1, 4, size)).unbind(dim + 1)
    kept = forget.sigmoid() * cell.unflatten(dim, (-1, size)) + write.sigmoid() * content.tanh()
    return (output.sigmoid() * kept.tanh()).flatten(dim, dim + 1), kept.flatten(dim, dim + 1)


@dataclass
class _Row:
    """What a Row LSTM keeps: of the row above what its states say to the gates, and its cells; this row's so far."""

    told: Tensor
    above: Tensor
    states: Tensor
    cells: Tensor


class RowLSTM(nn.Module):
    """Rows follow one another: a state sees three states of the row above, and two pixels of its own row (section 3.1).

    inputs, units: features in all groups. groups: G.
    """

    def __init__(self, inputs: int, units: int, *, groups: int) -> None:
        super().__init__()
        self.units, self.size = units, units // groups
        self.input = PixelConv(inputs, 4 * units, groups=groups, left=1)
        self.state = nn.Conv2d(units, 4 * units, (1, 3), padding=(0, 1), bias=False)

    def forward(self, x: Tensor, cursor: Cursor | None = None) -> Tensor:
        """States (n, units, H, W); at a cursor (n, units / G, 1, 1)."""
        if cursor is not None:
            return self._at(x, cursor)
        state = cell = x.new_zeros(len(x), self.units, 1, x.shape[3])
        states = []
        for gates in self.input(x).split(1, dim=2):
            state, cell = updated(gates + self.state(state), cell, self.size)
            states.append(state)
        return torch.cat(states, dim=2)

    def _at(self, x: Tensor, cursor: Cursor) -> Tensor:
        blank = x.new_zeros(len(x), self.units, 1, cursor.width)
        if cursor.begins_row:
            last: _Row = cursor.kept(self, lambda: _Row(blank, blank, blank, blank))
            cursor.keep(self, _Row(self.state(last.states), last.cells, blank.clone(), blank.clone()))
        row: _Row = cursor.kept(self)
        gates = self.input(x, cursor) + cursor.here(row.told)
        state, cell = updated(gates, cursor.here(row.above), self.size)
        here = (slice(None), cursor.group(self.units), slice(None), slice(cursor.column, cursor.column + 1))
        row.states[here], row.cells[here] = state, cell
        return state


class DiagonalLSTM(nn.Module):
    """One direction: a state follows from those on its left and above, the cell from that on the left (section 3.2)."""

    def __init__(self, inputs: int, units: int, *, groups: int) -> None:
        super().__init__()
        self.units, self.size = units, units // groups
        self.input = PixelConv(inputs, 4 * units, groups=groups)
        self.state = nn.Linear(2 * units, 4 * units, bias=False)  # of the states above and on the left

    def forward(self, x: Tensor) -> Tensor:
        """States (n, units, H, W), one diagonal after another: row i is skewed by i, so that diagonals are columns."""
        height, width = x.shape[2:]
        rows = [F.pad(row, (i, height - 1 - i)) for i, row in enumerate(self.input(x).unbind(2))]
        gates = torch.stack(rows, dim=1).permute(3, 0, 1, 2).contiguous()  # (W + H - 1, n, H, 4 units)
        place = torch.arange(height, device=x.device)
        state = cell = x.new_zeros(len(x), height, self.units)
        states = []
        for d, of_diagonal in enumerate(gates.unbind(0)):
            inside = ((place <= d) & (d < place + width)).to(x.dtype)[:, None]
            seen = torch.cat([F.pad(state, (0, 0, 1, 0))[:, :-1], state], dim=2)
            state, cell = updated(of_diagonal + self.state(seen), cell, self.size, dim=2)
            state, cell = state * inside, cell * inside
            states.append(state)
        skewed = torch.stack(states, dim=3)  # (n, H, units, W + H - 1)
        return torch.stack([skewed[:, i, :, i : i + width] for i in range(height)], dim=2)

    def step(self, gates: Tensor, above: Tensor, previous: Tensor, cell: Tensor, group: slice) -> tuple[Tensor, Tensor]:
        """State and cell (n, size) of groups of a pixel.

        gates: (n, 4 size), what the pixel's input says. above, previous: states (n, units) of the pixel above and of
        the previous one. cell: (n, size), of the previous one. group: the gates that are wanted of all groups'.
        """
        told = F.linear(torch.cat([above, previous], dim=1), self.state.weight[group])
        return updated(gates + told, cell, self.size)

    def row(self, x: Tensor, above: Tensor) -> Tensor:
        """States (n, units, W) of a row from its input (n, inputs, 1, W) and the states (n, units, W) above it."""
        state = cell = torch.zeros_like(above[..., 0])
        states = []
        for gates, over in zip(self.input(x).squeeze(2).unbind(-1), above.unbind(-1), strict=True):
            state, cell = self.step(gates, over, state, cell, slice(None))
            states.append(state)
        return torch.stack(states, dim=-1)


@dataclass
class _Diagonals:
    """What a Diagonal BiLSTM keeps: inputs of the row so far; states from the left of the row above and this one, cells
    of this one; states from the right of the row above."""

    inputs: Tensor
    above: Tensor
    states: Tensor
    cells: Tensor
    from_right: Tensor


class DiagonalBiLSTM(nn.Module):
    """Two directions along diagonals: from the left up to the pixel, and from the right up to the row above, which is
    the second direction's map shifted down by a row (section 3.2). Their states are added."""

    def __init__(self, inputs: int, units: int, *, groups: int) -> None:
        super().__init__()
        self.inputs, self.units = inputs, units
        self.left = DiagonalLSTM(inputs, units, groups=groups)
        self.right = DiagonalLSTM(inputs, units, groups=groups)

    def forward(self, x: Tensor, cursor: Cursor | None = None) -> Tensor:
        """States (n, units, H, W); at a cursor (n, units / G, 1, 1)."""
        if cursor is not None:
            return self._at(x, cursor)
        from_right = self.right(x.flip(3)).flip(3)
        both: Tensor = self.left(x) + F.pad(from_right[:, :, :-1], (0, 0, 1, 0))
        return both

    def _at(self, x: Tensor, cursor: Cursor) -> Tensor:
        if cursor.begins_row:
            cursor.keep(self, self._next_row(x, cursor))
        row: _Diagonals = cursor.kept(self)
        j, group = cursor.column, cursor.group(self.units)
        row.inputs[:, cursor.group(self.inputs), 0, j] = x.flatten(1)
        # Column -1, the row's last, is blank until the row's end, as what lies left of the first pixel.
        previous, cell = row.states[..., j - 1], row.cells[:, group, j - 1]
        gates = self.left.input(x, cursor).flatten(1)
        state, cell = self.left.step(gates, row.above[..., j], previous, cell, cursor.group(4 * self.units))
        row.states[:, group, j], row.cells[:, group, j] = state, cell
        return (state + row.from_right[:, group, j])[..., None, None]

    def _next_row(self, x: Tensor, cursor: Cursor) -> _Diagonals:
        """Where a row begins: what the one above it leaves."""
        blank = x.new_zeros(len(x), self.units, cursor.width)
        inputs = x.new_zeros(len(x), self.inputs, 1, cursor.width)
        if cursor.row == 0:
            return _Diagonals(inputs, blank, blank.clone(), blank.clone(), blank)
        last: _Diagonals = cursor.kept(self)
        from_right = self.right.row(last.inputs.flip(3), last.from_right.flip(2)).flip(2)
        return _Diagonals(inputs, last.states, blank, blank.clone(), from_right)
