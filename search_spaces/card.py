"""Families' cards: what a family's TOML file says, checked, and readable without torch.

A card has [family], a table for each parameter ([train.NAME], [sample.NAME]), `training` (the loop parameters that
are searched), [training_defaults] and [training_likely] (the family's defaults and likely values of loop parameters).
What several cards have in common stands once in a file of shared tables, which is no card: it has the same tables
without [family]. In a card, and in shared tables:

    likely = [1e-3, 5e-3]           in a parameter's table: where good settings usually lie (`Parameter.likely`).

    width = true                    in a parameter's table: it is a width of networks, which a study's `size` scales.

    extends = ["gan", "mine.toml"]  the shared tables that this file builds on. A name without an ending is one of
                                    Gentune's own, `search_spaces/shared/NAME.toml`; a name that ends in ".toml" is a
                                    path relative to the folder of the file that says it (for a card given as text:
                                    of the plug-in's file).
    drop = ["discriminator_norm"]   parameters of the extended tables that this family does not have.
    before = "latent_dim"           in a parameter's table: its place, directly in front of another one of its role.

Steps and parameters may follow the size of the data. What the tables above say holds for every size, unless

    [family]
    steps = 500                     a full training, of all data; or by kind: steps = { image = 500, vector = 200 }

    [sizes.NAME]                    what differs at one size; NAME is free, and joins the tables of several files
    image = 16                      its kind and extent: the side of images (the geometric mean of height and width),
                                    or `vector` = dimensions, or `sequence` = length
    examples = 3500                 in the train split; left out: for any number
    steps = 2000                    left out: as in [family]
    train.width = 24                parameters by role (`train`, `sample`; `training`: the loop's): a value is the
    sample.steps = { high = 500 }   default; a table has some of default, low, high, likely (of a choice: default)

One size is enough, and holds for all data of its kind. Between several, steps and numbers follow power laws; `sizes`
says how, and what holds beyond them. A choice is that of the nearest size. A size that does not name a parameter
has it as in the parameter's own table. Likely values go with the default, unless the size states them.

The tables are laid one over another: first, in the order in which `extends` names them, the shared ones, each after
those that it extends and each only once; the card comes last. A file first drops, then states. A parameter that is
already there keeps its place, and a table overrides only the keys that it has; a new parameter comes last, unless
`before` says where. `training` replaces the list below it; [training_defaults] and [training_likely] override single
names, a size single keys. The order of the space is: train parameters, sample parameters, then the searched loop
parameters in the order of `training.toml`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

from .reading import CardError, one_of, parse_toml, read_text, refuse_unknown, switch_of, table_of
from .shared_tables import SHARED, SHARED_KEYS, Merged, merge
from .size_tables import stated_sizes, steps_by_kind
from .sizes import DATA_KINDS, DataSize, StatedSize, number_at, scaled, sized
from .space import Kind, Parameter, Role, SearchSpace, Value, suggest

HERE = Path(__file__).parent
LIKELIHOODS = ("none", "exact", "dequantised", "elbo", "importance_weighted", "ode_estimate")
CONDITIONS = ("label", "image", "text")

_FAMILY_KEYS = {
    *("name", "group", "summary", "class", "kinds", "conditional", "requires_condition"),
    *("unpaired", "deterministic"),
    *("likelihood", "papers", "steps", "noise"),
}
_TOP_KEYS = SHARED_KEYS | {"family"}


@dataclass(frozen=True)
class Fit:
    """Whether a family fits a data set.

    condition: the kind of condition that it is trained and sampled with there; "none": without.
    reason: why it does not fit, to stand after the family's name; None where it fits.
    """

    condition: str = "none"
    reason: str | None = None


@dataclass(frozen=True)
class FamilyCard:
    """A family as its TOML describes it.

    implementation: "module:Class"; with a leading dot relative to `gentune.models`, else absolute.
    conditions: kinds of conditions that it takes. requires_condition: whether it cannot do without one.
    unpaired: whether it learns from image conditions that do not belong to the images beside them.
    deterministic: whether a condition has one answer, whatever the seed.
    likelihood: kind of likelihood for each data kind ("none" where it has none).
    steps: full training in steps for each kind of data, where no size states it. sizes: what differs at some sizes.
        Both are empty for families that train by `fit` alone.
    noise: by metric, the usual standard deviation of its logarithm between trainings of one setting: a prior.
    space: what is searched. loop: every parameter of `training.toml` at this family's default.
    constructor: the constructor's parameters at their own defaults, whatever data and study change in the space.
    scale: by how much a study's `size` multiplies the steps.
    """

    name: str
    group: str
    summary: str
    implementation: str
    kinds: tuple[str, ...]
    conditions: tuple[str, ...]
    requires_condition: bool
    likelihood: Mapping[str, str]
    papers: tuple[str, ...]
    steps: Mapping[str, int]
    sizes: tuple[StatedSize, ...]
    noise: Mapping[str, float]
    space: SearchSpace
    loop: SearchSpace
    constructor: Mapping[str, Value]
    path: str
    scale: float = 1.0
    unpaired: bool = False
    deterministic: bool = False

    @property
    def conditional(self) -> str:
        """The kinds of conditions that it takes in one word, as listings show them."""
        return ",".join(self.conditions) or "none"

    def fit(self, kind: str, condition: str, *, paired: bool = True) -> Fit:
        """Whether the family fits data of a kind with a kind of condition ("none" for data without), and how.

        paired: whether image conditions belong to the images beside them.

        Labels are optional: a family that does not take them models p(x). What is conditioned on an image or a text
        asks for a family that takes it.
        """
        if kind not in self.kinds:
            return Fit(reason=f"takes {' and '.join(self.kinds)} data, and the data are of kind {kind}")
        if condition in self.conditions:
            lost = condition == "image" and not paired and not self.unpaired
            return Fit(reason="needs pairs, and the data are unpaired") if lost else Fit(condition)
        have = "have no conditions" if condition == "none" else f"have {condition} conditions"
        if self.requires_condition:
            return Fit(reason=f"requires {' or '.join(self.conditions)} conditions, and the data {have}")
        if condition in ("none", "label"):
            return Fit()
        takes = f"takes {' and '.join(self.conditions)} conditions" if self.conditions else "takes no conditions"
        return Fit(reason=f"{takes}, and the data {have}")

    @property
    def trains(self) -> bool:
        """Whether trainings go by steps; else by `fit` alone."""
        return bool(self.steps) or any(stated.steps for stated in self.sizes)

    def full_steps(self, size: DataSize) -> int:
        """Steps of a full training on data of a size; 1 for families that train by `fit` alone."""
        stated = [(own.size, own.steps) for own in self._sizes_of(size.kind) if own.steps]
        steps = round(number_at(stated, size)) if stated else self.steps.get(size.kind, 1)
        return steps if self.scale == 1.0 else max(round(steps * self.scale), 1)

    def sized(self, size: DataSize, scale: float = 1.0) -> FamilyCard:
        """The card for data of a size: its space and loop have the defaults, ranges and likely values for that.

        scale: of a study: multiplies steps, and widths by its square root.
        """
        own = self._sizes_of(size.kind)
        names = {parameter.name for stated in own for parameter in stated.parameters}

        def at_size(parameter: Parameter) -> Parameter:
            if parameter.name in names:
                points = [(stated.size, stated.parameter(parameter)) for stated in own]
                parameter = sized(parameter, points, size)
            return scaled(parameter, math.sqrt(scale)) if parameter.width else parameter

        space, loop = (SearchSpace(tuple(map(at_size, whole))) for whole in (self.space, self.loop))
        return replace(self, space=space, loop=loop, scale=scale)

    def _sizes_of(self, kind: str) -> list[StatedSize]:
        return [stated for stated in self.sizes if stated.size.kind == kind]

    @property
    def averaged(self) -> bool:
        """Whether trainings keep averages of the weights: some average is searched, or used by default."""
        return any(p.role == "average" for p in self.space) or any(self.loop.only("average").default().values())


def load_card(path: Path | str) -> FamilyCard:
    """Reads one family's TOML file. Raises CardError with file, key and reason."""
    path = Path(path)
    text = read_text(path)
    card, shared = _parsed(text, str(path))
    if any(read_text(file) != was for file, was in shared.items()):
        _parsed.cache_clear()
        card, _ = _parsed(text, str(path))
    return card


