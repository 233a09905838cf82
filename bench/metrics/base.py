"""What a metric is, and how named metrics are computed from named inputs. Free of torch and numpy.

A metric is a pure function whose parameters are named by its card's `needs` and which returns a `MetricValue`.
`inputs.py` lists the inputs that metrics may name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from ...models.data_spec import DataKind, DataSpec
from .inputs import INPUTS

Direction = Literal["lower", "higher", "none"]
MetricExpense = Literal["quick", "slow", "training"]
Counts = Literal["all", "blocks", "one block"]

NORMAL_95 = 1.959963984540054  # the standard normal's 97.5% quantile


class UndefinedError(Exception):
    """A metric cannot be computed from what it was given; the message is the reason that people read."""


@dataclass(frozen=True)
class MetricValue:
    """A figure and, where the metric gives one, its 95% interval over examples of both sides.

    generated_error: the standard error from the generated side alone: what other samples of the same model would
        change. The real examples' part of the interval is the same for all models. None where it is not estimated.
    """

    value: float
    low: float | None = None
    high: float | None = None
    generated_error: float | None = None

    @property
    def standard_error(self) -> float:
        """Half the interval over 1.96; 0 without one."""
        return 0.0 if self.low is None or self.high is None else (self.high - self.low) / (2 * NORMAL_95)


@dataclass(frozen=True)
class MetricCard:
    """A metric's entry in the catalogue.

    name: as in tables and options.
    group: what the metric is about, such as "quality".
    direction: which values are better.
    unit: of its values.
    needs: the inputs that it takes (`INPUTS`), which are the names of its function's parameters.
    summary: one sentence.
    implementation: the function, or "module:function"; a module that begins with a dot is one of this package.
    expense: quick; slow: seconds, for finals alone; training: it trains a classifier, for finals and where it is named.
    counts: which samples it sees where there are more than real examples. all: all of them, against all real examples;
        blocks: as many as real examples at a time, averaged over blocks, for what depends on the ratio of the counts
        or on the number of samples; one block: the same of the first block alone, for what trains a classifier.
    kinds: of data for which it is defined; empty: every one.
    measured: whether a clock or a device tells it, so that it differs from run to run.
    requires: a function without parameters, named as `implementation` is, that raises UndefinedError where this machine
        lacks something that the metric needs, such as weights. None: it needs nothing.
    """

    name: str
    group: str
    direction: Direction
    unit: str
    needs: tuple[str, ...]
    summary: str
    implementation: str | Callable[..., MetricValue]
    expense: MetricExpense = "quick"
    counts: Counts = "blocks"
    kinds: tuple[DataKind, ...] = ()
    measured: bool = False
    requires: str | Callable[[], object] | None = None

    def load(self) -> Callable[..., MetricValue]:
        """The metric's function; its module is imported on the first call."""
        loaded: Callable[..., MetricValue] = _loaded(self.implementation)
        return loaded

    def lacking(self) -> str | None:
        """What the metric requires of this machine and does not find, in words that go on from its name."""
        if self.requires is None:
            return None
        try:
            _loaded(self.requires)()
        except UndefinedError as reason:
            return str(reason)
        return None

    @property
    def through_evaluator(self) -> bool:
        """Whether it looks at samples or examples through a feature evaluator."""
        return any(INPUTS[need].through_evaluator for need in self.needs)

    @property
    def of_probabilities(self) -> bool:
        """Whether it looks at an evaluator's class probabilities."""
        return any(INPUTS[need].of_probabilities for need in self.needs)

    @property
    def of_classes(self) -> bool:
        """Whether it compares with the data set's labels."""
        return any(INPUTS[need].of_classes for need in self.needs)

    @property
    def of_samples(self) -> bool:
        """Whether any of its inputs is made of the samples, so that it changes with other samples of the model."""
        return any(INPUTS[need].is_of_samples for need in self.needs)

    def error_between_models(self, result: MetricValue) -> float:
        """The standard error with which a result compares with those of other models on the same real examples.

        Without samples (likelihoods) it is 0: all error comes from the held-out examples. Otherwise the generated
        side's, or that of the whole interval where the metric does not tell the sides apart.
        """
        if result.generated_error is not None:
            return result.generated_error
        return result.standard_error if self.of_samples else 0.0

    @property
    def of_samples_alone(self) -> bool:
        """Whether it can be computed of samples from elsewhere, without their model."""
        return all(INPUTS[need].source == "samples" for need in self.needs)

    @property
    def of_a_study(self) -> bool:
        """Whether it is computed over all trials of a study, and of no single one."""
        return any(INPUTS[need].source == "study" for need in self.needs)

    def undefined_on(self, spec: DataSpec, *, own_classes: bool = False) -> str | None:
        """Why no run on a data set can have it, in words that go on from its name; None where the description of the
        data does not tell.

        own_classes: whether the evaluator has classes of its own, so that their probabilities take no labels.
        """
        cards = [INPUTS[need] for need in self.needs]
        if self.of_a_study:
            return "is measured over a whole study"
        if self.kinds and spec.kind not in self.kinds:
            return f"is defined for {' and '.join(self.kinds)} data, and {spec.name!r} has {spec.kind} data"
        if self.through_evaluator and not spec.has_evaluators:
            return f"needs a feature evaluator, and {spec.kind} data {spec.name!r} has none"
        labelled = [card for card in cards if card.of_labels and not (own_classes and card.of_probabilities)]
        if spec.target_classes:
            labelled = [card for card in labelled if not card.of_targets]
        if labelled and spec.condition.kind != "label":
            return f"needs labels, and {spec.name!r} has none"
        if any(card.of_texts for card in cards) and spec.condition.kind != "text":
            return f"needs texts as conditions, and {spec.name!r} has none"
        if "true_log_density" in self.needs and spec.entropy is None:
            return f"needs data with a known density, and that of {spec.name!r} is not known"
        given = next((card for card in cards if card.source == "caller"), None)
        return None if given is None else f"needs {given.words}, which a run does not have"

    @property
    def log_scale(self) -> bool:
        """Whether positive values are compared on logarithms: distances and costs, whose noise grows with their size.

        Unbiased estimates that scatter around zero (KID, MMD) are no such distances.
        """
        return "distance" in self.unit or self.group == "cost"

    @property
    def quick(self) -> bool:
        """Whether trials are scored by it even where it is not their objective."""
        return self.expense == "quick" and all(INPUTS[need].expense == "quick" for need in self.needs)


