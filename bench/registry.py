"""Names -> families and metrics. Listing costs no torch: classes are imported when they are used."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..models import load_class
from ..models.data_spec import DataSpec
from ..search_spaces import CardError, FamilyCard, load_card, shipped_cards
from ..search_spaces.card import parse_card
from ..search_spaces.space import suggest
from .errors import UsageError
from .metrics.base import MetricCard
from .metrics.catalogue import METRICS

if TYPE_CHECKING:
    from ..models.base import GenerativeModel

T = TypeVar("T")


@dataclass(frozen=True)
class Family:
    """A family that is known by name; a broken one stays listed, with its error."""

    name: str
    where: str  # the file it comes from
    card: FamilyCard | None = None
    error: str | None = None
    given: type[GenerativeModel] | None = None  # registered by a plug-in; shipped families are imported by name

    def load(self) -> type[GenerativeModel]:
        """The family's class."""
        if self.given is not None:
            return self.given
        return load_class(self.require_card().implementation)

    def require_card(self) -> FamilyCard:
        """The card. Raises UsageError for a broken family."""
        if self.card is None:
            raise UsageError(f"family {self.name!r} cannot be used: {self.error}")
        return self.card


_plugins: dict[str, Family] = {}


def families() -> Mapping[str, Family]:
    """Every known family, by name: the shipped ones, then the plug-ins'."""
    known: dict[str, Family] = {}
    for path in shipped_cards():
        try:
            card = load_card(path)
            family = Family(card.name, str(path), card)
        except CardError as error:
            family = Family(path.stem, str(path), error=str(error))
        _add(known, family)
    for family in _plugins.values():
        _add(known, family)
    return known


def register(model: type[GenerativeModel], card: str | Path) -> None:
    """Makes a family known by name.

    card: the path of its TOML file, or the TOML text itself (told apart by a line break).
    Raises CardError for a card that does not say what it must, UsageError for a name that is taken.
    """
    text = str(card)
    where = getattr(sys.modules.get(model.__module__), "__file__", None) or model.__module__
    parsed = parse_card(text, where) if "\n" in text else load_card(text)
    family = Family(parsed.name, where, parsed, given=model)
    if parsed.name in _plugins and _plugins[parsed.name].where == where:
        del _plugins[parsed.name]  # the same file loaded again
    _add(dict(families()), family)
    _plugins[parsed.name] = family


def load_plugin(path: str | Path) -> None:
    """Runs a plug-in file, which calls `register`. A file that fails stays listed with its error."""
    path = Path(path).resolve()
    if not path.is_file():
        raise UsageError(f"plug-in {path} is not there")
    name = f"gentune_plugin_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"plug-in {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001 - a plug-in may fail in any way; it must not stop the others
        del sys.modules[name]
        last = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
        _plugins[path.stem] = Family(path.stem, str(path), error=reason)


def family(name: str) -> Family:
    """A family by name. Raises UsageError for unknown and broken ones."""
    found = _look_up(name, families(), "family")
    found.require_card()
    return found


def metric(name: str) -> MetricCard:
    """A metric's card by name."""
    return _look_up(name, METRICS, "metric")


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
            reason = entry.card.fit(spec.kind, spec.condition.kind).reason
            if reason is None:
                fitting.append(entry.name)
            else:
                skipped[entry.name] = reason
        return fitting, skipped
    for name in names:
        reason = family(name).require_card().fit(spec.kind, spec.condition.kind).reason
        if reason is not None:
            raise UsageError(f"family {name!r} does not fit data {spec.name!r}: it {reason}")
    return names, {}


def check_objective(objective: Iterable[str], names: Iterable[str], spec: DataSpec) -> dict[str, str]:
    """Families among `names` for which an objective is not defined, each with the reason."""
    lacking = {}
    for name in objective:
        card = metric(name)
        if card.direction == "none":
            raise UsageError(f"metric {name!r} has no better side and cannot be an objective")
        if card.group == "stability":
            raise UsageError(f"metric {name!r} is measured over a whole study and cannot be an objective")
        if card.group != "likelihood" and "likelihood" not in card.needs:
            continue
        for family_name in names:
            if family(family_name).require_card().likelihood[spec.kind] == "none":
                lacking[family_name] = f"has no likelihood, so {name} is not defined for it"
    return lacking


def default_objective(spec: DataSpec) -> str:
    """The metric that is tuned where none is named."""
    return {"image": "fid", "vector": "mmd", "sequence": "bits_per_token"}[spec.kind]


def _look_up(name: str, known: Mapping[str, T], what: str) -> T:
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}{suggest(name, known)}")
    return known[name]


def _add(known: dict[str, Family], family: Family) -> None:
    if family.name in known:
        other = known[family.name]
        raise UsageError(f"family {family.name!r} stands twice: in {other.where} and in {family.where}")
    known[family.name] = family
