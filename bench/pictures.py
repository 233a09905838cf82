"""Samples as artifacts: grids of images as PNG, two-dimensional points as JSON; synthetic ones marked as such."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, PngImagePlugin
from torch import Tensor

from ..models.base import Batch
from ..models.data_spec import DataSpec
from .files import write_atomically

_COLUMNS = 10
_ROWS = 6
_POINTS = 1_000
_CELL = 32  # pixels to which small images are enlarged, by a whole factor


def write_samples(folder: Path, name: str, batch: Batch, spec: DataSpec, *, maker: str | None) -> Path | None:
    """Writes `name`.png (images) or `name`.json (points); None for data that has no picture.

    maker: the family that made the samples, written into the file's metadata; None for real examples.
    """
    if spec.kind == "image":
        path = folder / f"{name}.png"
        write_atomically(path, _png(_grid(batch, spec), maker))
        return path
    if spec.kind == "vector" and spec.dimensions == 2:
        points = batch.x[:_POINTS].cpu().double().numpy()
        if spec.mean is not None and spec.deviation is not None:
            points = points * np.array(spec.deviation) + np.array(spec.mean)
        content = {"synthetic": maker is not None, "made_by": maker, "points": points.round(5).tolist()}
        path = folder / f"{name}.json"
        write_atomically(path, json.dumps(content) + "\n")
        return path
    return None


def _grid(batch: Batch, spec: DataSpec) -> np.ndarray:
    """An (H, W) or (H, W, 3) 8-bit picture of up to 60 images; labelled ones stand in a column for each class."""
    x = _arranged(batch, spec)
    channels, height, width = spec.shape
    factor = max(1, _CELL // max(height, width))
    rows = -(-len(x) // _COLUMNS)
    gap = 1
    sheet = np.full(
        (rows * (height * factor + gap) + gap, _COLUMNS * (width * factor + gap) + gap, channels), 96, np.uint8
    )
    assert spec.levels is not None
    levels = spec.to_levels(x).cpu().numpy().transpose(0, 2, 3, 1)  # (n, H, W, C)
    pixels = np.round(levels * (255.0 / (spec.levels - 1))).astype(np.uint8)
    for i, image in enumerate(pixels.repeat(factor, 1).repeat(factor, 2)):
        top = gap + (i // _COLUMNS) * (height * factor + gap)
        left = gap + (i % _COLUMNS) * (width * factor + gap)
        sheet[top : top + height * factor, left : left + width * factor] = image
    if channels == 3:
        return sheet
    return sheet[:, :, 0]  # more than three channels: the first is shown


def _arranged(batch: Batch, spec: DataSpec) -> Tensor:
    if batch.condition is None or spec.condition != "label" or spec.classes > _COLUMNS:
        return batch.x[: _COLUMNS * _ROWS]
    chosen = []
    columns = [torch.nonzero(batch.condition == label).flatten() for label in range(spec.classes)]
    for row in range(_ROWS):
        chosen += [int(column[row]) for column in columns if row < len(column)]
    return batch.x[chosen]


def _png(pixels: np.ndarray, maker: str | None) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Software", "Gentune")
    info.add_text("Synthetic", "no" if maker is None else "yes")
    if maker is not None:
        info.add_text("Made by", maker)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()
