"""Samples as artifacts: grids of images, points as JSON and as PNG, texts; synthetic ones marked as such."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

from ...models.base import Batch
from ...models.data_spec import DataSpec
from ..files import write_atomically
from .rows import in_original_units, write_rows
from .texts import write_texts

_COLUMNS = 10
_ROWS = 6
_BESIDE = 3  # rows of ten examples that stand beside their conditions
_LETTER = 6  # pixels beside a text, about a letter
_POINTS = 1_000
_CELL = 32  # pixels to which small images are enlarged, by a whole factor
_PLOT, _OVERSAMPLING = 420, 3  # side of a scatter plot in pixels; drawn larger, so that edges are smooth
# Okabe and Ito's palette, then four that keep apart from it: groups up to ten have a colour of their own.
_GROUPS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#000000",
    "#8C564B",
    "#7F7F7F",
    "#6A3D9A",
)


def write_samples(folder: Path, name: str, batch: Batch, spec: DataSpec, *, maker: str | None) -> Path | None:
    """Writes `name`.png (images) or `name`.json (points, sequences); None for data that has no picture.

    Of a table the rows are written to `name`.csv, too.

    maker: the family that made the samples, written into the file's metadata; None for real examples.
    """
    if spec.kind == "image" and spec.condition.kind == "image" and batch.condition is not None:
        return write_answers(folder, name, batch, None, spec, maker=maker)
    if spec.kind == "image":
        path = folder / f"{name}.png"
        write_atomically(path, _png(_sheet(_arranged(batch, spec), spec), maker))
        return path
    if spec.kind == "sequence":
        return write_texts(folder, name, batch, spec, maker=maker)
    if spec.table is not None:
        write_rows(folder / f"{name}.csv", batch[:_POINTS], spec, maker=maker)
    if spec.kind == "vector" and spec.dimensions == 2:
        points = in_original_units(batch.x[:_POINTS], spec)
        content = {"synthetic": maker is not None, "made_by": maker, "points": points.round(5).tolist()}
        path = folder / f"{name}.json"
        write_atomically(path, json.dumps(content) + "\n")
        return path
    return None


def write_answers(
    folder: Path, name: str, batch: Batch, targets: Tensor | None, spec: DataSpec, *, maker: str | None
) -> Path:
    """Writes `name`.png of images that images are the conditions of: these, the targets if there are any, and below
    them the images. targets: (n, C, H, W), of pairs. maker: as `write_samples`."""
    assert batch.condition is not None
    path = folder / f"{name}.png"
    wanted = () if targets is None else (targets,)
    write_beside(path, [shown_conditions(batch.condition, spec), *wanted, batch.x], spec, maker=maker)
    return path


def write_sheet(path: Path, x: Tensor, spec: DataSpec, *, maker: str | None) -> None:
    """Writes images (rows, columns, C, H, W) as one PNG, each in its place; maker: as `write_samples`."""
    write_atomically(path, _png(_sheet(x.flatten(0, 1), spec, columns=x.shape[1]), maker))


def write_beside(path: Path, images: Sequence[Tensor], spec: DataSpec, *, maker: str | None) -> None:
    """Writes several images of each of up to thirty examples below each other, ten examples side by side.

    images: each (n, C, H, W), such as conditions, targets and samples. maker: as `write_samples`.
    """
    count = min(len(images[0]), _COLUMNS * _BESIDE)
    blocks = -(-count // _COLUMNS)
    sheet = images[0].new_full((len(images), blocks * _COLUMNS, *spec.shape), -1.0)  # empty places stay black
    for number, of_examples in enumerate(images):
        sheet[number, :count] = of_examples[:count]
    rows = sheet.unflatten(1, (blocks, _COLUMNS)).transpose(0, 1).flatten(0, 1)  # (blocks * images, 10, C, H, W)
    write_sheet(path, rows, spec, maker=maker)


def shown_conditions(condition: Tensor, spec: DataSpec) -> Tensor:
    """Images (n, C', H', W') that samples are conditioned on, with the size and the channels of the samples.

    By nearest neighbour; channels that samples do not have, such as masks, are left out, grey ones repeated.
    """
    channels = spec.shape[0]
    x = condition[:, :channels] if condition.shape[1] >= channels else condition[:, :1].expand(-1, channels, -1, -1)
    return F.interpolate(x, size=spec.shape[1:], mode="nearest")


def write_captioned_sheet(path: Path, texts: Sequence[str], x: Tensor, spec: DataSpec, *, maker: str | None) -> None:
    """Writes a row for each text: what it says, and images x (rows, columns, C, H, W); maker: as `write_samples`."""
    sheet = Image.fromarray(_sheet(x.flatten(0, 1), spec, columns=x.shape[1])).convert("RGB")
    font = ImageFont.load_default()
    margin = math.ceil(max(font.getlength(text) for text in texts)) + 2 * _LETTER
    picture = Image.new("RGB", (margin + sheet.width, sheet.height), "white")
    picture.paste(sheet, (margin, 0))
    draw = ImageDraw.Draw(picture)
    for row, text in enumerate(texts):
        draw.text((_LETTER, (row + 0.5) * sheet.height / len(texts)), text, fill="black", font=font, anchor="lm")
    write_atomically(path, _png(np.asarray(picture), maker))


def write_scatter(
    path: Path, points: np.ndarray, groups: np.ndarray, *, maker: str | None, behind: np.ndarray | None = None
) -> None:
    """Writes points (n, 2) as a square PNG on common limits, a colour for each group (n,) of 0, 1, ...

    behind: points (m, 2) in light grey under the others, such as real ones. maker: as `write_samples`.
    """
    everything = points if behind is None else np.concatenate([points, behind])
    centre = (everything.max(0) + everything.min(0)) / 2
    reach = float(np.ptp(everything, axis=0).max()) / 2 or 1.0
    picture = Image.new("RGB", (_PLOT * _OVERSAMPLING,) * 2, "white")
    draw = ImageDraw.Draw(picture)

    def dots(where: np.ndarray, colours: list[str], radius: float) -> None:
        pixels = ((where - centre) / reach * [0.47, -0.47] + 0.5) * _PLOT * _OVERSAMPLING
        size = radius * _OVERSAMPLING
        for (x, y), colour in zip(pixels, colours, strict=True):
            draw.ellipse((x - size, y - size, x + size, y + size), fill=colour)

    if behind is not None:
        dots(behind, ["#d5d9de"] * len(behind), 1.5)
    dots(points, [group_colour(int(g)) for g in groups], 3.0)
    write_atomically(path, _png(np.asarray(picture.resize((_PLOT, _PLOT), Image.Resampling.LANCZOS)), maker))


def group_colour(group: int) -> str:
    """The colour of a group in `write_scatter`; from the eleventh on they come again."""
    return _GROUPS[group % len(_GROUPS)]


def _sheet(x: Tensor, spec: DataSpec, *, columns: int = _COLUMNS) -> np.ndarray:
    """An (H, W) or (H, W, 3) 8-bit picture of images (n, C, H, W), row by row."""
    channels, height, width = spec.shape
    factor = max(1, _CELL // max(height, width))
    rows = -(-len(x) // columns)
    gap = 1
    sheet = np.full(
        (rows * (height * factor + gap) + gap, columns * (width * factor + gap) + gap, channels), 96, np.uint8
    )
    assert spec.levels is not None
    levels = spec.to_levels(x).cpu().numpy().transpose(0, 2, 3, 1)  # (n, H, W, C)
    pixels = np.round(levels * (255.0 / (spec.levels - 1))).astype(np.uint8)
    for i, image in enumerate(pixels.repeat(factor, 1).repeat(factor, 2)):
        top = gap + (i // columns) * (height * factor + gap)
        left = gap + (i % columns) * (width * factor + gap)
        sheet[top : top + height * factor, left : left + width * factor] = image
    if channels == 3:
        return sheet
    return sheet[:, :, 0]  # more than three channels: the first is shown


def _arranged(batch: Batch, spec: DataSpec) -> Tensor:
    """Up to 60 images; labelled ones stand in a column for each class."""
    if batch.labels is None or spec.classes > _COLUMNS:
        return batch.x[: _COLUMNS * _ROWS]
    chosen = []
    columns = [torch.nonzero(batch.labels == label).flatten() for label in range(spec.classes)]
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