@cache
def _parsed(text: str, where: str) -> tuple[FamilyCard, Mapping[Path, str]]:
    """A card and the texts of the shared tables that it extends.

    Cached: families are looked up by name many times in a trial, each time among all cards.
    """
    content = parse_toml(text, where)
    merged = merge(content, where)
    return _card(content, merged, where), merged.files


def parse_card(text: str, where: str) -> FamilyCard:
    """A card from TOML text. `where`, a file, is named in errors; relative names in `extends` refer to its folder."""
    content = parse_toml(text, where)
    return _card(content, merge(content, where), where)


def _card(content: Mapping[str, Any], merged: Merged, where: str) -> FamilyCard:
    refuse_unknown(content, _TOP_KEYS, where, "")
    family = table_of(content, "family", where, required=True)
    refuse_unknown(family, _FAMILY_KEYS, where, "family.")
    for key in ("name", "group", "summary", "class", "kinds"):
        if key not in family:
            raise CardError(f"{where}: family.{key}: missing")
    kinds = tuple(one_of(k, DATA_KINDS, where, "family.kinds") for k in family["kinds"])
    conditions = _conditions(family.get("conditional", "none"), where)
    requires = _requires_condition(family, conditions, where)
    steps = steps_by_kind(family.get("steps", {}), kinds, where)

    loop = _loop_parameters(merged, where)
    space = _space(merged, loop, where)
    parameters = {p.name: p for p in (*loop, *space)}
    return FamilyCard(
        name=family["name"],
        group=family["group"],
        summary=family["summary"],
        implementation=family["class"],
        kinds=kinds,
        conditions=conditions,
        requires_condition=requires,
        likelihood=_likelihoods(family.get("likelihood", "none"), kinds, where),
        papers=tuple(family.get("papers", ())),
        steps=steps,
        sizes=stated_sizes(merged, content.get("sizes", ()), kinds, steps, parameters, where),
        noise=_noise(family, where),
        space=space,
        loop=loop,
        constructor={p.name: p.default for p in space if p.role == "train"},
        path=where,
        unpaired=switch_of(family, "unpaired", where, "family."),
        deterministic=switch_of(family, "deterministic", where, "family."),
    )


