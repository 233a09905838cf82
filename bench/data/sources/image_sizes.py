"""Crops and resizes images to one size. Free of torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...errors import UsageError

Size = tuple[int, int]  # height and width
_SMALLEST = 4  # pixels a side, which networks and evaluators need: they halve the resolution twice


@dataclass(frozen=True)
class Fit:
    """What is done to every image: the middle is cut out, then it is resized.

    crop: height and width that are cut out; "square": the largest square; None: nothing is.
    size: height and width in the end; None: as they are.
    """

    crop: Size | str | None = None
    size: Size | None = None

    @classmethod
    def of(cls, crop: object, resize: object) -> Fit:
        """From the options of a reader. Raises UsageError for values that are no sizes."""
        return cls("square" if crop == "square" else _size("crop", crop), _size("resize", resize))

    def result(self, size: Size) -> Size:
        """The size that an image of a size comes to."""
        return self.size or self._cut(size)

    def stretches(self, size: Size) -> bool:
        """Whether resizing changes the proportions of an image of a size, by more than rounding does."""
        if self.size is None:
            return False
        height, width = self._cut(size)
        return abs(height * self.size[1] - width * self.size[0]) > max(height, width, *self.size)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Pixels (C, H, W), cropped and resized by Pillow's bicubic filter, which widens where images shrink."""
        height, width = self._cut(values.shape[1:])
        top, left = (values.shape[1] - height) // 2, (values.shape[2] - width) // 2
        values = values[:, top : top + height, left : left + width]
        if self.size is None or self.size == (height, width):
            return values
        highest = np.iinfo(values.dtype).max
        planes = [
            np.asarray(Image.fromarray(plane.astype(np.float32)).resize(self.size[::-1], Image.Resampling.BICUBIC))
            for plane in values
        ]
        return np.clip(np.rint(np.stack(planes)), 0, highest).astype(values.dtype)

    def _cut(self, size: Sequence[int]) -> Size:
        height, width = size[0], size[1]
        if self.crop is None:
            return height, width
        if isinstance(self.crop, str):
            return min(height, width), min(height, width)
        return self.crop


def common_size(sizes: Sequence[Size], names: Sequence[str], fit: Fit, where: str) -> Size:
    """The one size that images come to.

    sizes: of all images, as they are. names: theirs. where: begins messages.
    Raises UsageError where they come to several, where one is smaller than the crop, and for a side below 4.
    """
    if isinstance(fit.crop, tuple):
        for size, name in zip(sizes, names, strict=True):
            if size[0] < fit.crop[0] or size[1] < fit.crop[1]:
                raise UsageError(f"{where}: {name} is {_shown(size)}, smaller than the crop of {_shown(fit.crop)}")
    counts = Counter(map(fit.result, sizes))
    if len(counts) > 1:
        (most, n), *_, (least, few) = counts.most_common()
        odd = next(name for size, name in zip(sizes, names, strict=True) if fit.result(size) == least)
        raise UsageError(
            f"{where}: images have {len(counts)} sizes: {n:,} are {_shown(most)}, {few:,} {_shown(least)} ({odd}); "
            f'wanted one: set resize = {max(_SMALLEST, min(most))}, with crop = "square" where proportions differ, '
            "in [data] of a study file"
        )
    (size,) = counts
    if min(size) < _SMALLEST:
        wanted = [max(side, _SMALLEST) for side in size]
        raise UsageError(
            f"{where}: images come to {_shown(size)}; wanted at least {_SMALLEST} × {_SMALLEST}: "
            f"set resize = {wanted} in [data] of a study file"
        )
    return size


def _size(name: str, value: object) -> Size | None:
    if value is None:
        return None
    sides = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(sides) != 2 or not all(isinstance(s, int) and not isinstance(s, bool) and 0 < s <= 4_096 for s in sides):
        also = ', or "square"' if name == "crop" else ""
        raise UsageError(f"option {name} is {value!r}; wanted a side in pixels, or [height, width]{also}")
    return int(sides[0]), int(sides[1])


def _shown(size: Size) -> str:
    return f"{size[0]} × {size[1]} (height × width)"
