"""Arrays in an .npz or .npy file: images, vectors or sequences. Imports nothing heavy until one is read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....search_spaces.space import suggest
from ...errors import UsageError
from ..found import Found
from ..source import SourceReader

if TYPE_CHECKING:
    import numpy as np

    from .array_files import ArrayMember

_SPLITS = {"train": ("train", "training"), "validation": ("validation", "val", "valid"), "test": ("test", "testing")}
_ROLES = {
    "x": ("samples", "images", "x", "data", "examples", "vectors", "sequences", "features", "arr_0"),
    "labels": ("labels", "label", "y", "targets", "target"),
    "conditions": ("conditions", "condition"),
}
_KINDS = ("image", "vector", "sequence")


class Arrays(SourceReader):
    """An .npy, or an .npz with one array of examples, or with one for each split.

    Names say what an array is: `samples`, `images`, `x` or `data` are examples, `labels` or `y` labels, `conditions`
    conditions; `train`, `val` and `test`, alone or joined to one of these by `_`, are splits.

    array: the name of the examples, where it is none of these.
    kind: "image", "vector" or "sequence"; "": by type and axes (`array_kinds.kind_of`).
    label: the name of the labels; "": by the names above; "none": no labels.
    group: the name of an array whose equal entries stay in one split.
    crop, resize, grey, flip: of images, as for a folder of them.
    levels: L of images; integers that are all below L are levels already, others go to the nearest. 0: 256.
    """

    name = "arrays"
    suffixes = (".npz", ".npy")
    keeps = True

    def find(
        self,
        *,
        path: str,
        array: str = "",
        kind: str = "",
        label: str = "",
        group: str = "",
        crop: str | int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        grey: bool = False,
        levels: int = 0,
        flip: bool = False,
    ) -> Found:
        from .array_files import array_members
        from .array_kinds import ImageOptions, found_in
        from .image_sizes import Fit

        options = ImageOptions(Fit.of(crop, resize), grey, levels, flip)
        if kind and kind not in _KINDS:
            raise UsageError(f"unknown kind {kind!r}{suggest(kind, _KINDS)}")
        members = array_members(Path(path))
        parts, unused = _parts(Path(path), members, array, label)
        found = found_in(Path(path), parts, kind, options)
        if group:
            unused = [name for name in unused if name != group]
            found = replace(found, groups=_groups(Path(path), members, group, len(found)))
        if not unused:
            return found
        return replace(found, notes=(f"arrays that are not used: {', '.join(unused)}", *found.notes))


def _parts(
    file: Path, members: dict[str, ArrayMember], array: str, label: str
) -> tuple[dict[str, dict[str, ArrayMember]], list[str]]:
    """By split ("": there are none), the arrays by their role; and the names of those that are not used."""
    by_name = {name.lower(): member for name, member in members.items()}
    parts: dict[str, dict[str, ArrayMember]] = {}
    if not array:
        for split, words in _SPLITS.items():
            found = {
                role: by_name[name]
                for role, nouns in _ROLES.items()
                for name in _names(words, nouns, plain=role == "x")
                if name in by_name
            }
            if "x" in found:
                parts[split] = found
    if parts and "train" not in parts:
        raise UsageError(f"{file} has {', '.join(parts)} but no train split")
    if not parts:
        parts[""] = {"x": _examples(file, members, by_name, array)}
        for role in ("labels", "conditions"):
            member = next((by_name[name] for name in _ROLES[role] if name in by_name), None)
            if member is not None and member is not parts[""]["x"]:
                parts[""][role] = member
    if label == "none":
        parts = {split: {r: m for r, m in found.items() if r != "labels"} for split, found in parts.items()}
    elif label:
        if label not in members:
            raise UsageError(f"{file} has no array {label!r}{suggest(label, members)}")
        parts = {split: found | {"labels": members[label]} for split, found in parts.items()}
    used = {member.name for found in parts.values() for member in found.values()}
    return parts, [] if label == "none" else sorted(name for name in members if name not in used)


def _groups(file: Path, members: dict[str, ArrayMember], group: str, n: int) -> np.ndarray:
    """The number of each example's group."""
    import numpy as np

    if group not in members:
        raise UsageError(f"{file} has no array {group!r}{suggest(group, members)}")
    values = members[group].read()
    if values.shape != (n,):
        raise UsageError(f"{members[group].where} has shape {values.shape}; wanted ({n},), a group for each example")
    return np.unique(values, return_inverse=True)[1]


def _names(words: Iterable[str], nouns: Iterable[str], *, plain: bool) -> list[str]:
    """What an array of a split may be called: the split's word, alone or joined to a noun."""
    joined = [name for word in words for noun in nouns for name in (f"{word}_{noun}", f"{noun}_{word}")]
    return [*(words if plain else ()), *joined]


def _examples(file: Path, members: dict[str, ArrayMember], by_name: dict[str, ArrayMember], array: str) -> ArrayMember:
    if array:
        if array not in members:
            raise UsageError(f"{file} has no array {array!r}{suggest(array, members)}")
        return members[array]
    for name in _ROLES["x"]:
        if name in by_name:
            return by_name[name]
    others = [m for name, m in by_name.items() if name not in (*_ROLES["labels"], *_ROLES["conditions"])]
    if len(others) != 1:
        names = ", ".join(members) or "nothing"
        raise UsageError(f"{file} holds {names}; wanted one array, or samples and perhaps labels, or array = its name")
    return others[0]