def _space(merged: Merged, loop: SearchSpace, where: str) -> SearchSpace:
    """What is searched: train parameters, sample parameters, then those of `loop` that the card names."""
    parameters = [
        _parameter(name, stated.table, role, stated.where, f"{role}.{name}")
        for role, tables in merged.parameters.items()
        for name, stated in tables.items()
    ]
    for name in merged.training:
        if name not in loop:
            raise CardError(f"{where}: training: unknown parameter {name!r}{suggest(name, loop.names)}")
    parameters += [p for p in loop if p.name in merged.training]
    try:
        return SearchSpace(tuple(parameters))
    except ValueError as error:
        raise CardError(f"{where}: {error}") from error


def shipped_cards() -> Iterator[Path]:
    """The TOML files of the families that come with Gentune."""
    cards = (path for path in HERE.glob("*/*.toml") if path.parent != SHARED)
    return iter(sorted(cards, key=lambda path: path.stem))


@cache
def _shared_parameters() -> tuple[Parameter, ...]:
    path = HERE / "training.toml"
    content = parse_toml(read_text(path), path.name)
    return tuple(
        _parameter(name, table, one_of(role, ("loop", "average"), path.name, role), path.name, f"{role}.{name}")  # type: ignore[arg-type]
        for role, tables in content.items()
        for name, table in tables.items()
    )


