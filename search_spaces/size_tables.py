"""What a card says of sizes of data: [family] steps and [sizes.NAME] (`card` explains them), read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from .reading import CardError, refuse_unknown
from .shared_tables import SIZE_ROLES, Merged
from .sizes import DATA_KINDS, DataSize, StatedSize, moved
from .space import Parameter, Value, suggest

_NUMBER_KEYS = ("default", "low", "high", "likely")


def steps_by_kind(given: Any, kinds: tuple[str, ...], where: str) -> dict[str, int]:
    """Steps of a full training for each kind of data, whatever its size: one number for all, or a table by kind."""
    table = given if isinstance(given, dict) else dict.fromkeys(kinds, given)
    for kind, count in table.items():
        key = f"family.steps.{kind}" if isinstance(given, dict) else "family.steps"
        if kind not in kinds:
            raise CardError(
                f"{where}: {key}: wanted a kind of data{suggest(kind, kinds)}; a size has a table [sizes.NAME]"
            )
        _whole(count, where, key)
    return dict(table)


def stated_sizes(
    merged: Merged,
    own: Iterable[str],
    kinds: tuple[str, ...],
    steps: Mapping[str, int],
    parameters: Mapping[str, Parameter],
    where: str,
) -> tuple[StatedSize, ...]:
    """The sizes that a card states; those of shared tables for kinds that the family does not take are left out.

    own: names of those that the card itself states. steps: by kind, where a size states none. parameters: by name,
    those of the space and of the training loop, as they are whatever the size.
    """
    found: dict[DataSize, StatedSize] = {}
    for name, table in merged.sizes.items():
        key = f"sizes.{name}"
        size = _size(table, where, key)
        if size.kind not in kinds:
            if name in own:
                raise CardError(f"{where}: {key}.{size.kind}: the family takes {' and '.join(kinds)} data")
            continue
        count = table.get("steps", steps.get(size.kind, 0))
        if "steps" in table:
            _whole(count, where, f"{key}.steps")
        if size in found:
            raise CardError(f"{where}: {key}: another size is of the same extent and examples")
        changed = tuple(
            _parameter(role, parameter, change, parameters, where, f"{key}.{role}.{parameter}")
            for role in SIZE_ROLES
            for parameter, change in table.get(role, {}).items()
        )
        found[size] = StatedSize(size, count, changed)
    _check(found.values(), where)
    return tuple(found.values())


def _size(table: Mapping[str, Any], where: str, key: str) -> DataSize:
    refuse_unknown(table, {*DATA_KINDS, "examples", "steps", *SIZE_ROLES}, where, f"{key}.")
    given = [kind for kind in DATA_KINDS if kind in table]
    if len(given) != 1:
        raise CardError(f"{where}: {key}: wanted one of {', '.join(DATA_KINDS)}, got {' and '.join(given) or 'none'}")
    extent, examples = table[given[0]], table.get("examples")
    if isinstance(extent, bool) or not isinstance(extent, (int, float)):
        raise CardError(f"{where}: {key}.{given[0]}: wanted a number, got {extent!r}")
    if examples is not None:
        _whole(examples, where, f"{key}.examples")
    try:
        return DataSize(given[0], float(extent), examples)
    except ValueError as error:
        raise CardError(f"{where}: {key}: {error}") from error


def _check(found: Iterable[StatedSize], where: str) -> None:
    """Raises CardError where only some sizes of a kind have steps, or numbers of examples at one extent."""
    by_kind: dict[str, list[StatedSize]] = {}
    for stated in found:
        by_kind.setdefault(stated.size.kind, []).append(stated)
    for kind, sizes in by_kind.items():
        if len({stated.steps > 0 for stated in sizes}) > 1:
            raise CardError(f"{where}: sizes: some of {kind} data state no steps, and family.steps has none for them")
        any_number = [stated.size.extent for stated in sizes if stated.size.examples is None]
        for extent in any_number:
            if sum(stated.size.extent == extent for stated in sizes) > 1:
                raise CardError(f"{where}: sizes: {kind} data of {extent:g} are stated for any number of examples, too")


def _parameter(
    role: str, name: str, change: Mapping[str, Any], parameters: Mapping[str, Parameter], where: str, key: str
) -> Parameter:
    """A parameter as one size has it."""
    roles = ("loop", "average") if role == "training" else (role,)
    known = {n: p for n, p in parameters.items() if p.role in roles}
    if name not in known:
        raise CardError(f"{where}: {key}: unknown parameter{suggest(name, known)}")
    before = known[name]
    keys = ("default",) if before.kind == "categorical" else _NUMBER_KEYS
    refuse_unknown(change, keys, where, f"{key}.")
    fields: dict[str, Any] = {k: _typed(before, v) for k, v in change.items()}
    try:
        if before.kind == "categorical" or not before.likely or "likely" in fields:
            return replace(before, **fields)
        changed = replace(before, **fields, likely=())
        return replace(changed, likely=moved(before, changed))
    except (ValueError, TypeError) as error:
        raise CardError(f"{where}: {key}: {error}") from error


def _typed(parameter: Parameter, value: Any) -> Value | tuple[Value, ...]:
    if isinstance(value, list):
        return tuple(_typed(parameter, entry) for entry in value)  # type: ignore[misc]
    return float(value) if parameter.kind == "float" and type(value) is int else value


def _whole(count: Any, where: str, key: str) -> None:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise CardError(f"{where}: {key}: wanted a whole number of at least 1, got {count!r}")
