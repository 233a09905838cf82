"""The examples of one split: stored compactly, and made into batches by index.

Batches are four to eight times as large as the compact form: levels of images and labels fit into bytes. The compact
form lies in memory or in a mapped file; only the current batch is converted to floats.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...models.base import Batch
from ...models.data_spec import DataSpec, from_levels, to_levels

Values = np.ndarray | Tensor

_CPU = torch.device("cpu")
_RESIDENT_BYTES = 2**30  # the largest split that an accelerator holds whole
_CHUNK_NUMBERS = 2**22  # numbers at a time where all of a split are looked at


@dataclass(frozen=True, eq=False)
class Column:
    """One value of each example; an index or slice of it is a tensor of what batches hold.

    stored: the compact form. restore: makes of some of it what batches hold.
    rows: where each example stands in `stored`, int64 on the CPU, so that several columns share one file; ~r, which is
        negative, stands for the image in row r mirrored left to right. None: the examples are the rows.
    """

    stored: Tensor
    restore: Callable[[Tensor], Tensor]
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.stored if self.rows is None else self.rows)

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        return self.restore(self._some(index))

    @property
    def bytes(self) -> int:
        """Of the compact form."""
        return len(self) * math.prod(self.stored.shape[1:]) * self.stored.element_size()

    @property
    def bytes_of_one(self) -> int:
        """Of one value as batches hold it."""
        one = self[:1]
        return one.numel() * one.element_size()

    def chunks(self) -> Iterator[Tensor]:
        """All values in order, some at a time, on the CPU."""
        rows = max(1, _CHUNK_NUMBERS // max(1, math.prod(self.stored.shape[1:])))
        for start in range(0, len(self), rows):
            yield self[start : start + rows].cpu()

    def made_on(self, device: torch.device, index: Tensor | slice) -> Tensor:
        """What an index gives, restored on a device after its compact form has moved there."""
        return self.restore(self._some(index).to(device))

    def to(self, device: torch.device) -> Column:
        """The same column, stored on another device."""
        return Column(self._some(slice(None)).to(device), self.restore)

    def select(self, index: Tensor | slice) -> Column:
        """The column of some examples, in compact form."""
        if self.rows is not None:
            return replace(self, rows=self.rows[index if isinstance(index, slice) else index.cpu()])
        return Column(self._some(index), self.restore)

    def _some(self, index: Tensor | slice) -> Tensor:
        if self.rows is not None:
            rows = self.rows[index if isinstance(index, slice) else index.cpu()]
            mirrored = rows < 0
            values = self.stored.index_select(0, torch.where(mirrored, ~rows, rows).to(self.stored.device))
            if mirrored.any():
                values[mirrored] = values[mirrored].flip(-1)
            return values
        if isinstance(index, slice):
            return self.stored[index]
        index = index.to(self.stored.device)
        if index.dtype == torch.bool:
            return self.stored[index]
        return self.stored.index_select(0, index)  # on the CPU in half the time of indexing


@dataclass(frozen=True, eq=False)
class Examples:
    """The examples of a split; an index or slice makes a `Batch` of some of them, on `device`.

    On an accelerator, a split of at most 1 GiB lies whole in compact form from its first batch on; of a larger one each
    batch is gathered on the host and travels in compact form.

    x: of all examples. condition: likewise; None without conditions.
    device: where batches are made.
    """

    x: Column
    condition: Column | None = None
    device: torch.device = _CPU
    _resident: dict[torch.device, tuple[Column, Column | None]] = field(default_factory=dict, repr=False)

    @classmethod
    def of_arrays(
        cls, spec: DataSpec, x: Values, condition: Values | None = None, *, rows: np.ndarray | None = None
    ) -> Examples:
        """From all values, as arrays or tensors; a `np.memmap` stays in its file, in the type that it has.

        x: (n, *spec.shape): levels of images or tokens of sequences, as integers; or float32, as batches hold it.
        condition: (n, *spec.condition.shape): labels, levels of images or tokens, as integers; or images in float32.
        rows: which of x are the examples, as `Column.rows` says it; None: all. Conditions are of the examples alone.
        Raises ValueError for shapes, types and numbers that do not fit the description.
        """
        wanted = spec.condition
        count = wanted.levels or wanted.vocabulary or wanted.classes or None
        where = f"data {spec.name!r}"
        n = len(x if rows is None else rows)
        if condition is not None and len(condition) != n:
            raise ValueError(f"{where}: {n} examples have {len(condition)} conditions; wanted as many")
        column = _column(x, spec.kind, spec.shape, spec.levels or spec.vocabulary, f"{where}: x")
        return cls(
            column if rows is None else replace(column, rows=torch.from_numpy(rows)),
            None if condition is None else _column(condition, wanted.kind, wanted.shape, count, f"{where}: condition"),
        )

    @classmethod
    def of(cls, batch: Batch, spec: DataSpec | None = None) -> Examples:
        """The examples of a batch: compact where they have a description; without one, as they are and where they are.

        Images off the lattice have no compact form, and stay as they are too.
        """
        if spec is None:
            return cls(Column(batch.x, _unchanged), _as_is(batch.condition), batch.x.device)
        condition = batch.condition
        if condition is not None and condition.is_floating_point():
            condition = _compact(condition, spec.condition.levels)
        return cls.of_arrays(spec, _compact(batch.x, spec.levels), condition)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Tensor | slice) -> Batch:
        x, condition = self._on_device()
        return Batch(
            x.made_on(self.device, index), None if condition is None else condition.made_on(self.device, index)
        )

    def all(self) -> Batch:
        """All examples in one batch, for what needs them at once: a `fit`, or a small split."""
        return self[:]

    def to(self, device: torch.device | str) -> Examples:
        """The same examples, whose batches are made on another device."""
        return replace(self, device=torch.device(device))

    def select(self, index: Tensor | slice) -> Examples:
        """Some of the examples, in compact form."""
        condition = None if self.condition is None else self.condition.select(index)
        return Examples(self.x.select(index), condition, self.device)

    @property
    def labels(self) -> Tensor | None:
        """Of all examples, int64 (n,); None where the conditions are no labels."""
        return None if self.condition is None else Batch(self.x[:0], self.condition[:]).labels

    @property
    def columns(self) -> tuple[Column, ...]:
        """x, and the conditions where there are any."""
        return (self.x,) if self.condition is None else (self.x, self.condition)

    def _on_device(self) -> tuple[Column, Column | None]:
        """x and condition, from which batches are made: on the device already, where they are small."""
        if self.device == self.x.stored.device or sum(column.bytes for column in self.columns) > _RESIDENT_BYTES:
            return self.x, self.condition
        if self.device not in self._resident:
            condition = None if self.condition is None else self.condition.to(self.device)
            self._resident[self.device] = self.x.to(self.device), condition
        return self._resident[self.device]


def _column(values: Values, kind: str, shape: tuple[int, ...], count: int | None, where: str) -> Column:
    """Integers 0...count-1 (None: any) in the smallest type that holds them; float32 stays, if the kind may have it."""
    if tuple(values.shape[1:]) != shape:
        raise ValueError(f"{where} has shape {tuple(values.shape)}; wanted {('n', *shape)}")
    stored = _tensor(values)
    if stored.dtype == torch.float32 and kind in ("vector", "image"):
        return Column(stored, _unchanged)
    if kind == "vector" or stored.is_floating_point() or stored.dtype == torch.bool:
        names = {"vector": "float32", "image": "integers or float32"}
        raise ValueError(f"{where} has type {values.dtype}; wanted {names.get(kind, 'integers')}")
    if count is not None and not isinstance(values, np.memmap):
        if len(stored) and not (int(stored.min()) >= 0 and int(stored.max()) < count):
            raise ValueError(f"{where} lies in {int(stored.min())}...{int(stored.max())}; wanted 0...{count - 1}")
        stored = stored.to(next(t for t in (torch.uint8, torch.int16, torch.int32) if count - 1 <= torch.iinfo(t).max))
    if kind == "image":
        assert count is not None
        return Column(stored, partial(from_levels, levels=count))
    return Column(stored, Tensor.long)


def _compact(x: Tensor, levels: int | None) -> Tensor:
    """Levels of images on the lattice; anything else as it is."""
    if levels is None:
        return x
    k = to_levels(x, levels)
    return k if torch.equal(from_levels(k, levels), x) else x


def _tensor(values: Values) -> Tensor:
    """The same memory as a tensor."""
    if isinstance(values, Tensor):
        return values
    with warnings.catch_warnings():
        # Nobody writes to the examples of a split.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(values)


def _as_is(values: Tensor | None) -> Column | None:
    return None if values is None else Column(values, _unchanged)


def _unchanged(values: Tensor) -> Tensor:
    return values
