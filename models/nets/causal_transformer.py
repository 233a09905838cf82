"""A small causal transformer: an autoregressive model of short sequences of discrete codes.

Glossary:
    k   codes (n, T), each 0...K-1, in raster order;  h  heads;  w  width
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..likelihoods import marginal_log_prob

_HEADS = 4


class CausalTransformer(nn.Module):
    """p(k|y) = prod_t p(k_t | k_1 ... k_(t-1), y), each factor a softmax over K codes.

    codes: K. length: T. classes: labels y that it is conditioned on; 0: none. width: of the transformer,
    rounded up to a multiple of 4. layers: blocks, pre-norm (arXiv:2002.04745). dropout: of embeddings and of what each
    block adds. The sequence is headed by an embedding of y.

    References: Vaswani et al., arXiv:1706.03762, in place of the PixelCNN of arXiv:1711.00937, section 3.3.
    """

    def __init__(self, codes: int, length: int, *, classes: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        width = _HEADS * -(-width // _HEADS)
        self.codes, self.length, self.classes = codes, length, classes
        self.start = nn.Embedding(max(1, classes), width)
        self.embedding = nn.Embedding(codes, width)
        self.position = nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.ModuleList(_Block(width, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, codes))

    def forward(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (n, t + 1, K) of each code after codes k (n, t), t < T. labels: int64 (n,), None without classes."""
        if labels is None:
            labels = torch.zeros(len(k), dtype=torch.int64, device=k.device)
        h = torch.cat([self.start(labels)[:, None], self.embedding(k)], dim=1) + self.position[: k.shape[1] + 1]
        h = self.dropout(h)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h).float()
        return logits

    def log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """log p(k|y) in nats, (n,), of whole sequences k (n, T)."""
        log_p = self(k[:, :-1], labels).log_softmax(-1)
        return log_p.gather(-1, k[..., None]).squeeze(-1).sum(1)

    def marginal_log_prob(self, k: Tensor) -> Tensor:
        """log p(k) in nats, (n,): the mean of p(k|y) over equally frequent labels."""
        if not self.classes:
            return self.log_prob(k, None)
        rows = [self.log_prob(k, torch.full((len(k),), y, device=k.device)) for y in range(self.classes)]
        return marginal_log_prob(
            torch.stack(rows, dim=1), torch.full((self.classes,), -math.log(self.classes), device=k.device)
        )

    def draw(self, n: int, labels: Tensor | None, generator: Generator, *, temperature: float = 1.0) -> Tensor:
        """n sequences (n, T), from the softmax of logits / temperature.

        Without labels, where it has classes, these are drawn too, each equally often.
        """
        device = self.position.device
        if self.classes and labels is None:
            labels = torch.randint(self.classes, (n,), generator=generator, device=device)
        k = torch.zeros(n, 0, dtype=torch.int64, device=device)
        for _ in range(self.length):
            p = (self(k, labels)[:, -1] / temperature).softmax(-1)
            k = torch.cat([k, torch.multinomial(p, 1, generator=generator)], dim=1)
        return k


class _Block(nn.Module):
    """Causal self-attention and a perceptron, each on normalised input and added to it."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_heads = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.to_heads(self.norm_1(h)).unflatten(-1, (3, _HEADS, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # (n, heads, t, w / heads)
        h = h + self.dropout(self.from_heads(mixed.transpose(1, 2).flatten(2)))
        fed: Tensor = self.dropout(self.perceptron(self.norm_2(h)))
        return h + fed
