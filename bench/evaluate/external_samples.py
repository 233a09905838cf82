"""Scores external samples against a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ...search_spaces.space import suggest
from .. import protocol, registry
from ..data import DataRef, DataSet, Split, describe_data, locate, open_data
from ..errors import UsageError
from ..evaluators import Evaluator, default_cache, load_evaluator
from ..metrics import METRICS, Measurement
from ..scoring.context import ScoringContext
from ..scoring.references import reference_batch
from ..scoring.scorer import metrics_of_samples, score
from .sample_files import Samples, read_samples


@dataclass(frozen=True)
class Scores:
    """The scores of one path.

    n: samples used, and as many of the reference's examples.
    available: samples that the path holds.
    floor: the same for real examples of the other held-out split, `floor_n` of them: what perfect samples score.
    """

    path: str
    n: int
    available: int
    data: DataRef
    split: str
    seed: int
    evaluator: Mapping[str, str]
    measured: Measurement
    floor_n: int
    floor: Measurement
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "n": self.n,
            "available": self.available,
            "data": self.data.to_value(),
            "split": self.split,
            "seed": self.seed,
            "evaluator": dict(self.evaluator),
            "metrics": _figures(self.measured),
            "floor": {"n": self.floor_n, "metrics": _figures(self.floor)},
        }


def evaluate(
    paths: Sequence[str | Path],
    data: str | Path | Mapping[str, Any] | DataRef,
    *,
    metrics: Sequence[str] | None = None,
    evaluator: str = "primary",
    weights: Path | None = None,
    split: str = "test",
    count: int | None = None,
    seed: int = 0,
    cache: Path | None = None,
) -> list[Scores]:
    """Scores of samples (see `sample_files.read_samples`) against a split of a data set, in the order of the paths.

    Either side has as many examples: at most `count` (2,000 where None), and no more than the smaller side has. The
    larger one is subsampled by `seed`.

    metrics: names; None for all that samples alone can be scored by, but for those that train networks.
    evaluator: `primary` or `second`, through which runs are scored by default; or NAME or NAME:WEIGHTS, as studies name
        them.
    weights: the file or folder of a pretrained evaluator, where its name does not say it.
    split: `test`, or `validation` as for choices. Train examples would flatter copies.

    Raises UsageError for unknown names, for what cannot be read, and for weights that cannot be had.
    """
    ref = locate(data)
    spec = describe_data(ref)
    for name in metrics or ():
        registry.metric(name)
    held_out = _held_out(split)
    if count is not None and count < 2:
        raise UsageError(f"a count of {count} was asked for; wanted at least 2")
    if spec.kind not in ("image", "vector"):
        raise UsageError(f"data {spec.name!r} is {spec.kind}; samples of images and vectors can be scored")
    named = _named(evaluator, weights, spec)
    loaded = open_data(ref)
    most = min(count or protocol.SAMPLES, len(loaded.splits[held_out]))
    samples = [read_samples(path, loaded.spec, count=most, seed=seed) for path in paths]
    network = _evaluator(loaded, named, cache or default_cache())
    scorer = _Scorer(
        ref, loaded, held_out, network, tuple(metrics or metrics_of_samples()), seed, cache or default_cache()
    )
    return [scorer.scores(each) for each in samples]


class _Scorer:
    """What all paths share: data, evaluator, metrics, and floors by count."""

    def __init__(
        self,
        ref: DataRef,
        data: DataSet,
        split: Split,
        evaluator: Evaluator,
        metrics: tuple[str, ...],
        seed: int,
        cache: Path,
    ) -> None:
        self._ref = ref
        self._data = data
        self._split = split
        self._evaluator = evaluator
        self._metrics = metrics
        self._seed = seed
        self._cache = cache
        self._floors: dict[int, Measurement] = {}

    def scores(self, samples: Samples) -> Scores:
        n = len(samples.batch)
        other: Split = "validation" if self._split == "test" else "test"
        floor_n = min(n, len(self._data.splits[other]))
        if floor_n not in self._floors:
            self._floors[floor_n] = self._measure(self._real(other, floor_n), real=True)
        return Scores(
            path=samples.path,
            n=n,
            available=samples.available,
            data=self._ref,
            split=self._split,
            seed=self._seed,
            evaluator={"name": self._evaluator.name, "fingerprint": self._evaluator.fingerprint},
            measured=self._measure(samples.batch),
            floor_n=floor_n,
            floor=self._floors[floor_n],
            notes=samples.notes,
        )

    def _measure(self, generated: Batch, *, real: bool = False) -> Measurement:
        """real: examples of the data set stand for the samples; their features are kept."""
        context = ScoringContext(
            self._data,
            self._split,
            generated,
            self._evaluator,
            self._cache,
            seed=self._seed,
            real=real,
            tested_on=self._data.splits[self._split],
        )
        return score(context, self._metrics)

    def _real(self, split: Split, count: int) -> Batch:
        """Examples of a split; at seed 0 the same as runs are scored against."""
        return reference_batch(self._data, split, count, seed=self._seed)


def _figures(measured: Measurement) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {
        name: {"value": v.value, "low": v.low, "high": v.high, "unit": METRICS[name].unit}
        for name, v in measured.values.items()
    }
    return figures | {name: {"undefined": reason} for name, reason in measured.undefined.items()}


def _held_out(split: str) -> Literal["validation", "test"]:
    if split == "test":
        return "test"
    if split == "validation":
        return "validation"
    raise UsageError(f"unknown split {split!r}{suggest(split, ('validation', 'test'))}")


def _named(evaluator: str, weights: Path | None, spec: DataSpec) -> str:
    """NAME or NAME:WEIGHTS of an evaluator. Raises UsageError for one that cannot look at the data."""
    if weights is not None:
        evaluator = f"{evaluator}:{weights}"
    evaluator = registry.with_absolute_path(evaluator, Path())
    role, found, _ = evaluator.partition(":")
    if role in ("primary", "second"):
        own = registry.default_evaluators(spec)
        if not own:
            others = [name for name, card in registry.EVALUATORS.items() if spec.kind in card.kinds]
            raise UsageError(f"data {spec.name!r} has no feature evaluator; --evaluator takes, say, {others[0]}")
        if found:
            raise UsageError(f"evaluator {role!r} takes no weights; pretrained ones do, such as inception:FILE")
        return own[role == "second"]
    registry.check_evaluators([evaluator], spec)
    return evaluator


def _evaluator(data: DataSet, named: str, cache: Path) -> Evaluator:
    try:
        return load_evaluator(data, named, cache=cache)
    except ValueError as error:  # an evaluator that does not take this data
        raise UsageError(str(error)) from error
