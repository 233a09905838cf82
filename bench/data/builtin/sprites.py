"""Sprites: grey images of one shape each, drawn by formula from six factors; docs/data.md states the formulas.

Glossary: coordinates in pixels, the image is [0, 16]^2 and pixel (i, j) has its centre at (j + 1/2, i + 1/2), y
downwards; (u, v) coordinates around a shape's centre, turned with it; d signed distances, negative inside.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ....models.data_spec import DataSpec
from ..base import DataSet, Split
from ..examples import Examples

SHAPES = ("bar", "ellipse", "triangle")
# Values that each factor takes. All 24,576 combinations are different images.
FACTORS = {"shape": 3, "size": 4, "angle": 8, "x": 8, "y": 8, "brightness": 4}
SIZES: dict[Split, int] = {"train": 4_000, "validation": 1_000, "test": 1_000}
_SEED = 31_907
_SIDE = 16
_LOWEST, _HIGHEST = 5.0, 11.0  # of a shape's centre
_SMALLEST, _LARGEST = 3.2, 4.7  # of a shape's reach a: the largest at the outermost place stays inside the image
_BAR, _ELLIPSE = 0.25, 0.75  # height over width, so that angles can be told over half a turn


def load(spec: DataSpec) -> DataSet:
    """6,000 different combinations of factors, drawn by a fixed seed; labels are the shapes."""
    values = tuple(FACTORS.values())
    drawn = np.random.default_rng(_SEED).permutation(math.prod(values))[: sum(SIZES.values())]
    factors = np.stack(np.unravel_index(drawn, values), axis=1)  # (n, 6)
    splits: dict[Split, Examples] = {}
    by_split = {}
    start = 0
    for name, count in SIZES.items():
        chosen = factors[start : start + count]
        start += count
        levels = render(chosen, spec.levels or 0)[:, None]
        splits[name] = Examples.of_arrays(spec, levels, chosen[:, 0].copy())
        by_split[name] = torch.from_numpy(chosen.copy())
    return DataSet(spec, splits, factor_names=tuple(FACTORS), factors=by_split)


def render(factors: np.ndarray, levels: int) -> np.ndarray:
    """Integer images (n, 16, 16) with 0...levels-1 of factors (n, 6), in the order of `FACTORS`.

    Factors other than the shape may lie between their values.
    """
    shape, size, angle, column, row, brightness = (factors[:, [i]][..., None] for i in range(6))  # (n, 1, 1)
    reach = _SMALLEST + (_LARGEST - _SMALLEST) * size / (FACTORS["size"] - 1)
    turn = math.pi * angle / FACTORS["angle"]
    centre_x = _LOWEST + (_HIGHEST - _LOWEST) * column / (FACTORS["x"] - 1)
    centre_y = _LOWEST + (_HIGHEST - _LOWEST) * row / (FACTORS["y"] - 1)
    pixel = np.arange(_SIDE) + 0.5
    x, y = pixel[None, None, :] - centre_x, pixel[None, :, None] - centre_y  # (n, 1, 16), (n, 16, 1)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x  # (n, 16, 16)
    distance = np.choose(shape.astype(np.int64), (_bar(u, v, reach), _ellipse(u, v, reach), _triangle(u, v, reach)))
    coverage = np.clip(0.5 - distance, 0.0, 1.0)
    top = (levels - 1) * (0.4 + 0.6 * brightness / (FACTORS["brightness"] - 1))
    return np.rint(top * coverage).astype(np.int64)


def _bar(u: np.ndarray, v: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Corners at distance `reach` from the centre."""
    half = reach / math.hypot(1.0, _BAR)
    across, along = np.abs(u) - half, np.abs(v) - _BAR * half
    outside = np.hypot(np.maximum(across, 0.0), np.maximum(along, 0.0))
    return outside + np.minimum(np.maximum(across, along), 0.0)


def _ellipse(u: np.ndarray, v: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Half axes `reach` and three quarters of it; the distance to first order: f - 1 over its slope."""
    a, b = reach, _ELLIPSE * reach
    f = np.hypot(u / a, v / b)  # 1 on the edge
    gradient = np.hypot(u / a**2, v / b**2) / np.maximum(f, 1e-9)
    return (f - 1.0) / np.maximum(gradient, 1e-9)


def _triangle(u: np.ndarray, v: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Equal sides, a corner at (reach, 0); the largest of the distances from the lines through its sides."""
    sides = [np.cos(t) * u + np.sin(t) * v for t in (math.pi / 3, -math.pi / 3, math.pi)]
    return np.maximum.reduce(sides) - reach / 2
