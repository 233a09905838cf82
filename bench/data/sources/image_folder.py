"""A folder of images. Imports nothing heavy until one is read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....models.data_spec import ConditionSpec, DataSpec
from ...errors import UsageError
from ..found import Chunks, Found
from ..reference import plain_name
from ..source import SourceReader
from ..walk import files_under

if TYPE_CHECKING:
    import numpy as np

    from .image_sizes import Fit

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
_SYSTEM = ("thumbs.db", "desktop.ini", ".ds_store")


class ImageFolder(SourceReader):
    """Images in a folder: those of one class in a folder of their own, of one split in `train`, `val` or `test`.

    crop: "square", a side, or (height, width): what is cut out of the middle of each image first.
    resize: a side, or (height, width), that images are resized to.
    grey: whether colours become grey; without it one image in colour makes all of them colour.
    levels: L; pixels go to the nearest of them.
    label: "folder", or "none" for images without labels.
    group: a regular expression; images in whose paths it finds the same text stay in one split.
    flip: whether the train split holds each image mirrored, too.
    captions: a JSON-lines file or a table within the folder, in which `file_name` says of which image a line is; then
        images have these texts, and no labels. caption: its key or column with the text.
    """

    name = "images"
    folders = True
    keeps = True

    def find(
        self,
        *,
        path: str,
        crop: str | int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        grey: bool = False,
        levels: int = 256,
        label: str = "folder",
        group: str = "",
        flip: bool = False,
        captions: str = "",
        caption: str = "text",
    ) -> Found:
        from .image_captions import with_captions
        from .image_files import check_levels
        from .image_sizes import Fit

        check_levels(levels)
        if label not in ("folder", "none"):
            raise UsageError(f"option label is {label!r}; wanted 'folder' or 'none'")
        if flip and captions:
            raise UsageError("option flip is for images without captions, which may say left or right")
        folder = Path(path)
        fit = Fit.of(crop, resize)
        listed = listed_images(folder, labelled=label == "folder" and not captions)
        found = _found(folder, listed, fit, grey=grey, levels=levels, flip=flip)
        if captions:
            found = with_captions(found, folder, listed.files, captions, caption)
        return replace(found, groups=groups_of(folder, listed.files, group)) if group else found


@dataclass
class Listed:
    """The images of a folder, by path, with class and split ("" where there are none); and what was left out."""

    files: list[str] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    nested: int = 0

    def notes(self) -> list[str]:
        told = [f"{what} ({count:,})" for what, count in sorted(self.skipped.items())]
        found = [f"skipped {', '.join(told)}"] if told else []
        if self.nested:
            found.append(f"{self.nested:,} images lie in deeper folders; the first folder is their class")
        return found


def listed_images(folder: Path, *, labelled: bool) -> Listed:
    """Sorts what lies in a folder. Raises UsageError where that are no images, or classes and splits do not agree."""
    from .image_files import SUFFIXES

    listed = Listed()
    for name, status in files_under(folder):
        kind = _kind(name, SUFFIXES, dead=status is None)
        if kind:
            listed.skipped[kind] += 1
            continue
        *parents, _ = name.split("/")
        split = _SPLITS.get(parents[0].lower(), "") if parents else ""
        inner = parents[1:] if split else parents
        listed.files.append(name)
        listed.splits.append(split)
        listed.classes.append(inner[0] if inner and labelled else "")
        listed.nested += labelled and len(inner) > 1
    if not listed.files:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise UsageError(f"{folder} holds no images ({kinds}){_but(listed)}")
    for what, values in (("split folders", listed.splits), ("class folders", listed.classes)):
        outside = sum(not value for value in values)
        if 0 < outside < len(values):
            first = listed.files[next(i for i, value in enumerate(values) if not value)]
            hint = "" if what == "split folders" else '; label = "none" in [data] reads all without labels'
            raise UsageError(
                f"{folder}: {outside:,} of {len(values):,} images lie outside the {what}, such as {first}{hint}"
            )
    return listed


def groups_of(folder: Path, files: list[str], pattern: str) -> np.ndarray:
    """The number of each file's group: of the text that the pattern finds in its path."""
    import numpy as np

    try:
        found = [re.search(pattern, name) for name in files]
    except re.error as error:
        raise UsageError(f"option group is {pattern!r}, no regular expression: {error}") from None
    without = [name for name, match in zip(files, found, strict=True) if match is None]
    if without:
        raise UsageError(f"{folder}: group {pattern!r} is not in {len(without):,} of the paths, such as {without[0]}")
    return np.unique([match[0] for match in found if match], return_inverse=True)[1]


def _kind(name: str, suffixes: tuple[str, ...], *, dead: bool) -> str:
    """Why a file is skipped; "" for an image."""
    parts = name.split("/")
    if parts[-1].lower() in _SYSTEM:
        return "system files"
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return "hidden files"
    if dead:
        return "links to nothing"
    return "" if Path(parts[-1]).suffix.lower() in suffixes else "files of other kinds"


def _but(listed: Listed) -> str:
    return "".join(f"; {note}" for note in listed.notes())


@dataclass(frozen=True)
class Examined:
    """What images come to before any is decoded: channels, height and width; and what is noted of them."""

    channels: int
    size: tuple[int, int]
    notes: tuple[str, ...]


def examined(folder: Path, listed: Listed, fit: Fit, *, grey: bool) -> Examined:
    """What listed images come to. Raises UsageError for what is no image, and where they come to several sizes."""
    from .image_files import header, notes_on, opened
    from .image_sizes import common_size

    headers = []
    for name in listed.files:
        with opened(folder / name) as image:
            headers.append(header(image))
    channels = 1 if grey or all(h.grey for h in headers) else 3
    sizes = [(h.height, h.width) for h in headers]
    size = common_size(sizes, listed.files, fit, str(folder))
    notes = [*listed.notes(), *notes_on(headers, channels)]
    stretched = sum(map(fit.stretches, sizes))
    if stretched:
        notes.append(f'{stretched:,} images change their proportions; crop = "square" would cut their sides off')
    return Examined(channels, size, tuple(notes))


def _found(folder: Path, listed: Listed, fit: Fit, *, grey: bool, levels: int, flip: bool) -> Found:
    import numpy as np

    from .image_files import level_type

    seen = examined(folder, listed, fit, grey=grey)
    notes = [*seen.notes]
    names = sorted({name for name in listed.classes if name})
    labels = None
    if len(names) == 1:
        notes.append(f"all images are of one class ({names[0]}), so they have no labels")
    elif names:
        labels = np.array([names.index(name) for name in listed.classes])
    spec = DataSpec(
        name=plain_name(folder.name) or "images",
        kind="image",
        shape=(seen.channels, *seen.size),
        levels=levels,
        condition=ConditionSpec() if labels is None else ConditionSpec("label", classes=len(names)),
        source=str(folder),
    )

    def decode() -> Iterator[np.ndarray]:
        for name in listed.files:
            yield decoded(folder / name, fit, seen.channels, levels)[None]

    x = Chunks((len(listed.files), *spec.shape), np.dtype(level_type(levels)), decode)
    split = np.array(listed.splits) if any(listed.splits) else None
    named = () if labels is None else tuple(names)
    return Found(spec, x, labels, split, notes=tuple(notes), class_names=named, mirrored=flip)


def decoded(file: Path, fit: Fit, channels: int, levels: int) -> np.ndarray:
    """Levels (C, H, W) of one file."""
    from .image_files import opened, pixels, quantised

    with opened(file) as image:
        values, top = pixels(image, channels)
        return quantised(fit.apply(values), top, levels)
