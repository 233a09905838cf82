"""Samples as the page shows them: images as data URIs, points in the plane as inline SVG, sequences as text."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_PNG = b"\x89PNG\r\n\x1a\n"
_SIDE = 240.0  # of a scatter plot's view box
_DRAWN = 1500  # points a picture holds at most; the first ones, since samples have no order


@dataclass(frozen=True)
class Image:
    """A PNG as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Scatter:
    """Points as one SVG path in a square view box of side `side`, and how many lie outside its limits."""

    path: str
    side: float
    limits: tuple[float, float]
    shown: int
    outside: int


def load_png(path: Path) -> Image | None:
    """A PNG file; None where it is not there or is none."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    if not content.startswith(_PNG) or len(content) < 24:
        return None
    width, height = struct.unpack(">II", content[16:24])
    return Image(f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}", width, height)


def load_points(path: Path) -> np.ndarray | None:
    """Points (n, 2) from a JSON document {"points": [[x, y], …]}; None where there are none."""
    if not path.is_file():
        return None
    try:
        points = np.asarray(json.loads(path.read_text(encoding="utf-8"))["points"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        return None
    return points if points.ndim == 2 and points.shape[1] == 2 and len(points) else None


def load_texts(path: Path) -> list[str]:
    """Sequences as text from a JSON document {"texts": [...]}; none where there is none."""
    if not path.is_file():
        return []
    try:
        texts = json.loads(path.read_text(encoding="utf-8"))["texts"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(text) for text in texts] if isinstance(texts, list) else []


def common_limits(clouds: Sequence[np.ndarray]) -> tuple[float, float]:
    """One range for both axes of every scatter plot, from the first cloud (the real data where it is there)."""
    reach = float(np.abs(clouds[0]).max())
    reach = 1.15 * reach if reach > 0 else 1.0
    return -reach, reach


def scatter(points: np.ndarray, limits: tuple[float, float]) -> Scatter:
    """Points (n, 2) drawn on the square of these limits."""
    drawn = points[:_DRAWN]
    low, high = limits
    inside = drawn[((drawn >= low) & (drawn <= high)).all(axis=1)]
    scaled = (inside - low) / (high - low) * _SIDE
    path = "".join(f"M{x:.1f} {_SIDE - y:.1f}h0" for x, y in scaled)
    return Scatter(path, _SIDE, limits, len(drawn), len(drawn) - len(inside))
