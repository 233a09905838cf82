"""What a source holds, before it is cut into splits. Free of torch and numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...models.data_spec import DataSpec

if TYPE_CHECKING:
    import numpy as np

    from .duplicates import Duplicates


@dataclass(frozen=True, eq=False)
class Chunks:
    """An array that is made some examples at a time: `chunks` gives them in order, (any, *shape[1:])."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: Callable[[], Iterator[np.ndarray]]

    def __len__(self) -> int:
        return self.shape[0]


@dataclass(frozen=True, eq=False)
class Found:
    """Everything that a source holds, in the order in which it stands there.

    spec: the description, without mean and deviation.
    x: (n, *spec.shape): levels of images or tokens as integers, perhaps a `np.memmap`; vectors in original units,
        float64. `Chunks` where the reader's results are kept (`SourceReader.keeps`).
    condition: (n, *spec.condition.shape), integers likewise; None without conditions.
    split: (n,) of "train", "validation" and "test", where the source says so itself; else None.
    groups: (n,) integers; examples with the same one stay in one split. None: each on its own.
    notes: sentences about what was skipped or converted.
    content: a hash of x and condition where the source knows one; "": they are hashed when they are read.
    duplicates: where the source knows them; None: they are looked for when it is read.
    class_names: of the labels, in their order; empty where they have none.
    mirrored: whether the train split holds every image once more, mirrored left to right.
    """

    spec: DataSpec
    x: np.ndarray | Chunks
    condition: np.ndarray | None = None
    split: np.ndarray | None = None
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    content: str = ""
    duplicates: Duplicates | None = None
    class_names: tuple[str, ...] = ()
    mirrored: bool = False

    def __len__(self) -> int:
        return len(self.x)

    @property
    def values(self) -> np.ndarray:
        """x, once it is an array."""
        assert not isinstance(self.x, Chunks), "chunks are kept first"
        return self.x
