"""What a source holds, before it is cut into splits. Free of torch and numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...models.data_spec import DataSpec

if TYPE_CHECKING:
    import numpy as np

    from .duplicates import Duplicates


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that a source holds, in the order in which it stands there.

    spec: the description, without mean and deviation.
    x: (n, *spec.shape): levels of images or tokens as integers, perhaps a `np.memmap`; vectors in original units,
        float64.
    condition: (n, *spec.condition.shape), integers likewise; None without conditions.
    split: (n,) of "train", "validation" and "test", where the source says so itself; else None.
    groups: (n,) integers; examples with the same one stay in one split. None: each on its own.
    notes: sentences about what was skipped or converted.
    content: a hash of x and condition where the source knows one; "": they are hashed when they are read.
    duplicates: where the source knows them; None: they are looked for when it is read.
    mirrored: whether the train split holds every image once more, mirrored left to right.
    """

    spec: DataSpec
    x: np.ndarray
    condition: np.ndarray | None = None
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    content: str = ""
    duplicates: Duplicates | None = None
    mirrored: bool = False

    def __len__(self) -> int:
        return len(self.x)
