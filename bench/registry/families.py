"""Families by name: the shipped ones and those that plug-ins register."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from ...models import load_class
from ...models.data_spec import DataSpec
from ...search_spaces import CardError, DataSize, FamilyCard, load_card, shipped_cards
from ...search_spaces.card import parse_card
from ..errors import UsageError, check_name, look_up
from .plugins import broken, is_shared, load_entry_points, note_origin

if TYPE_CHECKING:
    from ...models.base import GenerativeModel


@dataclass(frozen=True)
class ResolvedFamily:
    """A family as a study trains it. Any process that has loaded the study's plug-ins can use it.

    card: for the data, with everything that the study changes in it.
    reference: of the class, "module:Class"; with a leading dot the module is relative to `gentune.models`.
    local: the class, where no other process can import it; such a family trains in this process alone.
    """

    card: FamilyCard
    reference: str
    local: type[GenerativeModel] | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """The family's name."""
        return self.card.name

    def full_steps(self, spec: DataSpec) -> int:
        """Steps of a full training on a data set; 1 for families that train by `fit` alone."""
        return self.card.full_steps(size_of(spec))

    def load(self) -> type[GenerativeModel]:
        """The class. Raises ImportError or AttributeError where this process cannot find it."""
        return load_class(self.reference) if self.local is None else self.local


@dataclass(frozen=True)
class Family:
    """A family that is known by name; a broken one stays listed, with its error.

    where: the file that it comes from.
    registered: the class that a plug-in or this program registered; shipped families are imported when they are used.
    """

    name: str
    where: str
    card: FamilyCard | None = None
    error: str | None = None
    registered: type[GenerativeModel] | None = None

    def load(self) -> type[GenerativeModel]:
        """The family's class."""
        return self.resolved().load()

    def require_card(self) -> FamilyCard:
        """The card. Raises UsageError for a broken family."""
        if self.card is None:
            raise UsageError(f"family {self.name!r} cannot be used: {self.error}")
        return self.card

    def resolved(self, plugins: Iterable[str] = (), card: FamilyCard | None = None) -> ResolvedFamily:
        """The family as jobs carry it.

        plugins: the plug-in files that worker processes load. card: for the data, with what a study changes
        (`selection.cards_of`); None: its own.

        Raises UsageError for a broken family.
        """
        card = card or self.require_card()
        if self.registered is None:
            return ResolvedFamily(card, card.implementation)
        reference = f"{self.registered.__module__}:{self.registered.__qualname__}"
        can_be_shared = is_shared("families", self.name, list(plugins)) and _found(reference) is self.registered
        return ResolvedFamily(card, reference, None if can_be_shared else self.registered)


def size_of(spec: DataSpec) -> DataSize:
    """What of a data set the sizes of families follow."""
    return DataSize(spec.kind, spec.extent, spec.examples)


_registered: dict[str, Family] = {}


def families() -> Mapping[str, Family]:
    """Every known family, by name: the shipped ones, then those of plug-ins."""
    load_entry_points("families")
    known: dict[str, Family] = {}
    for path in shipped_cards():
        try:
            card = load_card(path)
            family = Family(card.name, str(path), card)
        except CardError as error:
            family = Family(path.stem, str(path), error=str(error))
        _add(known, family)
    for family in _registered.values():
        _add(known, family)
    for plugin in broken("families"):
        _add(known, Family(plugin.name, plugin.where, error=plugin.error))
    return known


def register_family(model: type[GenerativeModel], card: str | Path) -> None:
    """Makes a family known by name.

    model: its class.
    card: the path of its TOML file, or the TOML text itself (told apart by a line break).

    Raises CardError for a card that does not say what it must, UsageError for a name that is taken or not plain.
    """
    text = str(card)
    where = getattr(sys.modules.get(model.__module__), "__file__", None) or model.__module__
    parsed = parse_card(text, where) if "\n" in text else load_card(text)
    check_name(parsed.name, "a family", where)
    family = Family(parsed.name, where, parsed, registered=model)
    if parsed.name in _registered and _registered[parsed.name].where == where:
        del _registered[parsed.name]  # the same file loaded again
    _add(dict(families()), family)
    _registered[parsed.name] = family
    note_origin("families", parsed.name)


def family(name: str) -> Family:
    """A family by name. Raises UsageError for unknown and broken ones."""
    found = look_up(name, families(), "family")
    found.require_card()
    return found


def _found(reference: str) -> object:
    """What a reference leads to in this process; None for a class inside a function, or of a module that is gone."""
    module, name = reference.split(":")
    return reduce(lambda at, part: getattr(at, part, None), name.split("."), sys.modules.get(module))


def _add(known: dict[str, Family], family: Family) -> None:
    if family.name in known:
        other = known[family.name]
        raise UsageError(f"family {family.name!r} is registered twice: in {other.where} and in {family.where}")
    known[family.name] = family
