"""Sequences as frequencies of their n-grams (`metrics/ngrams.py`)."""

from __future__ import annotations

from torch import Tensor, nn

from ...models.data_spec import DataSpec
from ..metrics.ngrams import ORDERS, spectrum

__all__ = ["ORDERS", "Ngrams"]


class Ngrams(nn.Module):
    """The blended spectrum of sequences (n, T). N-grams with padding do not count."""

    def __init__(self, spec: DataSpec) -> None:
        super().__init__()
        if spec.kind != "sequence" or spec.vocabulary is None:
            raise ValueError(f"evaluator 'ngrams' looks at sequences; data {spec.name!r} is {spec.kind}")
        self.spec = spec
        self.vocabulary = spec.vocabulary

    def features(self, x: Tensor) -> Tensor:
        """(n, columns), float64, of tokens (n, T), in any type of numbers."""
        tokens = x.long()
        return spectrum(tokens, self.spec.mask_of(tokens), self.vocabulary)
