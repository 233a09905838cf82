"""What arrays are: images, vectors or sequences, with labels or conditions. Free of torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ....models.data_spec import ConditionSpec, DataSpec
from ...errors import UsageError
from ..found import Chunks, Found
from ..reference import plain_name
from .array_files import Member
from .image_files import check_levels, level_type, quantised
from .image_sizes import Fit, common_size

_CHANNELS = (1, 3)
_MOST_CLASSES = 0.5  # of the examples: with more, labels are no classes
_DARK = 0.5  # share of the range below which all values of integers make a note


@dataclass(frozen=True)
class ImageOptions:
    """The options that concern images alone (`Arrays`). Raises UsageError for a number of levels that none can have."""

    fit: Fit
    grey: bool
    levels: int
    flip: bool

    def __post_init__(self) -> None:
        if self.levels:
            check_levels(self.levels)


@dataclass(frozen=True)
class _Range:
    """How the numbers of images are read: those from `low` to `high` become the levels 0...L-1."""

    low: float
    high: float
    levels: int
    note: str = ""

    def quantise(self, values: np.ndarray) -> np.ndarray:
        if values.dtype.kind in "iub" and self.low == 0:
            return quantised(values, int(self.high), self.levels)
        shares = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return np.floor(shares * (self.levels - 1) + 0.5).astype(level_type(self.levels))


def kind_of(member: Member) -> str:
    """Three or four axes are images; integers of two axes are sequences; other numbers are vectors."""
    if len(member.shape) >= 3:
        return "image"
    return "sequence" if len(member.shape) == 2 and member.dtype.kind in "iu" else "vector"


def found_in(file: Path | str, parts: Mapping[str, Mapping[str, Member]], kind: str, options: ImageOptions) -> Found:
    """All examples of a file, or of what has another name.

    parts: by split ("": there are none), arrays under "x" and perhaps "labels" and "conditions".
    kind: "": by the first array. Raises UsageError for arrays that do not go together or are no such data.
    """
    members = [part["x"] for part in parts.values()]
    for member in members:
        if member.dtype.kind not in "iufb":
            raise UsageError(f"{member.where} holds values of type {member.dtype}; wanted numbers")
        if member.shape[1:] != members[0].shape[1:] or not member.shape:
            raise UsageError(f"{member.where} has shape {member.shape}; wanted (n, {members[0].shape[1:]})")
    kind = kind or kind_of(members[0])
    name = plain_name(Path(file).stem) or "arrays"
    make = {"image": _images, "vector": _vectors, "sequence": _sequences}[kind]
    found = make(DataSpec(name, "vector", (1,), source=str(file)), members, options)
    split = None
    if "" not in parts:
        split = np.concatenate([np.full(len(m), part) for m, part in zip(members, parts, strict=True)])
    return _with_conditions(replace(found, split=split), parts)


def _images(spec: DataSpec, members: Sequence[Member], options: ImageOptions) -> Found:
    where = members[0].where
    to_first, channels, size = _axes(where, members[0].shape)
    final = common_size([size], ["each"], options.fit, where)
    read = _range(members, options.levels)
    shape = (1 if options.grey else channels, *final)

    def chunks() -> Iterator[np.ndarray]:
        for member in members:
            for chunk in member.chunks():
                values = to_first(chunk)
                if options.grey and channels == 3:
                    values = _grey(values)
                if options.fit != Fit():
                    values = np.stack([options.fit.apply(image) for image in values])
                yield read.quantise(values)

    notes = (read.note,) if read.note else ()
    spec = replace(spec, kind="image", shape=shape, levels=read.levels)
    x = Chunks((sum(map(len, members)), *shape), np.dtype(level_type(read.levels)), chunks)
    return Found(spec, x, notes=notes, mirrored=options.flip)


def _axes(where: str, shape: tuple[int, ...]) -> tuple[Any, int, tuple[int, int]]:
    """What brings chunks to (n, C, H, W), the number of channels, and height and width."""
    if len(shape) == 3:
        return lambda a: a[:, None], 1, (shape[1], shape[2])
    if len(shape) == 4 and shape[1] in _CHANNELS and not (shape[3] in _CHANNELS and shape[1] > shape[3]):
        return lambda a: a, shape[1], (shape[2], shape[3])
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return lambda a: a.transpose(0, 3, 1, 2), shape[3], (shape[1], shape[2])
    raise UsageError(f"{where} has shape {shape}; wanted (n, H, W), (n, C, H, W) or (n, H, W, C) of 1 or 3 channels")


def _range(members: Sequence[Member], levels: int) -> _Range:
    """How the numbers are to be read, by their type and by what they hold."""
    where, kind = members[0].where, members[0].dtype.kind
    low, high, whole = np.inf, -np.inf, True
    for member in members:
        for chunk in member.chunks():
            low, high = min(low, chunk.min()), max(high, chunk.max())
            if kind == "f":
                if not np.isfinite(chunk).all():
                    raise UsageError(f"{member.where} holds NaN or infinite values; wanted finite numbers")
                whole = whole and bool((chunk == np.rint(chunk)).all())
    if kind == "b":
        return _Range(0, 1, levels or 2)
    if kind == "f" and not (whole and high > 1):
        if low >= 0 and high <= 1:
            return _Range(0.0, 1.0, levels or 256, "floats are taken as 0 (black) to 1 (white)")
        if low >= -1 and high <= 1:
            return _Range(-1.0, 1.0, levels or 256, "floats are taken as −1 (black) to 1 (white)")
        raise UsageError(f"{where} has floats from {low:.6g} to {high:.6g}; wanted [0, 1], [−1, 1], or whole numbers")
    if low < 0 or high > 65_535:
        raise UsageError(f"{where} has numbers from {low:.6g} to {high:.6g}; wanted 0 to 255, or to 65,535")
    if levels and high < levels:
        return _Range(0, levels - 1, levels)
    top = 255 if high <= 255 and members[0].dtype != np.uint16 else 65_535
    note = ""
    if high < _DARK * top:
        note = f"no value is above {high:.0f} of {top:,}; levels = {high + 1:.0f} would take them as levels"
    return _Range(0, top, levels or 256, note)


def _grey(values: np.ndarray) -> np.ndarray:
    """Rec. 601's luma of (n, 3, H, W) as Pillow rounds it; of floats unrounded."""
    if values.dtype.kind == "f":
        return (values * np.array([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdims=True).astype(values.dtype)
    weighed = values.astype(np.int64) * np.array([19_595, 38_470, 7_471])[:, None, None]
    return ((weighed.sum(1, keepdims=True) + 2**15) >> 16).astype(values.dtype)


def _vectors(spec: DataSpec, members: Sequence[Member], options: ImageOptions) -> Found:
    x = np.concatenate([member.read().astype(np.float64) for member in members])
    if x.ndim > 2:
        raise UsageError(f"{members[0].where} has shape {members[0].shape}; wanted vectors (n, D)")
    x = x.reshape(len(x), -1)
    return Found(replace(spec, shape=x.shape[1:]), x)


def _sequences(spec: DataSpec, members: Sequence[Member], options: ImageOptions) -> Found:
    x = np.concatenate([member.read() for member in members])
    where = members[0].where
    if x.ndim != 2 or x.dtype.kind not in "iu":
        raise UsageError(f"{where} has shape {members[0].shape} and type {x.dtype}; wanted tokens (n, T), integers")
    if x.size and x.min() < 0:
        raise UsageError(f'{where} has tokens below 0; wanted 0 and up, or kind = "vector" in [data] of a study file')
    x = x.astype(np.int64)
    note = 'integers of two axes are taken as sequences of tokens; kind = "vector" takes them as numbers'
    vocabulary = int(x.max()) + 1 if x.size else 1
    return Found(replace(spec, kind="sequence", shape=x.shape[1:], vocabulary=vocabulary), x, notes=(note,))


def _with_conditions(found: Found, parts: Mapping[str, Mapping[str, Member]]) -> Found:
    """The same with the labels or conditions of a file, where each split has them."""
    for role in ("labels", "conditions"):
        having = [part for part in parts.values() if role in part]
        if not having:
            continue
        if len(having) < len(parts):
            raise UsageError(f'{having[0][role].where} has {role} for some splits only; wanted all, or label = "none"')
        for part in having:
            if len(part[role]) != len(part["x"]):
                raise UsageError(f"{part[role].where} has {len(part[role])} entries for {len(part['x'])} examples")
        values = np.concatenate([np.asarray(part[role].read()) for part in having])
        where = having[0][role].where
        if role == "labels" or values.ndim == 1:
            return _labelled(found, values, where)
        return _conditioned(found, [part[role] for part in having], values, where)
    return found


def _labelled(found: Found, values: np.ndarray, where: str) -> Found:
    if values.ndim == 2 and values.shape[1] > 1 and (np.isin(values, (0, 1)).all() and (values.sum(1) == 1).all()):
        values = values.argmax(1)
    values = values.reshape(len(values), -1)
    if values.shape[1] != 1 or (values.dtype.kind not in "iubUS" and not (values == np.rint(values)).all()):
        raise UsageError(f"{where} has shape {values.shape} and type {values.dtype}; wanted one label for each example")
    names, labels = np.unique(values[:, 0], return_inverse=True)
    if len(names) == 1:
        return replace(found, notes=(*found.notes, "all examples have the same label, so they have none"))
    if len(names) > _MOST_CLASSES * len(values):
        raise UsageError(
            f'{where} has {len(names)} different values for {len(values)} examples; wanted classes, or label = "none"'
        )
    spec = replace(found.spec, condition=ConditionSpec("label", classes=len(names)))
    shown = tuple(str(int(name)) if names.dtype.kind == "f" else str(name) for name in names)
    return replace(found, spec=spec, condition=labels, class_names=shown)


def _conditioned(found: Found, members: Sequence[Member], values: np.ndarray, where: str) -> Found:
    """With images or texts as conditions."""
    if values.ndim == 2 and values.dtype.kind in "iu" and values.min() >= 0:
        condition = ConditionSpec("text", shape=values.shape[1:], vocabulary=int(values.max()) + 1)
        return replace(found, spec=replace(found.spec, condition=condition), condition=values)
    if values.ndim < 3:
        raise UsageError(f"{where} has shape {values.shape} and type {values.dtype}; wanted labels, images or tokens")
    if found.mirrored:
        raise UsageError("option flip is for images without image conditions, which it would not mirror")
    to_first, channels, size = _axes(where, values.shape)
    read = _range(members, found.spec.levels or 0)
    condition = ConditionSpec("image", shape=(channels, *size), levels=read.levels)
    return replace(found, spec=replace(found.spec, condition=condition), condition=read.quantise(to_first(values)))
