"""A small transformer that reads texts: all of their tokens at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .causal_transformer import TransformerBlock

_HEADS = 4


class TextTransformer(nn.Module):
    """Texts (n, T) of tokens 0...vocabulary-1 to features (n, T, width), in which each token has seen all that count.

    length: T. width: rounded up to a multiple of 4 heads. layers: blocks, pre-norm. padding: the token that does not
    count; None: all count. positions are learned.

    References: Vaswani et al., arXiv:1706.03762, the encoder; Radford et al., arXiv:2103.00020, section 2.4.
    """

    def __init__(
        self, vocabulary: int, length: int, *, width: int, layers: int, padding: int | None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.width = _HEADS * -(-width // _HEADS)
        self.padding = padding
        self.embedding = nn.Embedding(vocabulary, self.width)
        self.position = nn.Parameter(0.1 * torch.randn(length, self.width))
        self.blocks = nn.ModuleList(TransformerBlock(self.width, _HEADS, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(self.width)

    def counts(self, texts: Tensor) -> Tensor:
        """Which tokens count, bool (n, T); of a text without any the first does."""
        if self.padding is None:
            return torch.ones_like(texts, dtype=torch.bool)
        counts = texts != self.padding
        counts[:, 0] |= ~counts.any(dim=1)
        return counts

    def forward(self, texts: Tensor) -> Tensor:
        h = self.embedding(texts) + self.position
        counts = self.counts(texts)
        for block in self.blocks:
            h = block(h, counts)
        return self.norm(h)

    def pooled(self, features: Tensor, texts: Tensor) -> Tensor:
        """The mean (n, width) of the features (n, T, width) of tokens that count."""
        weights = self.counts(texts).to(features.dtype)[..., None]
        return (weights * features).sum(1) / weights.sum(1)
