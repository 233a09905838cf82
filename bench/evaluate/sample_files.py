"""Reads external samples: a folder of images, an .npy or an .npz file, into the data convention.

Nothing of a file is ever run: pickles are refused. Every error is one line that names the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ...models.table_spec import TableSpec
from ..data.sources.array_files import array_members
from ..data.sources.image_files import SUFFIXES, Header, header, notes_on, opened, pixels, quantised
from ..data.tables.codec import encode
from ..data.tables.recoding import SUFFIXES as TABLES
from ..data.tables.recoding import read_rows
from ..errors import UsageError
from ..seeds import derive

_EIGHT_BIT_TOP = 255
_FEWEST = 2  # one sample has no distribution
_LARGEST = 1e18  # vectors: squares stay within float32
_TOLERANCE = 1e-3  # how far outside [-1, 1] floats may lie: round-off of half precision


@dataclass(frozen=True)
class Samples:
    """Samples as the data set's models would give them.

    batch: images on the lattice, or standardised vectors; labels as `condition` where the file has them.
    available: how many the path holds; `batch` has those that were picked.
    notes: lines for people about what may not be meant.
    """

    path: str
    batch: Batch
    available: int
    notes: tuple[str, ...] = ()


def read_samples(path: str | Path, spec: DataSpec, *, count: int | None = None, seed: int = 0) -> Samples:
    """Samples of a path, of which `count` are picked by `seed` where there are more.

    A folder gives its images sorted by name, grey or colour as the data set is (`data/sources/image_files`). Arrays are
    (n, H, W) for one channel, (n, H, W, C) or (n, C, H, W), read as the last where both fit; integers are 8-bit, 0 to
    255, and go to the nearest of the data set's levels; floats are in [-1, 1] and go to the nearest level too.
    Vectors are (n, D) in original units; of tables, .csv and .parquet hold rows with the table's columns. An .npz holds
    one array, or `samples` and perhaps `labels`.

    spec: of a loaded data set, which knows the mean and the deviation of vectors.

    Raises UsageError for whatever else it finds.
    """
    path = Path(path)
    if spec.kind not in ("image", "vector"):
        raise UsageError(f"data {spec.name!r} is {spec.kind}; files of images and vectors can be read")
    try:
        if path.is_dir():
            return _from_folder(path, spec, count, seed)
        if not path.exists():
            raise UsageError(f"{path} is not there")
        if spec.table is not None and path.suffix.lower() in TABLES:
            return _from_rows(path, spec, spec.table, count, seed)
        if path.suffix.lower() not in (".npy", ".npz"):
            also = ", .csv or .parquet" if spec.table is not None else ""
            raise UsageError(f"{path} is none of what can be read: a folder of images, .npy or .npz{also}")
        return _from_arrays(path, spec, count, seed)
    except PermissionError as error:
        raise UsageError(f"{error.filename or path} cannot be read: {error.strerror}") from error


def _from_folder(folder: Path, spec: DataSpec, count: int | None, seed: int) -> Samples:
    if spec.kind != "image":
        raise UsageError(f"{folder} is a folder; data {spec.name!r} is vectors, wanted .npy or .npz")
    channels, height, width = spec.shape
    if channels not in (1, 3):
        raise UsageError(f"{folder}: images have 1 or 3 channels, data {spec.name!r} has {channels}; use .npy")
    entries = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    files = sorted((p for p in entries if p.is_file()), key=lambda p: p.name)
    if not files:
        kinds = ", ".join(suffix.removeprefix(".") for suffix in SUFFIXES)
        raise UsageError(f"{folder} holds no images ({kinds})")
    _check_count(folder, len(files))
    for file in files:  # all of them, whichever are picked, but without decoding
        with opened(file) as image:
            turned = image.size != (width, height)
            image.verify()  # checksums, where the format has them
        if turned:
            with opened(file) as image:
                _check_size(file, header(image), width, height)
    picked = _picked(len(files), count, seed)
    levels = np.empty((len(picked), *spec.shape), np.int64)
    headers = []
    for row, index in enumerate(picked):
        with opened(files[index]) as image:
            headers.append(header(image))
            _check_size(files[index], headers[-1], width, height)
            levels[row] = quantised(*pixels(image, channels), spec.levels or 0)
    notes = [f"{folder}: {note}" for note in notes_on(headers, channels)]
    return Samples(str(folder), Batch(spec.from_levels(torch.from_numpy(levels))), len(files), tuple(notes))


def _check_size(file: Path, head: Header, width: int, height: int) -> None:
    if (head.width, head.height) != (width, height):
        raise UsageError(f"{file} is {head.width} × {head.height} pixels (width × height); wanted {width} × {height}")


def _from_arrays(file: Path, spec: DataSpec, count: int | None, seed: int) -> Samples:
    array, labels = _load(file)
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)):
        raise UsageError(f"{file} holds numbers of type {array.dtype}; wanted integers or floats")
    if spec.kind == "image":
        array = _channels_first(file, array, spec)
    elif array.ndim != 2 or array.shape[1:] != spec.shape:
        raise UsageError(f"{file} has shape {_shown(array.shape)}; wanted (n, {spec.shape[0]})")
    _check_count(file, len(array))
    check, convert = (_check_images, _images) if spec.kind == "image" else (_check_vectors, _vectors)
    notes = check(file, array, spec)
    condition = None if labels is None else _labels(file, labels, len(array), spec)
    if labels is not None and condition is None:
        notes.append(f"{file}: its labels are not used, since data {spec.name!r} has none")
    picked = _picked(len(array), count, seed)
    batch = Batch(convert(array[picked], spec), None if condition is None else condition[torch.from_numpy(picked)])
    return Samples(str(file), batch, len(array), tuple(notes))


def _from_rows(file: Path, spec: DataSpec, table: TableSpec, count: int | None, seed: int) -> Samples:
    codes, notes = read_rows(file, table)
    _check_count(file, len(next(iter(codes.values()))))
    x = encode(table, codes, derive(seed, "noise"))
    labels = codes.get(table.label or "")
    condition = None if labels is None else torch.from_numpy(labels)
    picked = _picked(len(x), count, seed)
    notes = (*notes, *_check_vectors(file, x, spec))
    batch = Batch(_vectors(x[picked], spec), None if condition is None else condition[torch.from_numpy(picked)])
    return Samples(str(file), batch, len(x), notes)


def _load(file: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """The samples and the labels of a file."""
    members = array_members(file)
    if "samples" in members:
        return members["samples"].read(), members["labels"].read() if "labels" in members else None
    if len(members) != 1:
        raise UsageError(
            f"{file} holds {', '.join(members) or 'nothing'}; wanted one array, or samples and perhaps labels"
        )
    (only,) = members.values()
    return only.read(), None  # an .npy is mapped: only what is picked is copied


def _channels_first(file: Path, array: np.ndarray, spec: DataSpec) -> np.ndarray:
    channels, height, width = spec.shape
    if array.shape[1:] == spec.shape:
        return array
    if array.shape[1:] == (height, width, channels):
        return array.transpose(0, 3, 1, 2)
    if channels == 1 and array.shape[1:] == (height, width):
        return array[:, None]
    fitting = [f"(n, {channels}, {height}, {width})", f"(n, {height}, {width}, {channels})"]
    if channels == 1:
        fitting.append(f"(n, {height}, {width})")
    raise UsageError(f"{file} has shape {_shown(array.shape)}; wanted {' or '.join(fitting)}")


def _check_images(file: Path, array: np.ndarray, spec: DataSpec) -> list[str]:
    """Refuses values out of range; returns notes about ambiguous ranges."""
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.integer):
        if low < 0 or high > 255:
            raise UsageError(f"{file} has integers from {low} to {high}; wanted 8-bit values, 0 to 255")
        if spec.levels is not None and high < spec.levels < 256:
            return [f"{file}: no value is above {high}; integers are taken as 8-bit, 0 to 255, not as levels"]
        return []
    _check_finite(file, array, low, high)
    if low < -1 - _TOLERANCE or high > 1 + _TOLERANCE:
        raise UsageError(f"{file} has floats from {low:.6g} to {high:.6g}; wanted [−1, 1]")
    return [f"{file}: no value is below 0; floats are taken as [−1, 1], not as [0, 1]"] if low >= 0 else []


def _images(array: np.ndarray, spec: DataSpec) -> torch.Tensor:
    """On the lattice (n, C, H, W)."""
    if np.issubdtype(array.dtype, np.integer):
        return spec.from_levels(torch.from_numpy(quantised(array, _EIGHT_BIT_TOP, spec.levels or 0)))
    # float64 before rounding: half precision would move values across the middle between two levels.
    return spec.to_lattice(torch.from_numpy(array.astype(np.float64)))


def _check_vectors(file: Path, array: np.ndarray, spec: DataSpec) -> list[str]:
    """Refuses what float32 cannot hold; no notes."""
    low, high = float(array.min()), float(array.max())
    _check_finite(file, array, low, high)
    scale = min((1.0, *(spec.deviation or ())))
    if max(abs(low), abs(high)) / scale > _LARGEST:
        raise UsageError(f"{file} has values from {low:.3g} to {high:.3g}; too large for float32")
    return []


def _vectors(array: np.ndarray, spec: DataSpec) -> torch.Tensor:
    """Standardised float32 (n, D)."""
    values = array.astype(np.float64)
    if spec.mean is not None and spec.deviation is not None:
        values = (values - np.array(spec.mean)) / np.array(spec.deviation)
    return torch.from_numpy(values.astype(np.float32))


def _check_finite(file: Path, array: np.ndarray, low: float, high: float) -> None:
    if np.isfinite(low) and np.isfinite(high):  # the extremes are NaN where any value is
        return
    finite = np.isfinite(array)
    first = int(np.flatnonzero(~finite.reshape(len(array), -1).all(axis=1))[0])
    count = int(finite.size - np.count_nonzero(finite))
    raise UsageError(f"{file} has {count} of {array.size} values NaN or infinite, the first in sample {first}")


def _labels(file: Path, labels: np.ndarray, n: int, spec: DataSpec) -> torch.Tensor | None:
    """int64 (n,); None where the data set has no labels."""
    if not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{file}: labels are of type {labels.dtype}; wanted integers")
    if labels.shape != (n,):
        raise UsageError(f"{file}: labels have shape {_shown(labels.shape)}; wanted ({n},), one for each sample")
    if not spec.classes:
        return None
    if labels.min() < 0 or labels.max() >= spec.classes:
        raise UsageError(
            f"{file}: labels go from {labels.min()} to {labels.max()}; "
            f"data {spec.name!r} has classes 0 to {spec.classes - 1}"
        )
    return torch.from_numpy(labels.astype(np.int64))


def _check_count(path: Path, n: int) -> None:
    if n < _FEWEST:
        raise UsageError(f"{path} holds {n} sample{'' if n == 1 else 's'}; wanted at least {_FEWEST}")


def _picked(n: int, count: int | None, seed: int) -> np.ndarray:
    """Sorted indices of the samples to use."""
    if count is None or count >= n:
        return np.arange(n)
    return np.sort(np.random.default_rng(derive(seed, "samples", n, count)).permutation(n)[:count])


def _shown(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
