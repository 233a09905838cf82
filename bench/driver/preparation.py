"""What a run decides and writes down before its first trial: evaluators, samples of finals, facts about families."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...models.data_spec import DataKind
from ...search_spaces.overrides import ChangedCard
from ..budget.operations import Operations
from ..data import DataSet
from ..registry import ResolvedFamily
from ..runs.study_file import StudyFile
from ..scoring.references import evaluators_by_role, image_text_evaluator, real_examples
from .final_samples import final_samples
from .journal import Journal

Say = Callable[[str], None]


def describe_evaluators(data: DataSet, named: Sequence[str] | None, cache: str, journal: Journal, say: Say) -> None:
    """Tells and writes down through which evaluators the run scores. named: as the study names them, if it does."""
    by_role = dict(evaluators_by_role(data, cache, named))
    image_text = image_text_evaluator(data, cache)
    if image_text is not None:
        by_role["image-text"] = image_text
    for role, evaluator in by_role.items():
        weights = evaluator.weights
        of = "" if weights is None else f", weights of {weights.source} (SHA-256 {weights.sha256[:12]}…)"
        told = of if evaluator.quality is None else f", {evaluator.quality}"
        say(f"{role} evaluator {evaluator.name} ({evaluator.fingerprint}){told}")
    if not by_role:
        say(f"no evaluator for {data.spec.kind} data: metrics that need one are not defined")
    journal.write_evaluators(by_role)


def decide_final_samples(
    config: StudyFile, data: DataSet, defaults: Mapping[str, Operations], journal: Journal, say: Say
) -> int:
    """How many samples finals draw, decided when the run begins. defaults: operations of default settings."""
    decided = journal.final_samples()
    if decided is None:
        real = max(real_examples(data, "validation"), real_examples(data, "test"))
        decided = final_samples(config.final_samples, real, defaults)
        journal.write_final_samples(decided)
    because = f": more would take {decided.limited_by} longer than its training" if decided.limited_by else ""
    say(f"finals draw {decided.n:,} samples{because}")
    return decided.n


def family_facts(
    families: Mapping[str, ResolvedFamily],
    cards: Mapping[str, ChangedCard],
    starts: Mapping[str, Sequence[Mapping[str, Any]]],
    kind: DataKind,
) -> dict[str, dict[str, Any]]:
    """What reports tell of each family: of its card, and of what the study changes in it."""
    return {
        name: {
            "group": family.card.group,
            "summary": family.card.summary,
            "likelihood": family.card.likelihood[kind],
            "conditional": family.card.conditional,
            "papers": list(family.card.papers),
            "changes": list(cards[name].told),
            "start": [dict(setting) for setting in starts.get(name, ())],
        }
        for name, family in families.items()
    }
