"""Two folders of images with equal file names: conditions and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....models.data_spec import ConditionSpec, DataSpec, Pairing
from ...errors import UsageError
from ..base import DataSet, Yardstick
from ..found import Chunks, Found
from ..image_tasks import resized, untranslated
from ..reference import plain_name
from ..source import SourceReader
from .image_folder import decoded, examined, groups_of, listed_images

if TYPE_CHECKING:
    import numpy as np


class ImagePairs(SourceReader):
    """A folder with two of images: an image of one is the condition of that of the same name in the other.

    condition, target: the two folders, from `path`. Both may hold the folders `train`, `val` and `test`.
    crop, resize, grey, levels, group: as of a folder of images; crop and resize are of the targets.
    condition_resize: a side, or (height, width), that conditions are resized to; None: as targets are.
    """

    name = "pairs"
    keeps = True

    def find(
        self,
        *,
        path: str,
        condition: str = "condition",
        target: str = "target",
        crop: str | int | tuple[int, int] | None = None,
        resize: int | tuple[int, int] | None = None,
        condition_resize: int | tuple[int, int] | None = None,
        grey: bool = False,
        levels: int = 256,
        group: str = "",
    ) -> Found:
        import numpy as np

        from .image_files import check_levels, level_type
        from .image_sizes import Fit

        check_levels(levels)
        folder = Path(path)
        sides = [_side(folder, name) for name in (condition, target)]
        listed = [listed_images(side, labelled=False) for side in sides]
        _check_names(folder, *(set(each.files) for each in listed))
        fits = [Fit.of(crop, resize if condition_resize is None else condition_resize), Fit.of(crop, resize)]
        seen = [examined(side, each, fit, grey=grey) for side, each, fit in zip(sides, listed, fits, strict=True)]
        files = listed[1].files
        shapes = [(found.channels, *found.size) for found in seen]
        spec = DataSpec(
            name=plain_name(folder.name) or "pairs",
            kind="image",
            shape=shapes[1],
            levels=levels,
            condition=ConditionSpec("image", shape=shapes[0], levels=levels),
            pairing=Pairing(True, f"{condition} to {target}"),
            source=str(folder),
        )

        def decode(number: int) -> Iterator[np.ndarray]:
            for name in files:
                yield decoded(sides[number] / name, fits[number], shapes[number][0], levels)[None]

        split = np.array(listed[1].splits) if any(listed[1].splits) else None
        found = Found(
            spec,
            Chunks((len(files), *shapes[1]), np.dtype(level_type(levels)), lambda: decode(1)),
            np.concatenate(list(decode(0))),
            split,
            notes=tuple(f"{sides[number].name}: {note}" for number in (0, 1) for note in seen[number].notes),
        )
        return replace(found, groups=groups_of(sides[1], files, group)) if group else found

    def read(self, spec: DataSpec, **options: Any) -> DataSet:
        data = super().read(spec, **options)
        yardstick = None
        if spec.shape == spec.condition.shape:
            yardstick = untranslated()
        elif spec.shape[0] == spec.condition.shape[0]:
            yardstick = Yardstick("bicubic", partial(resized, size=spec.shape))
        return replace(data, yardstick=yardstick)


def _side(folder: Path, name: str) -> Path:
    side = folder / name
    if not side.is_dir():
        raise UsageError(
            f"{folder} has no folder {name!r}; pairs are two folders of images with equal names, condition and target "
            "(options of [data] give them other names)"
        )
    return side


def _check_names(folder: Path, conditions: set[str], targets: set[str]) -> None:
    alone = sorted(conditions ^ targets)
    if alone:
        where = "targets" if alone[0] in conditions else "conditions"
        raise UsageError(
            f"{folder}: {len(alone):,} images have no partner of the same name, such as {alone[0]}, "
            f"which is not among the {where}"
        )
