"""What samples are to complete: examples of a file, and which of their entries are missing.

Glossary:
    x        (m, *spec.shape) examples as models see them
    missing  bool like x, true where an entry is to be drawn
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...models.base import Batch, GenerativeModel
from ...models.data_spec import DataSpec
from ..data.sources.array_files import ArrayMember, array_members
from ..data.sources.image_files import SUFFIXES, opened, pixels, quantised
from ..errors import UsageError
from ..scoring.sampling import complete_examples


def completed(
    model: GenerativeModel, family: str, n: int, path: Path, *, settings: Mapping[str, Any], seed: int
) -> Batch:
    """n examples of a file, completed by a model of a family. Raises UsageError where either cannot be."""
    if not model.can("complete"):
        raise UsageError(f"{family} cannot complete examples; families that model one number after another can")
    known, missing = read_beginnings(path, model.data, n)
    return complete_examples(model, known, missing, settings=settings, seed=seed)


def read_beginnings(path: Path, spec: DataSpec, n: int) -> tuple[Batch, Tensor]:
    """n examples of a file, its own in turn, and what is missing of them.

    An image file has one image of the data's size, whose lower half is missing. A .txt, for text, has a beginning in
    each line. An .npz has `samples` as `gentune sample` writes them (images in [-1, 1], tokens) and perhaps `labels`
    and `missing` (bool like the samples); without `missing` it is the lower half of images, the second half of
    sequences.

    Raises UsageError for files that cannot be read, and for what does not fit the data.
    """
    if spec.kind == "vector":
        raise UsageError(f"data {spec.name!r} is vectors; images and sequences can be completed")
    if not path.is_file():
        raise UsageError(f"{path} is no file")
    ending = path.suffix.lower()
    if ending == ".npz":
        known, missing = _from_arrays(path, array_members(path), spec)
    elif spec.kind == "image" and ending in SUFFIXES:
        known = Batch(_image(path, spec))
        missing = later_half(known.x, spec)
    elif ending == ".txt" and spec.symbols:
        known, missing = _from_lines(path, spec)
    else:
        wanted = "an image or .npz" if spec.kind == "image" else ".txt or .npz" if spec.symbols else ".npz"
        raise UsageError(f"{path} cannot be completed as {spec.kind} data {spec.name!r}; wanted {wanted}")
    turns = torch.arange(n) % len(known)
    return known[turns], missing[turns]


def later_half(x: Tensor, spec: DataSpec) -> Tensor:
    """bool like x: true in the lower half of images, in the second half of sequences."""
    missing = torch.zeros_like(x, dtype=torch.bool)
    if spec.kind == "image":
        missing[:, :, spec.shape[1] // 2 :] = True
    else:
        missing[:, spec.shape[0] // 2 :] = True
    return missing


def _image(path: Path, spec: DataSpec) -> Tensor:
    channels, height, width = spec.shape
    if channels not in (1, 3):
        raise UsageError(f"{path}: images have 1 or 3 channels, data {spec.name!r} has {channels}; use .npz")
    with opened(path) as image:
        values, top = pixels(image, channels)
    if values.shape[1:] != (height, width):
        found = f"{values.shape[2]} × {values.shape[1]}"
        raise UsageError(f"{path} is {found} pixels (width × height); wanted {width} × {height}")
    assert spec.levels is not None
    return spec.from_levels(torch.from_numpy(quantised(values, top, spec.levels).astype(np.int64)))[None]


def _from_lines(path: Path, spec: DataSpec) -> tuple[Batch, Tensor]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read as text: {error}") from None
    if not lines:
        raise UsageError(f"{path} is empty; wanted a beginning in each line")
    (length,) = spec.shape
    tokens = {symbol: token for token, symbol in enumerate(spec.symbols)}
    x = torch.full((len(lines), length), spec.padding or 0)
    missing = torch.ones_like(x, dtype=torch.bool)
    for row, line in enumerate(lines):
        if len(line) > length:
            raise UsageError(f"{path}: line {row + 1} has {len(line)} characters; wanted at most {length}")
        unknown = next((c for c in line if c not in tokens), None)
        if unknown is not None:
            raise UsageError(f"{path}: line {row + 1} has {unknown!r}, which data {spec.name!r} never has")
        x[row, : len(line)] = torch.tensor([tokens[c] for c in line], dtype=torch.int64)
        missing[row, : len(line)] = False
    return Batch(x), missing


def _from_arrays(path: Path, members: Mapping[str, ArrayMember], spec: DataSpec) -> tuple[Batch, Tensor]:
    if "samples" not in members:
        raise UsageError(f"{path} holds {', '.join(members) or 'nothing'}; wanted samples")
    shape = ", ".join(map(str, spec.shape))
    samples = members["samples"].read()
    if samples.shape[1:] != spec.shape or not len(samples):
        raise UsageError(f"{path}: samples have the shape {samples.shape}; wanted (n, {shape})")
    x = _on_lattice(path, samples, spec) if spec.kind == "image" else _tokens(path, samples, spec)
    missing = later_half(x, spec)
    if "missing" in members:
        given = members["missing"].read()
        if given.shape != samples.shape or given.dtype != np.bool_:
            raise UsageError(f"{path}: missing is {given.dtype} {given.shape}; wanted bool {samples.shape}")
        missing = torch.from_numpy(given)
    return Batch(x, _labels(path, members, len(x), spec)), missing


def _on_lattice(path: Path, values: np.ndarray, spec: DataSpec) -> Tensor:
    if not np.issubdtype(values.dtype, np.floating) or not (np.abs(values) <= 1.0).all():
        raise UsageError(f"{path}: samples of images are floats in [−1, 1], got {values.dtype}, or values outside")
    return spec.to_lattice(torch.from_numpy(values.astype(np.float32)))


def _tokens(path: Path, values: np.ndarray, spec: DataSpec) -> Tensor:
    if not np.issubdtype(values.dtype, np.integer) or values.min() < 0 or values.max() >= (spec.vocabulary or 0):
        raise UsageError(f"{path}: samples of {spec.name!r} are tokens 0...{(spec.vocabulary or 0) - 1}")
    return torch.from_numpy(values.astype(np.int64))


def _labels(path: Path, members: Mapping[str, ArrayMember], n: int, spec: DataSpec) -> Tensor | None:
    """int64 (n,); None where the file or the data have none."""
    if "labels" not in members or not spec.classes:
        return None
    labels = members["labels"].read()
    if labels.shape != (n,) or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"{path}: labels are {labels.dtype} {labels.shape}; wanted integers ({n},)")
    if labels.min() < 0 or labels.max() >= spec.classes:
        raise UsageError(f"{path}: labels go from {labels.min()} to {labels.max()}; wanted 0...{spec.classes - 1}")
    return torch.from_numpy(labels.astype(np.int64))