def card_of(
    name: str,
    group: str,
    direction: Direction,
    unit: str,
    needs: tuple[str, ...],
    module: str,
    summary: str,
    **fields: Any,
) -> MetricCard:
    """The card of a built-in metric whose function has its name.

    module: of this package. fields: further ones of the card.
    """
    return MetricCard(name, group, direction, unit, needs, summary, f".{module}:{name}", **fields)


@dataclass(frozen=True)
class Measurement:
    """Metrics that have a value, and for the others the reason why they have none."""

    values: Mapping[str, MetricValue]
    undefined: Mapping[str, str]


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
            undefined[name] = "needs " + " and ".join(dict.fromkeys(INPUTS[need].words for need in missing))
            continue
        try:
            values[name] = _finite(card.load()(**{need: inputs[need] for need in card.needs}))
        except UndefinedError as reason:
            undefined[name] = str(reason)
    return Measurement(values, undefined)


def _finite(result: MetricValue) -> MetricValue:
    if not math.isfinite(result.value):
        raise UndefinedError(f"the result is not finite ({result.value})")
    errors = (result.low, result.high, result.generated_error)
    if any(error is not None and not math.isfinite(error) for error in errors):
        return replace(result, low=None, high=None, generated_error=None)
    return result


def _loaded(function: str | Callable[..., Any]) -> Callable[..., Any]:
    if callable(function):
        return function
    module, name = function.split(":")
    loaded: Callable[..., Any] = getattr(import_module(module, __package__), name)
    return loaded
