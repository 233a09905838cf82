"""What a study changes in the cards of its families: other ranges and defaults, and parameters that are fixed.

A change of a parameter is a table of some of these keys:

    low, high, scale, choices    another range; `choices` of a number leaves these values alone
    default, likely              as in a card
    fix                          the one value that it has; it stands alone

It may name every parameter that a setting has. Of those that the training loop owns, one that the card does not search
is searched once it has a range here; with a default alone it stays there. The changes for one family are laid over
those for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .card import FamilyCard
from .space import Parameter, SearchSpace, Value, suggest

KEYS = ("low", "high", "scale", "choices", "default", "fix", "likely")
ALL = "all"  # in place of a family: every one that has the parameter
_RANGE = ("low", "high", "scale", "choices")

Table = Mapping[str, Any]  # of one parameter, by KEYS
Tables = Mapping[str, Table]  # by parameter


class OverrideError(ValueError):
    """A change that a card does not allow; the message names family, parameter and key."""


@dataclass(frozen=True)
class ChangedCard:
    """A card as a study uses it.

    told: what was changed, a sentence for each parameter.
    beyond: values that the card's own ranges do not hold, by parameter: whether the family takes them shows when it is
        built with them.
    """

    card: FamilyCard
    told: tuple[str, ...] = ()
    beyond: tuple[tuple[str, Value], ...] = ()


def laid_over(below: Table, above: Table) -> dict[str, Any]:
    """Two tables of one parameter as one. A fixed value below gives way to any change, and one above stands alone."""
    if not above or "fix" in above:
        return dict(above or below)
    return {key: value for key, value in below.items() if key != "fix"} | dict(above)


def changed_cards(cards: Mapping[str, FamilyCard], changes: Mapping[str, Tables]) -> dict[str, ChangedCard]:
    """The cards with a study's changes, by family.

    cards: of the families compared. changes: by family or `ALL`.
    Raises OverrideError for unknown names, and for changes that a card does not allow.
    """
    for family in changes:
        if family not in cards and family != ALL:
            raise OverrideError(f"space.{family}: no such family is compared{suggest(family, [*cards, ALL])}")
    for name in changes.get(ALL, {}):
        known = dict.fromkeys(n for card in cards.values() for n in _parameters(card))
        if name not in known:
            raise OverrideError(f"space.{ALL}.{name}: no family compared has it{suggest(name, known)}")
    return {
        family: _changed_card(card, changes.get(ALL, {}), changes.get(family, {})) for family, card in cards.items()
    }


def start_setting(card: FamilyCard, given: Mapping[str, Value]) -> dict[str, Value]:
    """The setting that a study tries after the default: what is given, the rest as in the default.

    Raises OverrideError for unknown and inactive parameters, and for values out of range.
    """
    where = f"start.{card.name}"
    for name in given:
        if name not in card.space:
            raise OverrideError(f"{where}.{name}: unknown parameter{suggest(name, card.space.names)}")
    typed = {name: _value(card.space[name], value, f"{where}.{name}") for name, value in given.items()}
    setting = card.space.activate(typed)
    for name, value in typed.items():
        if name not in setting:
            raise OverrideError(f"{where}.{name}: it does not count here; it needs {_condition(card.space[name])}")
        if not card.space[name].contains(value):
            raise OverrideError(f"{where}.{name}: got {value!r}; wanted {card.space[name].range_text}")
    return setting


def _parameters(card: FamilyCard) -> dict[str, Parameter]:
    """Every parameter that a setting has, by name: those searched, and those of the training loop."""
    loop = {p.name: p for p in card.loop} if card.trains else {}  # a `fit` has no loop
    return {p.name: p for p in card.space} | {name: p for name, p in loop.items() if name not in card.space}


def _changed_card(card: FamilyCard, for_all: Tables, own: Tables) -> ChangedCard:
    """A card with the tables for all families below its own."""
    known = _parameters(card)
    for name in own:
        if name not in known:
            raise OverrideError(f"space.{card.name}.{name}: unknown parameter{suggest(name, known)}")
    tables = {
        name: laid_over(for_all.get(name, {}), own.get(name, {}))
        for name in dict.fromkeys([*for_all, *own])
        if name in known
    }
    if not tables:
        return ChangedCard(card)
    new = {name: _changed(known[name], table, f"space.{card.name}.{name}") for name, table in tables.items()}
    joining = [n for n in card.loop.names if n not in card.space and set(tables.get(n, ())) - {"default"}]
    space, dropped = _with_conditions([new.get(name, known[name]) for name in (*card.space.names, *joining)])
    told: list[str] = []
    beyond: list[tuple[str, Value]] = []
    for name, parameter in new.items():
        if name in dropped and name in own:
            raise OverrideError(f"space.{card.name}.{name}: it never counts here; it needs {_condition(parameter)}")
        if name not in dropped:
            told.append(_told(known[name], parameter, tables[name]))
            beyond += ((name, value) for value in _ends(parameter) if not known[name].contains(value))
    told += [f"{name}: left out, since it needs {_condition(parameter)}" for name, parameter in dropped.items()]
    loop = SearchSpace(tuple(new.get(p.name, p) for p in card.loop))
    return ChangedCard(replace(card, space=space, loop=loop), tuple(told), tuple(beyond))


def _with_conditions(parameters: Iterable[Parameter]) -> tuple[SearchSpace, dict[str, Parameter]]:
    """The space of parameters whose ranges may no longer hold what others depend on, and those that never count."""
    kept: dict[str, Parameter] = {}
    dropped: dict[str, Parameter] = {}
    for parameter in parameters:
        when = {
            parent: tuple(v for v in values if parent in kept and kept[parent].contains(v))
            for parent, values in parameter.when.items()
        }
        if all(when.values()):
            kept[parameter.name] = replace(parameter, when=when)
        else:
            dropped[parameter.name] = parameter
    return SearchSpace(tuple(kept.values())), dropped


def _changed(parameter: Parameter, table: Table, where: str) -> Parameter:
    """A parameter with one table laid over it."""
    if "fix" in table:
        others = [key for key in table if key != "fix"]
        if others:
            raise OverrideError(f"{where}: a fixed parameter has no {others[0]}; drop one of the two")
        return _only(parameter, _value(parameter, table["fix"], f"{where}.fix"))
    ranged = _with_range(parameter, table, where)
    if "default" in table:
        default = _value(ranged, table["default"], f"{where}.default")
    else:
        default = _nearest(ranged, parameter.default)
    return _checked(where, ranged, default=default, likely=_likely(ranged, parameter, table, where))


def _only(parameter: Parameter, value: Value) -> Parameter:
    """A parameter with one value."""
    if parameter.kind == "categorical":
        return replace(parameter, choices=(value,), default=value, likely=())
    assert isinstance(value, (int, float))
    return replace(parameter, low=value, high=value, log=False, default=value, likely=())


def _with_range(parameter: Parameter, table: Table, where: str) -> Parameter:
    """A parameter with another range; its default is any value of that, and it has no likely values."""
    if "choices" in table:
        _refuse(table, ("low", "high", "scale"), where, "choices stand in its place; drop one of the two")
        given = table["choices"] if isinstance(table["choices"], list) else [table["choices"]]
        values = tuple(_value(parameter, value, f"{where}.choices") for value in given)
        first = values[0] if values else None
        return _checked(f"{where}.choices", parameter, kind="categorical", choices=values, default=first, likely=())
    if parameter.kind == "categorical":
        _refuse(table, ("low", "high", "scale"), where, f"it is {parameter.range_text}; wanted choices or fix")
        return replace(parameter, likely=())
    low = _value(parameter, table.get("low", parameter.low), f"{where}.low")
    high = _value(parameter, table.get("high", parameter.high), f"{where}.high")
    assert isinstance(low, (int, float)) and isinstance(high, (int, float))
    if low >= high:
        one = f"; wanted fix = {low} for one value" if low == high else ""
        raise OverrideError(f"{where}: low {low} is not below high {high}{one}")
    scale = table.get("scale", "log" if parameter.log else "linear")
    if scale not in ("linear", "log"):
        raise OverrideError(f"{where}.scale: {scale!r} is not known{suggest(str(scale), ('linear', 'log'))}")
    return _checked(where, parameter, low=low, high=high, log=scale == "log", default=low, likely=())


def _checked(where: str, parameter: Parameter, **fields: Any) -> Parameter:
    """A parameter with other fields. Raises OverrideError where they do not go together."""
    try:
        return replace(parameter, **fields)
    except ValueError as error:
        raise OverrideError(f"{where}: {error}") from None


def _refuse(table: Table, keys: Iterable[str], where: str, reason: str) -> None:
    for key in keys:
        if key in table:
            raise OverrideError(f"{where}.{key}: {reason}")


def _likely(ranged: Parameter, before: Parameter, table: Table, where: str) -> tuple[Value, ...]:
    """Where good values usually lie: as the table says, or as much of what was known as the range still holds."""
    if "likely" in table:
        given = table["likely"]
        if not isinstance(given, list):
            raise OverrideError(f"{where}.likely: wanted a list of likely values, got {given!r}")
        return tuple(_value(ranged, value, f"{where}.likely") for value in given)
    if ranged.kind == "categorical":
        kept = tuple(value for value in before.likely if ranged.contains(value)) if before.kind == ranged.kind else ()
        return kept if len(kept) < len(ranged.choices) else ()
    ends = tuple(dict.fromkeys(_nearest(ranged, value) for value in before.likely))
    return ends if len(ends) == 2 else ()


def _value(parameter: Parameter, value: Any, where: str) -> Value:
    """A value in the parameter's own type. Raises OverrideError where it has another one."""
    if parameter.kind == "categorical":
        # On the command line a choice is a text, whatever it looks like.
        found = next((c for c in parameter.choices if c == value and type(c) is type(value)), None)
        found = next((c for c in parameter.choices if str(c) == str(value)), None) if found is None else found
        numbers = all(_is_number(c) for c in parameter.choices)
        if found is None and not (numbers and _is_number(value)):
            raise OverrideError(f"{where}: {value!r} is no choice{suggest(str(value), parameter.choices)}")
        return value if found is None else found
    if not _is_number(value) or not math.isfinite(value):
        raise OverrideError(f"{where}: wanted a number, got {value!r}")
    if parameter.kind == "int":
        if value != int(value):
            raise OverrideError(f"{where}: wanted a whole number, got {value!r}")
        return int(value)
    return float(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _nearest(parameter: Parameter, value: Value) -> Value:
    """A parameter's value that is nearest to one that it may no longer have; of choices without order the first."""
    if parameter.contains(value):
        return value
    if parameter.kind == "categorical":
        numbers = [c for c in parameter.choices if _is_number(c)]
        if not _is_number(value) or len(numbers) < len(parameter.choices):
            return parameter.choices[0]
        return min(numbers, key=lambda c: abs(c - value))  # type: ignore[operator]
    assert isinstance(value, (int, float)) and parameter.low is not None and parameter.high is not None
    return type(value)(min(max(value, parameter.low), parameter.high))


def _ends(parameter: Parameter) -> tuple[Value, ...]:
    """The values of a range between which all others lie."""
    if parameter.kind == "categorical":
        return parameter.choices
    return tuple(dict.fromkeys((parameter.low, parameter.high)))


def _told(before: Parameter, after: Parameter, table: Table) -> str:
    """What was changed, in words."""
    if "fix" in table:
        return f"{after.name}: fixed at {after.default}"
    changed = [after.range_text] if any(key in table for key in _RANGE) else []
    if "likely" in table:
        changed.append("likely " + (" or " if after.kind == "categorical" else " to ").join(map(str, after.likely)))
    if "default" in table:
        changed.append(f"default {after.default}")
    elif after.default != before.default:
        changed.append(f"default {after.default}, since {before.default} is out of this range")
    return f"{after.name}: {'; '.join(changed)}"


def _condition(parameter: Parameter) -> str:
    """What has to hold for a parameter to count, in words."""
    return " and ".join(f"{parent} = {' or '.join(map(str, values))}" for parent, values in parameter.when.items())
