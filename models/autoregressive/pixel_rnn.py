"""PixelRNN: recurrent layers that run over an image's rows or diagonals."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .image_lstms import DiagonalBiLSTM, RowLSTM
from .masked_convolutions import FirstConv, Head, PixelConv, in_groups
from .pixels import PixelModel

Recurrence = Literal["row", "diagonal"]


class PixelRNN(PixelModel):
    """van den Oord et al., "Pixel recurrent neural networks", arXiv:1601.06759.

    A 7 x 7 convolution with mask A, then residual layers of an LSTM (figure 5), then a softmax over levels.

    recurrence: "row", the Row LSTM, or "diagonal", the Diagonal BiLSTM, which sees more.
    hidden: h, units of an LSTM; the features between them are 2h; rounded up to a multiple of the image's channels.
    layers: of LSTMs. dropout: of what a layer adds.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 6e-3,
        recurrence: Recurrence = "diagonal",
        hidden: int = 24,
        layers: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(data, "pixel_rnn", learning_rate=learning_rate, conditional=False)
        groups = data.shape[0]
        units = in_groups(hidden, groups)
        self.first = FirstConv(groups, 2 * units)
        self.layers = nn.ModuleList(_Layer(recurrence, units, groups=groups, dropout=dropout) for _ in range(layers))
        self.head = Head(2 * units, self.levels, groups=groups)

    def logits(self, x: Tensor, labels: Tensor | None) -> Tensor:
        return self._network(x).unflatten(1, (self.data.shape[0], -1))

    def logits_at(self, x: Tensor, labels: Tensor | None, cursor: Cursor) -> Tensor:
        return self._network(x, cursor).flatten(1)

    def _network(self, x: Tensor, cursor: Cursor | None = None) -> Tensor:
        h = self.first(x, cursor)
        for layer in self.layers:
            h = layer(h, cursor)
        logits: Tensor = self.head(h, cursor)
        return logits


class _Layer(nn.Module):
    """h + a map of the LSTM's states."""

    def __init__(self, recurrence: Recurrence, units: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        lstm = RowLSTM if recurrence == "row" else DiagonalBiLSTM
        self.lstm = lstm(2 * units, units, groups=groups)
        self.widen = PixelConv(units, 2 * units, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, cursor: Cursor | None) -> Tensor:
        added: Tensor = self.widen(self.dropout(self.lstm(h, cursor)), cursor)
        return h + added
