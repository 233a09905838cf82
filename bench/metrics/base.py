"""What a metric is, and how named metrics are computed from named inputs. Free of torch and numpy.

A metric is a pure function whose parameters are named by its card's `needs` and which returns a `MetricValue`.
The inputs that metrics may name:

    generated_features, real_features   float tensors (n, d): an evaluator's features
    generated_probabilities             (n, classes): the evaluator's class probabilities of the generated examples
    conditions                          int64 (n,): the labels that the generated examples were asked for
    likelihood                          gentune.models.base.Likelihood of n held-out examples
    spec                                gentune.models.data_spec.DataSpec
    true_log_density                    (n,) nats in original units, of the same examples as `likelihood`
    cost                                CostReport
    seed                                int, for metrics that subsample
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Literal

Direction = Literal["lower", "higher", "none"]

NORMAL_95 = 1.959963984540054  # the standard normal's 97.5% quantile


class UndefinedError(Exception):
    """A metric cannot be computed from what it was given; the message is the reason that people read."""


@dataclass(frozen=True)
class MetricValue:
    """A figure and, where the metric gives one, its 95% interval over examples."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MetricCard:
    """A metric's entry in the catalogue.

    direction: which values are better.
    needs: the inputs that it takes, which are the names of its function's parameters.
    implementation: "module:function", the module being one of this package.
    """

    name: str
    group: str
    direction: Direction
    unit: str
    needs: tuple[str, ...]
    summary: str
    implementation: str

    def load(self) -> Callable[..., MetricValue]:
        """The metric's function; its module is imported on the first call."""
        module, function = self.implementation.split(":")
        loaded: Callable[..., MetricValue] = getattr(import_module(f".{module}", __package__), function)
        return loaded


def card_of(
    name: str,
    group: str,
    direction: Direction,
    unit: str,
    needs: tuple[str, ...],
    module: str,
    summary: str,
) -> MetricCard:
    """The card of a metric whose function has its name."""
    return MetricCard(name, group, direction, unit, needs, summary, f"{module}:{name}")


@dataclass(frozen=True)
class Measurement:
    """Metrics that have a value, and for the others the reason why they have none."""

    values: Mapping[str, MetricValue]
    undefined: Mapping[str, str]


# What a missing input is called where its own name says too little.
_WORDS = {
    "class_log_likelihoods": "a likelihood for each class",
    "completed_x": "hidden entries that a model completes",
    "codes": "codes",
    "factors": "data with known factors",
    "path_features_a": "a decoder",
    "path_features_b": "a decoder",
    "conditions": "class conditions",
    "incomplete_x": "hidden entries that a model completes",
    "inlier_scores": "a likelihood or reconstructions",
    "likelihood": "a likelihood",
    "mean_completed_x": "hidden entries that a model completes",
    "missing": "hidden entries that a model completes",
    "spec": "the data's description",
    "modes": "data with known modes",
    "original_features": "reconstructions",
    "originals": "reconstructions",
    "outlier_scores": "a likelihood or reconstructions",
    "reconstruction_features": "reconstructions",
    "synthetic": "samples drawn for given classes",
    "test_codes": "codes",
    "train_codes": "codes",
    "true_log_density": "data with a known density",
}


def measure(names: Iterable[str], inputs: Mapping[str, object]) -> Measurement:
    """Computes the named metrics from what `inputs` holds.

    A metric whose inputs are missing or None, or whose result is not finite, is undefined with a reason; it
    never becomes a number. Raises KeyError for a name that the catalogue does not hold.
    """
    from .catalogue import METRICS

    values: dict[str, MetricValue] = {}
    undefined: dict[str, str] = {}
    for name in names:
        if name not in METRICS:
            raise KeyError(f"unknown metric {name!r}; known are {', '.join(METRICS)}")
        card = METRICS[name]
        missing = [need for need in card.needs if inputs.get(need) is None]
        if missing:
            undefined[name] = "needs " + " and ".join(
                dict.fromkeys(_WORDS.get(n, n.replace("_", " ")) for n in missing)
            )
            continue
        try:
            values[name] = _finite(card.load()(**{need: inputs[need] for need in card.needs}))
        except UndefinedError as reason:
            undefined[name] = str(reason)
    return Measurement(values, undefined)


def _finite(result: MetricValue) -> MetricValue:
    if not math.isfinite(result.value):
        raise UndefinedError(f"the result is not finite ({result.value})")
    if any(bound is not None and not math.isfinite(bound) for bound in (result.low, result.high)):
        return replace(result, low=None, high=None)
    return result
