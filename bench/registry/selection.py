"""Selects the families that fit a data set, and the objectives that are defined for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...models.data_spec import DataSpec
from ...search_spaces.overrides import ChangedCard, OverrideError, Tables, changed_cards, start_setting
from ...search_spaces.space import suggest
from ..errors import UsageError
from .additions import metric
from .evaluators import classes_of, seen_through
from .families import families, family, size_of


def families_for(names: Iterable[str], spec: DataSpec) -> tuple[list[str], dict[str, str]]:
    """Families to compare, and those left out with the reason; "all" stands for all that fit the data.

    Raises UsageError for unknown names, and for a family named by itself that does not take the data.
    """
    names = list(names)
    if names == ["all"]:
        fitting, skipped = [], {}
        for entry in families().values():
            if entry.card is None:
                skipped[entry.name] = entry.error or "broken"
                continue
            reason = entry.card.fit(spec.kind, spec.condition.kind, paired=not spec.unpaired).reason
            if reason is None:
                fitting.append(entry.name)
            else:
                skipped[entry.name] = reason
        return fitting, skipped
    for name in names:
        reason = family(name).require_card().fit(spec.kind, spec.condition.kind, paired=not spec.unpaired).reason
        if reason is not None:
            raise UsageError(f"family {name!r} does not fit data {spec.name!r}: it {reason}")
    return names, {}


def left_out(
    compared: Iterable[str], objective: Iterable[str], spec: DataSpec, evaluators: Sequence[str] | None = None
) -> dict[str, str]:
    """Families that "all" does not stand for on a data set, with the reason; none where a study names some of those
    that it stands for. evaluators: as for `undefined_through`."""
    fitting, skipped = families_for(["all"], spec)
    lacking = check_objective(objective, fitting, spec, evaluators)
    return skipped | lacking if set(compared) == set(fitting) - set(lacking) else {}


def cards_of(
    names: Iterable[str], spec: DataSpec, space: Mapping[str, Tables] | None = None, scale: float = 1.0
) -> dict[str, ChangedCard]:
    """The cards of families for a data set, as a study has them: of its size, scaled, then with the study's changes.

    space, scale: the study's `space` and `size`. Raises UsageError for changes that the cards do not allow.
    """
    cards = {name: family(name).require_card().sized(size_of(spec), scale) for name in names}
    try:
        return changed_cards(cards, space or {})
    except OverrideError as error:
        raise UsageError(str(error)) from None


def starts_of(
    cards: Mapping[str, ChangedCard], start: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]] | None
) -> dict[str, list[dict[str, Any]]]:
    """The settings that studies try after the default, by family in their order; the default and repetitions are left
    out.

    Raises UsageError for families that are not compared, and for what is no setting of a family's space.
    """
    settings = {}
    for name, given in (start or {}).items():
        if name not in cards:
            raise UsageError(f"start.{name}: no such family is compared{suggest(name, cards)}")
        card = cards[name].card
        tried = [card.space.default()]
        for entry in [given] if isinstance(given, Mapping) else given:
            try:
                setting = start_setting(card, entry)
            except OverrideError as error:
                raise UsageError(str(error)) from None
            if setting not in tried:
                tried.append(setting)
        if len(tried) > 1:
            settings[name] = tried[1:]
    return settings


def undefined_through(name: str, spec: DataSpec, evaluators: Sequence[str] | None) -> str | None:
    """Why no run can have a metric, in words that go on from its name; None where that is not known beforehand.

    evaluators: as a study names them; None: the data's default ones.
    """
    card, classes = metric(name), classes_of(spec, evaluators)
    reason = card.undefined_on(seen_through(spec, evaluators), own_classes=classes == "own")
    if reason is not None or not card.of_probabilities or classes == "data":
        return reason
    if classes == "none":
        return "needs an evaluator that classifies, and the first one does not"
    return "compares classes of the data, and the first evaluator has its own" if card.of_classes else None


def check_constraints(metrics: Iterable[str], spec: DataSpec, evaluators: Sequence[str] | None = None) -> None:
    """Raises UsageError for a constrained metric that no trial on the data can have.

    A family that lacks one, such as a likelihood, is not bound by it. evaluators: as for `undefined_through`.
    """
    for name in metrics:
        reason = undefined_through(name, spec, evaluators)
        if reason is not None:
            raise UsageError(f"metric {name!r} {reason}, so it cannot be constrained")


def check_objective(
    objective: Iterable[str], names: Iterable[str], spec: DataSpec, evaluators: Sequence[str] | None = None
) -> dict[str, str]:
    """Families among `names` for which an objective is not defined, each with the reason.

    evaluators: as for `undefined_through`. Raises UsageError for an objective that no run on the data can have.
    """
    lacking = {}
    for name in objective:
        card = metric(name)
        if card.direction == "none":
            raise UsageError(f"metric {name!r} has no better side and cannot be an objective")
        reason = undefined_through(name, spec, evaluators)
        if reason is not None:
            other = default_objective(spec, evaluators)
            raise UsageError(f"metric {name!r} {reason}; wanted another objective, such as {other}")
        by_class = "class_log_likelihoods" in card.needs
        if card.group != "likelihood" and not by_class and "likelihood" not in card.needs:
            continue
        for family_name in names:
            own = family(family_name).require_card()
            if own.likelihood[spec.kind] == "none":
                lacking[family_name] = f"has no likelihood, so {name} is not defined for it"
            elif by_class and own.fit(spec.kind, spec.condition.kind).condition != "label":
                lacking[family_name] = f"has no likelihood for each class, so {name} is not defined for it"
    return lacking


def default_objective(spec: DataSpec, evaluators: Sequence[str] | None = None) -> str:
    """The metric that is tuned where none is named: through an evaluator if there is one, else a likelihood.

    evaluators: as for `undefined_through`.
    """
    if seen_through(spec, evaluators).has_evaluators and spec.kind != "sequence":
        return "fid" if spec.kind == "image" else "mmd"
    return {"image": "bits_per_dim", "vector": "nll", "sequence": "bits_per_token"}[spec.kind]
