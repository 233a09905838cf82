"""The scorer: chooses the metrics of a set of samples and computes them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

from ..metrics import INPUTS, METRICS, Measurement, MetricCard, MetricValue, measure
from ..metrics.blocks import mean_of_blocks
from .context import ScoringContext
from .held_out import Labels
from .inputs import ProvidedInputs

Scope = Literal["named", "quick", "all"]


def metric_names(scope: Scope, *, named: Collection[str] = (), through_evaluator: bool = False) -> list[str]:
    """Metrics in the order of the catalogue.

    scope: those in `named` alone; all that are quick, too, as for trials; all that one model has, as for finals.
    named: metrics that are measured whatever they cost, such as a study's objective.
    through_evaluator: whether of the others only those are measured that look through an evaluator, as by the second.
    """

    def is_measured(card: MetricCard) -> bool:
        if card.name in named:
            return True
        if scope == "named" or card.of_a_study or (through_evaluator and not card.through_evaluator):
            return False
        return scope == "all" or card.quick

    return [name for name, card in METRICS.items() if is_measured(card)]


def labels_of_likelihood(
    scope: Scope, *, objective: Collection[str], measured: Collection[str] = (), takes_labels: bool
) -> Labels | None:
    """Which labels the likelihoods of held-out examples are computed for; None where no metric needs any.

    objective, measured: metrics that are measured whatever they cost; likelihoods of all classes are for the former.
    takes_labels: whether the family takes the data's labels.
    """

    def needed(names: Collection[str]) -> bool:
        return any(INPUTS[need].of_likelihood for name in names for need in METRICS[name].needs)

    if scope == "named" and not needed((*objective, *measured)):
        return None
    if not takes_labels:
        return "none"
    every_class = any("class_log_likelihoods" in METRICS[name].needs for name in measured)
    return "all" if scope == "all" or every_class or needed(objective) else "own"


def metrics_of_samples() -> list[str]:
    """Default metrics of external samples: all but those that train classifiers."""
    return [name for name, card in METRICS.items() if card.of_samples_alone and card.expense != "training"]


def score(context: ScoringContext, names: Iterable[str]) -> Measurement:
    """The named metrics, in the order of the names; those that are not defined have a reason.

    Metrics see all samples, blocks of them or the first block, as their cards say (`MetricCard.counts`); those that
    look at no samples see the first block's real examples.
    """
    names = list(names)
    reasons = {name: reason for name in names if (reason := _reason_not_to_try(context, METRICS[name])) is not None}
    blocks = [ProvidedInputs(block) for block in context.blocks]
    whole = blocks[0] if context.blocks == (context,) else ProvidedInputs(context)
    values: dict[str, MetricValue] = {}
    for name in names:
        if name in reasons:
            continue
        card = METRICS[name]
        counts = card.counts if card.of_samples else "one block"
        of_whole_or_first = {"all": [whole], "one block": blocks[:1], "blocks": blocks}[counts]
        found = [measure([name], inputs) for inputs in of_whole_or_first]
        undefined = next((part.undefined[name] for part in found if name in part.undefined), None)
        if undefined is None:
            values[name] = mean_of_blocks([part.values[name] for part in found])
        else:
            reasons[name] = undefined
    return Measurement(values, {name: reasons[name] for name in names if name in reasons})


def _reason_not_to_try(context: ScoringContext, card: MetricCard) -> str | None:
    """Why a metric is meaningless here even if its inputs exist; None where it may be tried."""
    spec, evaluator = context.data.spec, context.evaluator
    if not card.through_evaluator:
        return None
    if evaluator is None:
        return f"needs a feature evaluator, and {spec.kind} data {spec.name!r} has none"
    if card.of_classes and card.of_probabilities and context.labelled and not evaluator.knows_classes:
        return f"evaluator {evaluator.name} does not know the data's classes"
    return None
