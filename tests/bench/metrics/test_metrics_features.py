"""What the metrics on features share."""

from __future__ import annotations

import torch
from torch import Tensor

from gentune.bench.metrics.features import once_for_pair


def test_what_several_metrics_share_is_computed_once_for_a_pair() -> None:
    calls = []

    @once_for_pair
    def counted(a: Tensor, b: Tensor) -> int:
        calls.append((a, b))
        return len(calls)

    x, y, equal = torch.zeros(3), torch.ones(3), torch.ones(3)
    assert [counted(x, y), counted(x, y)] == [1, 1]
    assert counted(x, equal) == 2  # another tensor, though it holds the same
    assert counted(y, x) == 3
    assert counted(x, equal) == 2
