"""n-grams: each token by what followed the same few tokens in the train split.

Glossary:
    h     context: the m latest tokens, m < order, and the label; h' without the oldest token. Before the first token
          stands a mark, which ends a context.
    c(hk) how often k followed h;  c(h) = sum_k c(hk);  N(h) how many different tokens followed h
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ..base import Batch, Stage
from ..data_spec import DataSpec
from ..nets.buffers import KeepsData
from .tokens import Reading, TokenModel


class Ngram(KeepsData, TokenModel):
    """Counts, interpolated with those of all shorter contexts and at last with the uniform distribution.

    Witten-Bell     p(k|h) = (c(hk) + N(h) p(k|h')) / (c(h) + N(h))
    Kneser-Ney      p(k|h) = (max(c(hk) - d, 0) + d N(h) p(k|h')) / c(h),  where shorter contexts than the longest
                    count, instead of how often k followed, after how many different tokens it did so

    order: n, tokens of the longest n-gram: contexts have at most n - 1. smoothing: "witten_bell" or "kneser_ney".
    discount: d, of the latter, between 0 and 1. With labels, all counts are of the examples with the label.

    References: Chen and Goodman, "An empirical study of smoothing techniques for language modeling",
        doi:10.1006/csla.1999.0128, equations 14 and 24; contexts as a tree by the latest token first.
    """

    sized_by_data = ("contexts", "grams", "counts", "totals", "distinct")
    # A context is a node of a tree: first one for each label, then by the position of its key in `contexts`, which is
    # (node of h') (K + 1) + oldest token, the mark being K. Keys rise, since deeper nodes have larger numbers.
    contexts: Tensor  # int64 (nodes,)
    grams: Tensor  # int64: node K + token, rising
    counts: Tensor  # float64, of `grams`
    totals: Tensor  # float64 (nodes,): c(h)
    distinct: Tensor  # float64 (nodes,): N(h)

    def __init__(
        self, data: DataSpec, *, order: int = 5, smoothing: str = "kneser_ney", discount: float = 0.75
    ) -> None:
        super().__init__(data, "ngram")
        if smoothing not in ("witten_bell", "kneser_ney"):
            raise ValueError(f"smoothing is {smoothing!r}; wanted witten_bell or kneser_ney")
        self.order, self.smoothing, self.discount = order, smoothing, discount
        self.roots = max(1, self.classes)
        for name in ("contexts", "grams"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))
        for name in ("counts", "totals", "distinct"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.float64))

    def stages(self) -> tuple[Stage, ...]:
        return (Stage("counting", fit=self.fit),)

    @torch.no_grad()
    def fit(self, data: Batch, generator: Generator) -> float:
        """Counts all n-grams of the train split; returns how many tokens it looked at."""
        k, counted = self.to_tokens(data.x), self.counted(data.x)
        labels = self.labels_of(data)
        node = torch.zeros_like(k) if labels is None else labels[:, None].expand_as(k)
        contexts, grams, counts = [], [], []
        nodes, there = self.roots, counted
        older = k
        for m in range(self.order):
            gram, count = (node * self.tokens + k)[there].unique(return_counts=True)
            grams.append(gram)
            counts.append(count.double())
            if m + 1 == self.order:
                break
            there = there.clone()
            there[:, :m] = False  # whose context has the mark already
            older = torch.cat([torch.full_like(k[:, :1], self.tokens), older[:, :-1]], dim=1)
            keys, place = (node * (self.tokens + 1) + older)[there].unique(return_inverse=True)
            contexts.append(keys)
            node = node.clone()
            node[there] = nodes + place
            nodes += len(keys)
        self.contexts = torch.cat([self.contexts[:0], *contexts])
        if self.smoothing == "kneser_ney":
            counts = self._continuations(grams, counts)
        self.grams, self.counts = torch.cat(grams), torch.cat(counts)
        of = self.grams // self.tokens
        self.totals = self.counts.new_zeros(nodes).index_add_(0, of, self.counts)
        self.distinct = torch.bincount(of, minlength=nodes).double()
        return float(k.numel() * self.order)

    def log_probs(self, k: Tensor, labels: Tensor | None) -> Tensor:
        history = torch.nn.functional.pad(k[:, :-1], (self.order, 0), value=self.tokens)
        latest_first = history.unfold(1, self.order, 1).flip(2).flatten(0, 1)  # (n T, order)
        roots = torch.zeros(len(k), dtype=torch.int64, device=k.device) if labels is None else labels
        p = self._probabilities(latest_first, roots.repeat_interleave(k.shape[1]), k.reshape(-1, 1))
        return p.reshape(k.shape).log()

    def reading(self, n: int, labels: Tensor | None) -> Reading:
        device = self.counts.device
        roots = torch.zeros(n, dtype=torch.int64, device=device) if labels is None else labels
        history = torch.full((n, self.order), self.tokens, device=device)
        every = torch.arange(self.tokens, device=device).expand(n, -1)

        def read(latest: Tensor | None) -> Tensor:
            nonlocal history
            if latest is not None:
                history = torch.cat([latest[:, None], history[:, :-1]], dim=1)
            return self._probabilities(history, roots, every).log()

        return read

    def _probabilities(self, history: Tensor, node: Tensor, tokens: Tensor) -> Tensor:
        """p (n, j), float64, of tokens (n, j) after histories (n, order), the latest first, from root nodes (n,)."""
        p = torch.full(tokens.shape, 1.0 / self.tokens, dtype=torch.float64, device=tokens.device)
        there = torch.ones_like(node, dtype=torch.bool)
        for m in range(self.order):
            if m:
                key = node * (self.tokens + 1) + history[:, m - 1]
                place, found = _find(self.contexts, key)
                there = there & found
                node = torch.where(there, self.roots + place, 0)
            place, found = _find(self.grams, node[:, None] * self.tokens + tokens)
            c = torch.where(found, self.counts[place], 0.0)
            total, different = self.totals[node][:, None], self.distinct[node][:, None]
            if self.smoothing == "kneser_ney":
                longer = ((c - self.discount).clamp(min=0.0) + self.discount * different * p) / total
            else:
                longer = (c + different * p) / (total + different)
            # A label that the train split lacks has no counts at all.
            p = torch.where(there[:, None] & (total > 0), longer, p)
        return p

    def _continuations(self, grams: list[Tensor], counts: list[Tensor]) -> list[Tensor]:
        """Counts of contexts that were lengthened: after how many different tokens, older than h, did k follow."""
        found = []
        for m, (gram, count) in enumerate(zip(grams, counts, strict=True)):
            if m + 1 == len(grams):
                found.append(count)
                continue
            node, token = grams[m + 1] // self.tokens, grams[m + 1] % self.tokens
            shorter = self.contexts[node - self.roots] // (self.tokens + 1)
            place, _ = _find(gram, shorter * self.tokens + token)
            continuing = torch.bincount(place, minlength=len(gram)).double()
            found.append(torch.where(continuing > 0, continuing, count))  # none: its context has the mark
        return found


def _find(sorted_keys: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Where keys stand among rising ones, and whether they do; 0 where not."""
    if not len(sorted_keys):
        return torch.zeros_like(keys), torch.zeros_like(keys, dtype=torch.bool)
    place = torch.searchsorted(sorted_keys, keys.contiguous()).clamp(max=len(sorted_keys) - 1)
    found = sorted_keys[place] == keys
    return torch.where(found, place, 0), found
