"""The pixel models of one stack: a convolution with mask A, residual layers, a softmax over levels."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from ..data_spec import DataSpec
from .cursor import Cursor
from .masked_convolutions import FirstConv, Head
from .pixels import PixelModel


class ResidualStack(PixelModel):
    """van den Oord et al., "Pixel recurrent neural networks", arXiv:1601.06759, table 1.

    features: between the layers; a multiple of the image's channels. layer: makes a layer, a module of (features,
    cursor) that gives features like them. layers: how many.
    """

    def __init__(
        self,
        data: DataSpec,
        family: str,
        *,
        learning_rate: float,
        features: int,
        layer: Callable[[], nn.Module],
        layers: int,
    ) -> None:
        super().__init__(data, family, learning_rate=learning_rate, conditional=False)
        groups = data.shape[0]
        self.first = FirstConv(groups, features)
        self.layers = nn.ModuleList(layer() for _ in range(layers))
        self.head = Head(features, self.levels, groups=groups)

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
