"""A decoder-only transformer over tokens, or over the levels of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data_spec import DataSpec
from ..nets.causal_transformer import CausalTransformer, sinusoids
from .tokens import Reading, TokenNetwork


class Transformer(TokenNetwork):
    """p(k_t | k_1 ... k_(t-1), y) by causal self-attention; the sequence is headed by an embedding of the label y.

    Pre-norm blocks and initial weights are GPT-2's. Sampling keeps keys and values, so that each token costs one place.

    layers: blocks. width: of the network, rounded up to a multiple of `heads`. heads: of the attention.
    positions: "learned", or "sinusoidal": of pixels by row, column and channel.
    dropout: of the embeddings and of what each block adds.
    The other parameters are `TokenNetwork`'s.

    References: Vaswani et al., arXiv:1706.03762; Radford et al., "Language models are unsupervised multitask learners"
        (2019), section 2.3; of pixels, Parmar et al., arXiv:1802.05751, and Chen et al., PMLR 119 (2020), 1691-1703.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        learning_rate: float = 5e-3,
        layers: int = 3,
        width: int = 64,
        heads: int = 4,
        positions: str = "learned",
        dropout: float = 0.1,
        weight_decay: float = 0.01,
        warmup: int = 20,
    ) -> None:
        super().__init__(data, "transformer", learning_rate=learning_rate, warmup=warmup, weight_decay=weight_decay)
        if positions not in ("learned", "sinusoidal"):
            raise ValueError(f"positions is {positions!r}; wanted learned or sinusoidal")
        width = heads * -(-width // heads)
        self.network = CausalTransformer(
            self.tokens,
            self.length,
            classes=self.classes,
            width=width,
            layers=layers,
            dropout=dropout,
            heads=heads,
            positions=None if positions == "learned" else sinusoids(_places(data), width),
        )
        self.network.initialise()

    def logits(self, k: Tensor, labels: Tensor | None) -> Tensor:
        logits: Tensor = self.network(k[:, :-1], labels)
        return logits

    def reading(self, n: int, labels: Tensor | None) -> Reading:
        return self.network.reading(n, labels)


def _places(data: DataSpec) -> Tensor:
    """Coordinates (T, axes) of the tokens: of pixels row, column and channel."""
    if data.kind != "image":
        return torch.arange(data.dimensions)[:, None]
    channels, height, width = data.shape
    return torch.cartesian_prod(torch.arange(height), torch.arange(width), torch.arange(channels))
