"""PixelCNN: one stack of masked convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .masked_convolutions import PixelConv, in_groups
from .residual_stack import ResidualStack


class PixelCNN(ResidualStack):
    """van den Oord et al., "Pixel recurrent neural networks", arXiv:1601.06759, section 3.5 and table 1.

    A 7 x 7 convolution with mask A, then residual blocks with masks B, then a softmax over levels. The stacked kernels
    leave a blind spot: a wedge above and right of a pixel that it never sees.

    channels: h; layers have 2h features, h within a block; rounded up to a multiple of the image's channels.
    blocks: residual ones. dropout: of what a block adds.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 6e-3,
        channels: int = 24,
        blocks: int = 4,
        dropout: float = 0.2,
    ) -> None:
        groups = data.shape[0]
        features = in_groups(channels, groups)
        super().__init__(
            data,
            "pixel_cnn",
            learning_rate=learning_rate,
            features=2 * features,
            layer=lambda: _Block(features, groups=groups, dropout=dropout),
            layers=blocks,
        )


class _Block(nn.Module):
    """h + what a convolution of 3 x 3 says of it, between two of 1 x 1 (figure 5 of the paper)."""

    def __init__(self, features: int, *, groups: int, dropout: float) -> None:
        super().__init__()
        self.narrow = PixelConv(2 * features, features, groups=groups)
        self.spread = PixelConv(features, features, groups=groups, above=1, left=1, right=1)
        self.widen = PixelConv(features, 2 * features, groups=groups)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, cursor: Cursor | None) -> Tensor:
        inside = self.spread(self.narrow(h.relu(), cursor).relu(), cursor)
        added: Tensor = self.widen(self.dropout(inside.relu()), cursor)
        return h + added
