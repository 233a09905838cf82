"""The real side of a score: examples of a split, and their features by the data set's evaluators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ...models.base import Batch
from .. import protocol
from ..data import DataSet, Split
from ..data.examples import Examples
from ..evaluators import Evaluator, Features, describe_cached, evaluators_for, load_evaluator, load_or_train
from ..seeds import derive

ROLES = ("primary", "second")  # of the evaluators of a data set, in their order


def evaluators_by_role(data: DataSet, cache: str | Path, named: Sequence[str] | None = None) -> Mapping[str, Evaluator]:
    """The evaluators of a data set, from the cache or trained now: the primary one, through which choices are made,
    and the second; none for data that has no evaluators.

    named: those of a study, one or two, each NAME or NAME:WEIGHTS; None: the data's default ones.
    """
    return _evaluators(_OfData(data.fingerprint, str(cache), data), None if named is None else tuple(named))


def image_text_evaluator(data: DataSet, cache: str | Path) -> Evaluator | None:
    """What judges how well samples fit their texts, from the cache or trained now; None for data that are no images
    with texts."""
    if data.spec.kind != "image" or data.spec.condition.kind != "text":
        return None
    return _image_text(_OfData(data.fingerprint, str(cache), data))


def reference_examples(data: DataSet, split: Split, count: int | None = None, *, seed: int = 0) -> Examples:
    """Examples of a split to compare samples with, in compact form: of many or large ones not all fit into memory.

    count: how many; None: as many as metrics see (`protocol.SAMPLES`), or all of fewer.
    seed: which ones, where there are more; runs use 0.
    """
    examples = data.splits[split]
    count = min(protocol.SAMPLES, len(examples)) if count is None else count
    return examples if count == len(examples) else examples.select(reference_rows(data, split, count, seed=seed))


def reference_rows(data: DataSet, split: Split, count: int, *, seed: int = 0) -> Tensor:
    """Which `count` examples of a split these are, int64 (count,), rising."""
    n = len(data.splits[split])
    if count == n:
        return torch.arange(n)
    generator = torch.Generator().manual_seed(derive(seed, "subsample", split, count))
    return torch.randperm(n, generator=generator)[:count].sort().values


def reference_batch(data: DataSet, split: Split, count: int | None = None, *, seed: int = 0) -> Batch:
    """The same examples in one batch."""
    return reference_examples(data, split, count, seed=seed).all()


def reference_features(
    data: DataSet, split: Split, count: int, *, evaluator: Evaluator, cache: str | Path, seed: int = 0
) -> Features:
    """An evaluator's features of `reference_examples`; kept in memory, and on the disk for other processes."""
    return _reference_features(
        _Wanted(data.fingerprint, str(cache), data, split, count, seed, evaluator.fingerprint, evaluator)
    )


def real_examples(data: DataSet, split: Split) -> int:
    """How many real examples finals are compared with: all of the split, but for very large ones."""
    return min(protocol.REAL_EXAMPLES, len(data.splits[split]))


def whole_train(data: DataSet) -> int:
    """How many train examples copies are looked for among: all, but for very large sets."""
    return min(protocol.TRAIN_EXAMPLES, len(data.splits["train"]))


def some_of(x: Tensor, count: int, *, seed: int) -> Tensor:
    """At most `count` of examples (n, ...), chosen by seed: the first ones may all be of one class."""
    if len(x) <= count:
        return x
    generator = torch.Generator().manual_seed(derive(seed, "some", count))
    return x[torch.randperm(len(x), generator=generator)[:count].sort().values]


# Keys of what is kept in memory: equal where the data, the evaluator and the folder are.


@dataclass(frozen=True)
class _OfData:
    fingerprint: str
    cache: str
    data: DataSet = field(compare=False)


@dataclass(frozen=True)
class _Wanted(_OfData):
    split: Split
    count: int
    seed: int
    evaluator_fingerprint: str
    evaluator: Evaluator = field(compare=False)


@lru_cache(maxsize=2)
def _evaluators(wanted: _OfData, named: tuple[str, ...] | None) -> Mapping[str, Evaluator]:
    names = evaluators_for(wanted.data, named)
    found = (load_evaluator(wanted.data, name, cache=Path(wanted.cache)) for name in names)
    return dict(zip(ROLES, found, strict=False))


@lru_cache(maxsize=2)
def _image_text(wanted: _OfData) -> Evaluator:
    return load_or_train(wanted.data, "image_text", cache=Path(wanted.cache))


@lru_cache(maxsize=16)
def _reference_features(wanted: _Wanted) -> Features:
    examples = reference_examples(wanted.data, wanted.split, wanted.count, seed=wanted.seed)
    return describe_cached(wanted.evaluator, examples.x, cache=Path(wanted.cache))
