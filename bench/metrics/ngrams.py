"""n-grams of sequences: what follows what, wherever it stands.

Glossary:
    x  tokens (n, T);  counts  which of them count, bool like x
    an n-gram is n tokens in a row that all count
"""

from __future__ import annotations

import torch
from torch import Tensor

ORDERS = (1, 2, 3)  # of the spectrum
_COLUMNS = 64  # of an order with more n-grams, which are hashed into them
_BITS = 2**32 - 1
_FACTOR = 1_000_003  # of a polynomial in the tokens
_SIGN = 2**20  # the bit of a hash that decides its sign; its lowest bits are the column


def spectrum(x: Tensor, counts: Tensor, vocabulary: int) -> Tensor:
    """The blended spectrum (n, columns), float64: for each order k the relative frequencies of the k-grams, times the
    root of their number of columns, and the share of tokens that count.

    Where there are at most 64 k-grams each has a column. Others are hashed into 64 with a sign, so that inner products
    are those of the spectrum kernel without bias. Equal distributions of n-grams are necessary for equal distributions
    of sequences, not sufficient: order beyond three tokens and the place in the sequence are not seen, so a trigram
    model scores as well as can be.

    References: Leslie, Eskin and Noble, "The spectrum kernel", PSB 2002; Weinberger et al., arXiv:0902.2206.
    """
    x = x.long()
    columns = [_frequencies(x, counts, order, vocabulary) for order in ORDERS if order <= x.shape[1]]
    return torch.cat([*columns, counts.double().mean(1, keepdim=True)], dim=1)


def numbered_ngrams(x: Tensor, counts: Tensor, order: int) -> tuple[Tensor, Tensor]:
    """(n, T - order + 1): of each place a number that equal n-grams share, and whether all of its tokens count."""
    places = x.shape[1] - order + 1
    number = torch.zeros_like(x[:, :places])
    for t in range(order):  # exact: numbers of shorter n-grams are at most as many as there are places
        number = (number * (int(x.max()) + 1) + x[:, t : t + places]).unique(return_inverse=True)[1]
    return number, counts.unfold(1, order, 1).all(2)


def _frequencies(x: Tensor, counts: Tensor, order: int, vocabulary: int) -> Tensor:
    there = counts.unfold(1, order, 1).all(2).double()  # (n, T - k + 1)
    grams = x.unfold(1, order, 1)  # (n, T - k + 1, k)
    distinct = vocabulary**order
    number = torch.zeros_like(grams[..., 0])
    if distinct <= _COLUMNS:
        for part in grams.unbind(2):
            number = number * vocabulary + part
        width, sign = distinct, torch.ones_like(there)
    else:
        for part in grams.unbind(2):
            number = _mixed(number * _FACTOR + part + 1)
        number, width, sign = number % _COLUMNS, _COLUMNS, torch.where(number & _SIGN > 0, 1.0, -1.0).double()
    sums = there.new_zeros(len(x), width).scatter_add_(1, number, sign * there)
    return sums / there.sum(1, keepdim=True).clamp_min(1) * width**0.5


def _mixed(number: Tensor) -> Tensor:
    """A 32-bit hash of numbers in int64, in which a product's bits beyond 64 are lost anyway: Wellons's lowbias32."""
    number = number & _BITS
    number = ((number ^ (number >> 16)) * 0x7FEB352D) & _BITS
    number = ((number ^ (number >> 15)) * 0x846CA68B) & _BITS
    return number ^ (number >> 16)
