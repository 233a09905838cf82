"""PixelRNN: recurrent layers that run over an image's rows or diagonals."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .image_lstms import DiagonalBiLSTM, RowLSTM
from .masked_convolutions import PixelConv, in_groups
from .residual_stack import ResidualStack

Recurrence = Literal["row", "diagonal"]


class PixelRNN(ResidualStack):
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
        groups = data.shape[0]
        units = in_groups(hidden, groups)
        super().__init__(
            data,
            "pixel_rnn",
            learning_rate=learning_rate,
            features=2 * units,
            layer=lambda: _Layer(recurrence, units, groups=groups, dropout=dropout),
            layers=layers,
        )


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
