"""Parameter tables that several cards share: `extends`, `drop` and `before` in a card (`card` says what they mean)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from .reading import CardError, names_of, parse_toml, read_text, refuse_unknown, table_of
from .space import suggest

SHARED = Path(__file__).parent / "shared"  # the tables that come with Gentune
SHARED_KEYS = frozenset(
    {"extends", "drop", "train", "sample", "training", "training_defaults", "training_likely", "sizes"}
)
PARAMETER_KEYS = frozenset(
    {"type", "low", "high", "scale", "choices", "default", "likely", "when", "width", "source", "summary"}
)
SIZE_ROLES = ("train", "sample", "training")  # tables of parameters in a size; `training` holds the loop's

OwnRole = Literal["train", "sample"]


@dataclass(frozen=True)
class Stated:
    """What a parameter's tables say together.

    table: its keys. where: the file that states it, or the last that overrides it; errors name it.
    """

    table: Mapping[str, Any]
    where: str


@dataclass
class Merged:
    """A card's tables laid over those that it extends.

    parameters: for each role, the parameters in their order. training: names of the searched loop parameters.
    training_defaults, training_likely: this family's defaults and likely values of loop parameters.
    sizes: by name, what differs at a size of data. files: the shared files and their texts.
    """

    parameters: dict[OwnRole, dict[str, Stated]] = field(default_factory=lambda: {"train": {}, "sample": {}})
    training: tuple[str, ...] = ()
    training_defaults: dict[str, Any] = field(default_factory=dict)
    training_likely: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[Path, str] = field(default_factory=dict)

    def lay_over(self, content: Mapping[str, Any], where: str) -> None:
        """Lays one file's tables over what is there. Raises CardError with file and key."""
        for name in names_of(content, "drop", where):
            holders = [tables for tables in self.parameters.values() if name in tables]
            if not holders:
                known = [known for tables in self.parameters.values() for known in tables]
                raise CardError(f"{where}: drop: no extended table has a parameter {name!r}{suggest(name, known)}")
            for tables in (*holders, *(size.get(role, {}) for size in self.sizes.values() for role in SIZE_ROLES)):
                tables.pop(name, None)
        for role in get_args(OwnRole):
            for name, table in table_of(content, role, where).items():
                self._state(role, name, table, where)
        if "training" in content:
            self.training = names_of(content, "training", where)
        self.training_defaults |= table_of(content, "training_defaults", where)
        self.training_likely |= table_of(content, "training_likely", where)
        for name in table_of(content, "sizes", where):
            self._state_size(name, content["sizes"][name], where)

    def _state(self, role: OwnRole, name: str, table: Any, where: str) -> None:
        key = f"{role}.{name}"
        if not isinstance(table, dict):
            raise CardError(f"{where}: {key}: wanted a table, got {table!r}")
        refuse_unknown(table, PARAMETER_KEYS | {"before"}, where, f"{key}.")
        known = self.parameters[role]
        own = {k: v for k, v in table.items() if k != "before"}
        if name not in known:
            for needed in ("type", "default"):
                if needed not in own:
                    raise CardError(f"{where}: {key}.{needed}: missing{_nearest(name, known)}")
        known[name] = Stated({**known[name].table, **own} if name in known else own, where)
        if "before" in table:
            self.parameters[role] = _moved(known, name, table["before"], f"{where}: {key}.before")

    def _state_size(self, name: str, table: Any, where: str) -> None:
        key = f"sizes.{name}"
        if not isinstance(table, dict):
            raise CardError(f"{where}: {key}: wanted a table, got {table!r}")
        known = self.sizes.setdefault(name, {})
        known |= {k: v for k, v in table.items() if k not in SIZE_ROLES}
        for role in SIZE_ROLES:
            for parameter, given in table_of(table, role, f"{where}: {key}").items():
                below = known.setdefault(role, {}).get(parameter, {})
                # A plain value is the parameter's default.
                known[role][parameter] = below | (given if isinstance(given, dict) else {"default": given})


def merge(content: Mapping[str, Any], where: str) -> Merged:
    """The tables of a card over those that it extends.

    content: the card. where: its file, which errors name and to whose folder relative names refer.
    Raises CardError, with file and key, for unknown names, for cycles and for what a shared file must not say.
    """
    merged = Merged()
    _extend(merged, content, where, ())
    merged.lay_over(content, where)
    return merged


def _extend(merged: Merged, content: Mapping[str, Any], where: str, chain: tuple[Path, ...]) -> None:
    """Lays over `merged` every file that `content` extends, each once, those that it extends itself before it.

    chain: the shared files that lead to `content`.
    """
    for name in names_of(content, "extends", where):
        path = _locate(name, where)
        if path in chain:
            circle = " -> ".join(p.name for p in (*chain[chain.index(path) :], path))
            raise CardError(f"{where}: extends: {name!r} leads back to itself: {circle}")
        if path in merged.files:
            continue
        text = read_text(path)
        shared = parse_toml(text, str(path))
        if "family" in shared:
            raise CardError(f"{where}: extends: {name!r} is a card; wanted shared tables, which have no [family]")
        refuse_unknown(shared, SHARED_KEYS, str(path), "")
        _extend(merged, shared, str(path), (*chain, path))
        merged.files[path] = text
        merged.lay_over(shared, str(path))


def _locate(name: str, where: str) -> Path:
    """The file that a name in `extends` stands for."""
    if name.endswith(".toml"):
        path = Path(where).parent / name
        known = [p.name for p in sorted(path.parent.glob("*.toml"))]
    else:
        path = SHARED / f"{name}.toml"
        known = [p.stem for p in sorted(SHARED.glob("*.toml"))]
    if not path.is_file():
        raise CardError(f"{where}: extends: unknown tables {name!r}{suggest(name, known)}")
    return path.resolve()


def _moved(known: dict[str, Stated], name: str, before: Any, where: str) -> dict[str, Stated]:
    """`known` with the parameter `name` directly in front of the parameter `before`."""
    others = {k: v for k, v in known.items() if k != name}
    if before not in others:
        raise CardError(f"{where}: no other parameter is called {before!r}{suggest(str(before), others)}")
    at = list(others).index(before)
    entries = list(others.items())
    return dict([*entries[:at], (name, known[name]), *entries[at:]])


def _nearest(name: str, known: Mapping[str, Stated]) -> str:
    """A hint for an override whose name is misspelt; empty without extended tables."""
    return suggest(name, known) if known else ""