def _loop_parameters(merged: Merged, where: str) -> SearchSpace:
    loop = {p.name: p for p in _shared_parameters()}
    for table, values in (("training_defaults", merged.training_defaults), ("training_likely", merged.training_likely)):
        for name, value in values.items():
            key = f"{table}.{name}"
            if name not in loop:
                raise CardError(f"{where}: {key}: unknown parameter{suggest(name, loop)}")
            try:
                if table == "training_defaults":
                    loop[name] = replace(loop[name], default=value)
                else:
                    loop[name] = replace(loop[name], likely=_likely(value, where, key))
            except ValueError as error:
                raise CardError(f"{where}: {key}: {error}") from error
    return SearchSpace(tuple(loop.values()))


def _likely(given: Any, where: str, key: str) -> tuple[Value, ...]:
    if not isinstance(given, list) or not given:
        raise CardError(f"{where}: {key}: wanted a list of likely values, got {given!r}")
    return tuple(given)


def _noise(family: Mapping[str, Any], where: str) -> dict[str, float]:
    noise = table_of(family, "noise", where)
    for metric, value in noise.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < math.inf:
            raise CardError(f"{where}: family.noise.{metric}: wanted a deviation above 0, got {value!r}")
    return dict(noise)


def _parameter(name: str, table: Mapping[str, Any], role: Role, where: str, key: str) -> Parameter:
    kind: Kind = one_of(table["type"], get_args(Kind), where, f"{key}.type")  # type: ignore[assignment]
    scale = one_of(table.get("scale", "linear"), ("linear", "log"), where, f"{key}.scale")
    default = table["default"]
    if kind == "float" and isinstance(default, int) and not isinstance(default, bool):
        default = float(default)
    when = {
        parent: tuple(wanted) if isinstance(wanted, list) else (wanted,)
        for parent, wanted in table.get("when", {}).items()
    }
    try:
        return Parameter(
            name=name,
            kind=kind,
            default=default,
            low=table.get("low"),
            high=table.get("high"),
            log=scale == "log",
            choices=tuple(table.get("choices", ())),
            when=when,
            role=role,
            source=table.get("source", ""),
            summary=table.get("summary", ""),
            likely=_likely(table["likely"], where, f"{key}.likely") if "likely" in table else (),
            width=switch_of(table, "width", where, f"{key}."),
        )
    except (ValueError, TypeError) as error:
        raise CardError(f"{where}: {key}: {error}") from error


def _conditions(given: Any, where: str) -> tuple[str, ...]:
    """One kind of condition, "none", or a list of kinds."""
    if not isinstance(given, list):
        kind = one_of(given, ("none", *CONDITIONS), where, "family.conditional")
        return () if kind == "none" else (kind,)
    return tuple(dict.fromkeys(one_of(kind, CONDITIONS, where, "family.conditional") for kind in given))


def _requires_condition(family: Mapping[str, Any], conditions: tuple[str, ...], where: str) -> bool:
    requires = switch_of(family, "requires_condition", where, "family.")
    if requires and not conditions:
        raise CardError(f"{where}: family.requires_condition: family.conditional names no kind of condition")
    return requires


def _likelihoods(given: Any, kinds: tuple[str, ...], where: str) -> dict[str, str]:
    """One likelihood kind for all data kinds, or a table with one for each."""
    table = given if isinstance(given, dict) else dict.fromkeys(kinds, given)
    for kind, likelihood in table.items():
        one_of(kind, kinds, where, "family.likelihood")
        one_of(likelihood, LIKELIHOODS, where, f"family.likelihood.{kind}")
    return {kind: table.get(kind, "none") for kind in kinds}
