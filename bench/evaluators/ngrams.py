"""Sequences as frequencies of their n-grams: what follows what, wherever it stands.

Equal distributions of n-grams are necessary for equal distributions of sequences, not sufficient: order beyond three
tokens in a row and the place in the sequence are not seen, so a trigram model scores as well as can be.

References: Leslie, Eskin and Noble, "The spectrum kernel", PSB 2002; Weinberger et al., arXiv:0902.2206.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...models.data_spec import DataSpec

ORDERS = (1, 2, 3)
_COLUMNS = 64  # of an order with more n-grams, which are hashed into them
_BITS = 2**32 - 1
_FACTOR = 1_000_003  # of a polynomial in the tokens
_SIGN = 2**20  # the bit of a hash that decides its sign; its lowest bits are the column


class Ngrams(nn.Module):
    """The blended spectrum of sequences (n, T): for each order k the relative frequencies of its k-grams, times the
    root of their number of columns, and the share of tokens that count.

    Where there are at most 64 k-grams each has a column. Others are hashed into 64 with a sign, so that inner products
    are those of the spectrum kernel without bias. N-grams with padding do not count.
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        if spec.kind != "sequence" or spec.vocabulary is None:
            raise ValueError(f"evaluator 'ngrams' looks at sequences; data {spec.name!r} is {spec.kind}")
        self.spec = spec
        self.vocabulary = spec.vocabulary

    def features(self, x: Tensor) -> Tensor:
        """(n, columns), float64, of tokens (n, T), in any type of numbers."""
        tokens = x.long()
        counts = self.spec.mask_of(tokens)
        columns = [self._spectrum(tokens, counts, order) for order in ORDERS if order <= tokens.shape[1]]
        return torch.cat([*columns, counts.double().mean(1, keepdim=True)], dim=1)

    def _spectrum(self, tokens: Tensor, counts: Tensor, order: int) -> Tensor:
        there = counts.unfold(1, order, 1).all(2).double()  # (n, T - k + 1)
        grams = tokens.unfold(1, order, 1)  # (n, T - k + 1, k)
        distinct = self.vocabulary**order
        number = torch.zeros_like(grams[..., 0])
        if distinct <= _COLUMNS:
            for part in grams.unbind(2):
                number = number * self.vocabulary + part
            width, sign = distinct, torch.ones_like(there)
        else:
            for part in grams.unbind(2):
                number = _mixed(number * _FACTOR + part + 1)
            number, width, sign = number % _COLUMNS, _COLUMNS, torch.where(number & _SIGN > 0, 1.0, -1.0).double()
        sums = there.new_zeros(len(tokens), width).scatter_add_(1, number, sign * there)
        return sums / there.sum(1, keepdim=True).clamp_min(1) * width**0.5


def _mixed(number: Tensor) -> Tensor:
    """A 32-bit hash of numbers in int64, in which a product's bits beyond 64 are lost anyway: Wellons's lowbias32."""
    number = number & _BITS
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & _BITS
    number = ((number ^ (number >> 15)) * 0x846CA68B) & _BITS
    return number ^ (number >> 16)
