"""Draws from a softmax, sharpened or cut off: what all autoregressive families sample with."""

from __future__ import annotations

import torch
from torch import Tensor


def draw(
    logits: Tensor, uniforms: Tensor, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0
) -> Tensor:
    """Categories (n,) int64 from softmax(logits / temperature), cut off and normalised again, by inversion.

    logits: (n, K). uniforms: (n,) in [0, 1), one for each draw; equal uniforms give equal draws.
    temperature: above 0; below 1 sharpens.
    top_k: only the k likeliest categories; None, or K and more: all.
    top_p: of these the fewest, likeliest first, whose probabilities add up to at least p (arXiv:1904.09751,
        section 3.1).
    Raises ValueError for values outside of these ranges.
    """
    if not temperature > 0.0:
        raise ValueError(f"temperature is {temperature}; wanted more than 0")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k}; wanted at least 1")
    if not 0.0 < top_p <= 1.0:
        raise ValueError(f"top_p is {top_p}; wanted more than 0, at most 1")
    p = (logits.float() / temperature).softmax(-1)
    if (top_k is not None and top_k < p.shape[-1]) or top_p < 1.0:
        p = _cut_off(p, top_k or p.shape[-1], top_p)
    cumulated = p.cumsum(-1)
    total = cumulated[:, -1:]
    # Strictly below the total, so that rounding never reaches a category without mass behind the last one with some.
    aim = torch.minimum(uniforms[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(cumulated, aim, right=True).squeeze(-1)


def _cut_off(p: Tensor, top_k: int, top_p: float) -> Tensor:
    """p (n, K) with zeros in place of what `top_k` and then `top_p` leave out; not normalised."""
    ordered, order = p.sort(stable=True, dim=-1, descending=True)
    ordered[:, top_k:] = 0.0
    before = ordered.cumsum(-1) - ordered
    ordered = ordered.masked_fill(before >= top_p * ordered.sum(-1, keepdim=True), 0.0)
    return torch.zeros_like(p).scatter(-1, order, ordered)
