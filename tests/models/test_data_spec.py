"""What a description of data says about padding."""

from __future__ import annotations

import pytest
import torch

from gentune.models import DataSpec


def test_padding_tokens_do_not_count() -> None:
    spec = DataSpec("words", "sequence", (4,), vocabulary=5, padding=4)
    x = torch.tensor([[0, 3, 4, 4], [1, 1, 2, 0]])
    assert spec.mask_of(x).tolist() == [[True, True, False, False], [True] * 4]


def test_without_padding_everything_counts() -> None:
    sequences = DataSpec("words", "sequence", (4,), vocabulary=5)
    assert sequences.mask_of(torch.full((2, 4), 4)).tolist() == [[True] * 4] * 2
    vectors = DataSpec("points", "vector", (2,))
    assert vectors.mask_of(torch.tensor([[float("nan"), 1.0]])).tolist() == [[True, True]]


def test_padding_is_a_token_of_sequences() -> None:
    with pytest.raises(ValueError, match=r"padding 5; wanted a token 0\.\.\.4"):
        DataSpec("words", "sequence", (4,), vocabulary=5, padding=5)
    with pytest.raises(ValueError, match="vector data 'points' has the padding 0; only sequences are padded"):
        DataSpec("points", "vector", (2,), padding=0)
