"""Two-dimensional toys whose density is known by formula; docs/data.md states the formulas.

Glossary: x (n, 2) points in original units; log p (n,) nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from ....models.data_spec import DataSpec
from ..base import DataSet, Modes, Split, standardised

SIZES: dict[Split, int] = {"train": 10_000, "validation": 5_000, "test": 20_000}
DEVIATION = 0.1  # of the Gaussians, and of the noise around the moons
_SEED = 7_411
_ARC_NODES = 200  # quadrature nodes along a moon; the arc is 3.14 long, so they lie 0.016 apart


def eight_gaussians(spec: DataSpec) -> DataSet:
    """Eight equal Gaussians of deviation 0.1 on a circle of radius 2."""
    data = _toy(spec, sample_eight_gaussians, log_density_eight_gaussians)
    mean, deviation = (np.array(v) for v in (data.spec.mean, data.spec.deviation))
    centres = torch.from_numpy((_ring() - mean) / deviation)
    return replace(data, modes=Modes(centres, torch.from_numpy(DEVIATION / deviation)))


def two_moons(spec: DataSpec) -> DataSet:
    """Two half circles of radius 1, blurred by a Gaussian of deviation 0.1."""
    return _toy(spec, sample_two_moons, log_density_two_moons)


def checkerboard(spec: DataSpec) -> DataSet:
    """Uniform on eight unit squares of [-2, 2]^2."""
    return _toy(spec, sample_checkerboard, log_density_checkerboard)


def sample_eight_gaussians(n: int, random: np.random.Generator) -> np.ndarray:
    centres = _ring()[random.integers(8, size=n)]
    return centres + DEVIATION * random.standard_normal((n, 2))


def log_density_eight_gaussians(x: np.ndarray) -> np.ndarray:
    return _log_gaussian_mixture(x, _ring(), np.full(8, 1 / 8))


def sample_two_moons(n: int, random: np.random.Generator) -> np.ndarray:
    t = math.pi * random.random(n)
    points = np.where((random.random(n) < 0.5)[:, None], _upper_moon(t), _lower_moon(t))
    return points + DEVIATION * random.standard_normal((n, 2))


def log_density_two_moons(x: np.ndarray) -> np.ndarray:
    # The arcs are integrated by Gauss-Legendre, which turns each into a finite mixture.
    nodes, weights = np.polynomial.legendre.leggauss(_ARC_NODES)
    t, weights = math.pi * (nodes + 1) / 2, weights / 4  # half of the mass to each moon
    centres = np.concatenate([_upper_moon(t), _lower_moon(t)])
    return _log_gaussian_mixture(x, centres, np.concatenate([weights, weights]))


def sample_checkerboard(n: int, random: np.random.Generator) -> np.ndarray:
    column = random.integers(4, size=n)
    row = 2 * random.integers(2, size=n) + column % 2
    return np.stack([column, row], axis=1) - 2.0 + random.random((n, 2))


def log_density_checkerboard(x: np.ndarray) -> np.ndarray:
    cell = np.floor(x).astype(int) + 2
    inside = ((cell >= 0) & (cell < 4)).all(1) & (cell.sum(1) % 2 == 0)
    return np.where(inside, -math.log(8), -np.inf)


def entropy_by_quadrature(
    log_density: Callable[[np.ndarray], np.ndarray], low: float, high: float, points: int = 1_600
) -> float:
    """-∫ p log p over the square [low, high]^2 by the midpoint rule, in nats."""
    width = (high - low) / points
    axis = low + width * (np.arange(points) + 0.5)
    total = 0.0
    for row in axis:  # a row at a time: the two moons hold 400 components a point
        log_p = log_density(np.stack([axis, np.full(points, row)], axis=1))
        p = np.exp(log_p)
        total -= float(np.sum(p * np.where(p > 0, log_p, 0.0))) * width**2
    return total


def _toy(
    spec: DataSpec,
    sample: Callable[[int, np.random.Generator], np.ndarray],
    log_density: Callable[[np.ndarray], np.ndarray],
) -> DataSet:
    splits: dict[Split, np.ndarray] = {
        name: sample(n, np.random.default_rng([_SEED, i])) for i, (name, n) in enumerate(SIZES.items())
    }
    return standardised(spec, splits, log_density)


def _ring() -> np.ndarray:
    angle = 2 * math.pi * np.arange(8) / 8
    return 2.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _upper_moon(t: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(t), np.sin(t)], axis=1)


def _lower_moon(t: np.ndarray) -> np.ndarray:
    return np.stack([1.0 - np.cos(t), 0.5 - np.sin(t)], axis=1)


def _log_gaussian_mixture(x: np.ndarray, centres: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """log Σ w_i N(x; c_i, 0.1² I) with a shift against underflow."""
    result = np.empty(len(x))
    for start in range(0, len(x), 2_048):
        part = x[start : start + 2_048]
        square = (part**2).sum(1)[:, None] - 2 * part @ centres.T + (centres**2).sum(1)[None]  # (n, m)
        exponent = -square / (2 * DEVIATION**2) + np.log(weights)
        top = exponent.max(1, keepdims=True)
        result[start : start + 2_048] = top[:, 0] + np.log(np.exp(exponent - top).sum(1))
    return result - math.log(2 * math.pi * DEVIATION**2)
