"""A newcomer's data: small images, each conditioned on its negative."""

from __future__ import annotations

import torch

import gentune
from gentune.bench.data import DataReader, DataSet, Split
from gentune.bench.data.examples import Examples
from gentune.models import Batch, ConditionSpec, DataSpec


class Negatives(DataReader):
    """Images of four squares, of one brightness each; the condition has dark for light."""

    name = "negatives"

    def describe(self) -> DataSpec:
        condition = ConditionSpec("image", shape=(1, 8, 8), levels=5)
        return DataSpec(
            "negatives", "image", (1, 8, 8), levels=5, condition=condition, source="drawn", licence="CC0-1.0"
        )

    def read(self, spec: DataSpec) -> DataSet:
        counts: dict[Split, int] = {"train": 120, "validation": 40, "test": 40}
        splits: dict[Split, Examples] = {}
        for seed, (name, n) in enumerate(counts.items()):
            levels = torch.randint(5, (n, 1, 2, 2), generator=torch.Generator().manual_seed(seed))
            x = spec.from_levels(levels.repeat_interleave(4, 2).repeat_interleave(4, 3))
            splits[name] = Examples.of(Batch(x, -x), spec)
        return DataSet(spec, splits)


gentune.register_data(Negatives())
