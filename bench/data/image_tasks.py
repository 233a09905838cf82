"""Image-to-image tasks that are made of any set of images: what is asked for is the image, the condition is made of it.

Describing imports neither torch nor numpy.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ...models.data_spec import ConditionSpec, DataSpec, Pairing, from_levels
from ..errors import UsageError
from .base import DataReader, DataSet, Yardstick
from .reference import IMAGE_TASKS, DataRef

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .examples import Examples

_SEED = 4_211  # of the order in which unpaired sides stand beside each other
_OF_PLACES = ("path", "name")


class ImageTask(DataReader):
    """A task on the images of another data set. Subclasses say what the condition is, and how it is made.

    Splits, targets and their labels are those of the other set, whose evaluators look at the samples. Options: `name`,
    the other set as `locate` takes it, and those of its reader.

    direction: from what to what. paired: whether a condition belongs to the image beside it.
    """

    direction: str
    paired = True
    known = ()

    def condition_shape(self, spec: DataSpec) -> tuple[int, ...]:
        """(C', H', W') of conditions of images of a description. Raises UsageError for those that it does not suit."""
        raise NotImplementedError(f"{type(self).__name__} does not say what its conditions are")

    def conditions(self, levels: np.ndarray, top: int) -> np.ndarray:
        """Levels (n, C', H', W') of conditions, of levels (n, C, H, W) of images, both 0...top."""
        raise NotImplementedError(f"{type(self).__name__} does not make its conditions")

    def yardstick(self, targets: DataSet) -> Yardstick:
        """What one gets without a model."""
        raise NotImplementedError(f"{type(self).__name__} has no yardstick")

    def sources(self, count: int) -> np.ndarray | None:
        """Which image of a split each condition is made of, (count,); None: its own."""
        return None

    def parameters(self) -> Mapping[str, inspect.Parameter]:
        from .readers import readers

        others = (reader for reader in readers().values() if not isinstance(reader, ImageTask))
        names = {name for reader in others for name in reader.parameters()} - {*_OF_PLACES}
        own = inspect.Parameter("name", inspect.Parameter.KEYWORD_ONLY)
        given = (inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in sorted(names))
        return {parameter.name: parameter for parameter in (own, *given)}

    def describe(self, *, name: str, **options: Any) -> DataSpec:
        from .readers import describe_data

        base = describe_data(self._base(name, options))
        if base.kind != "image" or base.condition.kind not in ("none", "label"):
            with_conditions = f" with {base.condition.kind} conditions" if base.condition.kind != "none" else ""
            raise UsageError(
                f"{self.name} is made of images with labels or none; data {base.name!r} is {base.kind}{with_conditions}"
            )
        return replace(
            base,
            name=f"{self.name}-{base.name}",
            condition=ConditionSpec("image", shape=self.condition_shape(base), levels=base.levels),
            pairing=Pairing(self.paired, self.direction),
            target_classes=base.classes,
        )

    def read(self, spec: DataSpec, *, name: str, **options: Any) -> DataSet:
        from .readers import open_data

        targets = open_data(self._base(name, options))
        made = {split: self._examples(examples, spec) for split, examples in targets.splits.items()}
        labels = {split: sources for split, (_, sources) in made.items() if sources is not None}
        return DataSet(
            replace(spec, examples=targets.spec.examples),
            {split: examples for split, (examples, _) in made.items()},
            notes=targets.notes,
            class_names=targets.class_names,
            targets=targets,
            source_labels=labels or None,
            yardstick=self.yardstick(targets),
        )

    def _base(self, name: str, options: Mapping[str, Any]) -> DataRef:
        """The reference to the other set."""
        from .locate import locate

        if not isinstance(name, str) or not name:
            raise UsageError(f"{self.name} needs the data that it is made of, such as {self.name}:digits")
        base = locate(name)
        return DataRef.of(base.reader, **{**options, **base.keywords})

    def _examples(self, targets: Examples, spec: DataSpec) -> tuple[Examples, Any]:
        """A split of the task, and the labels (n,) of what its conditions are made of; None without labels."""
        import numpy as np
        import torch

        from .examples import Column, Examples

        levels = cast("int", spec.levels)
        smallest = np.uint8 if levels <= 2**8 else np.int32
        chunks = (spec.to_levels(x).numpy() for x in targets.x.chunks())
        made = np.concatenate([self.conditions(chunk, levels - 1).astype(smallest) for chunk in chunks])
        labels, sources = targets.labels, self.sources(len(made))
        if sources is not None:
            made = made[sources]
            labels = None if labels is None else labels[torch.from_numpy(sources)]
        stored = torch.from_numpy(np.ascontiguousarray(made))
        return Examples(targets.x, Column(stored, partial(from_levels, levels=levels))), labels


class SuperResolution(ImageTask):
    """Images at twice the resolution: the condition is the mean of each 2 × 2 pixels, rounded to the nearest level."""

    name = "super_resolution"
    direction = "half the resolution to the whole"

    def condition_shape(self, spec: DataSpec) -> tuple[int, ...]:
        channels, height, width = spec.shape
        if height % 2 or width % 2:
            raise UsageError(f"{self.name} needs even sides; images of data {spec.name!r} are {height} × {width}")
        return channels, height // 2, width // 2

    def conditions(self, levels: np.ndarray, top: int) -> np.ndarray:
        n, channels, height, width = levels.shape
        sums: np.ndarray = levels.reshape(n, channels, height // 2, 2, width // 2, 2).sum((3, 5))
        return (sums + 2) // 4

    def yardstick(self, targets: DataSet) -> Yardstick:
        return Yardstick("bicubic", partial(resized, size=targets.spec.shape))


class Inpainting(ImageTask):
    """Images with a hidden rectangle of half their sides: the condition is the image, at the middle level where it is
    hidden, and as a last channel the mask, at the highest level there and at the lowest elsewhere.

    Where the rectangle lies depends on the image's content alone.
    """

    name = "inpainting"
    direction = "an image with a hidden part to the whole"

    def condition_shape(self, spec: DataSpec) -> tuple[int, ...]:
        channels, height, width = spec.shape
        if min(height, width) < 2:
            raise UsageError(
                f"{self.name} needs sides of at least 2 pixels; images of data {spec.name!r} are {height} × {width}"
            )
        return channels + 1, height, width

    def conditions(self, levels: np.ndarray, top: int) -> np.ndarray:
        import numpy as np

        mask = hidden(levels)
        return np.concatenate([np.where(mask, (top + 1) // 2, levels), top * mask.astype(levels.dtype)], axis=1)

    def yardstick(self, targets: DataSet) -> Yardstick:
        """The train split's mean of each hidden pixel."""
        import torch

        train = targets.splits["train"].x
        mean = torch.stack([x.double().sum(0) for x in train.chunks()]).sum(0) / len(train)
        return Yardstick("train_mean", lambda c: c[:, :-1].where(c[:, -1:] < 0.0, mean.to(c)))


class Rotated(ImageTask):
    """Upright images of rotated ones, unpaired: the condition is another image of the split, turned by 90 degrees
    counter-clockwise."""

    name = "rotated"
    direction = "rotated by 90 degrees to upright"
    paired = False

    def condition_shape(self, spec: DataSpec) -> tuple[int, ...]:
        channels, height, width = spec.shape
        if height != width:
            raise UsageError(f"{self.name} needs square images; those of data {spec.name!r} are {height} × {width}")
        return channels, width, height

    def conditions(self, levels: np.ndarray, top: int) -> np.ndarray:
        import numpy as np

        return np.rot90(levels, axes=(2, 3))

    def yardstick(self, targets: DataSet) -> Yardstick:
        return untranslated()

    def sources(self, count: int) -> np.ndarray | None:
        """One cycle through all images, so that none stands beside itself."""
        import numpy as np

        order = np.random.default_rng(_SEED).permutation(count)
        following = np.empty(count, np.int64)
        following[order] = np.roll(order, -1)
        return following


def untranslated() -> Yardstick:
    """Conditions as they are."""
    return Yardstick("untranslated", lambda condition: condition)


def resized(condition: Tensor, *, size: tuple[int, ...]) -> Tensor:
    """Conditions (n, C', H', W') at the size of images (C, H, W), clipped to [-1, 1], by bicubic interpolation.

    References: Keys, doi:10.1109/TASSP.1981.1163711, with torch's a = -3/4.
    """
    import torch.nn.functional as F

    return F.interpolate(condition, size=size[-2:], mode="bicubic").clamp(-1.0, 1.0)


def hidden(levels: np.ndarray) -> np.ndarray:
    """Masks (n, 1, H, W), bool: true in a rectangle of H/2 × W/2 pixels, rounded down, of images' levels (n, C, H, W).

    Its place is drawn by a hash of the levels.
    """
    import numpy as np

    height, width = levels.shape[2:]
    rows, columns = height // 2, width // 2
    mask = np.zeros((len(levels), 1, height, width), bool)
    for image, where in zip(levels.astype("<i4"), mask, strict=True):
        drawn = int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little")
        top, left = drawn % (height - rows + 1), drawn // (height - rows + 1) % (width - columns + 1)
        where[0, top : top + rows, left : left + columns] = True
    return mask


TASKS: dict[str, DataReader] = {task.name: task for task in (SuperResolution(), Inpainting(), Rotated())}
assert tuple(TASKS) == IMAGE_TASKS
