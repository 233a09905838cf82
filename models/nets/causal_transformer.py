"""A causal transformer: an autoregressive model of sequences of discrete codes.

Glossary:
    k   codes (n, T), each 0...K-1, in raster order;  h  heads;  w  width
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from ..likelihoods import marginal_log_prob

_INITIAL = 0.02  # deviation of GPT-2's initial weights


class CausalTransformer(nn.Module):
    """p(k|y) = prod_t p(k_t | k_1 ... k_(t-1), y), each factor a softmax over K codes.

    codes: K. length: T. classes: labels y that it is conditioned on; 0: none. width: of the transformer,
    rounded up to a multiple of `heads`. layers: blocks, pre-norm (arXiv:2002.04745). dropout: of embeddings and of what
    each block adds. heads: of the attention. positions: embeddings (T, width) of the places, such as `sinusoids`, width
    being rounded up; None: they are learned. The sequence is headed by an embedding of y.

    References: Vaswani et al., arXiv:1706.03762, in place of the PixelCNN of arXiv:1711.00937, section 3.3.
    """

    position: Tensor

    def __init__(
        self,
        codes: int,
        length: int,
        *,
        classes: int,
        width: int,
        layers: int,
        dropout: float,
        heads: int = 4,
        positions: Tensor | None = None,
    ) -> None:
        super().__init__()
        width = heads * -(-width // heads)
        self.codes, self.length, self.classes = codes, length, classes
        self.start = nn.Embedding(max(1, classes), width)
        self.embedding = nn.Embedding(codes, width)
        if positions is None:
            self.position = nn.Parameter(0.1 * torch.randn(length, width))
        else:
            self.register_buffer("position", positions, persistent=False)
        self.blocks = nn.ModuleList(TransformerBlock(width, heads, dropout) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, codes))

    def forward(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """Logits (n, t + 1, K) of each code after codes k (n, t), t < T. labels: int64 (n,), None without classes."""
        h = torch.cat([self._first(len(k), labels), self.embedding(k)], dim=1) + self.position[: k.shape[1] + 1]
        h = self.dropout(h)
        for block in self.blocks:
            h = block(h)
        logits: Tensor = self.head(h).float()
        return logits

    def reading(self, n: int, labels: Tensor | None) -> Callable[[Tensor | None], Tensor]:
        """A function to be called T times: the latest codes (n,), None at first, to the logits (n, K) of the next.

        Keys and values of the codes that were read are kept, so that each call computes one place.
        """
        blocks = self._each_block()
        caches = [block.cache(n, self.length) for block in blocks]
        place = 0

        def read(latest: Tensor | None) -> Tensor:
            nonlocal place
            h = self._first(n, labels) if latest is None else self.embedding(latest)[:, None]
            h = self.dropout(h + self.position[place])
            for block, cache in zip(blocks, caches, strict=True):
                h = block.step(h, cache, place)
            place += 1
            logits: Tensor = self.head(h[:, 0]).float()
            return logits

        return read

    def initialise(self) -> None:
        """Initial weights as GPT-2's: normal, of deviation 0.02; less by the root of their number in the layers that
        write to the residual stream (Radford et al. 2019, section 2.3)."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_INITIAL)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        if isinstance(self.position, nn.Parameter):
            nn.init.normal_(self.position, std=_INITIAL)
        else:
            self.position.mul_(_INITIAL / self.position.std())  # as large as the embeddings of codes
        writing = [layer for block in self._each_block() for layer in (block.from_heads, block.perceptron[2])]
        for layer in writing:
            assert isinstance(layer, nn.Linear)
            nn.init.normal_(layer.weight, std=_INITIAL / len(writing) ** 0.5)

    def _each_block(self) -> list[TransformerBlock]:
        return [block for block in self.blocks if isinstance(block, TransformerBlock)]

    def _first(self, n: int, labels: Tensor | None) -> Tensor:
        """The embedding of the labels, which heads the sequence: (n, 1, width)."""
        if labels is None:
            labels = torch.zeros(n, dtype=torch.int64, device=self.position.device)
        first: Tensor = self.start(labels)[:, None]
        return first

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


class TransformerBlock(nn.Module):
    """Self-attention and a perceptron, each on normalised input and added to it (arXiv:2002.04745)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_heads = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, seen: Tensor | None = None) -> Tensor:
        """h (n, t, w). seen: which places every place looks at, bool (n, t); None: those up to itself."""
        q, k, v = self._heads_of(h)
        if seen is None:
            return self._mixed(h, F.scaled_dot_product_attention(q, k, v, is_causal=True))
        return self._mixed(h, F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None]))

    def cache(self, n: int, length: int) -> Tensor:
        """Room for the keys and values (2, n, heads, T, w / heads) of `step`."""
        weight = self.from_heads.weight
        return weight.new_zeros(2, n, self.heads, length, weight.shape[0] // self.heads)

    def step(self, h: Tensor, cache: Tensor, place: int) -> Tensor:
        """What `forward` makes of the place alone, h (n, 1, w), given the places before it, which the cache holds."""
        q, k, v = self._heads_of(h)
        cache[0, :, :, place], cache[1, :, :, place] = k[:, :, 0], v[:, :, 0]
        keys, values = cache[:, :, :, : place + 1]
        return self._mixed(h, F.scaled_dot_product_attention(q, keys, values))

    def _heads_of(self, h: Tensor) -> tuple[Tensor, ...]:
        """Queries, keys and values, each (n, heads, t, w / heads)."""
        parts: Tensor = self.to_heads(self.norm_1(h))
        return parts.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def _mixed(self, h: Tensor, mixed: Tensor) -> Tensor:
        """What the attention found, (n, heads, t, w / heads), and then the perceptron are added to h (n, t, w)."""
        h = h + self.dropout(self.from_heads(mixed.transpose(1, 2).flatten(2)))
        fed: Tensor = self.dropout(self.perceptron(self.norm_2(h)))
        return h + fed


def sinusoids(places: Tensor, width: int) -> Tensor:
    """Fixed embeddings (T, width) of places (T, axes), such as 0...T-1, or the row, column and channel of pixels.

    Each axis has an equal part of the width: sines and cosines of wavelengths from 2 pi to 2 pi 10,000.

    References: Vaswani et al., arXiv:1706.03762, section 3.5; by axis, Parmar et al., arXiv:1802.05751, section 3.1.
    """
    pairs = -(-width // (2 * places.shape[1]))
    rates = 10_000.0 ** (-torch.arange(pairs) / pairs)
    phases = places[:, None].float() * rates[:, None]  # (T, pairs, axes)
    return torch.cat([phases.sin(), phases.cos()], dim=1).transpose(1, 2).flatten(1)[:, :width]
