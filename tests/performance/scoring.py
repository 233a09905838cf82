"""Every sample metric on real data against real data, and on planted failures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import torch
from planting import EXPECTED, FAILURES, labels_of
from torch import Tensor

import gentune.bench.metrics as metrics_package
from gentune.bench.data import DataSet
from gentune.bench.evaluators import Evaluator, Features, default_cache, evaluators_for, load_or_train
from gentune.bench.metrics import METRICS, MetricCard, UndefinedError
from gentune.models.base import Batch

PER_CLASS = 32  # examples of either side: the smallest class has some 35 in a held-out split
SEED = 5


@dataclass(frozen=True)
class Floor:
    """Scores of real against real over random splits: mean, deviation and 95% interval."""

    mean: float
    deviation: float
    low: float
    high: float

    def worse_by(self, value: float, direction: str) -> float:
        """Deviations from the mean, positive where worse."""
        gap = (value - self.mean) / self.deviation if self.deviation else math.copysign(math.inf, value - self.mean)
        return 0.0 if value == self.mean else gap if direction == "lower" else -gap

    def caught(self, value: float, direction: str) -> bool:
        return value > self.high if direction == "lower" else value < self.low


Scores = dict[str, dict[str, float]]  # metric -> view -> value
BOTH = "either"  # the view of metrics that look through no evaluator


class Bench:
    """The data and evaluators, and what the metrics need of them; features are computed once."""

    def __init__(self, data: DataSet, cards: Mapping[str, MetricCard]) -> None:
        self.data = data
        self.evaluators: dict[str, Evaluator] = {
            name: load_or_train(data, name, cache=default_cache()) for name in evaluators_for(data)
        }
        train = data.splits["train"].all()
        self.train = {name: e.features(train.x) for name, e in self.evaluators.items()}
        everything = self.inputs(train, train, BOTH, Features(train.x, train.x), Features(train.x))
        self.cards = {name: card for name, card in cards.items() if set(card.needs) <= set(everything)}

    def inputs(self, samples: Batch, real: Batch, view: str, seen: Features, real_seen: Features) -> dict[str, object]:
        return {
            "generated_features": seen.features,
            "real_features": real_seen.features,
            "train_features": self.train.get(view, seen.features),
            "generated_probabilities": seen.probabilities,
            "conditions": samples.condition,
            "real_labels": real.condition,
            "generated_x": samples.x,
            "real_x": real.x,
            "train_x": self.data.splits["train"].x[:],
            "synthetic": samples,
            "real_train": self.data.splits["train"].all(),
            "real_test": real,
            "spec": self.data.spec,
            "seed": SEED,
        }

    def score(self, samples: Batch, real: Batch) -> Scores:
        """Every metric through every evaluator; undefined ones are left out."""
        scores: Scores = {name: {} for name in self.cards}
        for view, evaluator in self.evaluators.items():
            inputs = self.inputs(samples, real, view, evaluator.describe(samples.x), evaluator.describe(real.x))
            for name, card in self.cards.items():
                if not card.through_evaluator and BOTH in scores[name]:
                    continue
                try:
                    value = card.load()(**{need: inputs[need] for need in card.needs}).value
                except UndefinedError:
                    continue
                if math.isfinite(value):
                    scores[name][view if card.through_evaluator else BOTH] = value
        return scores


def catalogue() -> dict[str, MetricCard]:
    """The catalogue, and cards that are not in it."""
    found = dict(METRICS)
    for module in iter_modules(metrics_package.__path__):
        if module.name.startswith("cards_"):
            cards = import_module(f"{metrics_package.__name__}.{module.name}").CARDS
            found |= {card.name: card for card in cards if card.name not in found}
    return found


def measured_floor(bench: Bench, repeats: int) -> dict[str, dict[str, Floor]]:
    """Two disjoint random parts of the held-out examples against one another, classes matched, `repeats` times."""
    held_out = [bench.data.splits[name].all() for name in ("validation", "test")]
    pool = Batch(torch.cat([b.x for b in held_out]), torch.cat([labels_of(b) for b in held_out]))
    found: dict[str, dict[str, list[float]]] = {name: {} for name in bench.cards}
    for repeat in range(repeats):
        columns = drawn_by_class(pool, 2 * PER_CLASS, 1_000 + repeat)
        one, other = (pool[columns[:, half].flatten()] for half in (slice(PER_CLASS), slice(PER_CLASS, None)))
        for name, views in bench.score(one, other).items():
            for view, value in views.items():
                found[name].setdefault(view, []).append(value)
    floors: dict[str, dict[str, Floor]] = {}
    for name, lists in found.items():
        for view, values in lists.items():
            v = torch.tensor(values, dtype=torch.float64)
            low, high = v.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            floors.setdefault(name, {})[view] = Floor(float(v.mean()), float(v.std()), low, high)
    return floors


def planted_scores(bench: Bench) -> dict[str, Scores]:
    splits = {name: examples.all() for name, examples in bench.data.splits.items()}
    real = splits["test"][drawn_by_class(splits["test"], PER_CLASS, SEED).flatten()]
    found = {}
    for i, failure in enumerate(FAILURES):
        source = splits[failure.split]
        samples = source[drawn_by_class(source, PER_CLASS, SEED + 1).flatten()]
        if failure.plant is not None:
            samples = failure.plant(samples, bench.data.spec, torch.Generator().manual_seed(100 + i))
        found[failure.name] = bench.score(samples, real)
    return found


def drawn_by_class(batch: Batch, count: int, seed: int) -> Tensor:
    """Indices (classes, count) of random examples of each class."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for label in labels_of(batch).unique():
        own = torch.nonzero(labels_of(batch) == label).flatten()
        rows.append(own[torch.randperm(len(own), generator=generator)[:count]])
    return torch.stack(rows)


@dataclass(frozen=True)
class Cell:
    """One metric on one failure: by view, the value and how much worse than the floor it is, in deviations."""

    values: dict[str, float]
    worse: dict[str, float]
    caught: bool  # through every evaluator
    expected: bool


def table(
    bench: Bench, floors: Mapping[str, Mapping[str, Floor]], scores: Mapping[str, Scores]
) -> dict[str, dict[str, Cell]]:
    """metric -> failure -> cell, of metrics that have a floor."""
    cells: dict[str, dict[str, Cell]] = {}
    for name, views in floors.items():
        direction = bench.cards[name].direction
        for failure in FAILURES:
            values = {v: x for v, x in scores[failure.name][name].items() if v in views}
            caught = [views[v].caught(x, direction) for v, x in values.items()]
            cells.setdefault(name, {})[failure.name] = Cell(
                values,
                {v: views[v].worse_by(x, direction) for v, x in values.items()},
                bool(caught) and all(caught),
                name in EXPECTED.get(failure.name, ()),
            )
    return cells
