"""Sentences as tokens: lower-case words and marks, each a symbol of a vocabulary. Free of torch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...models.data_spec import ConditionSpec

if TYPE_CHECKING:
    import numpy as np

PADDING, UNKNOWN = 0, 1  # their tokens
_SPECIAL = ("", "[?]")
_WORD = re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")


def words_of(sentence: str) -> list[str]:
    """Words and marks in lower case, in their order."""
    return _WORD.findall(sentence.lower())


def vocabulary_of(sentences: Iterable[str], most: int) -> tuple[str, ...]:
    """Symbols: padding, what stands for unknown words, and the `most` most frequent words in the alphabet's order."""
    counts = Counter(word for sentence in sentences for word in words_of(sentence))
    frequent = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    return (*_SPECIAL, *sorted(frequent))


def condition_of(symbols: Sequence[str], longest: int) -> ConditionSpec:
    """The description of sentences of at most so many tokens."""
    return ConditionSpec("text", (longest,), vocabulary=len(symbols), padding=PADDING, symbols=tuple(symbols))


def tokens_of(sentences: Sequence[str], condition: ConditionSpec) -> np.ndarray:
    """Tokens (n, T), int32: sentences cut at T tokens, shorter ones filled up."""
    import numpy as np

    token = {symbol: number for number, symbol in enumerate(condition.symbols) if number > UNKNOWN}
    (longest,) = condition.shape
    rows = np.full((len(sentences), longest), PADDING, np.int32)
    for row, sentence in zip(rows, sentences, strict=True):
        known = [token.get(word, UNKNOWN) for word in words_of(sentence)[:longest]]
        row[: len(known)] = known
    return rows
