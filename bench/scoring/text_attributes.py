"""Which parts of a text samples show: of data whose texts have known meanings, such as thing, size and place."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...models.base import Batch
from ..metrics.alignment import wilson_interval
from ..metrics.base import MetricValue
from .context import ScoringContext


def attribute_shares(context: ScoringContext) -> dict[str, Any] | None:
    """For each attribute the share of samples that show what their texts say, and the same of real examples, which is
    the evaluator's own accuracy; None where texts have no known meanings.

    What an image shows is the meaning whose texts lie closest to it: the mean of the embeddings of all texts with that
    meaning in the train split and in the held-out one. `new`: of meanings alone that never occur in the train split.
    """
    data, evaluator = context.data, context.image_text
    if data.meanings is None or evaluator is None or context.texts is None:
        return None
    train, held_out = (data.splits[split].condition for split in ("train", context.split))
    assert train is not None and held_out is not None
    known = data.meanings(train[:])
    texts = torch.cat((train[:], held_out[:])).unique(dim=0)
    meanings, group = data.meanings(texts).unique(dim=0, return_inverse=True)
    sums = torch.zeros(len(meanings), evaluator.text_features(texts[:1]).shape[1], dtype=torch.float64)
    centres = F.normalize(sums.index_add_(0, group, evaluator.text_features(texts)), dim=1)

    def right(pairs: Batch) -> tuple[Tensor, Tensor]:
        """Which attributes are right (n, f), and which meanings are new (n,)."""
        assert pairs.condition is not None and data.meanings is not None
        asked = data.meanings(pairs.condition)
        shown = meanings[(evaluator.features(pairs.x) @ centres.T).argmax(1)]
        return shown == asked, ~(asked[:, None] == known.unique(dim=0)).all(2).any(1)

    (samples, new), (real, real_new) = right(context.generated), right(context.reference)
    return {
        "samples": len(samples),
        "new_samples": int(new.sum()),
        "attributes": [
            {
                "name": name,
                "all": _share(samples[:, i]),
                "new": _share(samples[new, i]),
                "real": _share(real[:, i]),
                "real_new": _share(real[real_new, i]),
            }
            for i, name in enumerate(data.factor_names)
        ],
    }


def _share(right: Tensor) -> dict[str, Any] | None:
    """The share of hits (n,) with Wilson's interval; None of none."""
    if not len(right):
        return None
    hits = int(right.sum())
    low, high = wilson_interval(hits, len(right))
    return asdict(MetricValue(hits / len(right), low, high))
